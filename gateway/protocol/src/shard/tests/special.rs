//! Subscribers of one channel that get what happens in different forms.
//! Goal: each can make every publication that it wants of what it is sent, whoever else is there. Method: random subscribers come,
//! recover and go between publications, and decode as clients do; a model knows what was published.

use proptest::prelude::*;
use wire::tags::TagsBuf;

use super::*;
use crate::{
    client::{
        command::{Command, Connect, Request, Subscribe},
        encoding::Encoding,
        received::{Answer, Event, Message, Received},
    },
    delta::apply,
};

const FILTER: &str = r#"{"key":"n","cmp":"gte","val":"2"}"#;
/// The same in Protobuf: key, cmp, val.
const FILTER_PROTOBUF: &[u8] = b"\x12\x01n\x1a\x03gte\x22\x012";

#[derive(Clone, Copy, Debug)]
struct Kind {
    encoding: Encoding,
    delta: bool,
    numbered: bool,
    filtered: bool,
    /// Publications before the present one that it missed.
    back: Option<usize>,
}

fn kind() -> impl Strategy<Value = Kind> {
    let encoding = prop_oneof![Just(Encoding::Json), Just(Encoding::Protobuf)];
    (encoding, 0..3u8, any::<bool>(), prop::option::of(0..4usize)).prop_map(
        |(encoding, special, numbered, back)| Kind {
            encoding,
            delta: special == 1,
            numbered,
            filtered: special == 2,
            back,
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    Join(Kind),
    Leave(prop::sample::Index),
    Publish(u8, u8, bool),
    Run,
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => kind().prop_map(Step::Join),
        2 => any::<prop::sample::Index>().prop_map(Step::Leave),
        8 => (any::<u8>(), 0..4u8, prop::bool::weighted(0.8)).prop_map(|(c, n, d)| Step::Publish(c, n, d)),
        4 => Just(Step::Run),
        1 => Just(Step::Lose),
    ]
}

struct Client {
    index: usize,
    kind: Kind,
    number: u32,
    base: Option<Vec<u8>>,
    /// Offsets it has, and must have got.
    got: Vec<u64>,
    wanted: Vec<u64>,
}

struct Channel {
    world: World,
    log: Vec<(Vec<u8>, String, bool)>,
    clients: Vec<Client>,
}

fn namespace() -> Namespace {
    Namespace {
        name: "match".to_owned(),
        history_size: 100,
        history_ttl_ms: 60_000,
        force_recovery: true,
        allow_delta_fossil: true,
        allow_tags_filter: true,
        allow_channel_compaction: true,
        allow_subscribe_for_client: true,
        allow_subscribe_for_anonymous: true,
        ..Namespace::default()
    }
}

fn world() -> World {
    let mut world = World::new();
    let mut policy = policy();
    policy.settings.namespaces.push(namespace());
    world.shard.apply(Arc::new(policy));
    world
}

impl Channel {
    fn new() -> Self {
        Self { world: world(), log: Vec::new(), clients: Vec::new() }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Join(kind) if self.clients.len() < 12 => self.join(*kind),
            Step::Join(_) => {}
            Step::Leave(which) if !self.clients.is_empty() => {
                self.read();
                let gone = self.clients.swap_remove(which.index(self.clients.len()));
                self.world.say_as(
                    &gone.kind,
                    gone.index,
                    7,
                    Request::Unsubscribe { channel: "match:1".into() },
                );
                self.world.shard.broken(gone.index);
                self.world.asked();
            }
            Step::Leave(_) => {}
            Step::Publish(change, tag, delta) => self.publish(*change, *tag, *delta),
            Step::Run => self.read(),
            Step::Lose => {
                self.read();
                self.world.hear(&ToShard::Insufficient { channel: "match:1" });
                for client in self.clients.drain(..) {
                    self.world.shard.broken(client.index);
                }
                self.world.asked();
            }
        }
    }

    fn publish(&mut self, change: u8, tag: u8, delta: bool) {
        // Now and then bytes that are no JSON, which JSON clients get as another text.
        let data = match change {
            0..=9 => vec![0xff, change, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
            _ => format!(
                r#"{{"home":{},"text":"größe ☕ and more of the same","away":{}}}"#,
                change / 16,
                change % 16
            )
            .into_bytes(),
        };
        self.log.push((data, tag.to_string(), delta));
        let offset = self.log.len() as u64;
        let tags = TagsBuf::pack([("n", self.log[offset as usize - 1].1.as_str())]).unwrap();
        let data = &self.log[offset as usize - 1].0;
        let publication = Publication { offset, data, tags: tags.as_tags(), delta, ..Publication::default() };
        self.world.shard.hear(self.world.now, &ToShard::Publication { channel: "match:1", publication });
        for client in &mut self.clients {
            if !client.kind.filtered || tag >= 2 {
                client.wanted.push(offset);
            }
        }
    }

    fn join(&mut self, kind: Kind) {
        let top = self.log.len() as u64;
        let from = kind.back.map_or(top, |back| top.saturating_sub(back as u64));
        let path = match kind.encoding {
            Encoding::Json => "/connection/websocket",
            Encoding::Protobuf => "/connection/websocket?cf_protocol=protobuf",
        };
        let index = self.world.open_at(path);
        self.world.say_as(&kind, index, 1, Request::Connect(Connect::default()));
        let filter = if kind.encoding == Encoding::Json { FILTER.as_bytes() } else { FILTER_PROTOBUF };
        let subscribe = Subscribe {
            channel: "match:1".into(),
            recover: kind.back.is_some(),
            offset: from,
            epoch: "e".into(),
            delta: if kind.delta { "fossil" } else { "" }.into(),
            filter: if kind.filtered { filter } else { &[] },
            flag: i64::from(kind.numbered),
            ..Subscribe::default()
        };
        self.world.say_as(&kind, index, 2, Request::Subscribe(subscribe));
        let tags: Vec<TagsBuf> =
            self.log.iter().map(|(_, tag, _)| TagsBuf::pack([("n", tag.as_str())]).unwrap()).collect();
        if let Some(request) = self.world.asked().iter().find_map(|text| subscribe_request(text)) {
            let missed = (from..top).map(|at| Publication {
                offset: at + 1,
                data: &self.log[at as usize].0,
                tags: tags[at as usize].as_tags(),
                ..Publication::default()
            });
            let publications = if kind.back.is_some() { missed.collect() } else { Vec::new() };
            let recovered = kind.back.is_some();
            let answer = ToShard::Subscribed { request, offset: top, epoch: "e", recovered, publications };
            self.world.shard.hear(self.world.now, &answer);
        }
        let passes = |offset: &u64| !kind.filtered || self.log[*offset as usize - 1].1.as_str() >= "2";
        let wanted = if kind.back.is_some() { (from + 1..=top).filter(passes).collect() } else { Vec::new() };
        self.clients.push(Client { index, kind, number: 0, base: None, got: Vec::new(), wanted });
    }

    /// Lets everything arrive and compares.
    fn read(&mut self) {
        while self.world.shard.fan_out(self.world.now) {}
        for client in &mut self.clients {
            for message in self.world.messages_to(client.index) {
                for received in client.kind.encoding.received(&message) {
                    client.hear(received.unwrap(), &self.log);
                }
            }
            assert_eq!(client.got, client.wanted, "{:?}", client.kind);
        }
    }
}

impl Client {
    fn hear(&mut self, received: Received<'_>, log: &[(Vec<u8>, String, bool)]) {
        match received {
            Received::Reply { answer: Answer::Connect(_), .. } => {}
            Received::Reply { answer: Answer::Subscribe(subscription), .. } => {
                assert_eq!(
                    (subscription.delta, subscription.number > 0),
                    (self.kind.delta, self.kind.numbered)
                );
                self.number = subscription.number;
                subscription.publications.iter().for_each(|message| self.publication(message, log));
            }
            Received::Push { channel, number, event: Event::Publication(message) } => {
                assert_eq!(number, self.number);
                assert_eq!(&*channel, if self.kind.numbered { "" } else { "match:1" });
                self.publication(&message, log);
            }
            other => panic!("{other:?}"),
        }
    }

    /// As the SDKs do.
    fn publication(&mut self, message: &Message<'_>, log: &[(Vec<u8>, String, bool)]) {
        let (expected, tag, _) = &log[message.offset as usize - 1];
        assert_eq!(message.tags, [("n".into(), tag.into())]);
        self.got.push(message.offset);
        let text = |data: &[u8]| serde_json::from_slice::<String>(data).unwrap().into_bytes();
        let json = self.kind.encoding == Encoding::Json;
        let data = if json && self.kind.delta { text(message.data) } else { message.data.to_vec() };
        let data = match &self.base {
            _ if !message.delta => data,
            Some(base) => apply(base, &data).expect("a difference to what it has"),
            None => panic!("a difference to nothing"),
        };
        if json && !Encoding::Json.carries(expected) {
            assert!(data.starts_with(b"\""), "a text in place of bytes");
        } else {
            assert_eq!(&data, expected);
        }
        if self.kind.delta {
            self.base = Some(data);
        } else {
            assert!(!message.delta, "nobody else gets differences");
        }
    }
}

impl World {
    fn say_as(&mut self, kind: &Kind, index: usize, id: u32, request: Request<'_>) {
        let mut message = Vec::new();
        kind.encoding.command(&Command { id, request }, &mut message);
        match kind.encoding {
            Encoding::Json => self.say(index, std::str::from_utf8(&message).unwrap()),
            Encoding::Protobuf => self.say_binary(index, &message),
        }
    }

    /// Messages for a client of either encoding.
    fn messages_to(&mut self, index: usize) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        self.items(index, |item| match item {
            Item::Text(text) => messages.push(text.as_bytes().to_vec()),
            Item::Binary(message) => messages.push(message.into_owned()),
            other => panic!("{other:?}"),
        });
        messages
    }
}

proptest! {
    #[test]
    fn everybody_makes_every_publication_of_what_it_is_sent(steps in prop::collection::vec(step(), 1..80)) {
        let mut channel = Channel::new();
        for step in &steps {
            channel.apply(step);
        }
        channel.read();
        for client in channel.clients.drain(..) {
            channel.world.shard.broken(client.index);
        }
        prop_assert!(channel.world.shard.filters.is_empty(), "no filter stays behind");
        prop_assert_eq!(channel.world.shard.hub.channels(), 0);
    }
}

#[test]
fn a_difference_is_made_once_and_shared() {
    let mut channel = Channel::new();
    let kind = Kind { encoding: Encoding::Json, delta: true, numbered: false, filtered: false, back: None };
    (0..3).for_each(|_| channel.join(kind));
    channel.publish(20, 0, true);
    channel.read();
    channel.publish(21, 0, true);
    while channel.world.shard.fan_out(channel.world.now) {}
    let sent: Vec<_> = (0..3).map(|at| channel.world.messages_to(channel.clients[at].index)).collect();
    assert!(std::str::from_utf8(&sent[0][0]).unwrap().contains(r#""delta":true"#), "{sent:?}");
    assert!(sent.iter().all(|messages| *messages == sent[0]));
}

#[test]
fn a_filter_is_refused_where_it_is_not_allowed_makes_no_sense_or_comes_with_delta() {
    let mut world = world();
    let index = world.open();
    world.say(index, r#"{"id":1,"connect":{}}"#);
    world.heard(index);
    for (channel, more) in [
        ("chat:1", format!(r#""tf":{FILTER}"#)),
        ("match:1", r#""tf":{"op":"xor"}"#.to_owned()),
        ("match:1", format!(r#""delta":"fossil","tf":{FILTER}"#)),
    ] {
        world.say(index, &format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}",{more}}}}}"#));
        let said = world.heard(index);
        assert!(said[0].contains(r#""code":107"#), "{more}: {said:?}");
    }
    // Where differences are not allowed they are not agreed to, and nothing is wrong.
    world.say(index, r#"{"id":3,"subscribe":{"channel":"news","delta":"fossil","flag":1}}"#);
    let asked = world.asked();
    let request = asked.iter().find_map(|text| subscribe_request(text)).unwrap();
    world.hear(&begun(request, 0, ""));
    assert_eq!(world.heard(index), [r#"{"id":3,"subscribe":{}}"#]);
}
