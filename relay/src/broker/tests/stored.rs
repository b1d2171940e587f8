//! Channels whose streams are in a node's store: what links see is what was stored, in order, once and whole, through a bus that loses
//! announcements or without one, while messages are edited and the store fails over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wire::link::{ClientInfo, Position, Publication};
use wire::settings::{Delivery, Settings};
use wire::survey::{Act, Command, Question};
use wire::tags::TagsBuf;

use super::shared::Dice;
use super::*;
use crate::bus::{Tell, Ticket};
use crate::remote::Errand;
use crate::stream::{Epoch, Epochs};
use crate::{Following, store};

const CHANNEL: &str = "kept:1";
const EPOCH: &str = "abcdEFGH";
/// The server API's link.
const API: LinkId = LinkId(90);
const EDGES: usize = 2;

fn stored(name: &str, delivery: Delivery) -> Namespace {
    Namespace { delivery, history_size: 40, ..namespace(name) }
}

fn settings() -> Settings {
    let mut settings = Settings {
        namespaces: vec![
            namespace("chat"),
            stored("fast", Delivery::Fast),
            stored("kept", Delivery::Persist),
        ],
        ..Settings::default()
    };
    settings.client.recovery_max_publication_limit = 20;
    settings
}

/// An edge, alone or with others.
fn edge(shared: bool) -> World {
    let mut world = World::new(Limits::default());
    world.settings = settings();
    let broker = Broker::new(world.settings.clone(), Limits::default(), 1);
    world.broker = if shared { broker.following(Following::default()) } else { broker };
    for link in [A, B] {
        world.open(link);
        world.broker.link_named(link, 1, link.0 as u16);
    }
    world.open(API);
    world
}

fn body(id: u64, data: &str) -> Vec<u8> {
    let id = id.to_string();
    let tags = TagsBuf::pack([("id", id.as_str()), ("kind", "message")]).unwrap();
    wire::bus::body(&Publication { data: data.as_bytes(), tags: tags.as_tags(), ..Publication::default() })
        .unwrap()
}

fn announce(world: &mut World, offset: u64, epoch: &str, body: &[u8]) {
    world.ask(API, |request| ToRelay::Announce { request, channel: CHANNEL, offset, epoch, body });
}

fn subscribe(world: &mut World, link: LinkId, at: Option<(u64, &str)>) -> u32 {
    let recover = at.map(|(offset, epoch)| Position { offset, epoch });
    world.ask(link, |request| ToRelay::Subscribe { request, channel: CHANNEL, recover, latest: false })
}

fn publish<'a>(channel: &'a str, user: &'a str, data: &'a str) -> impl Fn(u32) -> ToRelay<'a> {
    let info = ClientInfo { client: client(1), user, conn_info: b"", chan_info: b"" };
    move |request| ToRelay::Publish {
        request,
        channel,
        data: data.as_bytes(),
        info: Some(info),
        tags: wire::tags::Tags::NONE,
        key: "k",
        skip_history: false,
        delta: false,
    }
}

fn read(world: &mut World) -> (Ticket, Option<u64>, usize) {
    match world.broker.ask_store() {
        Some(store::Ask::Read { ticket, since, limit, .. }) => (ticket, since, limit),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_other_edges_a_stored_channel_is_read_from_the_store_and_announcements_go_straight_on() {
    let mut world = edge(false);
    subscribe(&mut world, A, None);
    let (ticket, ..) = read(&mut world);
    let now = world.now;
    world.broker.tell(now, &Tell::Page { ticket, offset: 6, epoch: EPOCH, publications: vec![] });
    announce(&mut world, 7, EPOCH, &body(7, "seven"));
    announce(&mut world, 7, EPOCH, &body(7, "seven"));
    let answer =
        Seen::Subscribed { offset: 6, epoch: EPOCH.to_owned(), recovered: false, publications: vec![] };
    assert_eq!(world.take(A), [answer, Seen::publication(CHANNEL, 7, "seven")]);
    assert_eq!(world.take(API), [Seen::Published { offset: 7 }, Seen::Published { offset: 7 }]);
    assert_eq!(world.broker.ask(), None, "there is no bus to be asked");
    assert_eq!(world.broker.ask_store(), None);
}

#[test]
fn an_edited_message_is_the_same_and_another_one_in_its_place_is_a_fork() {
    let mut world = edge(false);
    subscribe(&mut world, A, None);
    let (ticket, ..) = read(&mut world);
    let now = world.now;
    world.broker.tell(now, &Tell::Page { ticket, offset: 6, epoch: EPOCH, publications: vec![] });
    announce(&mut world, 7, EPOCH, &body(7, "seven"));
    announce(&mut world, 7, EPOCH, &body(7, "seven, edited"));
    assert_eq!(world.broker.counters().forks, 0);
    announce(&mut world, 7, EPOCH, &body(8, "another"));
    assert_eq!(world.broker.counters().forks, 1);
    assert!(world.take(A).contains(&Seen::Insufficient(CHANNEL.to_owned())));
    let renewed = store::Ask::Renew { channel: CHANNEL.into(), epoch: Epoch::parse(EPOCH).unwrap() };
    assert_eq!(world.broker.ask_store(), Some(renewed));
}

#[test]
fn clients_publish_by_the_node_and_nobody_around_it() {
    let mut world = edge(false);
    for channel in [CHANNEL, "fast:1"] {
        world.ask(A, publish(channel, "ann", "{}"));
        let Some(store::Ask::Publish { ticket, user, key, .. }) = world.broker.ask_store() else {
            panic!("the node is asked")
        };
        assert_eq!((&*user, &*key), ("ann", "k"));
        let now = world.now;
        world.broker.tell(now, &Tell::Published { ticket, offset: 3, epoch: EPOCH, duplicate: false });
        assert_eq!(world.take(A), [Seen::Published { offset: 3 }]);
    }
    world.ask(A, publish(CHANNEL, "", "{}"));
    assert_eq!(world.take(A), [Seen::Failed { code: code::PERMISSION_DENIED.code }], "nobody in particular");
    world.ask(API, publish(CHANNEL, "ann", "{}"));
    assert_eq!(world.take(API), [Seen::Failed { code: code::NOT_AVAILABLE.code }], "around the store");
    world.ask(API, publish("fast:1", "ann", "{}"));
    assert_eq!(world.take(API), [Seen::Published { offset: 1 }], "the node's own, on the bus");
    assert_eq!(world.broker.ask_store(), None);
}

#[test]
fn gateways_announce_nothing_and_what_no_node_stores_is_not_announced() {
    let mut world = edge(false);
    let told = body(1, "x");
    let say = |channel, offset, epoch| {
        let body = &told[..];
        move |request| ToRelay::Announce { request, channel, offset, epoch, body }
    };
    world.ask(A, say(CHANNEL, 1, EPOCH));
    assert_eq!(world.take(A), [Seen::Failed { code: code::PERMISSION_DENIED.code }]);
    for (channel, offset, epoch, error) in [
        ("chat:1", 1, EPOCH, code::NOT_AVAILABLE),
        (CHANNEL, 0, EPOCH, code::BAD_REQUEST),
        (CHANNEL, 1, "?", code::BAD_REQUEST),
    ] {
        world.ask(API, say(channel, offset, epoch));
        assert_eq!(world.take(API), [Seen::Failed { code: error.code }], "{channel} {offset} {epoch}");
    }
}

#[test]
fn the_shell_learns_who_was_moved_and_that_there_were_too_many() {
    let mut world = edge(false);
    let unsubscribe = |user: &str| {
        let act = Act::Unsubscribe { channel: CHANNEL.to_owned(), code: 2000, reason: String::new() };
        Question::Command(Command { user: user.to_owned(), client: None, session: None, act })
    };
    let one = unsubscribe("ann");
    world.ask(API, |request| ToRelay::Survey { request, question: Box::new(one) });
    assert_eq!(world.broker.moved(), Some(Move::Of { user: "ann".into(), channel: CHANNEL.into() }));
    assert_eq!(world.broker.moved(), None);
    for number in 0..=crate::limits::MOVES_MAX {
        let one = unsubscribe(&number.to_string());
        world.ask(API, |request| ToRelay::Survey { request, question: Box::new(one) });
        world.pass(seconds(2));
    }
    assert_eq!((world.broker.moved(), world.broker.moved()), (Some(Move::Any), None));
}

/// The store, and what it has not announced.
struct Store {
    epochs: Epochs,
    epoch: Epoch,
    entries: Vec<(u64, String)>,
    /// Everything that was ever said at a place of this branch.
    said: BTreeMap<u64, BTreeSet<String>>,
    ids: u64,
    due: VecDeque<u64>,
}

impl Store {
    fn begin_anew(&mut self) {
        self.epoch = self.epochs.draw();
    }

    fn tell(&self, offset: u64) -> Vec<u8> {
        let (id, data) = &self.entries[offset as usize - 1];
        body(*id, data)
    }

    fn say(&mut self, offset: u64, id: u64, data: String) {
        self.said.entry(offset).or_default().insert(data.clone());
        self.entries.truncate(offset as usize - 1);
        self.entries.push((id, data));
    }
}

/// A shard with one subscriber.
#[derive(Default)]
struct Subscriber {
    asking: bool,
    lost: bool,
    epoch: String,
    offset: u64,
    seen: BTreeMap<u64, String>,
}

impl Subscriber {
    fn take(&mut self, seen: Seen) {
        match seen {
            Seen::Subscribed { offset, epoch, recovered, publications } => {
                (self.asking, self.lost) = (false, false);
                if recovered {
                    publications.into_iter().for_each(|(offset, data)| self.advance(offset, data));
                    assert_eq!((self.offset, &self.epoch), (offset, &epoch));
                } else {
                    self.seen.clear();
                    (self.offset, self.epoch) = (offset, epoch);
                }
            }
            Seen::Publication { .. } if self.asking || self.lost => {}
            Seen::Publication { offset, data, .. } => self.advance(offset, data),
            Seen::Insufficient(_) => self.lost = true,
            Seen::Failed { .. } => (self.asking, self.lost) = (false, true),
            Seen::Published { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn advance(&mut self, offset: u64, data: String) {
        assert_eq!(offset, self.offset + 1, "in order, once");
        self.offset = offset;
        self.seen.insert(offset, data);
    }
}

struct Scene {
    dice: Dice,
    shared: bool,
    store: Store,
    edges: Vec<World>,
    errands: Vec<VecDeque<Errand>>,
    /// On its way from the bus.
    heard: Vec<VecDeque<Vec<u8>>>,
    wanted: Vec<bool>,
    shards: Vec<Subscriber>,
    faults: bool,
}

impl Scene {
    fn new(seed: u64, shared: bool) -> Self {
        let mut epochs = Epochs::new(seed);
        let epoch = epochs.draw();
        let (entries, said, due) = <_>::default();
        let edges = if shared { EDGES } else { 1 };
        Self {
            dice: Dice(seed),
            shared,
            store: Store { epochs, epoch, entries, said, ids: 0, due },
            edges: (0..edges).map(|_| edge(shared)).collect(),
            errands: (0..edges).map(|_| VecDeque::new()).collect(),
            heard: (0..edges).map(|_| VecDeque::new()).collect(),
            wanted: vec![false; edges],
            shards: (0..edges).map(|_| Subscriber { lost: true, ..Subscriber::default() }).collect(),
            faults: true,
        }
    }

    fn step(&mut self) {
        let at = self.dice.roll(self.edges.len() as u64) as usize;
        while let Some(ask) = self.edges[at].broker.ask() {
            self.errands[at].push_back(Errand::Bus(ask));
        }
        while let Some(ask) = self.edges[at].broker.ask_store() {
            self.errands[at].push_back(Errand::Store(ask));
        }
        match self.dice.roll(if self.faults { 116 } else { 80 }) {
            0..40 => self.carry(at),
            40..60 => {
                if let Some(body) = self.heard[at].pop_front() {
                    let now = self.edges[at].now;
                    let tell = Tell::Publication { channel: CHANNEL, offset: 0, epoch: "", body: &body };
                    self.edges[at].broker.tell(now, &tell);
                }
            }
            60..72 => self.announce(at),
            72..80 => self.edges[at].pass(Duration::from_millis(300)),
            80..96 => self.post(),
            96..104 => self.edit(),
            104..108 => {
                self.heard[at].pop_front();
            }
            108 => self.fail_over(),
            109 => self.edges[at].pass(seconds(6)),
            110..112 => {
                if let Some(Errand::Store(store::Ask::Read { ticket, .. })) = self.errands[at].front() {
                    let (ticket, now) = (*ticket, self.edges[at].now);
                    self.errands[at].pop_front();
                    self.edges[at].broker.tell(now, &Tell::Failed { ticket, code: code::INTERNAL });
                }
            }
            // Away and back, at once.
            _ if !self.shards[at].asking => {
                self.edges[at].send(A, &ToRelay::Unsubscribe { channel: CHANNEL });
                self.shards[at].lost = true;
            }
            _ => {}
        }
        self.settle();
    }

    fn post(&mut self) {
        self.store.ids += 1;
        let (id, offset) = (self.store.ids, self.store.entries.len() as u64 + 1);
        self.store.say(offset, id, id.to_string());
        self.store.due.push_back(offset);
    }

    fn edit(&mut self) {
        if !self.store.entries.is_empty() {
            let place = self.dice.roll(self.store.entries.len() as u64) as usize;
            self.store.entries[place].1.push('*');
            let data = self.store.entries[place].1.clone();
            self.store.said.entry(place as u64 + 1).or_default().insert(data);
        }
    }

    /// Announcements come late, twice and out of order.
    fn announce(&mut self, at: usize) {
        let Some(offset) = self.store.due.pop_front() else { return };
        if offset <= self.store.entries.len() as u64 {
            let (epoch, body) = (self.store.epoch, self.store.tell(offset));
            announce(&mut self.edges[at], offset, epoch.as_str(), &body);
        }
        if self.faults && self.dice.roll(4) == 0 {
            self.store.due.push_back(offset);
        }
    }

    /// A replica that lacks the last writes is the store now, and others are made in their place.
    fn fail_over(&mut self) {
        let lost = self.dice.roll(3) as usize;
        if lost > 0 && self.store.entries.len() > lost {
            let left = self.store.entries.len() - lost;
            self.store.entries.truncate(left);
            (0..lost).for_each(|_| self.post());
        }
    }

    fn carry(&mut self, at: usize) {
        let now = self.edges[at].now;
        match self.errands[at].pop_front() {
            None => {}
            Some(Errand::Bus(Ask::Want { .. })) => {
                self.wanted[at] = true;
                self.edges[at].broker.tell(now, &Tell::Joined { channel: CHANNEL });
            }
            Some(Errand::Bus(Ask::Unwant { .. })) => self.wanted[at] = false,
            Some(Errand::Bus(Ask::Publish { ticket, body, kept: None, .. })) => {
                assert!(self.shared);
                for (heard, wanted) in self.heard.iter_mut().zip(&self.wanted) {
                    heard.extend(wanted.then(|| body.clone()));
                }
                let told = Tell::Published { ticket, offset: 0, epoch: "", duplicate: false };
                self.edges[at].broker.tell(now, &told);
            }
            Some(Errand::Store(store::Ask::Read { ticket, since, limit, reverse, .. })) => {
                let top = self.store.entries.len() as u64;
                let offsets: Vec<u64> = match reverse {
                    true => (1..since.unwrap_or(top + 1).min(top + 1)).rev().take(limit).collect(),
                    false => (since.unwrap_or(0) + 1..=top).take(limit).collect(),
                };
                let bodies: Vec<_> =
                    offsets.iter().map(|offset| (*offset, self.store.tell(*offset))).collect();
                let publications = bodies.iter().map(|(offset, body)| (*offset, &body[..])).collect();
                let epoch = self.store.epoch;
                let page = Tell::Page { ticket, offset: top, epoch: epoch.as_str(), publications };
                self.edges[at].broker.tell(now, &page);
            }
            Some(Errand::Store(store::Ask::Renew { epoch, .. })) if epoch == self.store.epoch => {
                self.store.begin_anew();
            }
            Some(Errand::Store(store::Ask::Renew { .. })) => {}
            Some(Errand::Bus(other)) => panic!("{other:?}"),
            Some(Errand::Store(other)) => panic!("{other:?}"),
        }
    }

    fn settle(&mut self) {
        for (world, shard) in self.edges.iter_mut().zip(&mut self.shards) {
            for seen in world.take(A) {
                shard.take(seen);
            }
            world.take(API);
            if shard.lost && !shard.asking {
                world.send(A, &ToRelay::Unsubscribe { channel: CHANNEL });
                let at = Some((shard.offset, shard.epoch.as_str())).filter(|(_, epoch)| !epoch.is_empty());
                subscribe(world, A, at);
                shard.asking = true;
            }
        }
    }

    fn settle_down(&mut self) {
        self.faults = false;
        for _ in 0..8 {
            self.edges.iter_mut().for_each(|world| world.pass(seconds(21)));
            (0..400).for_each(|_| self.step());
        }
    }
}

#[test]
fn what_links_see_is_what_was_stored_in_order_once_and_whole() {
    let mut totals = Counters::default();
    for seed in 0..60 {
        let mut scene = Scene::new(seed, seed % 3 > 0);
        (0..1500).for_each(|_| scene.step());
        scene.settle_down();
        for (world, shard) in scene.edges.iter().zip(&scene.shards) {
            assert_eq!(shard.epoch, scene.store.epoch.as_str(), "seed {seed}");
            assert_eq!(shard.offset, scene.store.entries.len() as u64, "seed {seed}: all of it");
            for (offset, data) in &shard.seen {
                let id = |data: &str| data.trim_end_matches('*').to_owned();
                assert!(
                    scene.store.said[offset].contains(data),
                    "seed {seed}: never said at {offset}: {data}"
                );
                let now = &scene.store.entries[*offset as usize - 1].1;
                assert_eq!(id(data), id(now), "seed {seed}: what stands at {offset}");
            }
            assert_eq!(world.unanswered(), 0, "seed {seed}");
            let counters = world.broker.counters();
            totals.bus_gaps += counters.bus_gaps;
            totals.bus_repaired += counters.bus_repaired;
            totals.forks += counters.forks;
            totals.recovered += counters.recovered;
            totals.unrecovered += counters.unrecovered;
        }
    }
    let happened = [totals.bus_gaps, totals.bus_repaired, totals.forks, totals.recovered, totals.unrecovered];
    assert!(happened.iter().all(|count| *count > 10), "the faults were there: {totals:?}");
}
