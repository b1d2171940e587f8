mod emulate;
mod model;
mod shared;
mod stored;
mod survey;
mod world;

use std::time::Duration;

use wire::code;
use wire::settings::Namespace;
use world::{Seen, World, client, namespace};

use super::*;

const A: LinkId = LinkId(1);
const B: LinkId = LinkId(2);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn world() -> World {
    let mut world = World::new(Limits::default());
    world.open(A);
    world.open(B);
    world
}

#[test]
fn a_publication_reaches_each_link_that_wants_it_once_and_its_publisher_is_answered() {
    let mut world = world();
    world.subscribe(A, "chat:1", None);
    world.subscribe(B, "chat:1", None);
    world.take(A);
    world.take(B);
    assert_eq!(world.publish(A, "chat:1", "x"), Seen::Published { offset: 1 });
    let publication = Seen::publication("chat:1", 1, "x");
    assert_eq!(world.take(B), [publication]);
}

#[test]
fn of_publications_with_one_key_only_the_first_is_made_and_all_get_its_position() {
    let mut world = world();
    world.subscribe(B, "chat:1", None);
    world.take(B);
    assert_eq!(world.publish_once(A, "chat:1", "x", "k1"), Seen::Published { offset: 1 });
    assert_eq!(world.publish_once(A, "chat:1", "y", "k2"), Seen::Published { offset: 2 });
    assert_eq!(world.publish_once(B, "chat:1", "z", "k1"), Seen::Duplicate { offset: 1 });
    assert_eq!(world.publish_once(A, "chat:2", "x", "k1"), Seen::Published { offset: 1 }, "another channel");
    let heard = world.take(B);
    assert_eq!(heard, [Seen::publication("chat:1", 1, "x"), Seen::publication("chat:1", 2, "y")]);
    world.pass(Duration::from_secs(301));
    assert_eq!(world.publish_once(A, "chat:1", "x", "k1"), Seen::Published { offset: 3 }, "forgotten by now");
}

#[test]
fn a_publication_that_failed_may_be_tried_again_with_its_key() {
    let mut world = world();
    let large = "x".repeat(crate::limits::PUBLICATION_BYTES_MAX);
    let code = code::LIMIT_EXCEEDED.code;
    assert_eq!(world.publish_once(A, "chat:1", &large, "k"), Seen::Failed { code });
    assert_eq!(world.publish_once(A, "chat:1", "x", "k"), Seen::Published { offset: 1 });
    let endless = "k".repeat(wire::limits::IDEMPOTENCY_KEY_BYTES_MAX + 1);
    let code = code::BAD_REQUEST.code;
    assert_eq!(world.publish_once(A, "chat:1", "x", &endless), Seen::Failed { code });
}

#[test]
fn a_cache_gives_back_the_last_publication_to_whoever_has_another() {
    let mut world = world();
    let epoch = world.epoch(A, "chat:1");
    let answer = |offset: u64, recovered: bool, publications: &[(u64, &str)]| Seen::Subscribed {
        offset,
        epoch: epoch.clone(),
        recovered,
        publications: publications.iter().map(|(offset, data)| (*offset, (*data).to_owned())).collect(),
    };
    assert_eq!(world.subscribe_latest(A, "chat:1", (0, "")), answer(0, false, &[]), "nothing was said yet");
    for data in ["x", "y", "z"] {
        world.publish(B, "chat:1", data);
    }
    for at in [(0, ""), (1, epoch.as_str()), (3, "another"), (3, ""), (900, epoch.as_str())] {
        assert_eq!(world.subscribe_latest(B, "chat:1", at), answer(3, true, &[(3, "z")]), "{at:?}");
    }
    assert_eq!(world.subscribe_latest(B, "chat:1", (3, &epoch)), answer(3, true, &[]), "it is there already");
}

#[test]
fn nobody_is_sent_what_they_do_not_want() {
    let mut world = world();
    world.subscribe(A, "chat:1", None);
    world.publish(B, "chat:2", "x");
    world.send(A, &ToRelay::Unsubscribe { channel: "chat:1" });
    world.take(A);
    world.publish(B, "chat:1", "y");
    assert_eq!(world.take(A), []);
}

#[test]
fn an_answer_to_subscribe_stands_between_what_it_includes_and_what_comes_after() {
    let mut world = world();
    let subscribe = |request| ToRelay::Subscribe { request, channel: "chat:1", recover: None, latest: false };
    world.ask(A, subscribe);
    world.publish(B, "chat:1", "1");
    world.ask(A, subscribe);
    world.publish(B, "chat:1", "2");
    let seen = world.take(A);
    assert!(matches!(seen[0], Seen::Subscribed { offset: 0, .. }));
    assert_eq!(seen[1], Seen::publication("chat:1", 1, "1"));
    assert!(matches!(seen[2], Seen::Subscribed { offset: 1, .. }));
    assert_eq!(seen[3], Seen::publication("chat:1", 2, "2"));
}

#[test]
fn recovery_gives_all_that_came_after_or_nothing() {
    let mut world = world();
    for data in ["1", "2", "3", "4"] {
        world.publish(A, "chat:1", data);
    }
    let epoch = world.epoch(A, "chat:1");
    let recovered =
        |world: &mut World, offset, epoch: &str| match world.subscribe(B, "chat:1", Some((offset, epoch))) {
            Seen::Subscribed { offset: 4, recovered: true, publications, .. } => Some(publications),
            Seen::Subscribed { offset: 4, recovered: false, publications, .. } if publications.is_empty() => {
                None
            }
            other => panic!("{other:?}"),
        };
    assert_eq!(recovered(&mut world, 2, &epoch), Some(vec![(3, "3".to_owned()), (4, "4".to_owned())]));
    assert_eq!(recovered(&mut world, 4, &epoch), Some(vec![]));
    assert_eq!(
        recovered(&mut world, 1, "").map(|all| all.len()),
        Some(3),
        "an empty epoch is the present one"
    );
    assert_eq!(recovered(&mut world, 0, &epoch), None, "three are kept");
    assert_eq!(recovered(&mut world, 5, &epoch), None);
    assert_eq!(recovered(&mut world, 4, "OtherOne"), None);
}

#[test]
fn recovery_is_capped_and_never_partial() {
    let mut world = world();
    world.settings.client.recovery_max_publication_limit = 2;
    world.configure();
    for data in ["1", "2", "3"] {
        world.publish(A, "chat:1", data);
    }
    let recovered = |world: &mut World, offset| {
        matches!(world.subscribe(B, "chat:1", Some((offset, ""))), Seen::Subscribed { recovered: true, .. })
    };
    assert!(!recovered(&mut world, 0));
    assert!(recovered(&mut world, 1));
}

#[test]
fn a_recovery_too_large_for_its_clients_backlog_is_no_recovery() {
    let mut world = world();
    world.settings.client.queue_max_size = 100_000;
    world.configure();
    for _ in 0..3 {
        world.publish(A, "chat:1", &"x".repeat(20_000));
    }
    let answer = world.subscribe(B, "chat:1", Some((0, "")));
    assert!(matches!(answer, Seen::Subscribed { recovered: false, offset: 3, .. }));
    let answer = world.subscribe(B, "chat:1", Some((1, "")));
    assert!(matches!(answer, Seen::Subscribed { recovered: true, offset: 3, .. }));
}

#[test]
fn a_recovery_too_large_for_a_frame_is_no_recovery() {
    let mut world = world();
    world.settings.client.queue_max_size = 64 * 1024 * 1024;
    world.configure();
    let data = "x".repeat(900_000);
    for _ in 0..3 {
        world.publish(A, "chat:1", &data);
    }
    let answer = world.subscribe(B, "chat:1", Some((0, "")));
    assert!(matches!(answer, Seen::Subscribed { recovered: false, offset: 3, .. }));
    let answer = world.subscribe(B, "chat:1", Some((1, "")));
    assert!(matches!(answer, Seen::Subscribed { recovered: true, offset: 3, .. }));
}

#[test]
fn a_channel_without_history_has_no_position() {
    let mut world = world();
    let answer = world.subscribe(A, "plain", Some((0, "")));
    assert_eq!(
        answer,
        Seen::Subscribed { offset: 0, epoch: String::new(), recovered: false, publications: vec![] }
    );
    assert_eq!(world.publish(B, "plain", "x"), Seen::Published { offset: 0 });
    assert_eq!(world.take(A), [Seen::publication("plain", 0, "x")]);
    assert_eq!(world.history(A, "plain", None, -1, false), Seen::Failed { code: code::NOT_AVAILABLE.code });
}

#[test]
fn history_is_read_in_pages_both_ways() {
    let mut world = world();
    for data in ["1", "2", "3", "4"] {
        world.publish(A, "chat:1", data);
    }
    let read = |world: &mut World, since: Option<u64>, limit, reverse| match world.history(
        A,
        "chat:1",
        since.map(|offset| (offset, "")),
        limit,
        reverse,
    ) {
        Seen::History { offset: 4, publications } => {
            publications.iter().map(|(offset, _)| *offset).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let none: [u64; 0] = [];
    assert_eq!(read(&mut world, None, 0, false), none);
    assert_eq!(read(&mut world, None, -1, false), [2, 3, 4]);
    assert_eq!(read(&mut world, None, 2, true), [4, 3]);
    assert_eq!(read(&mut world, Some(2), 1, false), [3]);
    assert_eq!(read(&mut world, Some(4), 9, false), none);
    assert_eq!(read(&mut world, Some(4), 9, true), [3, 2]);
    assert_eq!(read(&mut world, Some(0), 9, true), none);
}

#[test]
fn history_from_another_epoch_or_the_future_is_refused() {
    let mut world = world();
    world.publish(A, "chat:1", "1");
    let refused = Seen::Failed { code: code::UNRECOVERABLE_POSITION.code };
    assert_eq!(world.history(A, "chat:1", Some((1, "OtherOne")), -1, false), refused);
    assert_eq!(world.history(A, "chat:1", Some((2, "")), -1, false), refused);
}

#[test]
fn bad_names_and_unknown_namespaces_are_refused() {
    let mut world = world();
    let code = |seen| match seen {
        Seen::Failed { code } => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(world.subscribe(A, "nobody:1", None)), code::UNKNOWN_CHANNEL.code);
    assert_eq!(code(world.subscribe(A, "", None)), code::BAD_REQUEST.code);
    assert_eq!(code(world.publish(A, &"x".repeat(300), "x")), code::LIMIT_EXCEEDED.code);
    assert_eq!(world.broker.levels().channels, 0);
}

#[test]
fn tokens_are_not_this_librarys_business_but_are_answered() {
    let mut world = world();
    world.ask(A, |request| ToRelay::Verify { request, kind: wire::token::Kind::Connection, token: "t" });
    assert_eq!(world.take(A), [Seen::Failed { code: code::NOT_AVAILABLE.code }]);
}

#[test]
fn history_ends_after_its_ttl_and_the_position_after_its_own() {
    let mut world = world();
    world.publish(A, "chat:1", "1");
    let epoch = world.epoch(A, "chat:1");
    world.pass(seconds(60));
    assert!(matches!(
        world.subscribe(B, "chat:1", Some((0, &epoch))),
        Seen::Subscribed { recovered: false, offset: 1, .. }
    ));
    assert!(matches!(
        world.subscribe(B, "chat:1", Some((1, &epoch))),
        Seen::Subscribed { recovered: true, .. }
    ));
    world.pass(seconds(3600));
    assert_eq!(world.epoch(A, "chat:1"), epoch, "a wanted channel keeps its position");
    world.send(B, &ToRelay::Unsubscribe { channel: "chat:1" });
    world.pass(seconds(3600));
    assert_eq!(world.broker.levels().channels, 0);
    assert_ne!(world.epoch(A, "chat:1"), epoch);
}

#[test]
fn history_over_its_bound_goes_from_the_channel_that_was_quiet_for_longest() {
    let mut world = World::new(Limits { history_bytes: 4000, ..Limits::default() });
    world.open(A);
    let data = "x".repeat(1000);
    for channel in ["chat:old", "chat:mid", "chat:new"] {
        world.publish(A, channel, &data);
    }
    world.publish(A, "chat:old", &data);
    let kept = |world: &mut World, channel: &str| match world.history(A, channel, None, -1, false) {
        Seen::History { publications, .. } => publications.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [kept(&mut world, "chat:old"), kept(&mut world, "chat:mid"), kept(&mut world, "chat:new")],
        [2, 0, 1]
    );
    assert_eq!(world.broker.counters().history_evicted, 1);
    assert!(matches!(
        world.subscribe(A, "chat:mid", Some((0, ""))),
        Seen::Subscribed { recovered: false, offset: 1, .. }
    ));
}

#[test]
fn streams_that_nobody_uses_make_room_for_new_channels_and_begin_again_with_another_epoch() {
    let mut world = World::new(Limits { channels: 2, ..Limits::default() });
    world.open(A);
    let epoch = world.epoch(A, "chat:1");
    world.subscribe(A, "chat:2", None);
    world.subscribe(A, "chat:3", None);
    assert_eq!(world.broker.counters().streams_forgotten, 1);
    assert_eq!(world.subscribe(A, "chat:1", None), Seen::Failed { code: code::LIMIT_EXCEEDED.code });
    world.send(A, &ToRelay::Unsubscribe { channel: "chat:2" });
    assert_ne!(world.epoch(A, "chat:1"), epoch);
}

#[test]
fn a_publication_too_large_to_keep_is_refused() {
    let mut world = world();
    let data = "x".repeat(2 * 1024 * 1024);
    assert_eq!(world.publish(A, "chat:1", &data), Seen::Failed { code: code::LIMIT_EXCEEDED.code });
    assert_eq!(
        world.publish(A, "chat:1", "x"),
        Seen::Published { offset: 1 },
        "the refused one took no offset"
    );
}

#[test]
fn those_who_enter_are_present_and_announced_once() {
    let mut world = world();
    world.subscribe(B, "room:1", None);
    world.take(B);
    world.enter(A, "room:1", 1, "ann");
    world.enter(A, "room:1", 1, "ann");
    world.enter(A, "room:1", 2, "ann");
    assert_eq!(world.take(B), [Seen::Join(client(1)), Seen::Join(client(2))]);
    assert_eq!(world.presence(B, "room:1"), Seen::Presence(vec![client(1), client(2)]));
    assert_eq!(world.presence_stats(B, "room:1"), Seen::PresenceStats { clients: 2, users: 1 });
    world.send(A, &ToRelay::Leave { channel: "room:1", client: client(1) });
    world.send(A, &ToRelay::Leave { channel: "room:1", client: client(1) });
    assert_eq!(world.take(B), [Seen::Leave(client(1))]);
    assert_eq!(world.presence_stats(B, "room:1"), Seen::PresenceStats { clients: 1, users: 1 });
}

#[test]
fn events_come_only_where_the_namespace_has_them_and_presence_only_where_it_is_kept() {
    let mut world = world();
    for channel in ["chat:1", "quiet:1", "loud:1"] {
        world.subscribe(B, channel, None);
        world.take(B);
        world.enter(A, channel, 1, "ann");
    }
    assert_eq!(world.take(B), [Seen::Join(client(1))], "of loud:1");
    assert_eq!(world.presence(B, "chat:1"), Seen::Failed { code: code::NOT_AVAILABLE.code });
    assert_eq!(world.presence(B, "loud:1"), Seen::Failed { code: code::NOT_AVAILABLE.code });
    assert_eq!(world.presence(B, "quiet:1"), Seen::Presence(vec![client(1)]));
    assert_eq!(world.presence(B, "quiet:nobody"), Seen::Presence(vec![]));
}

#[test]
fn a_link_that_comes_back_within_the_grace_is_no_event() {
    let mut world = world();
    world.subscribe(B, "room:1", None);
    world.take(B);
    world.enter(A, "room:1", 1, "ann");
    world.close(A);
    world.pass(seconds(5));
    assert_eq!(world.presence_stats(B, "room:1"), Seen::PresenceStats { clients: 1, users: 1 });
    let again = LinkId(3);
    world.open(again);
    world.enter(again, "room:1", 1, "ann");
    world.pass(seconds(60));
    assert_eq!(world.take(B), [Seen::Join(client(1))]);
}

#[test]
fn after_the_grace_the_members_of_a_lost_link_leave() {
    let mut world = world();
    world.subscribe(B, "room:1", None);
    world.take(B);
    world.enter(A, "room:1", 1, "ann");
    world.enter(B, "room:1", 2, "bob");
    world.close(A);
    world.now += seconds(10);
    assert_eq!(
        world.presence_stats(B, "room:1"),
        Seen::PresenceStats { clients: 1, users: 1 },
        "exact when asked"
    );
    world.pass(seconds(1));
    assert_eq!(world.take(B), [Seen::Join(client(1)), Seen::Join(client(2)), Seen::Leave(client(1))]);
    world.pass(seconds(1));
    assert!(world.broker.gone.is_empty(), "a lost link is forgotten in the end");
}

#[test]
fn presence_is_bounded_per_channel_and_in_all() {
    let mut world =
        World::new(Limits { presence_per_channel: 2, presence_bytes: 3 * 160, ..Limits::default() });
    world.open(A);
    for number in 0..3 {
        world.enter(A, "room:1", number, "u");
        world.enter(A, "room:2", number, "u");
    }
    let clients = |world: &mut World, channel: &str| match world.presence_stats(A, channel) {
        Seen::PresenceStats { clients, .. } => clients,
        other => panic!("{other:?}"),
    };
    assert_eq!((clients(&mut world, "room:1"), clients(&mut world, "room:2")), (2, 1));
    assert_eq!(world.broker.counters().members_refused, 3);
}

fn narrow() -> World {
    let mut world =
        World::new(Limits { link_publications_bytes: 400, link_bytes: 2000, ..Limits::default() });
    world.settings.namespaces = vec![Namespace { history_size: 100, ..namespace("chat") }];
    world.configure();
    world.open(A);
    world.open(B);
    world
}

#[test]
fn a_full_link_misses_nothing_that_history_still_has() {
    let mut world = narrow();
    world.subscribe(B, "chat:1", None);
    for number in 1..=50u64 {
        world.publish(A, "chat:1", &format!("{number}"));
    }
    assert_eq!(world.broker.levels().gapped, 1);
    let seen = world.take(B);
    let offsets: Vec<u64> = seen.iter().filter_map(Seen::offset).collect();
    assert_eq!(offsets, (1..=50).collect::<Vec<_>>());
    let counters = world.broker.counters();
    assert_eq!((counters.gaps, counters.repairs, counters.insufficient), (1, 1, 0));
}

#[test]
fn what_history_has_lost_is_told_and_then_the_channel_goes_on() {
    let mut world = narrow();
    world.settings.namespaces[0].history_size = 2;
    world.configure();
    world.subscribe(B, "chat:1", None);
    for number in 1..=50u64 {
        world.publish(A, "chat:1", &format!("{number}"));
    }
    let seen = world.take(B);
    assert_eq!(seen.last(), Some(&Seen::Insufficient("chat:1".to_owned())));
    world.publish(A, "chat:1", "51");
    assert_eq!(world.take(B), [Seen::publication("chat:1", 51, "51")]);
    assert_eq!(world.broker.counters().insufficient, 1);
}

#[test]
fn a_subscribe_on_a_gapped_channel_is_answered_after_the_repair() {
    let mut world = narrow();
    world.subscribe(B, "chat:1", None);
    for number in 1..=30u64 {
        world.publish(A, "chat:1", &format!("{number}"));
    }
    world.ask(B, |request| ToRelay::Subscribe { request, channel: "chat:1", recover: None, latest: false });
    let seen = world.take(B);
    let offsets: Vec<u64> = seen.iter().filter_map(Seen::offset).collect();
    assert_eq!(offsets, (1..=30).collect::<Vec<_>>());
    assert!(matches!(seen.last(), Some(Seen::Subscribed { offset: 30, .. })));
}

#[test]
fn losses_without_history_are_counted() {
    let mut world = narrow();
    world.subscribe(B, "plain", None);
    for _ in 0..50 {
        world.publish(A, "plain", "x");
    }
    let counters = world.broker.counters();
    assert!(counters.lost > 0 && counters.lost + counters.deliveries == 50);
    assert_eq!(world.broker.levels().gapped, 0);
}

#[test]
fn a_link_whose_answers_do_not_fit_is_closed() {
    let mut world = narrow();
    for _ in 0..200 {
        world.ask(B, |request| ToRelay::PresenceStats { request, channel: "chat:1" });
        world.ask(B, |request| ToRelay::Subscribe {
            request,
            channel: "chat:1",
            recover: None,
            latest: false,
        });
    }
    assert_eq!(world.closing, [B]);
    assert_eq!(world.broker.transmit(B, &mut Vec::new()), Transmit::Close);
    assert_eq!(world.broker.counters().links_overflowed, 1);
    assert_eq!(world.broker.levels().queued_bytes, 0);
    world.publish(A, "chat:1", "x");
    world.close(B);
    world.pass(seconds(1));
}

#[test]
fn a_shell_that_found_nothing_is_called_once_for_what_comes_next() {
    let mut world = world();
    world.subscribe(A, "chat:1", None);
    let mut out = Vec::new();
    assert_eq!(world.broker.transmit(A, &mut out), Transmit::Idle);
    for data in ["1", "2"] {
        world.publish(B, "chat:1", data);
    }
    assert_eq!(
        world.ready.iter().filter(|link| **link == A).count(),
        2,
        "one for the answer, one for both publications"
    );
    assert_eq!(world.broker.transmit(A, &mut out), Transmit::Write);
    assert_eq!(world.broker.transmit(A, &mut out), Transmit::Idle);
}

#[test]
fn a_user_has_as_many_sessions_as_allowed_whatever_link_they_are_on() {
    let mut world = world();
    world.configure_with(|settings| settings.client.user_connection_limit = 2);
    assert_eq!(world.arrive(A, 1, "ann"), Seen::Admitted);
    assert_eq!(world.arrive(B, 1, "ann"), Seen::Admitted);
    assert_eq!(world.arrive(A, 2, "ann"), Seen::Failed { code: code::LIMIT_EXCEEDED.code });
    assert_eq!(world.arrive(A, 2, "bob"), Seen::Admitted);
    world.send(B, &ToRelay::Depart { session: 1 });
    assert_eq!(world.arrive(A, 3, "ann"), Seen::Admitted);
    world.send(B, &ToRelay::Arrive { request: None, session: 1, user: "ann" });
    assert_eq!(
        world.broker.levels().sessions,
        4,
        "one that was admitted stays, though there are too many now"
    );
}

#[test]
fn a_new_session_of_a_user_ends_the_others_where_there_may_be_one() {
    let mut world = world();
    world.configure_with(|settings| settings.client.single_connection = true);
    assert_eq!(world.arrive(A, 1, "ann"), Seen::Admitted);
    assert_eq!(world.arrive(B, 1, "ann"), Seen::Admitted);
    assert_eq!(world.take(A), [Seen::Disconnect { session: 1 }]);
    assert_eq!(world.arrive(A, 1, "ann"), Seen::Admitted, "its number may be another's by now");
    assert_eq!(world.take(B), [Seen::Disconnect { session: 1 }]);
    assert_eq!(world.broker.levels().sessions, 1);
}
