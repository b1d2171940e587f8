//! A node with a workspace and a group in it: where most tests begin.

use serde_json::{Value, json};
use tests::node::Node;
use tests::rest::Rest;

/// What a test starts from: Ann made the group, Bob is in it.
pub(crate) struct Room {
    pub(crate) node: Node,
    pub(crate) ann: Rest,
    pub(crate) bob: Rest,
    pub(crate) channel: String,
}

/// A node of its own.
pub(crate) fn room() -> Room {
    on(Node::alone("").unwrap())
}

/// In this node.
pub(crate) fn on(node: Node) -> Room {
    let mut ann = Rest::found(node.http, "acme", "ann").unwrap();
    let bob = Rest::register(node.http, "acme", "bob").unwrap();
    let body = json!({ "name": "general", "members": [bob.id()] });
    let made = ann.call("POST", "/v1/channels", Some(&body)).unwrap().expect(201).unwrap();
    let channel = made["id"].as_str().unwrap().to_owned();
    Room { node, ann, bob, channel }
}

impl Room {
    /// An address of the group's messages: `""`, `"?limit=2"`, `"/17"`.
    pub(crate) fn messages(&self, rest: &str) -> String {
        format!("/v1/channels/{}/messages{rest}", self.channel)
    }

    /// Posts as Ann; the message.
    pub(crate) fn post(&mut self, text: &str) -> Value {
        let path = self.messages("");
        let answer = self.ann.call("POST", &path, Some(&json!({ "body": { "text": text } }))).unwrap();
        answer.expect(201).unwrap()["message"].clone()
    }
}

/// The offsets of a page's messages.
pub(crate) fn offsets(page: &Value) -> Vec<u64> {
    page["messages"].as_array().unwrap().iter().map(|message| message["offset"].as_u64().unwrap()).collect()
}
