//! The behaviours that the Autobahn suite examines in its sections 1 to 7 and 10, as tables: each case is read by both ends, at once
//! and byte by byte. Faults of text must be found at the first byte that shows them (Autobahn's strict verdict).

use super::*;

/// Reads `frames` in both roles, in one piece and in single bytes.
fn check(section: &str, frames: &[Frame], expected: &[Event]) {
    for role in [Role::Server, Role::Client] {
        let all = bytes(role, frames);
        assert_eq!(read(role, [&all[..]]), expected, "{section} {role:?} whole");
        assert_eq!(read(role, all.chunks(1)), expected, "{section} {role:?} byte by byte");
    }
}

fn fault(section: &str, frames: &[Frame], fault: Violation) {
    check(section, frames, &[Event::Fault(fault)]);
}

fn ping(payload: &str) -> Event {
    Event::Ping(payload.as_bytes().to_vec())
}

#[test]
fn section_1_framing_at_every_length_boundary() {
    for length in [0, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = vec![b'*'; length];
        let stars = "*".repeat(length);
        check("1.1", &[raw(FIN | TEXT, &payload)], &[Event::Text(stars)]);
        check("1.2", &[raw(FIN | BINARY, &payload)], &[Event::Binary(payload)]);
    }
    for role in [Role::Server, Role::Client] {
        let all = raw(FIN | TEXT, [b'*'; 65_536]).bytes(role);
        assert_eq!(read(role, all.chunks(997)), [Event::Text("*".repeat(65_536))], "1.1.8");
    }
}

#[test]
fn section_2_pings_and_pongs() {
    check("2.1", &[raw(PING, "")], &[ping("")]);
    check("2.2", &[raw(PING, "Hello, world!")], &[ping("Hello, world!")]);
    let binary = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    check("2.3", &[raw(PING, binary)], &[Event::Ping(binary.to_vec())]);
    check("2.4 2.6", &[raw(PING, [0xfe; 125])], &[Event::Ping(vec![0xfe; 125])]);
    fault("2.5", &[raw(PING, [0xfe; 126])], Violation::LongControl);
    check("2.7", &[raw(PONG, "")], &[Event::Pong(Vec::new())]);
    check("2.8", &[raw(PONG, "unasked")], &[Event::Pong(b"unasked".to_vec())]);
    check("2.9", &[raw(PONG, "u"), raw(PING, "p")], &[Event::Pong(b"u".to_vec()), ping("p")]);
    let pings: Vec<_> = (0..10).map(|index| format!("payload-{index}")).collect();
    let frames: Vec<_> = pings.iter().map(|payload| raw(PING, payload)).collect();
    let events: Vec<_> = pings.iter().map(|payload| ping(payload)).collect();
    check("2.10 2.11", &frames, &events);
}

#[test]
fn section_3_reserved_bits() {
    for bits in 1..=7 {
        let bad = bits << 4;
        fault("3.1", &[raw(FIN | TEXT | bad, "Hello")], Violation::ReservedBits);
        fault("3.5", &[raw(FIN | BINARY | bad, [0; 8])], Violation::ReservedBits);
        fault("3.6", &[raw(PING | bad, "")], Violation::ReservedBits);
        fault("3.7", &[raw(CLOSE | bad, "")], Violation::ReservedBits);
        let frames = [raw(FIN | TEXT, "Hello"), raw(FIN | TEXT | bad, "Hello"), raw(PING, "")];
        check("3.2 3.3 3.4", &frames, &[text("Hello"), Event::Fault(Violation::ReservedBits)]);
    }
}

#[test]
fn section_4_reserved_opcodes() {
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        fault("4.x.1", &[raw(FIN | opcode, "")], Violation::Opcode);
        fault("4.x.2", &[raw(FIN | opcode, "reserved")], Violation::Opcode);
        let frames = [raw(FIN | TEXT, "Hello"), raw(FIN | opcode, "x"), raw(PING, "")];
        check("4.x.3", &frames, &[text("Hello"), Event::Fault(Violation::Opcode)]);
    }
}

#[test]
fn section_5_fragments_of_control_frames_are_refused() {
    let tail = raw(FIN | CONTINUE, "fragment2");
    fault("5.1", &[raw(PING & !FIN, "fragment1"), tail.clone()], Violation::FragmentedControl);
    fault("5.2", &[raw(PONG & !FIN, "fragment1"), tail.clone()], Violation::FragmentedControl);
    fault("5.x", &[raw(CLOSE & !FIN, ""), tail], Violation::FragmentedControl);
}

#[test]
fn section_5_messages_in_fragments_with_control_frames_between() {
    let (one, two) = (raw(TEXT, "fragment1"), raw(FIN | CONTINUE, "fragment2"));
    check("5.3 5.5", &[one.clone(), two.clone()], &[text("fragment1fragment2")]);
    let frames = [one.clone(), raw(PING, "ping"), two.clone()];
    check("5.6 5.8", &frames, &[ping("ping"), text("fragment1fragment2")]);
    let frames = [
        raw(BINARY, "f1"),
        raw(CONTINUE, "f2"),
        raw(PING, "p1"),
        raw(CONTINUE, "f3"),
        raw(CONTINUE, "f4"),
        raw(PONG, "p2"),
        raw(FIN | CONTINUE, "f5"),
        raw(FIN | TEXT, "next"),
    ];
    let events =
        [ping("p1"), Event::Pong(b"p2".to_vec()), Event::Binary(b"f1f2f3f4f5".to_vec()), text("next")];
    check("5.19 5.20", &frames, &events);
    let frames = [one, raw(CLOSE, [3, 232]), two];
    check("5.x", &frames, &[Event::Close(Some(1000), String::new())]);
}

#[test]
fn section_5_continuations_without_a_message_and_messages_inside_one() {
    for first in [FIN | CONTINUE, CONTINUE] {
        let frames = [raw(first, "no message"), raw(FIN | TEXT, "Hello")];
        fault("5.9 - 5.14", &frames, Violation::Continuation);
        let frames = [raw(TEXT, "a"), raw(FIN | CONTINUE, "b"), raw(first, "c"), raw(FIN | TEXT, "d")];
        check("5.15", &frames, &[text("ab"), Event::Fault(Violation::Continuation)]);
        fault("5.16 5.17", &[raw(first, "a"), raw(TEXT, "b")], Violation::Continuation);
    }
    for first in [TEXT, FIN | TEXT, BINARY, FIN | BINARY] {
        fault("5.18", &[raw(TEXT, "fragment1"), raw(first, "fragment2")], Violation::Interrupted);
    }
}

#[test]
fn section_6_empty_text_in_any_number_of_fragments() {
    check("6.1.1", &[raw(FIN | TEXT, "")], &[text("")]);
    check("6.1.2", &[raw(TEXT, ""), raw(CONTINUE, ""), raw(FIN | CONTINUE, "")], &[text("")]);
    let frames = [raw(TEXT, ""), raw(CONTINUE, "middle"), raw(FIN | CONTINUE, "")];
    check("6.1.3", &frames, &[text("middle")]);
}

/// Every way to cut a payload into two fragments, and into fragments of one byte.
fn fragmentations(payload: &[u8]) -> Vec<Vec<Frame>> {
    let mut ways = vec![vec![raw(FIN | TEXT, payload)]];
    for cut in 0..=payload.len() {
        ways.push(vec![raw(TEXT, &payload[..cut]), raw(FIN | CONTINUE, &payload[cut..])]);
    }
    let mut single = vec![raw(TEXT, "")];
    single.extend(payload.iter().map(|byte| raw(CONTINUE, [*byte])));
    single.push(raw(FIN | CONTINUE, ""));
    ways.push(single);
    ways
}

#[test]
fn section_6_valid_text_however_it_is_cut() {
    for valid in [
        "Hello-µ@ßöäüàá-UTF-8!!",
        "κόσμε",
        "\u{0}",
        "\u{80}",
        "\u{800}",
        "\u{10000}",
        "\u{7f}",
        "\u{7ff}",
        "\u{ffff}",
        "\u{10ffff}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{fffd}",
        "\u{fffe}\u{1fffe}\u{10fffe}\u{fdd0}",
        "𝄞🦀한글",
    ] {
        for frames in fragmentations(valid.as_bytes()) {
            check("6.2 6.5 6.7 6.9 6.11 6.22 6.23", &frames, &[text(valid)]);
        }
    }
}

#[test]
fn section_6_invalid_text_however_it_is_cut() {
    let invalid: &[&[u8]] = &[
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xbf",
        b"\x80\xbf\x80\xbf\x80\xbf\x80",
        b"\xc0 \xc1 \xfe \xff",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xce\xba\xe1\xbd",
        b"\xe1",
        b"\xf0\x90\x80",
        b"a\xc3",
        b"\xc3(",
    ];
    for invalid in invalid {
        for frames in fragmentations(invalid) {
            fault("6.3 6.6 6.8 6.10 6.12 - 6.21", &frames, Violation::Utf8);
        }
    }
}

#[test]
fn section_6_4_text_fails_at_the_byte_that_makes_it_invalid() {
    let (valid, bad) = (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4", b"\x90");
    for role in [Role::Server, Role::Client] {
        // In fragments, before the last one comes (6.4.1, 6.4.2).
        let mut caller = Caller::new(role);
        caller.receive(&raw(TEXT, valid).bytes(role));
        assert_eq!(caller.events, []);
        caller.receive(&raw(CONTINUE, bad).bytes(role));
        assert_eq!(caller.events, [Event::Fault(Violation::Utf8)]);
        // In one frame that is still on its way (6.4.3, 6.4.4).
        let frame = raw(FIN | TEXT, [&valid[..], bad, b"\x80\x80edited"].concat()).bytes(role);
        let at = frame.len() - b"\x90\x80\x80edited".len();
        let mut caller = Caller::new(role);
        caller.receive(&frame[..at]);
        assert_eq!(caller.events, []);
        caller.receive(&frame[at..=at]);
        assert_eq!(caller.events, [Event::Fault(Violation::Utf8)]);
    }
}

#[test]
fn section_7_1_nothing_is_heard_after_a_close() {
    let closed = [Event::Close(None, String::new())];
    for late in [raw(CLOSE, ""), raw(PING, ""), raw(FIN | TEXT, "Hello"), raw(FIN | CONTINUE, "")] {
        check("7.1.2 - 7.1.4", &[raw(CLOSE, ""), late], &closed);
    }
    check("7.1.5", &[raw(TEXT, "fragment1"), raw(CLOSE, ""), raw(FIN | CONTINUE, "")], &closed);
    let long = vec![b'B'; 65_536];
    let frames = [raw(FIN | BINARY, &long), raw(FIN | TEXT, "Hello"), raw(CLOSE, ""), raw(PING, "")];
    let events = [Event::Binary(long), text("Hello"), Event::Close(None, String::new())];
    check("7.1.6", &frames, &events);
}

#[test]
fn section_7_3_to_7_5_payloads_of_close_frames() {
    check("7.3.1", &[raw(CLOSE, "")], &[Event::Close(None, String::new())]);
    fault("7.3.2", &[raw(CLOSE, "a")], Violation::CloseLength);
    check("7.3.3", &[raw(CLOSE, [3, 232])], &[Event::Close(Some(1000), String::new())]);
    let reason = "*".repeat(123);
    for length in [5, 123] {
        let payload = [&[3, 232][..], &reason.as_bytes()[..length]].concat();
        let event = Event::Close(Some(1000), reason[..length].to_owned());
        check("7.3.4 7.3.5", &[raw(CLOSE, payload)], &[event]);
    }
    let payload = [&[3, 232][..], reason.as_bytes(), b"*"].concat();
    fault("7.3.6", &[raw(CLOSE, payload)], Violation::LongControl);
    let payload = [&[3, 232][..], b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"].concat();
    fault("7.5.1", &[raw(CLOSE, payload)], Violation::Utf8);
}

#[test]
fn section_7_7_to_7_13_close_codes() {
    let valid: [u16; 16] =
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    for code in valid {
        let frames = [raw(CLOSE, code.to_be_bytes())];
        check("7.7", &frames, &[Event::Close(Some(code), String::new())]);
    }
    for code in [0u16, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        fault("7.9 7.13", &[raw(CLOSE, code.to_be_bytes())], Violation::CloseCode);
    }
}

#[test]
fn section_10_1_fragments_that_do_not_line_up_with_anything() {
    let payload = vec![b'*'; 65_536];
    let mut frames: Vec<_> = payload.chunks(1300).map(|part| raw(CONTINUE, part)).collect();
    frames[0].first = TEXT;
    frames.last_mut().unwrap().first = FIN | CONTINUE;
    check("10.1.1", &frames, &[Event::Text("*".repeat(65_536))]);
}
