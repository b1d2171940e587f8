//! What every bus over Redis promises, on a single server and on a cluster alike.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use agent::redis::{Place, Settings};
use relay::bus::Ask;
use relay::{Epochs, Kept};
use tests::redis::{Cluster, Server};
use tests::wait;

use crate::edge::{Edge, Heard, KEPT, WITHIN, settings};

/// What tests that run at the same time share.
static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// The shared one, started if nobody has it. A child ends with the thread that has started it, so that is one which outlives tests.
fn shared<T: Send + Sync + 'static>(slot: &Mutex<Weak<T>>, start: fn() -> T) -> Arc<T> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = slot.upgrade() {
        return found;
    }
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let started = Arc::new(start());
        let held = Arc::downgrade(&started);
        sender.send(started).unwrap();
        while held.strong_count() > 0 {
            wait::pause(Duration::from_millis(50));
        }
    });
    let started = receiver.recv().unwrap();
    *slot = Arc::downgrade(&started);
    started
}

/// What a promise is kept on.
enum Servers {
    Star(Arc<Server>),
    Cluster(Arc<Cluster>),
}

impl Servers {
    fn star() -> Self {
        Self::Star(shared(&SERVER, || Server::start().unwrap()))
    }

    fn cluster() -> Self {
        Self::Cluster(shared(&CLUSTER, || Cluster::start().unwrap()))
    }

    fn settings(&self) -> Settings {
        settings(match self {
            Self::Star(server) => Place::Servers(vec![server.address()]),
            Self::Cluster(cluster) => Place::Cluster(cluster.addresses()[..2].to_vec()),
        })
    }

    /// Writes a text under a channel's own kind of key, as somebody else might.
    fn spoil(&self, prefix: &str, kind: char, channel: &str) {
        let tag = relay::partition::TAGS[relay::partition::partition(channel)];
        match self {
            Self::Star(server) => server.command(&["set", &format!("{prefix}:{kind}:{channel}"), "text"]),
            Self::Cluster(cluster) => cluster.nodes[0].command(&[
                "-c",
                "set",
                &format!("{prefix}:{{{tag}}}:{kind}:{channel}"),
                "text",
            ]),
        }
        .unwrap();
    }
}

macro_rules! on_both {
    ($($name:ident)*) => {
        mod star { $(#[test] fn $name() { super::$name(&super::Servers::star(), concat!("star ", stringify!($name))); })* }
        mod cluster {
            $(#[test] fn $name() { super::$name(&super::Servers::cluster(), concat!("cluster ", stringify!($name))); })*
        }
    };
}

on_both! {
    publications_have_their_places_and_reach_every_edge_in_order
    history_is_read_from_either_end
    a_key_makes_one_publication
    without_history_nothing_is_kept
    eight_publishers_at_once_make_one_order
    a_channel_that_has_joined_misses_nothing
    a_channel_that_is_no_longer_wanted_is_silent
    removing_keeps_the_position_and_renewing_begins_anew
    members_are_seen_and_announced_on_every_edge
    members_of_a_dead_edge_leave_once
    words_reach_the_edges_they_are_for
    history_is_bounded_by_size_and_time
    a_key_of_another_type_is_said_and_answered
}

fn publications_have_their_places_and_reach_every_edge_in_order(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let (mut one, mut two) = (Edge::ready(settings.clone()), Edge::ready(settings.clone()));
    one.join(channel);
    two.join(channel);
    let epochs: Vec<String> = (1..=20)
        .map(|number: u64| {
            let (offset, epoch, duplicate) = one.publish(channel, &[number as u8, 0, 255, b'\r', b'\n'], "");
            assert_eq!((offset, duplicate), (number, false));
            epoch
        })
        .collect();
    assert!(epochs.windows(2).all(|pair| pair[0] == pair[1]) && epochs[0].len() == 8);
    for edge in [&mut one, &mut two] {
        for number in 1..=20 {
            assert_eq!(edge.publication(channel), (number, vec![number as u8, 0, 255, b'\r', b'\n']));
        }
    }
}

fn history_is_read_from_either_end(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let mut edge = Edge::ready(settings.clone());
    let (offset, epoch, page) = edge.read(channel, None, 10, false);
    assert_eq!((offset, page), (0, vec![]), "a stream begins by being read");
    for number in 1..=300_u64 {
        edge.ask_publish(channel, &number.to_le_bytes(), "", Some(KEPT));
    }
    assert_eq!(edge.publish(channel, b"last", "").1, epoch, "and goes on with that epoch");
    let offsets = |page: &[(u64, Vec<u8>)]| page.iter().map(|(offset, _)| *offset).collect::<Vec<_>>();
    let (top, _, page) = edge.read(channel, Some(3), 200, false);
    assert_eq!((top, offsets(&page)), (301, (4..=203).collect()));
    assert_eq!(page[0].1, 4_u64.to_le_bytes());
    let (_, _, page) = edge.read(channel, None, 2, true);
    assert_eq!(offsets(&page), [301, 300]);
    assert_eq!(offsets(&edge.read(channel, Some(3), 10, true).2), [2, 1]);
    assert_eq!(offsets(&edge.read(channel, Some(0), 10, true).2), [0; 0]);
    assert_eq!(offsets(&edge.read(channel, Some(u64::MAX), 10, false).2), [0; 0], "past the top is no error");
    assert_eq!(edge.read(channel, None, 0, false), (301, epoch, vec![]));
}

fn a_key_makes_one_publication(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let (mut one, mut two) = (Edge::ready(settings.clone()), Edge::ready(settings.clone()));
    one.join(channel);
    let first = one.publish(channel, b"a", "key");
    assert_eq!((first.0, first.2), (1, false));
    assert_eq!(two.publish(channel, b"b", "key"), (1, first.1, true));
    assert_eq!(two.publish(channel, b"c", "other").0, 2);
    assert_eq!(
        [one.publication(channel), one.publication(channel)],
        [(1, b"a".to_vec()), (2, b"c".to_vec())]
    );
    // Without history there is no place, and still only one of them.
    let plain = format!("{channel} plain");
    one.join(&plain);
    for (number, duplicate) in [false, true].into_iter().enumerate() {
        let ticket = one.ask_publish(&plain, &[number as u8], "key", None);
        let Heard::Published { offset: 0, duplicate: found, .. } = one.answer(ticket) else { panic!() };
        assert_eq!(found, duplicate);
    }
    let ticket = one.ask_publish(&plain, b"end", "", None);
    one.answer(ticket);
    assert_eq!([one.publication(&plain), one.publication(&plain)], [(0, vec![0]), (0, b"end".to_vec())]);
}

fn without_history_nothing_is_kept(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let mut edge = Edge::ready(settings.clone());
    edge.join(channel);
    let ticket = edge.ask_publish(channel, b"x", "", None);
    let answer = edge.answer(ticket);
    assert!(
        matches!(answer, Heard::Published { offset: 0, ref epoch, .. } if epoch.is_empty()),
        "{answer:?}"
    );
    assert_eq!(edge.publication(channel), (0, b"x".to_vec()));
    assert_eq!(edge.read(channel, None, 10, false).2, []);
}

fn eight_publishers_at_once_make_one_order(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    const EACH: u64 = 100;
    let mut listener = Edge::ready(settings.clone());
    listener.join(channel);
    std::thread::scope(|scope| {
        for publisher in 0..8_u64 {
            scope.spawn(move || {
                let mut edge = Edge::ready(settings.clone());
                let tickets: Vec<_> = (0..EACH)
                    .map(|number| edge.ask_publish(channel, &[publisher as u8, number as u8], "", Some(KEPT)))
                    .collect();
                let offsets: Vec<u64> = tickets
                    .into_iter()
                    .map(|ticket| match edge.answer(ticket) {
                        Heard::Published { offset, .. } => offset,
                        other => panic!("{other:?}"),
                    })
                    .collect();
                assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "one edge's own order is kept");
            });
        }
    });
    let heard: Vec<(u64, Vec<u8>)> = (0..8 * EACH).map(|_| listener.publication(channel)).collect();
    assert!(heard.iter().zip(1..).all(|((offset, _), wanted)| *offset == wanted));
    assert_eq!(
        listener.read(channel, None, 8 * EACH as usize, false).2,
        heard,
        "history is what was delivered"
    );
}

fn a_channel_that_has_joined_misses_nothing(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let (mut one, mut two) = (Edge::ready(settings.clone()), Edge::ready(settings.clone()));
    for number in 0..40 {
        let channel = format!("{channel} {number}");
        one.join(&channel);
        let place = two.publish(&channel, b"x", "");
        assert_eq!(one.publication(&channel).0, place.0);
    }
    // Wanted, not wanted and wanted again: what is told is of the last.
    let again = format!("{channel} 0");
    for _ in 0..5 {
        one.redis.ask(Ask::Unwant { channel: again.as_str().into() });
        one.join(&again);
        let place = two.publish(&again, b"y", "");
        assert_eq!(one.publication(&again).0, place.0);
    }
}

fn a_channel_that_is_no_longer_wanted_is_silent(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let mut edge = Edge::ready(settings.clone());
    edge.join(channel);
    edge.redis.ask(Ask::Unwant { channel: channel.into() });
    let wanted = || edge.redis.levels().iter().any(|(name, count)| name.ends_with("_joined") && *count == 0);
    wait::until("the channel to part", WITHIN, || wanted().then_some(())).unwrap();
    let other = format!("{channel} other");
    edge.publish(channel, b"unheard", "");
    edge.join(&other);
    edge.publish(&other, b"heard", "");
    edge.publication(&other);
    assert!(!edge.so_far().iter().any(|heard| matches!(heard, Heard::Publication { .. })));
}

fn removing_keeps_the_position_and_renewing_begins_anew(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let mut edge = Edge::ready(settings.clone());
    let (_, epoch, _) = edge.publish(channel, b"a", "");
    assert!(matches!(edge.remove(channel), Heard::Done { .. }));
    assert_eq!(edge.read(channel, None, 10, false), (1, epoch.clone(), vec![]));
    assert_eq!(edge.publish(channel, b"b", "").0, 2);
    let renew = |epoch| Ask::Renew { channel: channel.into(), epoch };
    edge.redis.ask(renew(Epochs::new(1).draw()));
    assert_eq!(edge.publish(channel, b"c", "").0, 3, "that epoch is not the stream's");
    edge.redis.ask(renew(relay::Epoch::parse(&epoch).unwrap()));
    let (offset, fresh, _) = edge.publish(channel, b"d", "");
    assert!(offset == 1 && fresh != epoch, "{offset} {fresh} {epoch}");
}

fn members_are_seen_and_announced_on_every_edge(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let (mut one, mut two) = (Edge::ready(settings.clone()), Edge::ready(settings.clone()));
    two.join(channel);
    one.enter(channel, "ann");
    one.enter(channel, "bob/1");
    two.enter(channel, "bob/2");
    one.enter(channel, "ann");
    two.until_present(channel, &["ann", "bob", "bob"]);
    one.until_present(channel, &["ann", "bob", "bob"]);
    assert!(matches!(one.counts(channel), Heard::Count { clients: 3, users: 2, .. }));
    one.leave(channel, "ann");
    two.until_present(channel, &["bob", "bob"]);
    let event = |heard: &Heard| match heard {
        Heard::Presence { joined, user, .. } => Some((user.clone(), *joined)),
        _ => None,
    };
    let mut events: Vec<(String, bool)> = (0..4).map(|_| two.until("an event", event)).collect();
    events.sort();
    let wanted = [("ann", false), ("ann", true), ("bob", true), ("bob", true)];
    assert_eq!(events, wanted.map(|(user, joined)| (user.to_owned(), joined)), "once each");
    assert_eq!(two.so_far().iter().find_map(event), None);
}

fn members_of_a_dead_edge_leave_once(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let mut settings = settings.clone();
    settings.prefix = format!("dead {channel}").replace(' ', "-");
    let (mut one, mut two) = (Edge::ready(settings.clone()), Edge::ready(settings.clone()));
    let three = Edge::ready(settings.clone());
    one.join(channel);
    two.join(channel);
    for number in 0..20 {
        three.enter(channel, &format!("u{number:02}"));
    }
    one.enter(channel, "ann");
    let all: Vec<String> =
        std::iter::once("ann".to_owned()).chain((0..20).map(|n| format!("u{n:02}"))).collect();
    two.until_present(channel, &all.iter().map(String::as_str).collect::<Vec<_>>());
    drop(three);
    two.until_present(channel, &["ann"]);
    for edge in [&mut one, &mut two] {
        for _ in 0..20 {
            edge.until("a leave", |heard| {
                matches!(heard, Heard::Presence { joined: false, .. }).then_some(())
            });
        }
    }
    // The script that removes them tells of it before its caller has counted.
    let reaped = || one.total("members_reaped") + two.total("members_reaped");
    wait::until("the count", WITHIN, || (reaped() >= 20).then_some(())).unwrap();
    assert_eq!(reaped(), 20);
    let left = |heard: &Heard| matches!(heard, Heard::Presence { joined: false, .. });
    assert!(!one.so_far().iter().any(left) && !two.so_far().iter().any(left));
}

fn words_reach_the_edges_they_are_for(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let mut settings = settings.clone();
    settings.prefix = channel.replace(' ', "-");
    let mut edges: Vec<Edge> = (0..3).map(|_| Edge::ready(settings.clone())).collect();
    let ids: Vec<_> = edges.iter().map(|edge| edge.id).collect();
    for edge in &mut edges {
        let others: Vec<_> = ids.iter().copied().filter(|id| *id != edge.id).collect();
        edge.until("the others", |heard| (*heard == Heard::Edges(others.clone())).then_some(()));
    }
    for number in 0..10_u8 {
        edges[0].redis.ask(Ask::Send { to: None, body: vec![number] });
        edges[0].redis.ask(Ask::Send { to: Some(ids[2]), body: vec![100 + number] });
    }
    let words = |edge: &mut Edge, count: usize| -> Vec<u8> {
        let next = |heard: &Heard| match heard {
            Heard::Message { from, body } if *from == ids[0] => Some(body[0]),
            _ => None,
        };
        (0..count).map(|_| edge.until("words", next)).collect()
    };
    assert_eq!(words(&mut edges[1], 10), (0..10).collect::<Vec<u8>>());
    let both: Vec<u8> = (0..10).flat_map(|number| [number, 100 + number]).collect();
    assert_eq!(words(&mut edges[2], 20), both);
    assert!(!edges[0].so_far().iter().any(|heard| matches!(heard, Heard::Message { .. })), "not to itself");
    drop(edges.pop());
    edges[0].until("one to be gone", |heard| (*heard == Heard::Edges(vec![ids[1]])).then_some(()));
}

fn history_is_bounded_by_size_and_time(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let mut edge = Edge::ready(settings.clone());
    let kept = Kept { size: 3, ttl: Duration::from_millis(300), meta_ttl: Duration::from_secs(60) };
    let mut last = None;
    for number in 0..10 {
        last = Some(edge.ask_publish(channel, &[number], "", Some(kept)));
    }
    edge.answer(last.unwrap());
    let page = edge.read(channel, None, 100, false).2;
    assert!(page.len() <= 3 && page.iter().all(|(offset, _)| *offset >= 8), "{page:?}");
    let empty = |edge: &mut Edge| edge.read(channel, None, 100, false);
    let found = wait::until("history to be over", WITHIN, || {
        Some(empty(&mut edge)).filter(|(_, _, page)| page.is_empty())
    });
    assert_eq!(found.unwrap().0, 10, "the position lives on");
}

fn a_key_of_another_type_is_said_and_answered(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let mut edge = Edge::ready(settings.clone());
    edge.publish(channel, b"x", "");
    servers.spoil(&settings.prefix, 's', channel);
    let ticket = edge.ask_publish(channel, b"x", "", Some(KEPT));
    assert!(matches!(edge.answer(ticket), Heard::Failed { .. }));
    let ticket = edge.ask_read(channel, None, 1, false);
    assert!(matches!(edge.answer(ticket), Heard::Failed { .. }));
    assert!(edge.total("errors") >= 2);
    edge.publish(&format!("{channel} other"), b"x", "");
}
