//! Echo listeners: what goes in comes out, within bounds, and nothing of the client protocol does.

use super::*;
use crate::limits::{ECHO_BACKLOG_BYTES_MAX, ECHO_IDLE_MS};
use crate::ws::Compression;

const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

fn open() -> (World, usize) {
    let mut world = World::new();
    world.shard.options.echo = Echo { listeners: vec![true], message_bytes_max: MESSAGE_BYTES_MAX };
    let index = world.open();
    (world, index)
}

/// A client's frame.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    masked_frame(Opcode::Binary, payload, [1, 2, 3, 4], &mut frame);
    frame[0] = first;
    frame
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    crate::ws::frame(opcode, payload, &mut frame);
    frame
}

impl World {
    fn give(&mut self, index: usize, bytes: &[u8]) {
        self.shard.receive(self.now, index, &mut bytes.to_vec());
    }
}

#[test]
fn messages_come_back_in_one_frame_of_their_kind() {
    let (mut world, index) = open();
    world.give(index, &masked(0x81, br#"{"id":1,"connect":{}}"#));
    world.give(index, &masked(0x02, &[0xff]));
    world.give(index, &masked(0x89, b"ping"));
    world.give(index, &masked(0x80, &[0xfe]));
    let expected = [
        frame(Opcode::Text, br#"{"id":1,"connect":{}}"#),
        frame(Opcode::Pong, b"ping"),
        frame(Opcode::Binary, &[0xff, 0xfe]),
    ];
    assert_eq!(world.sent(index), expected.concat());
    assert!(world.asked().is_empty());
    assert!(world.shard.connections[index].hot.is_none(), "an idle one holds nothing");
}

#[test]
fn messages_come_back_compressed_to_those_who_agreed_to_it() {
    let mut world = World::with(Rules { compression: Some(Compression::default()), ..Rules::default() });
    world.shard.options.echo = Echo { listeners: vec![true], message_bytes_max: MESSAGE_BYTES_MAX };
    let index = world.socket();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    world.write(index, &upgrade("/connection/websocket", offer));
    assert!(world.sent(index).starts_with(b"HTTP/1.1 101 "));
    let limits = Limits { message_bytes_max: MESSAGE_BYTES_MAX, deflate: true };
    for length in [0, 100, 1_000, MESSAGE_BYTES_MAX] {
        let message = vec![b'x'; length];
        world.give(index, &masked(0x82, &message));
        let mut back = world.sent(index);
        assert_eq!(back[0], if length > 100 { 0xc2 } else { 0x82 }, "{length}");
        assert!(back.len() < 6_000);
        match Reader::new().next(Role::Client, &mut back, &limits).unwrap() {
            (_, Item::Binary(bytes)) => assert_eq!(bytes, message),
            other => panic!("{other:?}"),
        }
    }
    world.give(index, &masked(0x89, &[7; 125]));
    assert_eq!(world.sent(index), frame(Opcode::Pong, &[7; 125]), "control frames are never compressed");
}

#[test]
fn a_message_over_the_listeners_own_limit_ends_with_1009() {
    let (mut world, index) = open();
    world.give(index, &masked(0x82, &vec![0; MESSAGE_BYTES_MAX]));
    assert_eq!(world.sent(index).len(), MESSAGE_BYTES_MAX + 10);
    world.give(index, &masked(0x82, &vec![0; MESSAGE_BYTES_MAX + 1]));
    assert_eq!(world.heard(index), ["close 1009"]);
}

#[test]
fn who_does_not_read_is_not_read_from_until_it_has() {
    let (mut world, index) = open();
    let message = masked(0x82, &[7; 1000]);
    let count = 4 * ECHO_BACKLOG_BYTES_MAX / 1000;
    let mut given = 0;
    let mut taken = 0;
    // As the loop does: what it may read, in portions that cut messages anywhere.
    let all = message.repeat(count);
    while given < all.len() || taken == 0 {
        while world.shard.wants_input(index) && given < all.len() {
            let part = &all[given..all.len().min(given + 4_999)];
            given += part.len();
            world.give(index, part);
            let held = world.shard.connections[index].hot.as_ref().map_or(0, |hot| hot.held());
            assert!(held < ECHO_BACKLOG_BYTES_MAX + 7_000, "{held}");
        }
        taken += world.sent(index).len();
    }
    while let more @ 1.. = world.sent(index).len() {
        taken += more;
    }
    assert_eq!(taken, frame(Opcode::Binary, &[7; 1000]).len() * count);
    assert!(world.shard.wants_input(index));
}

#[test]
fn who_is_silent_goes() {
    let (mut world, index) = open();
    world.pass(ECHO_IDLE_MS - 1_000);
    world.give(index, &masked(0x81, b"a"));
    world.sent(index);
    world.pass(2_000);
    assert!(world.heard(index).is_empty());
    world.pass(ECHO_IDLE_MS);
    world.pass(1_000);
    assert_eq!(world.heard(index), ["close 3502"]);
}

#[test]
fn who_broke_the_rules_is_let_go_once_it_has_answered() {
    let bad = [masked(0x83, b""), masked(0xf1, b"Hello"), masked(0x81, &[0xff]), masked(0x80, b"none")];
    for bad in bad {
        let (mut world, index) = open();
        world.give(index, &bad);
        assert!(world.heard(index)[0].starts_with("close 10"));
        world.give(index, &masked(0x81, b"still on its way"));
        world.sent(index);
        assert_eq!(world.shard.take_closed(), None);
        let mut late = masked(0x81, b"and this");
        late.extend(masked(0x88, &[3, 232]));
        world.give(index, &late);
        world.sent(index);
        assert_eq!(world.shard.take_closed(), Some(Closed { handle: world.handle, reset: false }));
    }
}

#[test]
fn a_close_frame_against_the_rules_is_a_last_word_too() {
    let long = vec![b'*'; 126];
    for bad in [masked(0x88, b"a"), masked(0x88, &[0, 0]), masked(0xf8, b""), masked(0x88, &long)] {
        let (mut world, index) = open();
        world.give(index, &bad);
        assert_eq!(world.heard(index), ["close 1002"]);
        assert_eq!(world.shard.take_closed(), Some(Closed { handle: world.handle, reset: false }));
    }
}
