//! Goal: every subscriber is handed every event published while it was subscribed, once and in order, whatever comes and goes while
//! jobs are under way. Method: random commands against a model that hands over at once.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{framing::Framing, ws::Deflater};

fn frames(channel: &Channel, number: u32) -> Frames {
    let mut frames = Frames::default();
    for encoding in channel.encodings() {
        frames.0[encoding.index()] = Some(Rc::from(&number.to_le_bytes()[..]));
    }
    frames
}

/// What the connection is handed.
fn number(connection: u32, frames: &Frames) -> u32 {
    let frame = frames.get(reads(connection), Framing::WebSocket, &mut Deflater::default()).unwrap();
    u32::from_le_bytes(frame[..].try_into().unwrap())
}

fn reads(connection: u32) -> Encoding {
    Encoding::ALL[connection as usize % Encoding::ALL.len()]
}

#[derive(Clone, Debug)]
enum Step {
    Subscribe(usize, bool),
    Unsubscribe(usize),
    Publish(bool),
    Run(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40usize, any::<bool>()).prop_map(|(c, p)| Step::Subscribe(c, p)),
        3 => (0..40usize).prop_map(Step::Unsubscribe),
        4 => any::<bool>().prop_map(Step::Publish),
        6 => (1..12usize).prop_map(Step::Run),
    ]
}

#[derive(Default)]
struct World {
    hub: Hub,
    channel: u32,
    places: HashMap<u32, Place>,
    presence: HashMap<u32, bool>,
    owed: HashMap<u32, VecDeque<u32>>,
    published: u32,
}

impl World {
    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Subscribe(connection, presence) => {
                let connection = connection as u32;
                if !self.places.contains_key(&connection) {
                    self.hub.reserve("news");
                    let place = self.hub.subscribe(self.channel, connection, reads(connection), presence);
                    self.places.insert(connection, place);
                    self.presence.insert(connection, presence);
                    self.owed.insert(connection, VecDeque::new());
                }
            }
            Step::Unsubscribe(connection) => {
                if let Some(place) = self.places.remove(&(connection as u32)) {
                    let places = &mut self.places;
                    let gone = self.hub.unsubscribe(place, |moved| {
                        *places.get_mut(&moved.connection).expect("moved ones are subscribed") = moved.place;
                    });
                    assert!(!gone, "the world's own reservation keeps the channel");
                    self.owed.remove(&(connection as u32));
                }
            }
            Step::Publish(presence) => {
                self.published += 1;
                let frames = frames(self.hub.channel(self.channel), self.published);
                let event = if presence { Event::Presence(frames) } else { Event::Publication(frames) };
                self.hub.publish(self.channel, event);
                for (connection, owed) in &mut self.owed {
                    if !presence || self.presence[connection] {
                        owed.push_back(self.published);
                    }
                }
            }
            Step::Run(visits) => self.run(visits),
        }
    }

    fn run(&mut self, visits: usize) {
        let owed = &mut self.owed;
        self.hub.run(visits, visits, |connection, _, frames| {
            let frames = frames.expect("nobody lost anything");
            let expected = owed.get_mut(&connection).expect("only subscribers are visited").pop_front();
            assert_eq!(expected, Some(number(connection, frames)));
        });
    }
}

proptest! {
    #[test]
    fn everybody_gets_everything_once_and_in_order(steps in prop::collection::vec(step(), 1..400)) {
        let mut world = World::default();
        world.channel = world.hub.reserve("news");
        for step in &steps {
            world.apply(step);
            for (connection, place) in &world.places {
                prop_assert_eq!(world.hub.subscriber(place.channel, place.position), Some(*connection));
            }
        }
        for _ in 0..200 {
            world.run(64);
        }
        prop_assert!(world.owed.values().all(VecDeque::is_empty), "owed: {:?}", world.owed);
        prop_assert_eq!(world.hub.bytes(), 0);
    }
}

#[test]
fn events_that_arrive_on_the_way_join_the_same_visit() {
    let mut hub = Hub::default();
    let channel = hub.reserve("news");
    hub.release(channel);
    for connection in 0..8 {
        let channel = hub.reserve("news");
        hub.subscribe(channel, connection, reads(connection), false);
    }
    let channel = hub.find("news").unwrap();
    let event = Event::Publication(frames(hub.channel(channel), 1));
    hub.publish(channel, event);
    let mut visits: Vec<(u32, u32)> = Vec::new();
    let mut record = |c: u32, _: u32, f: Option<&Frames>| visits.push((c, number(c, f.unwrap())));
    hub.run(3, 64, &mut record);
    let event = Event::Publication(frames(hub.channel(channel), 2));
    hub.publish(channel, event);
    assert!(!hub.run(100, 64, &mut record), "eight more visits finish both");
    assert_eq!(visits[3..5], [(3, 1), (3, 2)]);
    assert_eq!(visits.len(), 16);
}

#[test]
fn what_special_subscribers_need_costs_others_nothing() {
    assert_eq!(size_of::<Subscriber>(), 8);
    assert!(size_of::<Channel>() <= 96, "{}", size_of::<Channel>());
}

#[test]
fn a_channel_goes_with_its_last_subscriber() {
    let mut hub = Hub::default();
    let channel = hub.reserve("news");
    let place = hub.subscribe(channel, 1, reads(1), false);
    let event = Event::Publication(frames(hub.channel(channel), 1));
    hub.publish(channel, event);
    assert!(hub.unsubscribe(place, |_| panic!("nobody else is there")));
    assert_eq!((hub.find("news"), hub.channels(), hub.bytes()), (None, 0, 0));
    assert!(!hub.run(10, 10, |_, _, _| panic!("nobody is there")));
}

#[test]
fn jobs_share_the_budget() {
    let mut hub = Hub::default();
    for name in ["large", "small"] {
        for connection in 0..if name == "large" { 1000 } else { 2 } {
            let channel = hub.reserve(name);
            hub.subscribe(channel, connection, reads(connection), false);
        }
    }
    let (large, small) = (hub.find("large").unwrap(), hub.find("small").unwrap());
    for channel in [large, small] {
        let event = Event::Publication(frames(hub.channel(channel), channel));
        hub.publish(channel, event);
    }
    let mut seen_small = 0;
    hub.run(100, 50, |_, channel, _| seen_small += u32::from(channel == small));
    assert_eq!(seen_small, 2);
}

#[test]
fn a_channel_knows_what_its_subscribers_read() {
    let mut hub = Hub::default();
    let channel = hub.reserve("news");
    let read = |hub: &Hub| hub.channel(channel).encodings().collect::<Vec<_>>();
    assert_eq!(read(&hub), []);
    let mut places = HashMap::new();
    for (connection, encoding) in [(1, Encoding::Protobuf), (2, Encoding::Json), (3, Encoding::Protobuf)] {
        hub.reserve("news");
        places.insert(connection, hub.subscribe(channel, connection, encoding, true));
    }
    assert_eq!(read(&hub), Encoding::ALL);
    for (connection, left) in [(2, vec![Encoding::Protobuf]), (1, vec![Encoding::Protobuf]), (3, vec![])] {
        let place = places.remove(&connection).unwrap();
        hub.unsubscribe(place, |moved| {
            places.insert(moved.connection, moved.place);
        });
        assert_eq!(read(&hub), left);
    }
}
