//! The same shard by other ways than a WebSocket: what a client writes to its sockets, and what must come out of each.

use wire::{
    link::SESSION_BYTES,
    stats::{TRANSPORTS, TransportStats},
};

use super::*;
use crate::{
    http::{Transports, node, session},
    upgrade::Origin,
};

const PING_MS: u64 = 25_000;

fn open_world() -> World {
    let mut world = World::with(Rules {
        origins: vec![Origin::parse("https://app.example.com").unwrap()],
        transports: Transports {
            poll_timeout_ms: 20_000,
            keep_alive_ms: 60_000,
            ..Transports::everywhere(10_000)
        },
        ..Rules::default()
    });
    world.shard.identify(7, 1, &[9; 32]);
    world
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example.com\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn commands(session: &str, node: &str, commands: &str) -> String {
    post("/emulation", &serde_json::json!({ "session": session, "node": node, "data": commands }).to_string())
}

impl World {
    /// All that comes until nothing is owed, as turns flush it.
    fn text(&mut self, index: usize) -> String {
        let mut all = String::from_utf8_lossy(&self.sent(index)).into_owned();
        while let Some(dirty) = self.shard.take_dirty() {
            if dirty == index {
                all += &String::from_utf8_lossy(&self.sent(index));
            }
        }
        all
    }

    /// The status of a whole answer.
    fn answer(&mut self, index: usize, request: &str) -> String {
        self.write(index, request);
        self.status(index)
    }

    fn status(&mut self, index: usize) -> String {
        let text = self.text(index);
        text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or(&text).to_owned()
    }

    /// A session over a stream: its socket, and what its commands name it and its shard by.
    fn stream(&mut self, request: &str) -> (usize, String, String) {
        let index = self.socket();
        self.write(index, request);
        let text = self.text(index);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        (index, member(&text, "session"), member(&text, "node"))
    }
}

fn member(text: &str, name: &str) -> String {
    let (_, rest) = text.split_once(&format!("\"{name}\":\"")).unwrap_or_else(|| panic!("{name} in {text}"));
    rest.split('"').next().unwrap().to_owned()
}

fn connect() -> String {
    post("/connection/http_stream", r#"{"id":1,"connect":{}}"#)
}

#[test]
fn a_stream_is_a_session_whose_commands_come_by_requests_of_their_own() {
    let mut world = open_world();
    let (stream, session, node) = world.stream(&connect());
    let other = world.socket();
    let subscribe = commands(&session, &node, "{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}\n");
    assert_eq!(world.answer(other, &subscribe), "204");
    let request = subscribe_request(&world.asked()[0]).unwrap();
    world.hear(&begun(request, 0, ""));
    assert_eq!(world.text(stream), "18\r\n{\"id\":2,\"subscribe\":{}}\n\r\n");
    world.publish("a", 0);
    assert_eq!(world.text(stream), "2b\r\n{\"push\":{\"channel\":\"a\",\"pub\":{\"data\":{}}}}\n\r\n");
    // The same connection serves further requests.
    let publish = commands(&session, &node, r#"{"id":3,"publish":{"channel":"a","data":{}}}"#);
    assert_eq!(world.answer(other, &publish), "204");
    assert!(world.asked()[0].starts_with("Publish"));
    world.shard.ended(stream);
    assert_eq!(world.answer(other, &publish), "404");
    assert_eq!(world.shard.stats().subscriptions, 0);
}

#[test]
fn an_event_source_is_a_session_too() {
    let mut world = open_world();
    let request = "GET /connection/sse?cf_connect=%7B%22id%22%3A1%2C%22connect%22%3A%7B%7D%7D HTTP/1.1\r\nHost: a\r\n\r\n";
    let (stream, session, node) = world.stream(request);
    let other = world.socket();
    world.answer(other, &commands(&session, &node, r#"{"id":2,"unsubscribe":{"channel":"a"}}"#));
    assert_eq!(world.text(stream), "21\r\ndata: {\"id\":2,\"unsubscribe\":{}}\n\n\r\n");
}

#[test]
fn nobody_guesses_a_session() {
    let mut world = open_world();
    let (_, name, place) = world.stream(&connect());
    let other = world.socket();
    let mut forged = name.clone();
    forged.replace_range(47.., if name.ends_with('0') { "1" } else { "0" });
    for name in [forged, session(&[0; SESSION_BYTES]), String::new(), name[..32].to_owned()] {
        assert_eq!(world.answer(other, &commands(&name, &place, r#"{"id":2,"publish":{}}"#)), "404");
    }
    assert!(world.asked().is_empty());
    // A WebSocket session takes commands from nobody else either.
    let websocket = world.subscribed("a");
    assert_eq!(world.shard.names(websocket), (String::new(), String::new()));
}

#[test]
fn commands_for_another_shard_go_through_the_relay_and_are_answered_in_the_end() {
    let mut world = open_world();
    let other = world.socket();
    let name = session(&[5; SESSION_BYTES]);
    let request = commands(&name, &node(7, 2), "{}");
    world.write(other, &(request.clone() + &request));
    let asked = world.asked();
    assert_eq!(asked.len(), 1, "the second request waits for the first one's answer: {asked:?}");
    assert!(asked[0].starts_with("Emulate {") && asked[0].contains("shard: 2"), "{asked:?}");
    assert!(!world.shard.wants_input(other));
    assert_eq!(world.text(other), "");
    let number = number_after(&asked[0], "request: ").unwrap();
    world.hear(&ToShard::Emulated { request: number, found: true });
    assert_eq!(world.status(other), "204");
    let number = number_after(&world.asked()[0], "request: ").unwrap();
    world.hear(&ToShard::Failed { request: number, code: 111 });
    assert_eq!(world.status(other), "503");
    world.shard.link_down(world.now);
    assert_eq!(world.answer(other, &request), "503");
}

#[test]
fn commands_that_came_to_another_shard_are_taken_and_answered() {
    let mut world = open_world();
    let (stream, name, _) = world.stream(&connect());
    let session = crate::http::session_of(&name).unwrap();
    let data = br#"{"id":2,"unsubscribe":{"channel":"a"}}"#;
    world.hear(&ToShard::Emulate { asker: 3, request: 4, session, data });
    assert!(world.text(stream).contains(r#""id":2,"unsubscribe""#));
    world.hear(&ToShard::Emulate { asker: 3, request: 5, session: [1; SESSION_BYTES], data });
    assert_eq!(
        world.asked(),
        ["Emulated { asker: 3, request: 4, found: true }", "Emulated { asker: 3, request: 5, found: false }"]
    );
}

#[test]
fn a_stream_is_pinged_and_ends_with_a_reason() {
    let mut world = open_world();
    let (stream, _, _) = world.stream(&connect());
    let mut said = String::new();
    for _ in 0..(PING_MS + 9_000) / 100 {
        world.pass(100);
        said += &world.text(stream);
    }
    assert_eq!(said.matches("{}").count(), 1, "{said}");
    assert!(said.starts_with("3\r\n{}\n\r\n"), "{said}");
    assert!(said.ends_with("\"reason\":\"no pong\"}}}\n\r\n0\r\n\r\n"), "{said}");
    assert_eq!(world.shard.connections(), 0);
}

#[test]
fn a_poll_waits_for_news_and_then_asks_again_on_the_same_connection() {
    let mut world = open_world();
    let poll = world.socket();
    for offset in 6..8 {
        world.write(
            poll,
            &post(
                "/connection/poll",
                "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"chat:1\"}}",
            ),
        );
        let asked = world.asked();
        let request = asked.iter().find_map(|text| subscribe_request(text)).unwrap();
        world.hear(&begun(request, 5, "e"));
        let said = world.text(poll);
        assert!(said.contains(r#""id":2,"subscribe""#) && !said.contains("0\r\n\r\n"), "{said}");
        assert!(!said.contains("ping") && !said.contains("session"), "{said}");
        world.hear(&ToShard::Publication {
            channel: "chat:1",
            publication: Publication { offset: 6, data: b"{}", ..Publication::default() },
        });
        let said = world.text(poll);
        assert!(said.contains("\"offset\":6") && said.ends_with("\r\n0\r\n\r\n"), "{offset}: {said}");
        assert_eq!(world.shard.stats().subscriptions, 0);
        world.asked();
    }
}

#[test]
fn a_poll_ends_with_its_answers_or_when_its_time_is_over() {
    let mut world = open_world();
    let poll = world.socket();
    let both = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"publish\":{\"channel\":\"a\",\"data\":{}}}";
    world.write(poll, &post("/connection/poll", both));
    let request = number_after(&world.asked()[0], "request: ").unwrap();
    assert!(!world.text(poll).ends_with("0\r\n\r\n"), "the publication has not been answered");
    world.hear(&ToShard::Published { request, offset: 1, epoch: "", duplicate: false });
    assert!(world.text(poll).ends_with("{\"id\":2,\"publish\":{}}\n\r\n0\r\n\r\n"));
    world.write(poll, &post("/connection/poll", r#"{"id":1,"connect":{}}"#));
    assert!(!world.text(poll).ends_with("0\r\n\r\n"));
    for _ in 0..205 {
        world.pass(100);
    }
    assert_eq!(world.text(poll), "0\r\n\r\n");
    for _ in 0..605 {
        world.pass(100);
    }
    world.text(poll);
    assert_eq!(world.shard.connections(), 0, "a connection is not kept for ever");
}

#[test]
fn sessions_and_their_messages_are_counted_by_transport_and_encoding() {
    let mut world = open_world();
    let counted = |world: &World, name: (&str, &str)| {
        let way = TRANSPORTS.iter().position(|way| *way == name).unwrap();
        world.shard.stats().transports[way]
    };
    let websocket = world.subscribed("a");
    let protobuf = world.subscribed_in_protobuf("a");
    let (stream, ..) = world.stream(&connect());
    let poll = world.socket();
    world.write(poll, &post("/connection/poll", r#"{"id":1,"connect":{}}"#));
    world.publish("a", 0);
    for (name, commands, deliveries) in [
        (("websocket", "json"), 2, 1),
        (("websocket", "protobuf"), 2, 1),
        (("http_stream", "json"), 1, 0),
        (("poll", "json"), 1, 0),
    ] {
        let expected = TransportStats { sessions: 1, opened: 1, commands, deliveries };
        assert_eq!(counted(&world, name), expected, "{name:?}");
    }
    assert_eq!(world.shard.delivered(), 2);
    // A poll that ends with its news, a session that is closed and then gone, sockets that fail.
    for _ in 0..205 {
        world.pass(100);
    }
    world.text(poll);
    assert_eq!(counted(&world, ("poll", "json")).sessions, 0);
    world.shard.close(world.now, websocket, wire::code::SHUTDOWN);
    assert_eq!(counted(&world, ("websocket", "json")).sessions, 0);
    world.shard.broken(protobuf);
    world.shard.broken(stream);
    let all = world.shard.stats();
    assert_eq!(all.transports.map(|way| way.sessions), [0; TRANSPORTS.len()]);
    assert_eq!((all.established, counted(&world, ("poll", "json")).opened), (0, 1));
}

#[test]
fn a_poll_is_not_told_who_comes_and_goes() {
    let mut world = open_world();
    let mut policy = policy();
    policy.settings.namespaces[0].join_leave = true;
    policy.settings.namespaces[0].force_push_join_leave = true;
    world.shard.apply(Arc::new(policy));
    let poll = world.socket();
    let both = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"chat:1\"}}";
    world.write(poll, &post("/connection/poll", both));
    let request = world.asked().iter().find_map(|text| subscribe_request(text)).unwrap();
    world.hear(&begun(request, 5, "e"));
    let socket = world.subscribed("chat:1");
    world.text(poll);
    let client = wire::ClientId::default();
    let info = wire::link::ClientInfo { client, user: "", conn_info: b"", chan_info: b"" };
    world.hear(&ToShard::Join { channel: "chat:1", info });
    assert!(world.heard(socket)[0].contains("join"));
    assert_eq!(world.text(poll), "", "two polls would end each other for ever");
}

#[test]
fn a_poll_s_commands_wait_for_each_other() {
    let mut world = open_world();
    let poll = world.socket();
    let commands = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}\n{\"id\":3,\"publish\":{\"channel\":\"a\",\"data\":1}}\n{\"id\":4,\"unsubscribe\":{\"channel\":\"a\"}}";
    world.write(poll, &post("/connection/poll", commands));
    let asked = world.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let request = subscribe_request(&asked[0]).unwrap();
    world.hear(&begun(request, 0, ""));
    assert!(!world.text(poll).contains("\"id\":3"));
    let asked = world.asked();
    assert!(asked.len() == 1 && asked[0].starts_with("Publish"), "{asked:?}");
    let request = number_after(&asked[0], "request: ").unwrap();
    world.hear(&ToShard::Published { request, offset: 0, epoch: "", duplicate: false });
    let said = world.text(poll);
    let end = "{\"id\":3,\"publish\":{}}\n\r\n1f\r\n{\"id\":4,\"unsubscribe\":{}}\n\r\n0\r\n\r\n";
    assert!(said.ends_with(&end.replace("1f", "1a")), "{said}");
}

#[test]
fn a_request_that_comes_slowly_has_its_time_and_is_looked_at_when_it_is_whole() {
    let mut world = open_world();
    let other = world.socket();
    let request = commands("x", "y", "{}");
    assert_eq!(world.answer(other, &request), "404");
    for byte in request[..request.len() - 1].chars() {
        world.write(other, &byte.to_string());
        world.pass(1);
    }
    assert_eq!(world.text(other), "");
    for _ in 0..105 {
        world.pass(100);
    }
    assert_eq!(world.status(other), "408");
    assert_eq!(world.shard.connections(), 0);
}

#[test]
fn bytes_behind_a_session_s_request_end_it() {
    let mut world = open_world();
    let index = world.socket();
    world.write(index, &(connect() + "GET"));
    assert!(world.text(index).contains("\"code\":3501"));
    let index = world.socket();
    assert_eq!(world.answer(index, &post("/connection/nothing", "")), "405");
    assert_eq!(world.shard.connections(), 0);
}

#[test]
fn a_listener_says_who_it_is_and_then_only_hears() {
    let mut world = open_world();
    let said = world.socket();
    world.write(said, &upgrade("/connection/uni_websocket", ""));
    assert!(world.text(said).starts_with("HTTP/1.1 101"));
    world.say(said, "{\n\"name\": \"x\"\n}");
    let queried = world.socket();
    world.write(queried, &upgrade("/connection/uni_websocket?cf_connect=%7B%7D", ""));
    for index in [said, queried] {
        let text = world.text(index);
        assert!(text.contains("{\"connect\":{\"client\":\"") && !text.contains("pong"), "{text}");
    }
    world.say(said, "whatever comes later");
    assert!(world.heard(said).is_empty());
    world.shard.close(world.now, said, wire::code::SHUTDOWN);
    assert_eq!(world.heard(said), [r#"{"disconnect":{"code":3001,"reason":"shutdown"}}"#, "close 3001"]);
    let wrong = world.socket();
    world.write(wrong, &upgrade("/connection/uni_websocket", ""));
    world.text(wrong);
    world.say(wrong, "[]");
    assert!(world.heard(wrong).contains(&"close 3501".to_owned()));
}
