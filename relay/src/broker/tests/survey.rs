//! Questions of the server API: to every shard here, and through words to those of other relays.

use wire::link::{SESSION_BYTES, ToRelay};
use wire::survey::{Act, Answer, Command, Question, Users};

use super::*;
use crate::Following;
use crate::Name;
use crate::bus::{Ask, EdgeId, Tell};

/// The server API's link.
const API: LinkId = LinkId(8);
const HERE: EdgeId = EdgeId(1);
const THERE: EdgeId = EdgeId(2);

fn command() -> Question {
    let act = Act::Disconnect { code: 3503, reason: "bye".to_owned(), keep: Vec::new() };
    Question::Command(Command { user: "ann".to_owned(), client: None, session: None, act })
}

fn edge(name: &str) -> World {
    let mut world = world();
    world.broker.link_named(A, 7, 0);
    world.broker.link_named(B, 7, 1);
    world.broker.introduce(Name { uid: name.to_owned(), name: name.to_owned() });
    world.open(API);
    world
}

fn ask(world: &mut World, question: Question) -> u32 {
    world.ask(API, |request| ToRelay::Survey { request, question: Box::new(question) })
}

fn number_of(seen: &[Seen]) -> u32 {
    match seen {
        [Seen::Survey { number, .. }] => *number,
        other => panic!("wanted one question, got {other:?}"),
    }
}

fn sessions(sessions: u32) -> Answer {
    Answer { sessions, ..Answer::default() }
}

fn answer(world: &mut World, link: LinkId, answer: Answer) {
    let number = number_of(&world.take(link));
    world.send(link, &ToRelay::Surveyed { number, answer: Box::new(answer) });
}

fn surveyed(world: &mut World) -> Answer {
    match &world.take(API)[..] {
        [Seen::Surveyed(answer)] => answer.clone(),
        other => panic!("wanted an answer, got {other:?}"),
    }
}

/// Carries words from one edge to the other, as a bus would.
fn carry(from: &mut World, sender: EdgeId, to: &mut World) {
    while let Some(Ask::Send { body, .. }) = from.broker.ask() {
        to.broker.tell(to.now, &Tell::Message { from: sender, body: &body });
    }
}

#[test]
fn every_shard_is_asked_and_the_answers_add_up() {
    let mut world = edge("here");
    ask(&mut world, command());
    answer(&mut world, A, sessions(1));
    assert_eq!(world.take(API), []);
    answer(&mut world, B, sessions(2));
    assert_eq!(surveyed(&mut world), sessions(3));
    assert!(world.broker.ask().is_none(), "there is nobody else");
}

#[test]
fn a_shard_that_goes_or_is_silent_is_missing() {
    let mut world = edge("here");
    ask(&mut world, command());
    world.close(A);
    answer(&mut world, B, sessions(2));
    assert_eq!(surveyed(&mut world), Answer { missing: 1, ..sessions(2) });
    ask(&mut world, command());
    world.pass(Duration::from_secs(1));
    assert_eq!(surveyed(&mut world), Answer { missing: 1, ..sessions(0) });
}

#[test]
fn a_gateway_may_not_ask_what_is_for_the_server_api() {
    let mut world = edge("here");
    world.ask(A, |request| ToRelay::Survey { request, question: Box::new(command()) });
    world.ask(A, |request| ToRelay::Remove { request, channel: "chat:1" });
    let refused = Seen::Failed { code: code::PERMISSION_DENIED.code };
    assert_eq!(world.take(A), [refused.clone(), refused]);
    assert_eq!(world.take(B), []);
}

#[test]
fn shards_of_other_edges_are_asked_through_their_relays() {
    let (mut here, mut there) = (edge("here"), edge("there"));
    here.broker.tell(Duration::ZERO, &Tell::Edges(&[THERE]));
    there.broker.tell(Duration::ZERO, &Tell::Edges(&[HERE]));
    ask(&mut here, command());
    carry(&mut here, HERE, &mut there);
    for link in [A, B] {
        answer(&mut here, link, sessions(1));
        answer(&mut there, link, sessions(1));
    }
    assert_eq!(here.take(API), [], "the other relay has not answered");
    carry(&mut there, THERE, &mut here);
    assert_eq!(surveyed(&mut here), sessions(4));
    assert!(there.broker.ask().is_none(), "a relay that was asked asks no others");
}

#[test]
fn a_relay_that_goes_or_is_silent_is_missing() {
    let mut world = edge("here");
    world.broker.tell(Duration::ZERO, &Tell::Edges(&[THERE]));
    ask(&mut world, command());
    answer(&mut world, A, sessions(1));
    answer(&mut world, B, sessions(1));
    world.broker.tell(Duration::ZERO, &Tell::Edges(&[]));
    world.pass(Duration::ZERO);
    assert_eq!(surveyed(&mut world), Answer { missing: 1, ..sessions(2) });
}

#[test]
fn relays_say_what_they_are_and_what_their_shards_counted() {
    let (mut here, mut there) = (edge("here"), edge("there"));
    here.broker.tell(Duration::ZERO, &Tell::Edges(&[THERE]));
    there.broker.tell(Duration::ZERO, &Tell::Edges(&[HERE]));
    here.subscribe(A, "chat:1", None);
    here.subscribe(B, "chat:1", None);
    here.pass(Duration::from_secs(3));
    ask(&mut here, Question::Census);
    carry(&mut here, HERE, &mut there);
    let counted = || {
        let mut answer = Answer::default();
        (answer.census.clients, answer.census.subscriptions) = (2, 3);
        let mut users = Users::default();
        users.insert("ann");
        answer.census.users = users;
        answer
    };
    for link in [A, B] {
        answer(&mut here, link, counted());
        answer(&mut there, link, counted());
    }
    carry(&mut there, THERE, &mut here);
    let nodes = surveyed(&mut here).nodes;
    let shown: Vec<_> =
        nodes.iter().map(|node| (&*node.uid, node.clients, node.users, node.channels)).collect();
    assert_eq!(shown, [("here", 4, 1, 1), ("there", 4, 1, 0)]);
    assert_eq!((nodes[0].uptime_s, nodes[0].subscriptions), (3, 6));
}

#[test]
fn commands_find_a_session_on_another_edge() {
    let (mut here, mut there) = (edge("here"), edge("there"));
    there.broker.link_named(A, 9, 0);
    here.broker.tell(Duration::ZERO, &Tell::Edges(&[THERE]));
    there.broker.tell(Duration::ZERO, &Tell::Edges(&[HERE]));
    let emulate = |gateway| {
        move |request| ToRelay::Emulate {
            request,
            gateway,
            shard: 0,
            session: [1; SESSION_BYTES],
            data: b"x",
        }
    };
    here.ask(A, emulate(9));
    carry(&mut here, HERE, &mut there);
    let request = match &there.take(A)[..] {
        [Seen::Emulate { asker: 0, request, .. }] => *request,
        other => panic!("{other:?}"),
    };
    there.send(A, &ToRelay::Emulated { asker: 0, request, found: true });
    carry(&mut there, THERE, &mut here);
    assert_eq!(here.take(A), [Seen::Emulated { found: true }]);
    // Nobody has that gateway.
    here.ask(A, emulate(11));
    carry(&mut here, HERE, &mut there);
    carry(&mut there, THERE, &mut here);
    assert_eq!(here.take(A), [Seen::Failed { code: code::NOT_AVAILABLE.code }]);
}

#[test]
fn what_is_no_word_of_a_relay_is_counted() {
    let mut world = edge("here");
    world.broker.tell(Duration::ZERO, &Tell::Message { from: THERE, body: b"what?" });
    assert_eq!(world.broker.counters().words_unheard, 1);
}

#[test]
fn removed_history_leaves_the_position() {
    let mut world = edge("here");
    world.publish(A, "chat:1", "one");
    let epoch = world.epoch(A, "chat:1");
    world.ask(API, |request| ToRelay::Remove { request, channel: "chat:1" });
    assert_eq!(world.take(API), [Seen::Done]);
    let empty = Seen::History { offset: 1, publications: Vec::new() };
    assert_eq!(world.history(A, "chat:1", None, -1, false), empty);
    assert_eq!(world.epoch(A, "chat:1"), epoch);
    assert_eq!(world.publish(A, "chat:1", "two"), Seen::Published { offset: 2 });
    for (channel, error) in [("room:1", code::NOT_AVAILABLE), ("other:1", code::UNKNOWN_CHANNEL)] {
        world.ask(API, |request| ToRelay::Remove { request, channel });
        assert_eq!(world.take(API), [Seen::Failed { code: error.code }]);
    }
}

#[test]
fn what_skips_history_is_delivered_and_has_no_place() {
    let mut world = edge("here");
    world.subscribe(A, "chat:1", None);
    world.ask(API, |request| ToRelay::Publish {
        request,
        channel: "chat:1",
        data: b"now",
        info: None,
        tags: wire::tags::Tags::NONE,
        key: "",
        skip_history: true,
        delta: false,
    });
    assert_eq!(world.take(API), [Seen::Published { offset: 0 }]);
    assert_eq!(world.take(A), [Seen::publication("chat:1", 0, "now")]);
    let empty = Seen::History { offset: 0, publications: Vec::new() };
    assert_eq!(world.history(A, "chat:1", None, -1, false), empty);
}

#[test]
fn where_a_bus_keeps_history_it_is_asked_to_remove_it() {
    let mut world = edge("here");
    let times = Following { answer_timeout: seconds(5), linger: seconds(10), position_check: seconds(40) };
    world.broker = Broker::new(world.settings.clone(), Limits::default(), 1).following(times);
    world.open(API);
    let remove = |world: &mut World| {
        world.ask(API, |request| ToRelay::Remove { request, channel: "chat:1" });
        match world.broker.ask() {
            Some(Ask::Remove { ticket, channel }) if &*channel == "chat:1" => ticket,
            other => panic!("{other:?}"),
        }
    };
    let ticket = remove(&mut world);
    world.broker.tell(Duration::ZERO, &Tell::Done { ticket });
    assert_eq!(world.take(API), [Seen::Done]);
    let ticket = remove(&mut world);
    world.broker.tell(Duration::ZERO, &Tell::Failed { ticket, code: code::INTERNAL });
    assert_eq!(world.take(API), [Seen::Failed { code: code::INTERNAL.code }]);
}
