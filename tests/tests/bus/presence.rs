//! Who is in a channel, and who is told of it.

use wire::code;
use wire::link::ToRelay;

use crate::place::{Bus, channels};
use crate::shard::{Heard, Shard, info};

fn is_event(heard: &Heard) -> bool {
    matches!(heard, Heard::Joined { .. } | Heard::Left { .. })
}

pub(crate) fn members_are_seen_and_announced_once_from_everywhere(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let mut shards = place.shards();
    let last = shards.len() - 1;
    for channel in &channels("room", test) {
        shards.iter_mut().for_each(|shard| drop(shard.subscribe(channel)));
        shards[0].enter(channel, "ann");
        shards[0].enter(channel, "ann");
        shards[0].enter(channel, "bob/1");
        shards[1].enter(channel, "bob/2");
        for shard in &mut shards {
            shard.until_present(channel, &["ann", "bob", "bob"]);
            assert_eq!(shard.counted(channel), (3, 2));
            [("ann", true), ("bob", true), ("bob", true)]
                .iter()
                .for_each(|(user, joined)| shard.until_told(channel, user, *joined));
        }
        shards[0].leave(channel, "ann");
        shards[0].leave(channel, "ann");
        for shard in &mut shards {
            shard.until_told(channel, "ann", false);
            shard.until_present(channel, &["bob", "bob"]);
        }
        shards[1].leave(channel, "bob/2");
        shards[0].leave(channel, "bob/1");
        for shard in &mut shards {
            (0..2).for_each(|_| shard.until_told(channel, "bob", false));
            shard.until_present(channel, &[]);
            assert_eq!(shard.counted(channel), (0, 0));
        }
        shards[0].publish(channel, b"after");
        shards[last].publication(channel);
        assert!(!shards.iter().any(|shard| shard.has_heard(is_event)), "each once");
    }
}

pub(crate) fn what_is_not_to_be_seen_or_told_is_not(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let (mut here, mut there) = (place.shard(0), place.shard(1));
    let [room, kept] = ["room", "kept"].map(|namespace| channels(namespace, test).swap_remove(0));
    there.subscribe(&room);
    // One that is told of and not seen, one that is seen and not told of, one of both kinds.
    for (name, presence, announced) in [("ann", false, true), ("bob", true, false), ("eve", true, true)] {
        here.say(&ToRelay::Enter { channel: &room, presence, announced, info: info(name) });
    }
    here.flush();
    there.until_told(&room, "eve", true);
    there.until_told(&room, "ann", true);
    there.until_present(&room, &["bob", "eve"]);
    assert!(!there.has_heard(is_event));
    for shard in [&mut here, &mut there] {
        let asked = shard.settled(|request| ToRelay::Presence { request, channel: &kept });
        assert_eq!(asked, Err(code::NOT_AVAILABLE.code));
        let asked = shard.settled(|request| ToRelay::PresenceStats { request, channel: &kept });
        assert_eq!(asked, Err(code::NOT_AVAILABLE.code));
    }
}

pub(crate) fn members_of_a_lost_link_leave_after_the_grace_unless_they_are_back(
    bus: &'static Bus,
    test: &str,
) {
    let place = bus.place();
    let (mut lost, mut again, mut there) = (place.shard(0), place.shard(0), place.shard(1));
    let channels = channels("room", test);
    for channel in &channels {
        there.subscribe(channel);
        lost.enter(channel, "ann");
        lost.enter(channel, "bob");
        there.until_present(channel, &["ann", "bob"]);
        ["ann", "bob"].iter().for_each(|user| there.until_told(channel, user, true));
    }
    drop(lost);
    channels.iter().for_each(|channel| again.enter(channel, "ann"));
    for channel in &channels {
        there.until_told(channel, "bob", false);
        there.until_present(channel, &["ann"]);
    }
    assert!(!there.has_heard(is_event), "who came back was never away");
}

pub(crate) fn members_of_a_dead_edge_leave_once(bus: &'static Bus, test: &str) {
    let mut place = bus.own_place();
    // Whoever keeps the channel's members has to live for others to be told.
    let dead = place.edges.len() - 1;
    let mut rooms = channels("room", test);
    rooms.retain(|channel| !bus.is_kept_by(channel, dead));
    let mut alive: Vec<Shard> = (0..dead).map(|edge| place.shard(edge)).collect();
    let mut there = place.shard(dead);
    for channel in &rooms {
        alive.iter_mut().for_each(|shard| drop(shard.subscribe(channel)));
        ["ann", "bob"].iter().for_each(|user| there.enter(channel, user));
        alive[0].enter(channel, "eve");
        for shard in &mut alive {
            shard.until_present(channel, &["ann", "bob", "eve"]);
            ["ann", "bob", "eve"].iter().for_each(|user| shard.until_told(channel, user, true));
        }
    }
    place.edges[dead].kill_relay().unwrap();
    for shard in &mut alive {
        for channel in &rooms {
            shard.until_present(channel, &["eve"]);
            ["ann", "bob"].iter().for_each(|user| shard.until_told(channel, user, false));
        }
    }
    for channel in &rooms {
        alive[0].publish(channel, b"after");
        alive.iter_mut().for_each(|shard| drop(shard.publication(channel)));
    }
    assert!(!alive.iter().any(|shard| shard.has_heard(is_event)), "once");
}
