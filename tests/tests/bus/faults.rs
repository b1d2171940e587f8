//! A relay that is killed: whoever was on it, and whoever was not.

use crate::place::{Bus, channels};
use crate::shard::{Heard, Place, Shard, offsets};

/// Publishes some, each once whatever becomes of it; the place of the last.
fn publish(shard: &mut Shard, channel: &str, numbers: std::ops::RangeInclusive<u8>) -> Place {
    let each = numbers.map(|number| shard.publish_once(channel, &[number], &number.to_string()).0);
    each.last().unwrap()
}

pub(crate) fn subscribers_of_a_relay_that_was_killed_recover_or_begin_anew(bus: &'static Bus, test: &str) {
    let mut place = bus.own_place();
    let last = place.edges.len() - 1;
    let (mut here, mut there) = (place.shard(last), place.shard(0));
    let channels = channels("kept", test);
    let mut was = Vec::new();
    for channel in &channels {
        here.subscribe(channel);
        was.push(publish(&mut there, channel, 1..=5));
        assert_eq!([(); 5].map(|()| here.publication(channel).offset), [1, 2, 3, 4, 5]);
    }
    place.edges[last].kill_relay().unwrap();
    // Meanwhile those publish who can.
    let kept = |channel: &str| !bus.is_kept_by(channel, last);
    for channel in channels.iter().filter(|channel| kept(channel)) {
        publish(&mut there, channel, 6..=8);
    }
    place.edges[last].restart_relay().unwrap();
    bus.joined(&place.edges[last]);
    let (mut here, mut there) = (place.shard(last), place.shard(0));
    for (channel, was) in channels.iter().zip(&was) {
        let (at, recovered) = here.recover(channel, was);
        if kept(channel) {
            assert_eq!(at, was.at(8));
            assert_eq!(offsets(&recovered.unwrap()), [6, 7, 8]);
        } else {
            assert!(at.offset == 0 && at.epoch != was.epoch && recovered.is_none(), "{at:?} after {was:?}");
        }
        let next = publish(&mut there, channel, 9..=9);
        assert_eq!(next, at.at(at.offset + 1));
        assert_eq!(here.publication(channel).offset, next.offset);
    }
}

pub(crate) fn subscribers_elsewhere_hear_of_everything_or_are_told(bus: &'static Bus, test: &str) {
    let mut place = bus.own_place();
    let dead = place.edges.len() - 1;
    let (mut here, mut there) = (place.shard(0), place.shard(dead));
    let channels = channels("kept", test);
    for channel in &channels {
        here.subscribe(channel);
        publish(&mut there, channel, 1..=5);
    }
    place.edges[dead].kill_relay().unwrap();
    drop(there);
    place.edges[dead].restart_relay().unwrap();
    bus.joined(&place.edges[dead]);
    let mut there = place.shard(dead);
    for channel in &channels {
        assert_eq!([(); 5].map(|()| here.publication(channel).offset), [1, 2, 3, 4, 5]);
        let told = |heard: &Heard| matches!(heard, Heard::Insufficient { channel: of } if of == channel);
        if bus.is_kept_by(channel, dead) {
            here.until("to be told", |heard| told(heard).then_some(()));
            here.subscribe(channel);
        }
        let next = publish(&mut there, channel, 6..=7);
        let heard = [(); 2].map(|()| here.publication(channel).offset);
        assert_eq!(heard, [next.offset - 1, next.offset]);
        assert!(!here.has_heard(told));
    }
}
