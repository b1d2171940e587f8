//! One shard on a plain listener: the test plays the client's socket and the relay. Method: what goes in, what must come out.

use std::time::Duration;

use wire::{
    frame,
    link::{Publication, ToRelay, ToShard},
    settings::{ClientOptions, Namespace},
};

mod transports;

use super::*;
use crate::ws::{Item, Opcode, Role, masked_frame};

mod appearance;
mod backend;
mod compression;
mod echo;
mod encodings;
mod identity;
mod node;
mod special;
mod survey;

struct World {
    shard: Shard,
    now: Now,
    handle: i32,
}

fn policy() -> Policy {
    let open = Namespace {
        allow_subscribe_for_client: true,
        allow_subscribe_for_anonymous: true,
        allow_publish_for_client: true,
        allow_publish_for_anonymous: true,
        ..Namespace::default()
    };
    let chat = Namespace {
        name: "chat".to_owned(),
        history_size: 10,
        history_ttl_ms: 60_000,
        force_recovery: true,
        presence: true,
        ..open.clone()
    };
    Policy {
        settings: Settings {
            version: "test".to_owned(),
            client: ClientOptions { allow_anonymous_connect_without_token: true, ..ClientOptions::default() },
            default_namespace: open,
            namespaces: vec![chat],
            tokens: Tokens { hmac: true, ..Tokens::default() },
            ..Settings::default()
        },
        keys: Keys::default(),
        subscription_keys: None,
        tls: None,
    }
}

impl World {
    fn new() -> Self {
        Self::with(Rules::default())
    }

    fn with(rules: Rules) -> Self {
        let options = Options {
            caps: Caps { total: 100, per_source: 0, handshaking: 0, ..Caps::default() },
            handshake_timeout_ms: 10_000,
            upgrade_timeout_ms: 10_000,
            message_bytes_max: 65_536,
            rules,
            tls: vec![false],
            echo: Echo::default(),
        };
        let mut shard = Shard::new(options, Arc::new(policy()), [7; 16]);
        shard.link_up();
        Self { shard, now: Now { at: Duration::ZERO, unix: 1_000_000 }, handle: 10 }
    }

    /// A connection that has done its upgrade.
    fn open(&mut self) -> usize {
        self.open_at("/connection/websocket")
    }

    fn open_at(&mut self, target: &str) -> usize {
        let index = self.socket();
        self.write(index, &upgrade(target, ""));
        assert!(self.sent(index).starts_with(b"HTTP/1.1 101"));
        index
    }

    /// A connection that has said nothing.
    fn socket(&mut self) -> usize {
        self.handle += 1;
        let peer = "192.0.2.1:1000".parse().unwrap();
        let token = self.shard.accept(self.now, self.handle, peer, 0).unwrap();
        self.shard.find(token).unwrap()
    }

    fn write(&mut self, index: usize, text: &str) {
        self.shard.receive(self.now, index, &mut text.as_bytes().to_vec());
    }

    /// A ready session, subscribed to `channel` at offset 5 of epoch "e" if the namespace has history.
    fn subscribed(&mut self, channel: &str) -> usize {
        let index = self.open();
        self.say(index, r#"{"id":1,"connect":{}}"#);
        self.say(index, &format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#));
        let asked = self.asked();
        if let Some(request) = asked.iter().find_map(|text| subscribe_request(text)) {
            self.hear(&begun(request, 5, "e"));
        }
        let said = self.heard(index).join("|");
        assert!(said.contains(r#""id":2,"subscribe""#), "{said}");
        self.asked();
        index
    }

    fn say(&mut self, index: usize, text: &str) {
        let mut bytes = Vec::new();
        masked_frame(Opcode::Text, text.as_bytes(), [1, 2, 3, 4], &mut bytes);
        self.shard.receive(self.now, index, &mut bytes);
    }

    fn hear(&mut self, message: &ToShard<'_>) {
        self.shard.hear(self.now, message);
        while self.shard.fan_out(self.now) {}
    }

    fn publish(&mut self, channel: &str, offset: u64) {
        let publication = Publication { offset, data: b"{}", ..Publication::default() };
        self.hear(&ToShard::Publication { channel, publication });
    }

    fn pass(&mut self, ms: u64) {
        self.now.at += Duration::from_millis(ms);
        self.now.unix = 1_000_000 + self.now.at.as_secs();
        self.shard.expire(self.now);
    }

    /// Bytes for the socket, all taken.
    fn sent(&mut self, index: usize) -> Vec<u8> {
        let mut all = Vec::new();
        let mut out = Vec::new();
        while self.shard.transmit(index, &mut out) {
            self.shard.sent(self.now, index, &out, out.len());
            all.extend_from_slice(&out);
        }
        self.shard.flushed(self.now, index);
        all
    }

    /// Frames for the client: lines of text messages, and `close CODE`.
    fn heard(&mut self, index: usize) -> Vec<String> {
        let mut lines = Vec::new();
        self.items(index, |item| match item {
            Item::Text(text) => lines.extend(text.lines().map(str::to_owned)),
            Item::Close { code, .. } => lines.push(format!("close {}", code.unwrap_or(0))),
            other => lines.push(format!("{other:?}")),
        });
        lines
    }

    /// What a client reads until there is no more.
    fn items(&mut self, index: usize, mut take: impl FnMut(Item<'_>)) {
        let mut bytes = self.sent(index);
        let mut reader = Reader::new();
        let mut rest = &mut bytes[..];
        loop {
            let (used, item) = reader.next(Role::Client, rest, &Limits::default()).unwrap();
            if matches!(item, Item::Incomplete { .. }) {
                return;
            }
            take(item);
            rest = &mut rest[used..];
        }
    }

    /// Messages for the relay, as text.
    fn asked(&mut self) -> Vec<String> {
        let bytes = std::mem::take(self.shard.link_out());
        let mut rest = &bytes[..];
        let mut all = Vec::new();
        while let Some((body, after)) = frame::split(rest).unwrap() {
            all.push(format!("{:?}", frame::decode::<ToRelay<'_>>(body).unwrap()));
            rest = after;
        }
        all
    }
}

/// An upgrade request, with further lines.
fn upgrade(target: &str, lines: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
}

/// The relay's answer to a subscribe that recovers nothing.
const fn begun(request: u32, offset: u64, epoch: &str) -> ToShard<'_> {
    ToShard::Subscribed { request, offset, epoch, recovered: false, publications: Vec::new() }
}

fn number_after(text: &str, name: &str) -> Option<u32> {
    let (_, rest) = text.split_once(name)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn subscribe_request(text: &str) -> Option<u32> {
    text.starts_with("Subscribe {").then(|| number_after(text, "request: ")).flatten()
}

#[test]
fn a_publication_reaches_its_subscribers_once() {
    let mut world = World::new();
    let (a, b) = (world.subscribed("chat:1"), world.subscribed("chat:1"));
    world.publish("chat:1", 6);
    world.publish("chat:1", 6);
    for index in [a, b] {
        assert_eq!(world.heard(index), [r#"{"push":{"channel":"chat:1","pub":{"data":{},"offset":6}}}"#]);
    }
}

#[test]
fn a_missing_offset_ends_the_subscription_and_the_next_one_asks_anew() {
    let mut world = World::new();
    let index = world.subscribed("chat:1");
    world.publish("chat:1", 8);
    assert!(world.heard(index)[0].contains(r#""unsubscribe":{"code":2500"#));
    assert!(world.asked().iter().any(|text| text.starts_with("Unsubscribe")));
    world.say(index, r#"{"id":9,"subscribe":{"channel":"chat:1","recover":true,"epoch":"e","offset":5}}"#);
    let asked = world.asked();
    assert!(asked[0].contains("recover: Some(Position { offset: 5"), "{asked:?}");
}

#[test]
fn commands_behind_a_connect_wait_for_the_relay() {
    let mut world = World::new();
    let index = world.open();
    // {"alg":"HS256"}.{}.
    world.say(
        index,
        "{\"id\":1,\"connect\":{\"token\":\"eyJhbGciOiJIUzI1NiJ9.e30.c2ln\"}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}",
    );
    world.say(index, r#"{"id":3,"subscribe":{"channel":"b"}}"#);
    let asked = world.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(!world.shard.wants_input(index));
    let request = number_after(&asked[0], "request: ").unwrap();
    let claims = wire::token::Claims { user: "u".to_owned(), ..wire::token::Claims::default() };
    world.hear(&ToShard::Verified { request, claims });
    assert!(world.heard(index)[0].contains(r#""id":1,"connect""#));
    let asked = world.asked();
    assert!(asked[0].contains("channel: \"a\"") && asked[1].contains("channel: \"b\""), "{asked:?}");
    assert!(world.shard.wants_input(index));
}

#[test]
fn a_refused_connect_drops_what_was_sent_behind_it() {
    let mut world = World::new();
    let index = world.open();
    world.say(
        index,
        "{\"id\":1,\"connect\":{\"token\":\"eyJhbGciOiJIUzI1NiJ9.e30.c2ln\"}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}",
    );
    let request = number_after(&world.asked()[0], "request: ").unwrap();
    world.hear(&ToShard::Failed { request, code: 109 });
    assert_eq!(world.heard(index), [r#"{"id":1,"error":{"code":109,"message":"token expired"}}"#]);
    world.say(index, r#"{"id":3,"subscribe":{"channel":"b"}}"#);
    assert_eq!(world.heard(index), ["close 3501"]);
}

#[test]
fn a_lost_link_is_restored_without_a_gap() {
    let mut world = World::new();
    let index = world.subscribed("chat:1");
    world.say(index, r#"{"id":7,"publish":{"channel":"chat:1","data":{}}}"#);
    world.asked();
    world.shard.link_down(world.now);
    let said = world.heard(index).join("");
    assert!(said.contains(r#""id":7,"error":{"code":100"#) && said.contains(r#""temporary":true"#), "{said}");
    world.shard.link_up();
    while world.shard.restore(world.now) {}
    let asked = world.asked();
    assert!(asked[0].contains("recover: Some(Position { offset: 5, epoch: \"e\" }"), "{asked:?}");
    assert!(asked[1].starts_with("Enter"), "{asked:?}");
    let request = subscribe_request(&asked[0]).unwrap();
    let missed = Publication { offset: 6, data: b"{}", ..Publication::default() };
    world.hear(&ToShard::Subscribed {
        request,
        offset: 6,
        epoch: "e",
        recovered: true,
        publications: vec![missed],
    });
    world.publish("chat:1", 7);
    let said = world.heard(index);
    assert!(said[0].contains(r#""offset":6"#) && said[1].contains(r#""offset":7"#), "{said:?}");
}

#[test]
fn a_relay_that_forgot_the_channel_is_told_on() {
    let mut world = World::new();
    let index = world.subscribed("chat:1");
    world.shard.link_down(world.now);
    world.shard.link_up();
    while world.shard.restore(world.now) {}
    let request = subscribe_request(&world.asked()[0]).unwrap();
    world.hear(&begun(request, 0, "f"));
    assert!(world.heard(index)[0].contains(r#""unsubscribe":{"code":2500"#));
}

#[test]
fn pings_go_out_even_when_turns_are_short() {
    let mut world = World::new();
    let index = world.subscribed("a");
    let mut pings = 0;
    for _ in 0..26_000 {
        world.pass(1);
        pings += world.heard(index).iter().filter(|line| *line == "{}").count();
        if pings == 1 {
            break;
        }
    }
    assert_eq!(pings, 1);
    world.say(index, "{}");
    assert!(world.heard(index).is_empty());
    world.say(index, "{}");
    assert_eq!(world.heard(index), ["close 3501"], "a pong nobody asked for");
}

#[test]
fn a_client_without_a_pong_is_closed() {
    let mut world = World::new();
    let index = world.subscribed("a");
    let mut said = Vec::new();
    for _ in 0..400 {
        world.pass(100);
        said.extend(world.heard(index));
    }
    assert_eq!(said, ["{}", "close 3012"]);
}

#[test]
fn a_connection_that_says_nothing_is_stale_and_then_gone() {
    let mut world = World::new();
    let index = world.open();
    for _ in 0..11 {
        world.pass(1_000);
    }
    assert_eq!(world.heard(index), ["close 3502"]);
    for _ in 0..5 {
        world.pass(1_000);
    }
    assert_eq!(world.shard.take_closed(), Some(Closed { handle: world.handle, reset: true }));
    assert_eq!(world.shard.connections(), 0);
}

#[test]
fn a_reader_that_stops_is_told_that_it_is_slow_and_others_are_not_held_up() {
    let mut world = World::new();
    let (slow, quick) = (world.subscribed("a"), world.subscribed("a"));
    let data = vec![b'1'; 60_000];
    let mut out = Vec::new();
    for _ in 0..30 {
        world.hear(&ToShard::Publication {
            channel: "a",
            publication: Publication { offset: 0, data: &data, ..Publication::default() },
        });
        if world.shard.transmit(slow, &mut out) {
            world.shard.sent(world.now, slow, &out, 10);
        }
        world.shard.flushed(world.now, slow);
        assert_eq!(world.heard(quick).len(), 1);
    }
    let stats = world.shard.stats();
    assert_eq!(stats.closes, [(3008, 1)]);
    assert!(stats.backlog_bytes < 100_000, "{}", stats.backlog_bytes);
}

#[test]
fn nothing_is_left_when_everybody_has_gone() {
    let mut world = World::new();
    for channel in ["a", "chat:1", "chat:1"] {
        let index = world.subscribed(channel);
        world.publish(channel, 0);
        world.shard.ended(index);
    }
    let stats = world.shard.stats();
    assert_eq!((stats.subscriptions, stats.channels, stats.backlog_bytes, stats.fanout_bytes), (0, 0, 0, 0));
    let asked = world.asked();
    assert!(asked.last().is_some_and(|text| text.starts_with("Unsubscribe")), "{asked:?}");
}

#[test]
fn answers_for_those_who_left_release_the_channel() {
    let mut world = World::new();
    let index = world.open();
    world.say(index, "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}");
    let request = subscribe_request(&world.asked()[0]).unwrap();
    world.shard.ended(index);
    world.hear(&begun(request, 0, ""));
    assert_eq!(world.shard.stats().channels, 0);
    assert!(world.asked()[0].starts_with("Unsubscribe"));
}
