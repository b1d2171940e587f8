//! JSON and Protobuf clients in the same channels.

use super::*;
use crate::client::{
    command::{Command, Connect, Publish, Request, Subscribe},
    encoding::Encoding,
    received::{Answer, Event, Received},
};

impl World {
    fn command(&mut self, index: usize, id: u32, request: Request<'_>) {
        let mut message = Vec::new();
        Encoding::Protobuf.command(&Command { id, request }, &mut message);
        self.say_binary(index, &message);
    }

    pub(super) fn say_binary(&mut self, index: usize, message: &[u8]) {
        let mut bytes = Vec::new();
        masked_frame(Opcode::Binary, message, [1, 2, 3, 4], &mut bytes);
        self.shard.receive(self.now, index, &mut bytes);
    }

    /// A ready Protobuf session in a channel whose publications are coming already, or that keeps no history.
    pub(super) fn subscribed_in_protobuf(&mut self, channel: &str) -> usize {
        let index = self.open_at("/connection/websocket?cf_protocol=protobuf");
        self.command(index, 1, Request::Connect(Connect::default()));
        self.command(
            index,
            2,
            Request::Subscribe(Subscribe { channel: channel.into(), ..Subscribe::default() }),
        );
        if let Some(request) = self.asked().iter().find_map(|text| subscribe_request(text)) {
            self.hear(&begun(request, 5, "e"));
        }
        let messages = self.messages(index);
        assert_eq!(messages.len(), 1, "one turn's replies share a message");
        let replies: Vec<_> = Encoding::Protobuf.received(&messages[0]).map(Result::unwrap).collect();
        assert!(matches!(replies[0], Received::Reply { id: 1, answer: Answer::Connect(_) }), "{replies:?}");
        assert!(matches!(replies[1], Received::Reply { id: 2, answer: Answer::Subscribe(_) }), "{replies:?}");
        index
    }

    /// Binary messages for the client.
    fn messages(&mut self, index: usize) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        self.items(index, |item| match item {
            Item::Binary(message) => messages.push(message.into_owned()),
            other => panic!("{other:?}"),
        });
        messages
    }

    /// What one publication in the channel looks like to a Protobuf client.
    fn published_to(&mut self, index: usize) -> Vec<u8> {
        let messages = self.messages(index);
        let heard: Vec<_> = messages.iter().flat_map(|m| Encoding::Protobuf.received(m)).collect();
        let [Ok(Received::Push { event: Event::Publication(message), .. })] = &heard[..] else {
            panic!("{heard:?}")
        };
        message.data.to_vec()
    }

    fn publish_bytes(&mut self, channel: &str, data: &[u8]) {
        let publication = Publication { data, ..Publication::default() };
        self.hear(&ToShard::Publication { channel, publication });
    }
}

#[test]
fn a_publication_reaches_each_client_in_its_own_encoding() {
    let mut world = World::new();
    let text = world.subscribed("news");
    let binary = world.subscribed_in_protobuf("news");
    world.publish_bytes("news", br#"{"a": 1}"#);
    assert_eq!(world.heard(text), [r#"{"push":{"channel":"news","pub":{"data":{"a": 1}}}}"#]);
    assert_eq!(world.published_to(binary), br#"{"a": 1}"#);
}

#[test]
fn bytes_that_are_not_json_are_a_base64_string_to_json_clients() {
    let mut world = World::new();
    let text = world.subscribed("news");
    let binary = world.subscribed_in_protobuf("news");
    world.publish_bytes("news", b"\x00\n\xff");
    assert_eq!(world.heard(text), [r#"{"push":{"channel":"news","pub":{"data":"AAr/"}}}"#]);
    assert_eq!(world.published_to(binary), b"\x00\n\xff");
}

#[test]
fn a_protobuf_client_publishes_any_bytes() {
    let mut world = World::new();
    let index = world.subscribed_in_protobuf("news");
    world.asked();
    let publish = Publish { channel: "news".into(), data: b"\xff\x00" };
    world.command(index, 3, Request::Publish(publish));
    assert!(world.asked()[0].contains("data: [255, 0]"));
}

#[test]
fn pings_and_pongs_are_empty_messages_in_protobuf() {
    let mut world = World::new();
    let index = world.subscribed_in_protobuf("news");
    world.pass(25_000);
    assert_eq!(world.messages(index), [[0]]);
    world.say_binary(index, &[0]);
    world.pass(8_500);
    assert_eq!(world.messages(index), [[0_u8; 0]; 0], "the pong has been seen");
}

#[test]
fn a_message_of_the_other_kind_or_garbage_ends_the_connection() {
    let mut world = World::new();
    for said in [&b"{\"id\":3}"[..], &[], &[5, 8, 1]] {
        let index = world.subscribed_in_protobuf("news");
        world.say_binary(index, said);
        assert_eq!(world.heard(index), ["close 3501"]);
    }
    let index = world.subscribed_in_protobuf("news");
    world.say(index, "{}");
    assert_eq!(world.heard(index), ["close 3501"]);
    let index = world.subscribed("news");
    world.say_binary(index, &[0]);
    assert_eq!(world.heard(index), ["close 3501"]);
}
