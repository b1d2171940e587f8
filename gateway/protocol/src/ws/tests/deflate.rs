//! Compressed messages: RFC 7692's own examples, what comes back of what was compressed, and what is none or too much.

use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::ws::{Compression, Deflater, Opcode, frame};

const COMPRESSED: u8 = 0x40;
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

/// What a server that has agreed makes of these frames, whole and byte by byte.
fn agreed(frames: &[Frame], message_bytes_max: usize) -> Vec<Event> {
    let all = bytes(Role::Server, frames);
    let [whole, pieces] = [all.len(), 1].map(|piece| {
        let mut caller = Caller::new(Role::Server);
        caller.limits = Limits { message_bytes_max, deflate: true };
        all.chunks(piece).for_each(|piece| caller.receive(piece));
        caller.events
    });
    assert_eq!(whole, pieces, "wherever it is cut");
    whole
}

fn compressed(message: &[u8], how: Compression) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    frame(Opcode::Binary, message, &mut plain);
    let plain = Rc::from(plain);
    let made = Deflater::new(how).frame(&plain);
    assert!(Rc::ptr_eq(&made, &plain) || made.len() < plain.len());
    (!Rc::ptr_eq(&made, &plain)).then(|| {
        assert_eq!(made[0], FIN | BINARY | COMPRESSED);
        crate::ws::payload(&made).to_vec()
    })
}

const ALWAYS: Compression = Compression { bytes_min: 0, level: 1 };

#[test]
fn the_examples_of_the_rfc_are_read() {
    let hello = [text("Hello")];
    assert_eq!(agreed(&[raw(FIN | COMPRESSED | TEXT, HELLO)], 100), hello);
    // §7.2.3.1, fragments, with a ping in between.
    let fragments = [raw(COMPRESSED | TEXT, &HELLO[..3]), raw(PING, ""), raw(FIN | CONTINUE, &HELLO[3..])];
    assert_eq!(agreed(&fragments, 100), [Event::Ping(Vec::new()), text("Hello")]);
    // §7.2.3.3, a stored block; §7.2.3.4, a last block; §7.2.3.5, two blocks.
    for body in [
        &b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"[..],
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
    ] {
        assert_eq!(agreed(&[raw(FIN | COMPRESSED | TEXT, body)], 100), hello, "{body:x?}");
    }
    // §7.2.3.6: an empty message. Messages may also be left as they are.
    assert_eq!(
        agreed(&[raw(FIN | COMPRESSED | TEXT, b"\x00"), raw(FIN | TEXT, "")], 100),
        [text(""), text("")]
    );
}

#[test]
fn the_bit_stands_on_the_first_frame_of_a_message_and_only_where_agreed() {
    let fault = [Event::Fault(Violation::ReservedBits)];
    let not_agreed = bytes(Role::Server, &[raw(FIN | COMPRESSED | TEXT, HELLO)]);
    assert_eq!(read(Role::Server, [&not_agreed[..]]), fault);
    assert_eq!(agreed(&[raw(PING | COMPRESSED, "")], 100), fault);
    assert_eq!(agreed(&[raw(FIN | TEXT | 0x20, "")], 100), fault);
    assert_eq!(agreed(&[raw(TEXT | COMPRESSED, HELLO), raw(FIN | CONTINUE | COMPRESSED, "")], 100), fault);
}

#[test]
fn a_bomb_ends_at_the_limit_with_1009() {
    let bomb = compressed(&vec![b' '; 1 << 20], ALWAYS).unwrap();
    assert!(bomb.len() < 8192, "{}", bomb.len());
    for limit in [8192, (1 << 20) - 1] {
        let events = agreed(&[raw(FIN | COMPRESSED | TEXT, &bomb)], limit);
        assert_eq!(events, [Event::Fault(Violation::TooBig)]);
    }
    assert_eq!(Violation::TooBig.code(), 1009);
    let events = agreed(&[raw(FIN | COMPRESSED | TEXT, &bomb)], 1 << 20);
    assert!(matches!(&events[..], [Event::Text(text)] if text.len() == 1 << 20));
    // Any number of last blocks without a byte in them makes no progress but its own.
    let nothing = [0x03, 0x00].repeat(4000);
    assert_eq!(agreed(&[raw(FIN | COMPRESSED | TEXT, [&nothing[..], &[0]].concat())], 10_000), [text("")]);
}

#[test]
fn what_is_not_compressed_data_ends_with_1007() {
    for body in [
        &b""[..],
        b"\xff",
        b"\x06",
        b"\x00\x05\x00\xfa\xfe",
        &HELLO[..3],
        &HELLO[..5],
        b"\xf3\x48\xcd\xc9\xc9\x07\x00",
    ] {
        let events = agreed(&[raw(FIN | COMPRESSED | TEXT, body)], 100);
        assert_eq!(events, [Event::Fault(Violation::Deflate)], "{body:x?}");
    }
    assert_eq!(Violation::Deflate.code(), 1007);
    let no_text = compressed(&[0xff; 100], ALWAYS).unwrap();
    assert_eq!(agreed(&[raw(FIN | COMPRESSED | TEXT, &no_text)], 100), [Event::Fault(Violation::Utf8)]);
    assert_eq!(agreed(&[raw(FIN | COMPRESSED | BINARY, &no_text)], 100), [Event::Binary(vec![0xff; 100])]);
}

#[test]
fn short_messages_and_those_that_gain_nothing_stay_as_they_are() {
    assert_eq!(compressed(&[b'a'; 127], Compression::default()), None);
    assert!(compressed(&[b'a'; 128], Compression::default()).is_some());
    assert_eq!(compressed(b"", ALWAYS), None);
    let mut noise = 1_u32;
    let random = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    });
    assert_eq!(compressed(&random.take(10_000).collect::<Vec<_>>(), ALWAYS), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn what_was_compressed_comes_back(
        words in prop::collection::vec("[a-e]{0,3}|[\\PC]{5}", 0..400),
        repeat in 1..40_usize,
        level in 1..=9_u8,
        cut in any::<prop::sample::Index>(),
    ) {
        let message = words.concat().repeat(repeat).into_bytes();
        if let Some(body) = compressed(&message, Compression { bytes_min: 0, level }) {
            let (first, last) = body.split_at(cut.index(body.len()));
            let frames = [raw(COMPRESSED | BINARY, first), raw(FIN | CONTINUE, last)];
            prop_assert_eq!(&agreed(&frames, message.len().max(body.len())), &[Event::Binary(message.clone())]);
        }
    }

    #[test]
    fn damage_never_panics_and_never_passes_the_limit(
        mut body in prop::collection::vec(any::<u8>(), 0..200),
        genuine in any::<bool>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        if genuine {
            body = compressed(&body.repeat(5), ALWAYS).unwrap_or(body);
        }
        if !body.is_empty() {
            let at = at.index(body.len());
            body[at] = byte;
        }
        for event in agreed(&[raw(FIN | COMPRESSED | BINARY, &body)], 600) {
            match event {
                Event::Binary(message) => prop_assert!(message.len() <= 600),
                Event::Fault(fault) => {
                    prop_assert!(matches!(fault, Violation::Deflate | Violation::TooBig), "{fault:?}");
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_cut_short_is_never_taken_for_a_whole_message(
        words in prop::collection::vec("[a-z]{1,5}", 20..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let message = words.join(" ").into_bytes();
        let body = compressed(&message, ALWAYS);
        prop_assume!(body.is_some());
        let body = body.unwrap_or_default();
        let cut = &body[..cut.index(body.len())];
        let events = agreed(&[raw(FIN | COMPRESSED | BINARY, cut)], 10_000);
        prop_assert_eq!(events, [Event::Fault(Violation::Deflate)]);
    }
}
