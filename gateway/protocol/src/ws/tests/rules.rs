//! One rule of RFC 6455 or of the reader's contract per test.

use std::borrow::Cow;

use super::*;
use crate::ws::{
    Opcode, close_frame, frame, header, header_bytes, is_sendable,
    limits::{CLOSE_REASON_BYTES_MAX, EMPTY_FRAGMENTS_MAX},
    masked_close_frame, masked_frame,
};

#[test]
fn an_idle_reader_is_one_pointer() {
    assert_eq!(size_of::<Reader>(), size_of::<usize>());
}

#[test]
fn the_examples_of_rfc_6455_section_5_7_read_as_it_says() {
    let unmasked = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(read(Role::Client, [&unmasked[..]]), [text("Hello")]);
    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read(Role::Server, [&masked[..]]), [text("Hello")]);
    let fragments = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    assert_eq!(read(Role::Client, [&fragments[..]]), [text("Hello")]);
    let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(read(Role::Client, [&ping[..]]), [Event::Ping(b"Hello".to_vec())]);
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read(Role::Server, [&pong[..]]), [Event::Pong(b"Hello".to_vec())]);
    let mut medium = vec![0x82, 0x7e, 0x01, 0x00];
    medium.extend([7; 256]);
    assert_eq!(read(Role::Client, [&medium[..]]), [Event::Binary(vec![7; 256])]);
    let mut large = vec![0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0];
    large.extend([7; 65_536]);
    assert_eq!(read(Role::Client, [&large[..]]), [Event::Binary(vec![7; 65_536])]);
}

#[test]
fn the_examples_of_rfc_6455_section_5_7_are_written_as_it_says() {
    let mut out = Vec::new();
    frame(Opcode::Text, b"Hello", &mut out);
    assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    out.clear();
    masked_frame(Opcode::Text, b"Hello", KEY, &mut out);
    assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    for (bytes, expected) in
        [(256, &[0x82, 0x7e, 0x01, 0x00][..]), (65_536, &[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0])]
    {
        out.clear();
        header(Opcode::Binary, bytes, &mut out);
        assert_eq!(out, expected);
    }
}

#[test]
fn a_header_is_as_long_as_foretold() {
    for bytes in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 24] {
        let mut out = Vec::new();
        header(Opcode::Text, bytes, &mut out);
        assert_eq!(out.len(), header_bytes(bytes), "{bytes}");
    }
}

#[test]
fn an_unfragmented_message_is_borrowed_from_the_input() {
    let mut input = raw(FIN | TEXT, "in place").bytes(Role::Server);
    let mut reader = Reader::new();
    let (consumed, item) = reader.next(Role::Server, &mut input, &Limits::default()).unwrap();
    assert!(matches!(item, Item::Text(Cow::Borrowed("in place"))), "{item:?}");
    assert_eq!(consumed, 6 + 8);
    assert_eq!(reader.held_bytes(), 0);
}

#[test]
fn a_reader_holds_nothing_once_a_fragmented_message_is_out() {
    let mut caller = Caller::new(Role::Server);
    caller.receive(&raw(BINARY, [1; 1000]).bytes(Role::Server));
    assert!(caller.reader.held_bytes() >= 1000);
    caller.receive(&raw(FIN | CONTINUE, [2; 1000]).bytes(Role::Server));
    assert_eq!(caller.events.len(), 1);
    assert_eq!(caller.reader.held_bytes(), 0);
}

#[test]
fn memory_follows_what_arrived_not_what_was_announced() {
    let mut caller = Caller::new(Role::Server);
    let whole = raw(FIN | BINARY, [0; 60_000]).bytes(Role::Server);
    caller.receive(&whole[..100]);
    assert!(caller.reader.held_bytes() < 300, "{}", caller.reader.held_bytes());
}

#[test]
fn memory_of_a_message_never_passes_its_limit() {
    for opcode in [TEXT, BINARY] {
        let mut caller = Caller::new(Role::Server);
        for _ in 0..65 {
            caller.receive(&raw(opcode, [b'a'; 1000]).bytes(Role::Server));
            for _ in 1..65 {
                caller.receive(&raw(CONTINUE, [b'a'; 1000]).bytes(Role::Server));
                assert!(caller.reader.held_bytes() < 65_536 + 200);
            }
            caller.receive(&raw(FIN | CONTINUE, "").bytes(Role::Server));
        }
        assert_eq!(caller.events.len(), 65);
    }
}

#[test]
fn a_message_over_the_limit_is_refused_at_its_header() {
    for (role, key) in [(Role::Server, &KEY[..]), (Role::Client, &[])] {
        let masked = if role == Role::Server { 0x80 } else { 0 };
        let mut head = vec![FIN | TEXT, masked | 127, 0, 0, 0, 0, 0, 1, 0, 1];
        head.extend(key);
        assert_eq!(read(role, [&head[..]]), [Event::Fault(Violation::TooBig)]);
    }
}

#[test]
fn the_limit_holds_for_all_fragments_together() {
    let mut frames = vec![raw(TEXT, [b'a'; 65_535]), raw(CONTINUE, "b")];
    let mut caller = Caller::new(Role::Server);
    caller.receive(&bytes(Role::Server, &frames));
    assert_eq!(caller.events, []);
    frames.push(raw(FIN | CONTINUE, ""));
    assert_eq!(read(Role::Server, [&bytes(Role::Server, &frames)[..]]).len(), 1);
    frames[2] = raw(FIN | CONTINUE, "c");
    let events = read(Role::Server, [&bytes(Role::Server, &frames)[..]]);
    assert_eq!(events, [Event::Fault(Violation::TooBig)]);
}

#[test]
fn a_configured_limit_admits_sixteen_mebibytes() {
    let payload = vec![b'*'; 16 << 20];
    let whole = raw(FIN | TEXT, &payload).bytes(Role::Server);
    let mut caller = Caller::new(Role::Server);
    caller.limits = Limits { message_bytes_max: 16 << 20, ..Limits::default() };
    for piece in whole.chunks(16_384) {
        caller.receive(piece);
    }
    assert!(matches!(&caller.events[..], [Event::Text(text)] if text.as_bytes() == payload));
}

#[test]
fn lengths_must_take_the_fewest_bytes() {
    for head in [&[FIN | BINARY, 126, 0, 125][..], &[FIN | BINARY, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]] {
        assert_eq!(read(Role::Client, [head]), [Event::Fault(Violation::WideLength)]);
    }
}

#[test]
fn a_length_with_its_highest_bit_set_is_a_violation_and_not_just_too_big() {
    let head = [FIN | BINARY, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(read(Role::Client, [&head[..]]), [Event::Fault(Violation::SignedLength)]);
}

#[test]
fn masking_is_demanded_from_clients_and_forbidden_to_servers() {
    let masked = raw(FIN | TEXT, "a").bytes(Role::Server);
    let plain = raw(FIN | TEXT, "a").bytes(Role::Client);
    assert_eq!(read(Role::Server, [&plain[..2]]), [Event::Fault(Violation::Unmasked)]);
    assert_eq!(read(Role::Client, [&masked[..2]]), [Event::Fault(Violation::Masked)]);
}

#[test]
fn a_fault_in_the_first_byte_is_named_before_the_second_comes() {
    for (first, fault) in [
        (FIN | 0x40 | TEXT, Violation::ReservedBits),
        (FIN | 0x20 | TEXT, Violation::ReservedBits),
        (FIN | 0x10 | TEXT, Violation::ReservedBits),
        (FIN | 0x3, Violation::Opcode),
        (FIN | 0xb, Violation::Opcode),
        (PING & !FIN, Violation::FragmentedControl),
    ] {
        assert_eq!(read(Role::Server, [&[first][..]]), [Event::Fault(fault)]);
    }
}

#[test]
fn empty_fragments_are_counted() {
    let mut frames = vec![raw(TEXT, "")];
    frames.resize(usize::from(EMPTY_FRAGMENTS_MAX), raw(CONTINUE, ""));
    frames.push(raw(FIN | CONTINUE, "end"));
    assert_eq!(read(Role::Server, [&bytes(Role::Server, &frames)[..]]), [text("end")]);
    frames.insert(1, raw(CONTINUE, ""));
    let events = read(Role::Server, [&bytes(Role::Server, &frames)[..]]);
    assert_eq!(events, [Event::Fault(Violation::EmptyFragments)]);
}

#[test]
fn nothing_is_heard_after_a_close_or_a_violation() {
    for last in [raw(CLOSE, ""), raw(FIN | 0x7, "")] {
        let mut caller = Caller::new(Role::Server);
        caller.receive(&bytes(Role::Server, &[last, raw(FIN | TEXT, "late")]));
        caller.receive(&raw(PING, "later").bytes(Role::Server));
        assert_eq!(caller.events.len(), 1);
        assert!(caller.kept.is_empty());
    }
}

#[test]
fn a_close_frame_comes_back_from_either_end() {
    let (mut server, mut client) = (Vec::new(), Vec::new());
    close_frame(Some(3501), "bad request", &mut server);
    masked_close_frame(Some(3501), "bad request", KEY, &mut client);
    let expected = [Event::Close(Some(3501), "bad request".to_owned())];
    assert_eq!(read(Role::Client, [&server[..]]), expected);
    assert_eq!(read(Role::Server, [&client[..]]), expected);
    server.clear();
    close_frame(None, "", &mut server);
    assert_eq!(server, [0x88, 0x00]);
}

#[test]
fn a_long_reason_is_cut_at_a_character() {
    let reason = "é".repeat(CLOSE_REASON_BYTES_MAX);
    let mut out = Vec::new();
    close_frame(Some(1000), &reason, &mut out);
    let kept = "é".repeat(CLOSE_REASON_BYTES_MAX / 2);
    assert_eq!(read(Role::Client, [&out[..]]), [Event::Close(Some(1000), kept)]);
}

#[test]
fn every_violation_has_a_code_that_may_be_sent_and_a_reason_that_fits() {
    for (fault, code) in [
        (Violation::ReservedBits, 1002),
        (Violation::Opcode, 1002),
        (Violation::Unmasked, 1002),
        (Violation::Masked, 1002),
        (Violation::FragmentedControl, 1002),
        (Violation::LongControl, 1002),
        (Violation::WideLength, 1002),
        (Violation::SignedLength, 1002),
        (Violation::Continuation, 1002),
        (Violation::Interrupted, 1002),
        (Violation::EmptyFragments, 1008),
        (Violation::CloseLength, 1002),
        (Violation::CloseCode, 1002),
        (Violation::Utf8, 1007),
        (Violation::Deflate, 1007),
        (Violation::TooBig, 1009),
        (Violation::Unsupported, 1003),
    ] {
        assert_eq!(fault.code(), code, "{fault:?}");
        assert!(is_sendable(code));
        assert!(fault.to_string().len() <= CLOSE_REASON_BYTES_MAX);
    }
}
