//! A mesh of several edges in one world: connections that are cut, late and slow, edges that restart, come and leave, lists that change.
//!
//! Method: one seed makes everything. Followers like a broker's watch offsets and read again; a checker knows what was acknowledged. Planted
//! bugs show that it would find some.

mod faults;
mod follower;
mod lent;
mod sum;
mod world;

use std::time::Duration;

use crate::bus::{Ask, EdgeId, Tell, Ticket};
use crate::mesh::{List, Mesh};
use crate::{LinkId, Transmit};
use faults::Bug;
use world::{Plan, World};

/// Everything of a world that a seed makes, with faults; then without, until nothing moves.
fn run(seed: u64, plan: Plan) -> Result<World, String> {
    let mut world = World::new(seed, plan);
    world.run()?;
    Ok(world)
}

/// As many as are quick, or `MESH_SEEDS` of them.
fn seeds(quick: u64) -> std::ops::Range<u64> {
    0..std::env::var("MESH_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(quick)
}

#[test]
fn nothing_acknowledged_is_lost_while_links_are_cut_and_healed() {
    for seed in seeds(12) {
        let world = run(seed, Plan::cuts(2 + seed as usize % 7)).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!(world.told(), 0, "seed {seed}: no owner was lost, so nobody has to begin anew");
        assert!(world.delivered() > 100, "seed {seed}: something happened");
    }
}

#[test]
fn whoever_followed_an_owner_that_restarted_is_told_or_has_everything() {
    let told: usize = seeds(12)
        .map(|seed| {
            let plan = Plan { restarts: true, ..Plan::cuts(2 + seed as usize % 7) };
            run(seed, plan).unwrap_or_else(|wrong| panic!("{wrong}")).told()
        })
        .sum();
    assert!(told > 0, "somebody was told");
}

#[test]
fn streams_move_with_the_list_and_nobody_has_to_begin_anew() {
    let mut moved = 0;
    for seed in seeds(12) {
        let plan = Plan { lists: true, ..Plan::quiet(3 + seed as usize % 6) };
        let world = run(seed, plan).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!(world.told(), 0, "seed {seed}: every stream was handed over");
        moved += world.moved();
    }
    assert!(moved > 60, "streams have moved: {moved}");
}

#[test]
fn edges_restart_leave_and_come_while_links_are_cut_and_lists_change() {
    for seed in seeds(16) {
        let plan = Plan { restarts: true, lists: true, ..Plan::cuts(2 + seed as usize % 7) };
        run(seed, plan).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
}

/// An owner hands a stream over and does not hear that it was taken; the new one goes on with it and dies, and the list gives the channel
/// back.
#[test]
fn a_stream_that_another_edge_may_have_gone_on_with_is_not_served_again() {
    let plan = Plan { restarts: true, lists: true, ..Plan::cuts(8) };
    run(90, plan).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn many_edges_converge() {
    for edges in [16, 32] {
        run(7, Plan { seconds: 6, ..Plan::cuts(edges) }).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
}

#[test]
fn a_lost_word_of_a_table_is_found_by_its_version_and_a_snapshot_sent() {
    let again: u64 = (0..16)
        .map(|seed| {
            let plan = Plan { bug: Some(Bug::TableLost), ..Plan::cuts(4) };
            run(seed, plan).unwrap_or_else(|wrong| panic!("{wrong}")).again()
        })
        .sum();
    assert!(again > 0, "some snapshot was asked for");
}

#[test]
fn planted_bugs_are_found() {
    for bug in
        [Bug::PublicationLost, Bug::PublicationTwice, Bug::OrderChanged, Bug::OwnerInHaste, Bug::MembersLost]
    {
        let lists = bug == Bug::OwnerInHaste;
        let found = (0..24).any(|seed| {
            let plan = Plan { bug: Some(bug), lists, ..Plan::quiet(4) };
            run(seed, plan).map_or(true, |world| lists && world.told() > 0)
        });
        assert!(found, "{bug:?} is not found");
    }
}

#[test]
fn the_same_seed_makes_the_same_world() {
    let trace = |seed| {
        let plan = Plan { restarts: true, lists: true, ..Plan::cuts(5) };
        run(seed, plan).unwrap_or_else(|wrong| panic!("{wrong}")).trace()
    };
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4));
}

#[test]
fn a_cut_is_noticed_within_seconds() {
    let mut world = World::new(1, Plan { seconds: 0, ..Plan::quiet(2) });
    world.pass(Duration::from_secs(2));
    assert_eq!(world.links_up(), 2);
    world.cut(0, 1);
    world.pass(crate::limits::SILENCE_MAX + Duration::from_millis(300));
    assert_eq!(world.links_up(), 0);
}

/// Two edges that pass bytes to each other at once.
struct Pair {
    edges: [Mesh; 2],
    links: [LinkId; 2],
    heard: [Vec<String>; 2],
}

impl Pair {
    fn new() -> Self {
        let list = List::new(["a", "b"]).unwrap();
        let (settings, limits) = (wire::settings::Settings::default(), crate::Limits::default());
        let edge =
            |name: &str, run| Mesh::new(Duration::ZERO, name, list.clone(), &settings, &limits, (run, run));
        let mut edges = [edge("a", 1), edge("b", 2)];
        let links = [
            edges[0].opened(Duration::ZERO, "b", EdgeId(2), &mut |_| ()).unwrap(),
            edges[1].opened(Duration::ZERO, "a", EdgeId(1), &mut |_| ()).unwrap(),
        ];
        let mut pair = Self { edges, links, heard: Default::default() };
        pair.settle();
        pair
    }

    fn ask(&mut self, edge: usize, ask: Ask) {
        let heard = &mut self.heard[edge];
        self.edges[edge].ask(Duration::ZERO, ask, &mut |tell| heard.push(format!("{tell:?}")));
        self.settle();
    }

    fn settle(&mut self) {
        let mut out = Vec::new();
        for _ in 0..100 {
            for edge in [0, 1] {
                if self.edges[edge].transmit(Duration::ZERO, self.links[edge], &mut out) == Transmit::Write {
                    let heard = &mut self.heard[1 - edge];
                    let other = &mut self.edges[1 - edge];
                    let mut told = |tell: Tell<'_>| heard.push(format!("{tell:?}"));
                    other.receive(Duration::ZERO, self.links[1 - edge], &out, &mut told).unwrap();
                }
            }
        }
    }
}

#[test]
fn words_between_relays_go_to_one_or_to_all_others_and_never_back() {
    let mut pair = Pair::new();
    pair.ask(0, Ask::Send { to: None, body: b"all".to_vec() });
    pair.ask(0, Ask::Send { to: Some(EdgeId(2)), body: b"one".to_vec() });
    pair.ask(0, Ask::Send { to: Some(EdgeId(1)), body: b"me".to_vec() });
    pair.ask(0, Ask::Send { to: Some(EdgeId(9)), body: b"who".to_vec() });
    assert!(pair.heard[0].is_empty(), "{:?}", pair.heard[0]);
    let message = |body: &[u8]| format!("{:?}", Tell::Message { from: EdgeId(1), body });
    assert_eq!(pair.heard[1], [message(b"all"), message(b"one")]);
    let mut told = Vec::new();
    pair.edges[0].closed(Duration::ZERO, pair.links[0], &mut |tell| told.push(format!("{tell:?}")));
    assert_eq!(told, [format!("{:?}", Tell::Edges(&[]))]);
}

#[test]
fn a_position_past_the_top_is_answered_with_an_empty_page() {
    let mut pair = Pair::new();
    let namespaces =
        wire::settings::Namespace { history_size: 3, history_ttl_ms: 60_000, ..Default::default() };
    let settings = wire::settings::Settings { default_namespace: namespaces, ..Default::default() };
    for edge in [0, 1] {
        pair.edges[edge].configure(Duration::ZERO, &settings, &mut |_| ());
    }
    pair.settle();
    // One of them is of the other edge.
    for number in 0..8 {
        let channel = format!("c{number}").into();
        let read = Ask::Read {
            ticket: Ticket(number),
            channel,
            since: Some(5),
            limit: 9,
            reverse: false,
            kept: follower::KEPT,
        };
        pair.ask(0, read);
        let page = pair.heard[0].pop().unwrap();
        assert!(page.starts_with("Page") && page.ends_with("publications: [] }"), "{page}");
    }
}

#[test]
fn where_nothing_is_kept_a_channel_is_joined_once_both_edges_that_pass_it_on_know() {
    let joined = |channel: &str| format!("{:?}", Tell::Joined { channel });
    let want = |pair: &mut Pair, channel: &str| {
        let heard = &mut pair.heard[0];
        let mut told = |tell: Tell<'_>| heard.push(format!("{tell:?}"));
        pair.edges[0].ask(Duration::ZERO, Ask::Want { channel: channel.into() }, &mut told);
        assert!(pair.heard[0].is_empty(), "the other edge does not know: {:?}", pair.heard[0]);
    };
    let mut pair = Pair::new();
    // Some of them are the other edge's.
    for number in 0..8 {
        let channel = format!("c{number}");
        want(&mut pair, &channel);
        pair.settle();
        assert_eq!(pair.heard[0].split_off(0), [joined(&channel)]);
    }
    // An edge that goes is not waited for.
    want(&mut pair, "c9");
    let mut told = Vec::new();
    pair.edges[0].closed(Duration::ZERO, pair.links[0], &mut |tell| told.push(format!("{tell:?}")));
    assert_eq!(told[0], joined("c9"));
    assert!(!told.iter().any(|tell| tell.starts_with("Parted")), "{told:?}");
}

proptest::proptest! {
    #[test]
    fn what_another_edge_may_say_harms_nobody(
        frames in proptest::collection::vec((0u8..4, proptest::collection::vec(0u8..32, 0..40)), 0..60),
    ) {
        let list = List::new(["a", "b"]).unwrap();
        let (settings, limits) = (wire::settings::Settings::default(), crate::Limits::default());
        let mut mesh = Mesh::new(Duration::ZERO, "a", list.clone(), &settings, &limits, (1, 1));
        let now = Duration::from_secs(1);
        let mut link = mesh.opened(now, "b", EdgeId(2), &mut |_| ()).unwrap();
        let mut bytes = Vec::new();
        let word = wire::mesh::Word::List { digest: list.digest(), heard: 0 };
        wire::mesh::encode(wire::mesh::Class::Word, &word, &mut bytes).unwrap();
        mesh.receive(now, link, &bytes, &mut |_| ()).unwrap();
        for (class, body) in frames {
            let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
            bytes[3] = class;
            bytes.extend(body);
            if mesh.receive(now, link, &bytes, &mut |_| ()).is_err() {
                link = mesh.opened(now, "b", EdgeId(2), &mut |_| ()).unwrap();
            }
        }
        mesh.expire(now, &mut |_| ());
    }
}
