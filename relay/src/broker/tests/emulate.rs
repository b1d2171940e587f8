//! Commands that came to another shard than their session's.

use wire::link::{SESSION_BYTES, ToRelay};

use super::*;

fn emulate(request: u32, shard: u16, data: &[u8]) -> ToRelay<'_> {
    ToRelay::Emulate { request, gateway: 7, shard, session: [1; SESSION_BYTES], data }
}

#[test]
fn commands_reach_the_shard_they_name_and_its_answer_goes_back() {
    let mut world = world();
    world.broker.link_named(A, 7, 0);
    world.broker.link_named(B, 7, 1);
    let asked = world.ask(A, |request| emulate(request, 1, b"x"));
    assert_eq!(world.take(B), [Seen::Emulate { asker: A.0, request: asked, data: "x".to_owned() }]);
    assert_eq!(world.take(A), []);
    world.send(B, &ToRelay::Emulated { asker: A.0, request: asked, found: true });
    assert_eq!(world.take(A), [Seen::Emulated { found: true }]);
}

#[test]
fn a_shard_that_is_not_there_or_does_not_keep_up_is_not_waited_for() {
    let mut world = World::new(Limits { link_publications_bytes: 100, ..Limits::default() });
    world.open(A);
    world.open(B);
    world.broker.link_named(B, 7, 1);
    world.ask(A, |request| emulate(request, 2, b"x"));
    assert_eq!(world.take(A), [Seen::Failed { code: code::NOT_AVAILABLE.code }]);
    world.ask(A, |request| emulate(request, 1, &[b'x'; 200]));
    assert_eq!(world.take(A), [Seen::Failed { code: code::TOO_MANY_REQUESTS.code }]);
    // The answer to somebody who has gone is nobody's.
    world.send(B, &ToRelay::Emulated { asker: 99, request: 1, found: true });
    assert_eq!(world.take(B), []);
}

#[test]
fn a_shard_that_has_connected_again_is_its_newest_connection() {
    let mut world = world();
    let again = LinkId(3);
    world.open(again);
    world.broker.link_named(B, 7, 1);
    world.broker.link_named(again, 7, 1);
    let asked = world.ask(A, |request| emulate(request, 1, b"x"));
    assert_eq!(world.take(B), []);
    assert_eq!(world.take(again), [Seen::Emulate { asker: A.0, request: asked, data: "x".to_owned() }]);
}
