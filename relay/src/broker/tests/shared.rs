//! Edges that share a bus which loses publications, connections, answers, and its own last writes: what their links see is in order,
//! once and whole, or they are told that it is not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wire::link::{Position, Publication};

use super::*;
use crate::bus::{Ask, Tell, Ticket};
use crate::stream::{Epoch, Epochs};
use crate::{Following, Kept};

const CHANNELS: [&str; 3] = ["long:1", "chat:1", "bare:1"];
const EDGES: usize = 2;
const LINKS: u32 = 6;
const SEEDS: u64 = 60;

/// SplitMix64.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// The bus: what keeps the channels.
struct Bus {
    epochs: Epochs,
    streams: BTreeMap<&'static str, Keeper>,
    reads: usize,
}

/// One channel as its keeper has it.
struct Keeper {
    epoch: Epoch,
    top: u64,
    /// The kept ones.
    entries: BTreeMap<u64, Vec<u8>>,
    /// All of this branch, kept or not.
    all: BTreeMap<u64, String>,
}

enum Said {
    Joined(String),
    PartedAll,
    Publication(String, u64, String, Vec<u8>),
    Published(Ticket, u64, String),
    Page(Ticket, u64, String, Vec<(u64, Vec<u8>)>),
    Failed(Ticket),
}

impl Said {
    fn tell(&self, world: &mut World) {
        let pages: Vec<(u64, &[u8])>;
        let tell = match self {
            Self::Joined(channel) => Tell::Joined { channel },
            Self::PartedAll => Tell::PartedAll,
            Self::Publication(channel, offset, epoch, body) => {
                Tell::Publication { channel, offset: *offset, epoch, body }
            }
            Self::Published(ticket, offset, epoch) => {
                Tell::Published { ticket: *ticket, offset: *offset, epoch, duplicate: false }
            }
            Self::Page(ticket, offset, epoch, publications) => {
                pages = publications.iter().map(|(offset, body)| (*offset, &body[..])).collect();
                Tell::Page { ticket: *ticket, offset: *offset, epoch, publications: pages }
            }
            Self::Failed(ticket) => Tell::Failed { ticket: *ticket, code: code::INTERNAL },
        };
        world.broker.tell(world.now, &tell);
    }
}

/// One edge and what is between it and the bus.
struct Edge {
    world: World,
    asks: VecDeque<Ask>,
    answers: VecDeque<Said>,
    heard: VecDeque<Said>,
    wanted: BTreeSet<String>,
    /// Its subscribing connection is up, and has these.
    subscribed: Option<BTreeSet<String>>,
}

/// What a shard knows of its one channel.
#[derive(Default)]
struct Shard {
    channel: &'static str,
    /// Its question for a subscription.
    asking: Option<u32>,
    epoch: String,
    offset: u64,
    /// What it has got since it last began anew.
    seen: BTreeMap<u64, String>,
    /// It was told that something is gone, or could not subscribe.
    lost: bool,
    /// Nobody is subscribed.
    away: bool,
}

struct Scene {
    dice: Dice,
    bus: Bus,
    edges: Vec<Edge>,
    shards: BTreeMap<u32, Shard>,
    published: u64,
    faults: bool,
}

impl Bus {
    fn stream(&mut self, channel: &str) -> &mut Keeper {
        let name = CHANNELS.into_iter().find(|name| *name == channel).unwrap();
        let epoch = self.epochs.draw();
        let fresh = || Keeper { epoch, top: 0, entries: BTreeMap::new(), all: BTreeMap::new() };
        self.streams.entry(name).or_insert_with(fresh)
    }

    fn renew(&mut self, channel: &str) {
        let name = CHANNELS.into_iter().find(|name| *name == channel).unwrap();
        self.streams.remove(name);
    }
}

impl Scene {
    fn new(seed: u64) -> Self {
        let edges = (0..EDGES).map(|_| {
            let mut world = World::new(Limits::default());
            let long = Namespace { history_size: 40, ..namespace("long") };
            let bare = Namespace { name: "bare".to_owned(), ..Namespace::default() };
            world.settings.namespaces = vec![bare, namespace("chat"), long];
            world.settings.client.recovery_max_publication_limit = 20;
            let times =
                Following { answer_timeout: seconds(5), linger: seconds(10), position_check: seconds(40) };
            world.broker = Broker::new(world.settings.clone(), Limits::default(), 1).following(times);
            let (asks, answers, heard) = <_>::default();
            Edge { world, asks, answers, heard, wanted: BTreeSet::new(), subscribed: Some(BTreeSet::new()) }
        });
        let mut scene = Self {
            dice: Dice(seed),
            bus: Bus { epochs: Epochs::new(seed), streams: BTreeMap::new(), reads: 0 },
            edges: edges.collect(),
            shards: BTreeMap::new(),
            published: 0,
            faults: true,
        };
        for link in 0..LINKS {
            scene.edge(link).world.open(LinkId(link));
            let channel = CHANNELS[link as usize / EDGES];
            scene.shards.insert(link, Shard { channel, ..Shard::default() });
            scene.subscribe(link);
        }
        scene
    }

    fn edge(&mut self, link: u32) -> &mut Edge {
        &mut self.edges[link as usize % EDGES]
    }

    fn subscribe(&mut self, link: u32) {
        let shard = &self.shards[&link];
        let (channel, offset, epoch) = (shard.channel, shard.offset, shard.epoch.clone());
        let recover = (!epoch.is_empty()).then_some(Position { offset, epoch: &epoch });
        let ask = |request| ToRelay::Subscribe { request, channel, recover, latest: false };
        let request = self.edges[link as usize % EDGES].world.ask(LinkId(link), ask);
        self.shards.get_mut(&link).unwrap().asking = Some(request);
    }

    fn publish(&mut self, link: u32) {
        self.published += 1;
        let channel = self.shards[&link].channel;
        let data = self.published.to_string();
        let (data, tags) = (data.as_bytes(), wire::tags::Tags::NONE);
        let ask = |request| ToRelay::Publish {
            request,
            channel,
            data,
            info: None,
            tags,
            key: "",
            skip_history: false,
            delta: false,
        };
        self.edge(link).world.ask(LinkId(link), ask);
    }

    /// One thing happens somewhere.
    fn step(&mut self) {
        let edge = self.dice.roll(EDGES as u64) as usize;
        while let Some(ask) = self.edges[edge].world.broker.ask() {
            self.edges[edge].asks.push_back(ask);
        }
        match self.dice.roll(if self.faults { 120 } else { 102 }) {
            0..30 => self.carry(edge),
            30..60 => self.answer(edge),
            60..90 => self.hear(edge),
            90..94 => self.settle(),
            94..100 => {
                let link = self.dice.roll(u64::from(LINKS)) as u32;
                if self.faults {
                    self.publish(link);
                }
            }
            100 | 101 => {
                let millis = 1 + self.dice.roll(900);
                self.edges[edge].world.pass(Duration::from_millis(millis));
            }
            102..111 => {
                self.edges[edge].heard.pop_front_if(|said| matches!(said, Said::Publication(..)));
            }
            111..115 => self.leave(),
            115 | 116 => {
                let edge = &mut self.edges[edge];
                (edge.subscribed, edge.heard) = (None, VecDeque::from([Said::PartedAll]));
            }
            117 => {
                self.edges[edge].answers.pop_front();
            }
            118 => self.edges[edge].world.pass(seconds(6)),
            _ if self.dice.roll(3) == 0 => self.go_back(),
            _ => {}
        }
        self.settle();
    }

    /// A shard's last subscriber goes, and another one comes who was away.
    fn leave(&mut self) {
        let link = self.dice.roll(u64::from(LINKS)) as u32;
        let shard = self.shards.get_mut(&link).unwrap();
        if shard.asking.is_none() && !shard.lost {
            let channel = shard.channel;
            shard.away = !shard.away;
            match shard.away {
                true => self.edge(link).world.send(LinkId(link), &ToRelay::Unsubscribe { channel }),
                false => self.subscribe(link),
            }
        }
    }

    /// The bus loses its last writes, or all of them.
    fn go_back(&mut self) {
        let channel = CHANNELS[self.dice.roll(2) as usize];
        if self.dice.roll(3) == 0 {
            self.bus.renew(channel);
        } else {
            let back = 1 + self.dice.roll(3);
            let stream = self.bus.stream(channel);
            stream.top = stream.top.saturating_sub(back);
            let top = stream.top;
            stream.entries.retain(|offset, _| *offset <= top);
            stream.all.retain(|offset, _| *offset <= top);
        }
        // Who is away meanwhile cannot be told (LIFECYCLE.md): it begins anew.
        for shard in self.shards.values_mut().filter(|shard| shard.away) {
            shard.epoch.clear();
        }
        // Which a bus does only when the connections to it end.
        for edge in &mut self.edges {
            (edge.subscribed, edge.heard) = (None, VecDeque::from([Said::PartedAll]));
        }
    }

    /// The bus does what one edge asked.
    fn carry(&mut self, at: usize) {
        let rejoin = self.dice.roll(4) == 0;
        let edge = &mut self.edges[at];
        if edge.subscribed.is_none() && rejoin {
            edge.subscribed = Some(edge.wanted.clone());
            edge.heard.extend(edge.wanted.iter().cloned().map(Said::Joined));
        }
        let fails = self.faults && self.dice.roll(20) == 0;
        let Some(ask) = edge.asks.pop_front() else { return };
        match ask {
            Ask::Want { channel } => {
                edge.wanted.insert(channel.to_string());
                if let Some(subscribed) = &mut edge.subscribed {
                    subscribed.insert(channel.to_string());
                    edge.heard.push_back(Said::Joined(channel.to_string()));
                }
            }
            Ask::Unwant { channel } => {
                edge.wanted.remove(&*channel);
                if let Some(subscribed) = &mut edge.subscribed {
                    subscribed.remove(&*channel);
                }
            }
            Ask::Publish { ticket, .. } | Ask::Read { ticket, .. } if fails => {
                edge.answers.push_back(Said::Failed(ticket));
            }
            Ask::Publish { ticket, channel, body, kept, .. } => {
                let (offset, epoch) = self.place(&channel, &body, kept);
                self.edges[at].answers.push_back(Said::Published(ticket, offset, epoch.clone()));
                let said = |channel: &str| {
                    Said::Publication(channel.to_owned(), offset, epoch.clone(), body.clone())
                };
                for edge in &mut self.edges {
                    if edge.subscribed.as_ref().is_some_and(|subscribed| subscribed.contains(&*channel)) {
                        edge.heard.push_back(said(&channel));
                    }
                }
            }
            Ask::Read { ticket, channel, since, limit, reverse, .. } => {
                self.bus.reads += 1;
                let stream = self.bus.stream(&channel);
                let entries = stream.entries.iter().map(|(offset, body)| (*offset, body.clone()));
                let page: Vec<_> = if reverse {
                    let below = since.unwrap_or(u64::MAX);
                    entries.rev().filter(|(offset, _)| *offset < below).take(limit).collect()
                } else {
                    entries.filter(|(offset, _)| *offset > since.unwrap_or(0)).take(limit).collect()
                };
                let said = Said::Page(ticket, stream.top, stream.epoch.as_str().to_owned(), page);
                self.edges[at].answers.push_back(said);
            }
            Ask::Renew { channel, epoch } => {
                if self.bus.stream(&channel).epoch == epoch {
                    self.bus.renew(&channel);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn place(&mut self, channel: &str, body: &[u8], kept: Option<Kept>) -> (u64, String) {
        let Some(kept) = kept else { return (0, String::new()) };
        let stream = self.bus.stream(channel);
        stream.top += 1;
        stream.entries.insert(stream.top, body.to_vec());
        while stream.entries.len() > kept.size {
            stream.entries.pop_first();
        }
        let data = wire::bus::publication(stream.top, body).unwrap().data;
        stream.all.insert(stream.top, String::from_utf8(data.to_vec()).unwrap());
        (stream.top, stream.epoch.as_str().to_owned())
    }

    fn answer(&mut self, at: usize) {
        let edge = &mut self.edges[at];
        if let Some(said) = edge.answers.pop_front() {
            said.tell(&mut edge.world);
        }
    }

    fn hear(&mut self, at: usize) {
        let edge = &mut self.edges[at];
        if let Some(said) = edge.heard.pop_front() {
            said.tell(&mut edge.world);
        }
    }

    /// Shards read, check, and ask again where they have to.
    fn settle(&mut self) {
        for link in 0..LINKS {
            let seen = self.edge(link).world.take_answers(LinkId(link));
            let shard = self.shards.get_mut(&link).unwrap();
            for (request, seen) in seen {
                shard.take(request, seen);
            }
            if shard.lost && shard.asking.is_none() {
                let channel = shard.channel;
                self.edge(link).world.send(LinkId(link), &ToRelay::Unsubscribe { channel });
                self.subscribe(link);
            }
        }
    }
}

impl Shard {
    fn take(&mut self, request: Option<u32>, seen: Seen) {
        match seen {
            Seen::Subscribed { offset, epoch, recovered, publications } => {
                (self.asking, self.lost) = (None, false);
                if recovered {
                    assert_eq!(epoch, self.epoch, "nobody recovers into another epoch");
                    for (offset, data) in publications {
                        self.advance(offset, data);
                    }
                    assert_eq!(self.offset, offset, "a recovery brings everything");
                } else {
                    self.seen.clear();
                    (self.offset, self.epoch) = (offset, epoch);
                }
            }
            Seen::Publication { offset: 0, .. } => {}
            // What comes while it asks belongs to what it had before, or follows its being told.
            Seen::Publication { .. } if self.asking.is_some() || self.lost || self.away => {}
            Seen::Publication { offset, data, .. } => self.advance(offset, data),
            Seen::Insufficient(_) => self.lost = !self.away,
            Seen::Failed { .. } if self.asking == request => {
                (self.asking, self.lost) = (None, true);
            }
            Seen::Failed { .. } | Seen::Published { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn advance(&mut self, offset: u64, data: String) {
        assert_eq!(offset, self.offset + 1, "{}: in order, once", self.channel);
        self.offset = offset;
        self.seen.insert(offset, data);
    }
}

fn play(seed: u64, steps: usize) -> Scene {
    let mut scene = Scene::new(seed);
    (0..steps).for_each(|_| scene.step());
    scene.faults = false;
    for link in 0..LINKS {
        let shard = scene.shards.get_mut(&link).unwrap();
        if std::mem::take(&mut shard.away) {
            scene.subscribe(link);
        }
    }
    // Long enough for a position check, and for a retry of what that shows.
    for _ in 0..8 {
        for edge in 0..EDGES {
            scene.edges[edge].world.pass(seconds(21));
        }
        (0..600).for_each(|_| scene.step());
    }
    scene
}

#[test]
fn what_links_see_of_a_bus_that_loses_things_is_in_order_once_and_whole_or_they_are_told() {
    let mut totals = Counters::default();
    for seed in 0..SEEDS {
        let mut scene = play(seed, 1500);
        for (link, shard) in &scene.shards {
            if shard.channel == "bare:1" {
                continue;
            }
            let stream = scene.bus.stream(shard.channel);
            assert_eq!(shard.epoch, stream.epoch.as_str(), "seed {seed}, link {link}");
            assert_eq!(shard.offset, stream.top, "seed {seed}, link {link}: all of it");
            for (offset, data) in &shard.seen {
                let kept = stream.all.get(offset);
                assert_eq!(Some(data), kept, "seed {seed}, link {link}: what was published at {offset}");
            }
        }
        for edge in &scene.edges {
            assert_eq!(edge.world.unanswered(), 0, "seed {seed}: every question is answered");
            let counters = edge.world.broker.counters();
            totals.bus_gaps += counters.bus_gaps;
            totals.bus_repaired += counters.bus_repaired;
            totals.forks += counters.forks;
            totals.recovered += counters.recovered;
            totals.unrecovered += counters.unrecovered;
        }
    }
    let happened = [totals.bus_gaps, totals.bus_repaired, totals.forks, totals.recovered, totals.unrecovered];
    assert!(happened.iter().all(|count| *count > 100), "the faults were there: {totals:?}");
}

/// One edge without a bus behind it: what it asks is taken apart by the test.
fn alone() -> World {
    let mut world = World::new(Limits::default());
    world.broker = Broker::new(world.settings.clone(), Limits::default(), 1).following(Following::default());
    world.open(A);
    world.open(B);
    world
}

/// The tickets of the reads that were asked for since.
fn reads(world: &mut World) -> Vec<(Ticket, Option<u64>, usize)> {
    let asks = std::iter::from_fn(|| world.broker.ask());
    let reads = asks.filter_map(|ask| match ask {
        Ask::Read { ticket, since, limit, .. } => Some((ticket, since, limit)),
        _ => None,
    });
    reads.collect()
}

fn ask(world: &mut World, link: LinkId, recover: Option<Position<'_>>) {
    world.ask(link, |request| ToRelay::Subscribe { request, channel: "chat:1", recover, latest: false });
}

const EPOCH: &str = "abcdEFGH";

fn body() -> Vec<u8> {
    wire::bus::body(&Publication { data: b"x", ..Publication::default() }).unwrap()
}

#[test]
fn a_shard_that_unsubscribed_while_it_waited_is_answered_and_gets_nothing_more() {
    let mut world = alone();
    ask(&mut world, A, None);
    ask(&mut world, B, None);
    world.send(A, &ToRelay::Unsubscribe { channel: "chat:1" });
    let (now, body) = (world.now, body());
    world.broker.tell(now, &Tell::Joined { channel: "chat:1" });
    let [(ticket, ..)] = reads(&mut world)[..] else { panic!("one read for both") };
    world.broker.tell(now, &Tell::Page { ticket, offset: 6, epoch: EPOCH, publications: vec![] });
    world.broker.tell(now, &Tell::Publication { channel: "chat:1", offset: 7, epoch: EPOCH, body: &body });
    let answer =
        Seen::Subscribed { offset: 6, epoch: EPOCH.to_owned(), recovered: false, publications: vec![] };
    assert_eq!(world.take(A), std::slice::from_ref(&answer));
    assert_eq!(world.take(B), [answer, Seen::publication("chat:1", 7, "x")]);
}

#[test]
fn however_many_recover_from_one_position_history_is_read_once() {
    let mut world = alone();
    let at = |offset| Some(Position { offset, epoch: EPOCH });
    for _ in 0..500 {
        ask(&mut world, A, at(5));
        ask(&mut world, B, at(6));
    }
    let (now, body) = (world.now, body());
    world.broker.tell(now, &Tell::Joined { channel: "chat:1" });
    let [(ticket, since, _)] = reads(&mut world)[..] else { panic!("one read for all") };
    assert_eq!(since, Some(5), "from the oldest");
    let publications = vec![(6, &body[..]), (7, &body[..])];
    world.broker.tell(now, &Tell::Page { ticket, offset: 7, epoch: EPOCH, publications });
    let recovered = |seen: &Seen| matches!(seen, Seen::Subscribed { recovered: true, .. });
    assert_eq!(world.take(A).iter().filter(|seen| recovered(seen)).count(), 500);
    assert_eq!(world.take(B).iter().filter(|seen| recovered(seen)).count(), 500);
    ask(&mut world, A, at(7));
    assert!(reads(&mut world).is_empty() && recovered(&world.take(A)[0]), "the mirror knows");
}
