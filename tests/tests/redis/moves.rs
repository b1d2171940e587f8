//! A cluster whose slots move and whose primaries die.

use agent::redis::Place;
use relay::partition::{partition, slot};
use tests::redis::Cluster;

use crate::edge::{Edge, Heard, KEPT, settings};

/// A channel of each of some partitions, and the slot of the first.
fn channels() -> (Vec<String>, u16) {
    let channels: Vec<String> = (0..60).map(|number| format!("channel {number}")).collect();
    let first = slot(partition(&channels[0]));
    (channels, first)
}

#[test]
fn channels_follow_their_slot_and_every_question_is_answered() {
    let cluster = Cluster::start().unwrap();
    let place = Place::Cluster(vec![cluster.nodes[0].address()]);
    let (mut one, mut two) = (Edge::ready(settings(place.clone())), Edge::ready(settings(place)));
    let (channels, moving) = channels();
    let first = channels[0].clone();
    channels.iter().for_each(|channel| one.join(channel));
    assert_eq!(two.publish(&first, b"before", "").0, 1);
    assert_eq!(one.publication(&first).0, 1);
    let from = cluster.primary(moving).unwrap();
    let to = (0..6).find(|node| {
        let role = cluster.nodes[*node].command(&["role"]).unwrap();
        *node != from && role.starts_with("master")
    });
    let mut tickets = Vec::new();
    std::thread::scope(|scope| {
        let migration = scope.spawn(|| cluster.migrate(moving, to.unwrap()).unwrap());
        while !migration.is_finished() {
            tickets.push(two.ask_publish(&first, b"during", "", Some(KEPT)));
            tests::wait::pause(std::time::Duration::from_millis(1));
        }
    });
    let made =
        tickets.into_iter().filter(|ticket| matches!(two.answer(*ticket), Heard::Published { .. })).count();
    one.until("the channel to part", |heard| (*heard == Heard::Parted(first.clone())).then_some(()));
    one.joined(&first);
    let (last, _, _) = two.publish(&first, b"after", "");
    one.until("the publication after", |heard| match heard {
        Heard::Publication { offset, .. } if *offset == last => Some(()),
        _ => None,
    });
    let page = one.read(&first, None, 100_000, false);
    assert!(page.2.len() >= made + 2, "{} of {made}", page.2.len());
    assert!(page.2.iter().zip(1..).all(|((offset, _), wanted)| *offset == wanted));
    // The others stayed.
    for channel in &channels[1..] {
        two.publish(channel, b"x", "");
        one.publication(channel);
    }
}

#[test]
fn a_primary_that_dies_takes_nothing_acknowledged_with_it() {
    let mut cluster = Cluster::start().unwrap();
    let place = Place::Cluster(vec![cluster.nodes[0].address(), cluster.nodes[5].address()]);
    let (mut one, mut two) = (Edge::ready(settings(place.clone())), Edge::ready(settings(place)));
    let (channels, dying) = channels();
    let first = channels[0].clone();
    channels.iter().for_each(|channel| one.join(channel));
    one.enter(&first, "ann");
    two.until_present(&first, &["ann"]);
    let mut made: Vec<u64> = (0..50).map(|_| two.publish(&first, b"x", "").0).collect();
    let killed = cluster.primary(dying).unwrap();
    cluster.nodes[killed].kill().unwrap();
    one.until("the channel to part", |heard| (*heard == Heard::Parted(first.clone())).then_some(()));
    cluster.primary_other_than(dying, killed).unwrap();
    // As a replica of its replica: without one nothing is acknowledged.
    cluster.nodes[killed].run().unwrap();
    one.joined(&first);
    made.push(two.publish(&first, b"y", "").0);
    let last = *made.last().unwrap();
    one.until("the publication after", |heard| match heard {
        Heard::Publication { channel, offset, .. } if *channel == first && *offset == last => Some(()),
        _ => None,
    });
    let there: Vec<u64> = one.read(&first, None, 1000, false).2.iter().map(|(offset, _)| *offset).collect();
    assert!(made.iter().all(|offset| there.contains(offset)), "{made:?} in {there:?}");
    one.until("to be asked who is there", |heard| (*heard == Heard::MembersForgotten).then_some(()));
    one.enter(&first, "ann");
    two.until_present(&first, &["ann"]);
}
