//! One stream on its way from `a` to `b`, word by word: the link is cut before it came or before its answer did, and either goes on.

use std::time::Duration;

use wire::link::Publication;
use wire::settings::{Namespace, Settings};

use super::follower::KEPT;
use crate::bus::{Ask, EdgeId, Tell, Ticket};
use crate::mesh::{List, Mesh};
use crate::{Limits, LinkId, Transmit};

/// Where a publication went: epoch and offset.
type Place = (String, u64);

struct Two {
    now: Duration,
    channel: String,
    edges: [Mesh; 2],
    links: Option<[LinkId; 2]>,
    runs: [u64; 2],
}

fn list(names: &[&str]) -> List {
    List::new(names.iter().copied()).unwrap()
}

fn edge(now: Duration, name: &str, names: &[&str], run: u64) -> Mesh {
    let kept = Namespace { history_size: 9, history_ttl_ms: 60_000, ..Namespace::default() };
    let settings = Settings { default_namespace: kept, ..Settings::default() };
    Mesh::new(now, name, list(names), &settings, &Limits::default(), (run, run))
}

impl Two {
    /// `a` was alone and has one publication in a channel of `b`'s, which has just come; the result is its epoch as well.
    fn new() -> (Self, String) {
        let channel =
            (0..).map(|number| format!("c{number}")).find(|name| list(&["a", "b"]).owner(name) == 1);
        let now = Duration::ZERO;
        let edges = [edge(now, "a", &["a"], 1), edge(now, "b", &["a", "b"], 2)];
        let mut two = Self { now, channel: channel.unwrap(), edges, links: None, runs: [1, 2] };
        let (epoch, offset) = two.publish(0).unwrap();
        assert_eq!(offset, 1);
        two.edges[0].change(now, list(&["a", "b"]), &mut |_| ());
        two.link();
        (two, epoch)
    }

    fn link(&mut self) {
        self.cut();
        let [a, b] = &mut self.edges;
        let one = a.opened(self.now, "b", EdgeId(self.runs[1]), &mut |_| ()).unwrap();
        let other = b.opened(self.now, "a", EdgeId(self.runs[0]), &mut |_| ()).unwrap();
        self.links = Some([one, other]);
    }

    fn cut(&mut self) {
        let Some(links) = self.links.take() else { return };
        for (edge, link) in self.edges.iter_mut().zip(links) {
            edge.closed(self.now, link, &mut |_| ());
        }
    }

    /// What `from` has to say arrives, or is lost on its way.
    fn carry(&mut self, from: usize, arrives: bool) {
        let links = self.links.unwrap();
        let mut out = Vec::new();
        while self.edges[from].transmit(self.now, links[from], &mut out) == Transmit::Write {
            if arrives {
                self.edges[1 - from].receive(self.now, links[1 - from], &out, &mut |_| ()).unwrap();
            }
        }
    }

    fn settle(&mut self) {
        (0..20).for_each(|turn| self.carry(turn % 2, true));
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.edges.iter_mut().for_each(|edge| edge.expire(self.now, &mut |_| ()));
    }

    /// To the channel, at an edge that owns it.
    fn publish(&mut self, at: usize) -> Option<Place> {
        let body = wire::bus::body(&Publication { data: b"x", ..Publication::default() }).unwrap();
        let (ticket, channel) = (Ticket(1), self.channel.as_str().into());
        let ask = Ask::Publish { ticket, channel, body, key: Box::default(), kept: Some(KEPT) };
        let mut place = None;
        self.edges[at].ask(self.now, ask, &mut |tell| {
            if let Tell::Published { offset, epoch, .. } = tell {
                place = Some((epoch.to_owned(), offset));
            }
        });
        place
    }

    /// Until `b` has the stream, and `a` has not heard so; then they have no link.
    fn lose_the_answer(&mut self) {
        self.carry(1, true);
        self.carry(0, true);
        assert_eq!(self.edges[1].counters().streams_arrived, 1);
        assert_eq!(self.edges[0].counters().streams_left, 0);
        self.cut();
    }
}

#[test]
fn a_stream_whose_answer_was_lost_begins_anew_when_its_edge_is_gone() {
    let (mut two, epoch) = Two::new();
    two.lose_the_answer();
    two.pass(6);
    assert_eq!(two.publish(1), Some((epoch.clone(), 2)), "the new owner has gone on with it");
    two.edges[0].change(two.now, list(&["a"]), &mut |_| ());
    assert_eq!(two.publish(0), None, "the new owner may still hand it back");
    two.pass(6);
    assert_ne!(two.publish(0).unwrap().0, epoch);
}

#[test]
fn a_stream_whose_answer_was_lost_comes_back_as_it_is_by_then() {
    let (mut two, epoch) = Two::new();
    two.lose_the_answer();
    two.link();
    two.settle();
    assert_eq!(two.publish(1), Some((epoch.clone(), 2)));
    for edge in &mut two.edges {
        edge.change(two.now, list(&["a"]), &mut |_| ());
    }
    two.settle();
    assert_eq!(two.publish(0), Some((epoch, 3)));
}

#[test]
fn another_run_of_the_edge_that_may_have_had_a_stream_begins_it_anew() {
    let (mut two, epoch) = Two::new();
    two.lose_the_answer();
    two.edges[1] = edge(two.now, "b", &["a", "b"], 3);
    two.runs[1] = 3;
    two.link();
    two.settle();
    assert_ne!(two.publish(1).unwrap().0, epoch);
}

#[test]
fn a_stream_that_was_lost_on_its_way_goes_again_as_it_was() {
    let (mut two, epoch) = Two::new();
    two.carry(1, true);
    two.carry(0, false);
    two.cut();
    two.link();
    two.settle();
    assert_eq!(two.publish(1), Some((epoch, 2)));
    assert_eq!(two.edges[0].counters().streams_left, 1);
}

#[test]
fn nothing_is_settled_before_everything_was_taken() {
    let (mut two, epoch) = Two::new();
    two.carry(1, true);
    two.carry(0, true);
    assert_eq!(two.publish(1), None, "the old owner has not let go of it");
    two.settle();
    assert_eq!(two.publish(1), Some((epoch, 2)));
}

#[test]
fn a_stream_that_the_list_gives_back_on_its_way_is_served_where_it_was_left() {
    let (mut two, epoch) = Two::new();
    two.carry(1, true);
    two.edges[1].change(two.now, list(&["a"]), &mut |_| ());
    two.carry(0, true);
    two.edges[0].change(two.now, list(&["a"]), &mut |_| ());
    assert_eq!(two.publish(0), None, "it may have been taken");
    two.settle();
    assert_eq!(two.publish(0), Some((epoch, 2)));
    assert_eq!(two.edges[1].counters().streams_arrived, 0);
}
