//! Frames of the private links: what decodes can be encoded and decodes to the same, and a length never makes anybody wait for more
//! than the bound.

use serde::Serialize;
use wire::{
    ClientId,
    backend::{Act, Event, Outcome, Refusal, Transport},
    frame::{GREETING_BYTES, Greeting, Welcome, decode, encode, split},
    limits::FRAME_BYTES_MAX,
    link::{ClientInfo, Position, Publication, ToRelay, ToShard},
    pattern::Pattern,
    settings::Settings,
    sign::{SignReply, SignRequest},
    survey::{self, Answer, Census, Command, Question, Subscribe},
    tags::TagsBuf,
    token::Kind,
};

/// Encodings are not unique (a number may be written longer than it need be), but meaning is, and the shortest is written.
macro_rules! again {
    ($message:ty, $body:expr) => {
        if let Ok(message) = decode::<$message>($body) {
            let mut written = Vec::new();
            encode(&message, &mut written).expect("invariant: what fitted a frame fits one again");
            let (_, body) = written.split_at(4);
            assert!(body.len() <= $body.len());
            assert_eq!(decode::<$message>(body).as_ref(), Ok(&message));
        }
    };
}

/// The input as frames; each body as every kind of message.
pub(super) fn run(bytes: &[u8]) {
    if let Some(first) = bytes.first_chunk::<GREETING_BYTES>() {
        if let Ok(greeting) = Greeting::decode(first) {
            assert_eq!(Greeting::decode(&greeting.encode()), Ok(greeting));
        }
        let _ = Welcome::decode(first);
    }
    let mut rest = bytes;
    while let Ok(Some((body, next))) = split(rest) {
        assert!(body.len() <= FRAME_BYTES_MAX);
        assert_eq!(body.len() + next.len() + 4, rest.len());
        again!(ToRelay<'_>, body);
        again!(ToShard<'_>, body);
        again!(SignRequest<'_>, body);
        again!(SignReply<'_>, body);
        again!(Settings, body);
        rest = next;
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let client = ClientId::default();
    let info = ClientInfo { client, user: "ann", conn_info: br#"{"name":"A"}"#, chan_info: b"" };
    let position = Some(Position { offset: 300, epoch: "xAbCdEfG" });
    let packed = TagsBuf::pack([("ticker", "A")]).unwrap_or_default();
    let tags = packed.as_tags();
    let publication = Publication { offset: 301, data: b"{}", info: Some(info), tags, delta: true };
    let channel = "chat:42";
    let event =
        |act| Event { client, user: "ann", transport: Transport::Sse, binary: true, meta: b"{}", act };
    let asked = [
        ToRelay::Verify { request: 1, kind: Kind::Subscription, token: "a.b.c" },
        ToRelay::UnknownKey { kind: Kind::Connection },
        ToRelay::Announce { request: 11, channel, offset: 3, epoch: "abcdEFGH", body: b"{}" },
        ToRelay::Arrive { request: Some(9), session: 7, user: "ann" },
        ToRelay::Depart { session: 7 },
        ToRelay::Subscribe { request: 2, channel, recover: position, latest: true },
        ToRelay::Unsubscribe { channel },
        ToRelay::Enter { channel, presence: true, announced: false, info },
        ToRelay::Leave { channel, client },
        ToRelay::Publish {
            request: 3,
            channel,
            data: b"{}",
            info: Some(info),
            tags,
            key: "k",
            skip_history: true,
            delta: true,
        },
        ToRelay::History { request: 4, channel, since: position, limit: -1, reverse: true },
        ToRelay::Presence { request: 5, channel },
        ToRelay::PresenceStats { request: 6, channel },
        ToRelay::Stats(Box::default()),
        ToRelay::Emulate { request: 8, gateway: 1, shard: 2, session: [3; 24], data: b"{}" },
        ToRelay::Emulated { asker: 1, request: 8, found: true },
        ToRelay::Proxy { request: 10, event: event(Act::Refresh) },
        ToRelay::Proxy {
            request: 11,
            event: event(Act::Connect {
                name: "js",
                version: "5",
                data: b"{}",
                channels: vec![channel],
                headers: b"cookie: a=b\r\n",
            }),
        },
        ToRelay::Proxy {
            request: 12,
            event: event(Act::Publish {
                channel,
                data: b"{}",
                conn_info: b"{}",
                chan_info: b"",
                tags,
                key: "k",
            }),
        },
        ToRelay::Remove { request: 10, channel },
        ToRelay::Survey { request: 11, question: Box::new(Question::Channels(Pattern::glob("chat:*").ok())) },
        ToRelay::Surveyed { number: 12, answer: Box::new(counted()) },
    ];
    let epoch = "xAbCdEfG";
    let publications = vec![publication; 2];
    let answered = [
        ToShard::Admitted { request: 9 },
        ToShard::Disconnect { session: 7, code: 3504 },
        ToShard::Subscribed {
            request: 2,
            offset: 301,
            epoch,
            recovered: true,
            publications: publications.clone(),
        },
        ToShard::Published { request: 3, offset: 302, epoch, duplicate: true },
        ToShard::History { request: 4, offset: 302, epoch, publications },
        ToShard::Presence { request: 5, members: vec![info; 2] },
        ToShard::PresenceStats { request: 6, clients: 2, users: 1 },
        ToShard::Failed { request: 7, code: 100 },
        ToShard::Publication { channel, publication },
        ToShard::Join { channel, info },
        ToShard::Leave { channel, info },
        ToShard::Insufficient { channel },
        ToShard::Emulate { asker: 1, request: 8, session: [3; 24], data: b"{}" },
        ToShard::Emulated { request: 8, found: true },
        ToShard::Proxied { request: 10, outcome: Outcome::Granted(Box::default()) },
        ToShard::Proxied { request: 11, outcome: Outcome::Refused(Refusal::default()) },
        ToShard::Proxied {
            request: 12,
            outcome: Outcome::Disconnect { code: 4000, reason: "no".to_owned() },
        },
        ToShard::Done { request: 10 },
        ToShard::Surveyed { request: 11, answer: Box::new(counted()) },
    ];
    let mut seeds = Vec::new();
    seeds.extend(asked.iter().map(framed));
    seeds.extend(answered.iter().map(framed));
    seeds.extend(commands(client).iter().map(framed));
    seeds.extend(others());
    seeds.push(seeds.concat());
    seeds
}

fn others() -> [Vec<u8>; 3] {
    let purpose = wire::frame::Purpose::Shard;
    let greeting = Greeting { version: wire::frame::VERSION, purpose, gateway: 7, shard: 1 };
    let request = SignRequest { key: 1, scheme: 0x0403, message: &[0x20; 64] };
    [framed(&request), framed(&SignReply::Signature(&[0x30; 70])), greeting.encode().to_vec()]
}

fn commands(client: ClientId) -> [ToShard<'static>; 4] {
    let acts = [
        survey::Act::Subscribe(Box::new(Subscribe {
            channel: "chat:42".to_owned(),
            expire_at: 1,
            info: b"{}".to_vec(),
            data: b"{}".to_vec(),
            recover: Some((300, "xAbCdEfG".to_owned())),
            ..Subscribe::default()
        })),
        survey::Act::Unsubscribe {
            channel: "chat:42".to_owned(),
            code: 2000,
            reason: "server unsubscribe".to_owned(),
        },
        survey::Act::Disconnect { code: 3503, reason: "force disconnect".to_owned(), keep: vec![client; 2] },
        survey::Act::Refresh { expire_at: 1, info: Some(b"{}".to_vec()) },
    ];
    acts.map(|act| {
        let command = Command { user: "ann".to_owned(), client: Some(client), session: Some([3; 24]), act };
        ToShard::Survey { number: 12, question: Box::new(Question::Command(command)) }
    })
}

fn counted() -> Answer {
    let mut census = Census { clients: 2, subscriptions: 3, ..Census::default() };
    census.users.insert("ann");
    Answer {
        sessions: 1,
        channels: [("chat:42".to_owned(), 2)].into(),
        census,
        missing: 1,
        ..Answer::default()
    }
}

fn framed<T: Serialize>(message: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode(message, &mut out).expect("invariant: a small message fits a frame");
    out
}
