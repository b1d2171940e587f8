//! A whole shard that serves every way in, on plain sockets: whatever strangers write to them, in whatever pieces, nobody else's
//! session hears of it, responses begin as responses do, and nothing is left when they have gone.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use protocol::{
    admission::Caps,
    client::token::Keys,
    http::Transports,
    shard::{Echo, Options, Policy, Shard},
    time::Now,
    upgrade::{JSON, Origin, PROTOBUF, Rules},
};
use wire::{
    frame,
    link::{Publication, ToRelay, ToShard},
    settings::{ClientOptions, Namespace, Settings},
};

use super::Script;

const SOCKETS: usize = 4;
const BODY_BYTES_MAX: usize = 2_000;

struct World {
    shard: Shard,
    now: Now,
    tokens: [Option<u64>; SOCKETS],
    said: BTreeMap<u64, Vec<u8>>,
    accepted: i32,
}

/// Steps: a byte that chooses a socket and what happens, then what is written.
pub(super) fn run(bytes: &[u8]) {
    let mut world = World::new();
    let mut script = Script(bytes);
    while let Some(step) = script.byte() {
        let socket = usize::from(step) % SOCKETS;
        match step / SOCKETS as u8 {
            0..=39 => world.write(socket, script.stretch()),
            40..=47 => world.leave(socket),
            48..=51 => world.pass(u64::from(script.byte().unwrap_or(0)) * 100),
            52..=55 => world.publish(),
            _ => world.answer(script.byte().unwrap_or(0)),
        }
        world.flush();
    }
    (0..SOCKETS).for_each(|socket| world.leave(socket));
    world.flush();
    let stats = world.shard.stats();
    assert_eq!(world.shard.connections(), 0, "everybody has gone");
    assert_eq!((stats.subscriptions, stats.backlog_bytes, stats.fanout_bytes), (0, 0, 0));
}

impl World {
    fn new() -> Self {
        let rules = Rules {
            origins: Origin::parse("https://app.example.com").into_iter().collect(),
            encodings: vec![JSON, PROTOBUF],
            transports: Transports {
                poll_timeout_ms: 5_000,
                keep_alive_ms: 5_000,
                ..Transports::everywhere(BODY_BYTES_MAX)
            },
            ..Rules::default()
        };
        let options = Options {
            caps: Caps { total: 100, per_source: 0, handshaking: 0, ..Caps::default() },
            handshake_timeout_ms: 1_000,
            upgrade_timeout_ms: 1_000,
            message_bytes_max: BODY_BYTES_MAX,
            rules,
            tls: vec![false],
            echo: Echo::default(),
        };
        let settings = Settings {
            client: ClientOptions { allow_anonymous_connect_without_token: true, ..ClientOptions::default() },
            default_namespace: Namespace {
                allow_subscribe_for_client: true,
                allow_subscribe_for_anonymous: true,
                allow_publish_for_client: true,
                allow_publish_for_anonymous: true,
                ..Namespace::default()
            },
            ..Settings::default()
        };
        let policy = Policy { settings, keys: Keys::default(), subscription_keys: None, tls: None };
        let mut shard = Shard::new(options, Arc::new(policy), [7; 16]);
        shard.identify(7, 1, &[9; 32]);
        shard.link_up();
        let now = Now { at: Duration::ZERO, unix: 1_000_000 };
        Self { shard, now, tokens: [None; SOCKETS], said: BTreeMap::new(), accepted: 0 }
    }

    fn write(&mut self, socket: usize, bytes: &[u8]) {
        let known = self.tokens[socket].filter(|token| self.shard.find(*token).is_some());
        let token = known.unwrap_or_else(|| {
            self.accepted += 1;
            let peer = SocketAddr::from(([192, 0, 2, 1], 1000));
            self.shard.accept(self.now, self.accepted, peer, 0).expect("invariant: few sockets are open")
        });
        self.tokens[socket] = Some(token);
        if let Some(index) = self.shard.find(token) {
            self.shard.receive(self.now, index, &mut bytes.to_vec());
        }
    }

    fn leave(&mut self, socket: usize) {
        if let Some(index) = self.tokens[socket].take().and_then(|token| self.shard.find(token)) {
            self.shard.ended(index);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now.at += Duration::from_millis(ms);
        self.now.unix = 1_000_000 + self.now.at.as_secs();
        self.shard.expire(self.now);
    }

    fn publish(&mut self) {
        let publication = Publication { data: b"{\"a\":\r1}", ..Publication::default() };
        self.shard.hear(self.now, &ToShard::Publication { channel: "a", publication });
    }

    /// What the relay has been asked is answered, well or not.
    fn answer(&mut self, how: u8) {
        let asked = std::mem::take(self.shard.link_out());
        let mut rest = &asked[..];
        while let Ok(Some((body, after))) = frame::split(rest) {
            let message: ToRelay<'_> = frame::decode(body).expect("invariant: a shard says what decodes");
            let answer = match message {
                ToRelay::Subscribe { request, .. } if how & 1 == 0 => {
                    let publications = Vec::new();
                    ToShard::Subscribed { request, offset: 0, epoch: "", recovered: false, publications }
                }
                ToRelay::Emulate { request, .. } if how & 1 == 0 => {
                    ToShard::Emulated { request, found: how & 2 == 0 }
                }
                ToRelay::Subscribe { request, .. }
                | ToRelay::Emulate { request, .. }
                | ToRelay::Publish { request, .. }
                | ToRelay::History { request, .. }
                | ToRelay::Verify { request, .. }
                | ToRelay::Proxy { request, .. } => {
                    ToShard::Failed { request, code: 100 + u16::from(how % 13) }
                }
                _ => {
                    rest = after;
                    continue;
                }
            };
            self.shard.hear(self.now, &answer);
            rest = after;
        }
    }

    fn flush(&mut self) {
        while self.shard.fan_out(self.now) {}
        let mut out = Vec::new();
        while let Some(index) = self.shard.take_dirty() {
            let token = self.shard.token_at(index);
            while self.shard.transmit(index, &mut out) {
                let said = self.said.entry(token.unwrap_or_default()).or_default();
                said.extend_from_slice(&out[..out.len().min(16)]);
                assert!(said.starts_with(b"HTTP/1.1 "), "a response begins as one");
                if !self.shard.sent(self.now, index, &out, out.len()) {
                    break;
                }
            }
            self.shard.flushed(self.now, index);
        }
        while self.shard.take_resumed().is_some() {}
        while self.shard.take_closed().is_some() {}
    }
}

/// Whole requests, one to a stretch where they fit, each on its socket.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let post = |path: &str, body: &str| {
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let connect = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}";
    let upgrade = "GET /connection/uni_websocket?cf_connect={} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let name = "00".repeat(24);
    let emulated =
        |node: &str| format!("{{\"session\":\"{name}\",\"node\":\"{node}\",\"data\":\"{{\\\"id\\\":2}}\"}}");
    let requests = [
        post("/connection/http_stream", connect),
        post("/connection/poll", connect),
        "GET /connection/sse?cf_connect=%7B%22id%22:1,%22connect%22:%7B%7D%7D HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        upgrade.to_owned(),
        post("/emulation", &emulated("00000000000000070001")),
        post("/emulation", &emulated("00000000000000070002")),
        "OPTIONS /emulation HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example.com\r\nAccess-Control-Request-Headers: content-type\r\n\r\n".to_owned(),
    ];
    let write = |out: &mut Vec<u8>, request: &str| {
        for part in request.as_bytes().chunks(255) {
            out.extend_from_slice(&[0, part.len() as u8]);
            out.extend_from_slice(part);
        }
    };
    let (answer, publish, pass) = ([224, 0], [208], [192, 255]);
    let mut seeds = Vec::new();
    for request in &requests {
        let mut out = Vec::new();
        write(&mut out, request);
        out.extend_from_slice(&[answer.as_slice(), &publish, &pass, &answer].concat());
        write(&mut out, &requests[1]);
        out.extend_from_slice(&[answer.as_slice(), &publish].concat());
        seeds.push(out);
    }
    seeds
}
