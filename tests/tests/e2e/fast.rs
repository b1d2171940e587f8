//! Channels whose messages are delivered at once and stored by a queue, also while the store is away and after the node was killed.

use std::time::Duration;

use serde_json::{Value, json};
use tests::client::Client;
use tests::metrics::Metrics;
use tests::node::{self, Node, Plan};
use tests::postgres;
use tests::rest::Rest;
use tests::wait;
use tests::world::World;

/// How soon whatever waits for nobody has come.
const SOON: Duration = Duration::from_secs(60);

/// A node, an edge, and two users in a fast channel, the second one connected.
struct Scene {
    node: Node,
    _edge: World,
    ann: Rest,
    listener: Client,
    path: String,
    stream: String,
}

impl Scene {
    fn new(text: &str) -> Self {
        let plan = Plan::new().unwrap();
        let edge = World::builder().relay(&plan.relay()).start().unwrap();
        let node = plan.start(&[edge.http], text).unwrap();
        let mut ann = Rest::found(node.http, "acme", "ann").unwrap();
        let ben = Rest::register(node.http, "acme", "ben").unwrap();
        let wanted = json!({ "name": "races", "delivery": "fast", "members": [ben.id()] });
        let channel = ann.call("POST", "/v1/channels", Some(&wanted)).unwrap().expect(201).unwrap();
        let listener = wait::until("a session", SOON, || {
            let mut client = Client::secure(&edge).ok()?;
            client.connect(ben.token()).ok()?.get("connect")?;
            Some(client)
        });
        let path = format!("/v1/channels/{}/messages", channel["id"].as_str().unwrap());
        let stream = channel["stream"].as_str().unwrap().to_owned();
        Self { node, _edge: edge, ann, listener: listener.unwrap(), path, stream }
    }

    fn post(&mut self, text: &str) -> Value {
        let body = json!({ "body": text, "key": text });
        let answer = self.ann.call("POST", &self.path, Some(&body)).unwrap().expect(202).unwrap();
        answer["message"].clone()
    }

    /// What the listener hears next on the channel.
    fn heard(&mut self) -> Value {
        loop {
            let push = self.listener.push().unwrap();
            if push["channel"] == self.stream.as_str() && push.get("pub").is_some() {
                return push["pub"]["data"].clone();
            }
        }
    }

    /// Waits until these texts, and no others, are in the store in this order.
    fn stored(&mut self, wanted: &[&str]) {
        let path = format!("{}?after=0&limit=100", self.path);
        let mut last = Value::Null;
        let found = wait::until("the messages to be stored", SOON, || {
            last = self.ann.call("GET", &path, None).ok()?.expect(200).ok()?;
            let texts = last["messages"].as_array()?.iter().map(|message| message["body"].as_str());
            texts.eq(wanted.iter().map(|text| Some(*text))).then_some(())
        });
        found.unwrap_or_else(|error| panic!("{error}: {last}"));
    }

    fn total(&self, what: &str) -> f64 {
        let label = format!("what=\"{what}\"");
        Metrics::scrape(self.node.http).unwrap().sum("headland_node_fast_total", &[&label])
    }
}

#[test]
fn a_message_is_delivered_at_once_and_stored_soon_and_its_key_is_good_once() {
    let mut scene = Scene::new("");
    let first = scene.post("go");
    assert_eq!(first["offset"], 0, "its place is not known yet");
    let heard = scene.heard();
    assert_eq!((&heard["id"], &heard["body"]), (&first["id"], &json!("go")));
    scene.stored(&["go"]);
    let again = json!({ "body": "go", "key": "go" });
    let again = scene.ann.call("POST", &scene.path, Some(&again)).unwrap().expect(200).unwrap();
    assert_eq!(again["message"]["id"], first["id"]);
    scene.post("stop");
    assert_eq!(scene.heard()["body"], "stop", "a key that was used is not delivered again");
    scene.stored(&["go", "stop"]);
    let path = format!("{}/{}", scene.path, first["id"].as_str().unwrap());
    scene.ann.call("PATCH", &path, Some(&json!({ "body": "went" }))).unwrap().expect(200).unwrap();
    let edited = scene.heard();
    assert_eq!(
        (&edited["type"], &edited["id"], &edited["body"]),
        (&json!("edited"), &first["id"], &json!("went"))
    );
    assert_eq!((scene.total("taken"), scene.total("stored"), scene.total("lost")), (3.0, 2.0, 0.0));
}

#[test]
fn what_was_said_while_the_store_was_away_is_heard_and_outlives_a_killed_node() {
    let mut server = postgres::Server::start().unwrap();
    let mut scene = Scene::new(&node::store(&server.database().unwrap()));
    scene.post("before");
    assert_eq!(scene.heard()["body"], "before");
    scene.stored(&["before"]);
    server.kill().unwrap();
    scene.post("meanwhile");
    assert_eq!(scene.heard()["body"], "meanwhile", "nobody waits for the store");
    scene.node.program.kill().unwrap();
    server.run().unwrap();
    scene.node.again().unwrap();
    scene.stored(&["before", "meanwhile"]);
    assert_eq!((scene.total("stored"), scene.total("lost")), (1.0, 0.0));
}
