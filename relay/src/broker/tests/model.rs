//! Goal: on each link every publication of a wanted channel arrives once and in order, or the link is told; recovery gives
//! exactly what a naive log would; every question is answered; bounds hold. Method: random worlds against that log.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wire::tags::Tags;

use super::world::{Seen, World, namespace};
use super::*;

const CHANNELS: [&str; 3] = ["chat:1", "chat:2", "long:1"];

#[derive(Clone, Debug)]
enum Step {
    Subscribe { link: usize, channel: usize, back: Option<u64> },
    Unsubscribe { link: usize, channel: usize },
    Publish { link: usize, channel: usize, bytes: usize },
    Read { link: usize },
    Reconnect { link: usize },
    Pass { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let (link, channel) = (0..3usize, 0..CHANNELS.len());
    prop_oneof![
        3 => (link.clone(), channel.clone(), proptest::option::of(0..8u64))
            .prop_map(|(link, channel, back)| Step::Subscribe { link, channel, back }),
        1 => (link.clone(), channel.clone()).prop_map(|(link, channel)| Step::Unsubscribe { link, channel }),
        10 => (link.clone(), channel, 1..60usize)
            .prop_map(|(link, channel, bytes)| Step::Publish { link, channel, bytes }),
        2 => link.clone().prop_map(|link| Step::Read { link }),
        1 => link.prop_map(|link| Step::Reconnect { link }),
        1 => (1..50u64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// What a link must see of one channel: the offset after which the next one is due.
type Due = BTreeMap<(usize, &'static str), u64>;

struct Model {
    world: World,
    links: [LinkId; 3],
    numbers: u32,
    /// Every publication ever, by channel.
    log: BTreeMap<&'static str, Vec<String>>,
    /// When a channel was last published to, and how many publications were gone by then because their time was over.
    last: BTreeMap<&'static str, (Duration, u64)>,
    due: Due,
    told: u64,
    broken: usize,
}

impl Model {
    fn new() -> Self {
        let limits = Limits { link_publications_bytes: 200, link_bytes: 4000, ..Limits::default() };
        let mut world = World::new(limits);
        world.settings.namespaces =
            vec![namespace("chat"), Namespace { history_size: 40, ..namespace("long") }];
        world.settings.client.recovery_max_publication_limit = 5;
        world.configure();
        let links = [LinkId(1), LinkId(2), LinkId(3)];
        links.into_iter().for_each(|link| world.open(link));
        Self {
            world,
            links,
            numbers: 3,
            log: BTreeMap::new(),
            last: BTreeMap::new(),
            due: BTreeMap::new(),
            told: 0,
            broken: 0,
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Subscribe { link, channel, back } => self.subscribe(link, CHANNELS[channel], back),
            Step::Unsubscribe { link, channel } => {
                self.read(link);
                self.world.send(self.links[link], &ToRelay::Unsubscribe { channel: CHANNELS[channel] });
                self.due.remove(&(link, CHANNELS[channel]));
            }
            Step::Publish { link, channel, bytes } => self.publish(link, CHANNELS[channel], bytes),
            Step::Read { link } => self.read(link),
            Step::Reconnect { link } => self.reconnect(link),
            Step::Pass { seconds } => self.world.pass(Duration::from_secs(seconds)),
        }
        let levels = self.world.broker.levels();
        assert!(levels.queued_bytes <= 3 * 4000 && levels.channels <= 3 && levels.history_publications <= 46);
        for link in std::mem::take(&mut self.world.closing) {
            let link = self.links.iter().position(|other| *other == link).unwrap();
            self.broken += 1;
            self.reconnect(link);
        }
    }

    fn publish(&mut self, link: usize, channel: &'static str, bytes: usize) {
        let log = self.log.entry(channel).or_default();
        log.push("x".repeat(bytes) + &log.len().to_string());
        let data = log.last().unwrap().clone();
        let now = self.world.now;
        let last = self.last.entry(channel).or_insert((now, 0));
        let gone = if now >= last.0 + seconds(60) { log.len() as u64 - 1 } else { last.1 };
        *last = (now, gone);
        // The publisher's own answers stay unread: that is what fills queues.
        let link = self.links[link];
        self.world.ask(link, |request| ToRelay::Publish {
            request,
            channel,
            data: data.as_bytes(),
            info: None,
            tags: Tags::NONE,
            key: "",
            skip_history: false,
            delta: false,
        });
    }

    /// Subscribes, as a client that is `back` publications behind, and compares the answer with the log.
    fn subscribe(&mut self, link: usize, channel: &'static str, back: Option<u64>) {
        let log = self.log.get(channel).cloned().unwrap_or_default();
        let top = log.len() as u64;
        let asked = back.map(|back| top.saturating_sub(back));
        let size = if channel == "long:1" { 40 } else { 3 };
        let kept = match self.last.get(channel) {
            Some((last, gone)) if self.world.now < *last + seconds(60) => size.min(top - gone),
            _ => 0,
        };
        let Some(answer) = self.subscribed(link, channel, asked) else { return };
        let Seen::Subscribed { offset, recovered, publications, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(offset, top);
        let possible = asked.is_some_and(|asked| top - asked <= kept && top - asked <= 5);
        assert_eq!(recovered, possible, "{channel} asked {asked:?} of {top}, kept {kept}");
        let expected: Vec<(u64, String)> = match asked {
            Some(asked) if possible => (asked..top).map(|i| (i + 1, log[i as usize].clone())).collect(),
            _ => Vec::new(),
        };
        assert_eq!(publications, expected);
    }

    fn subscribed(&mut self, link: usize, channel: &'static str, asked: Option<u64>) -> Option<Seen> {
        let recover = asked.map(|offset| wire::link::Position { offset, epoch: "" });
        self.world.ask(self.links[link], |request| ToRelay::Subscribe {
            request,
            channel,
            recover,
            latest: false,
        });
        if !self.world.closing.is_empty() {
            return None;
        }
        let mut before = self.world.take(self.links[link]);
        let place = before.iter().position(|seen| matches!(seen, Seen::Subscribed { .. }));
        let after = before.split_off(place.expect("answered") + 1);
        let answer = before.pop();
        self.observe(link, &before);
        self.due.insert((link, channel), self.log.get(channel).map_or(0, |log| log.len() as u64));
        self.observe(link, &after);
        answer
    }

    fn read(&mut self, link: usize) {
        let seen = self.world.take(self.links[link]);
        self.observe(link, &seen);
    }

    fn observe(&mut self, link: usize, seen: &[Seen]) {
        for seen in seen {
            match seen {
                Seen::Publication { channel, offset, data } => {
                    let channel = CHANNELS.into_iter().find(|known| known == channel).unwrap();
                    let due = self.due.get_mut(&(link, channel)).expect("only what is wanted");
                    assert_eq!(*offset, *due + 1, "{channel} on link {link}: in order, once, or told");
                    assert_eq!(data, &self.log[channel][*due as usize]);
                    *due = *offset;
                }
                Seen::Insufficient(channel) => {
                    let channel = CHANNELS.into_iter().find(|known| known == channel).unwrap();
                    // The stream goes on from where it is now.
                    self.due.insert((link, channel), self.log[channel].len() as u64);
                    self.told += 1;
                }
                _ => {}
            }
        }
    }

    fn reconnect(&mut self, link: usize) {
        self.world.close(self.links[link]);
        self.numbers += 1;
        self.links[link] = LinkId(self.numbers);
        self.world.open(self.links[link]);
        self.due.retain(|(other, _), _| *other != link);
    }

    /// Everyone reads: all that is owed arrives.
    fn finish(mut self) {
        for link in 0..3 {
            self.read(link);
        }
        for ((link, channel), due) in &self.due {
            let top = self.log.get(channel).map_or(0, |log| log.len() as u64);
            assert_eq!(*due, top, "{channel} on link {link} is owed the rest");
        }
        let (counters, levels) = (self.world.broker.counters(), self.world.broker.levels());
        assert_eq!((levels.gapped, levels.queued_bytes, self.world.unanswered()), (0, 0, 0));
        assert!(counters.insufficient >= self.told);
        assert_eq!(counters.links_overflowed as usize, self.broken);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_link_sees_every_publication_once_in_order_or_is_told(
        steps in proptest::collection::vec(step(), 1..250)
    ) {
        let mut model = Model::new();
        steps.iter().for_each(|step| model.run(step));
        model.finish();
    }
}
