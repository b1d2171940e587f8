//! What holds for any bytes and any cuts.

use proptest::prelude::*;

use super::*;
use crate::ws::{Opcode, frame, masked_frame};

/// Mostly right frames, some wrong ones.
fn any_frame() -> impl Strategy<Value = Frame> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![
            FIN | TEXT, TEXT, FIN | BINARY, BINARY, CONTINUE, CONTINUE, FIN | CONTINUE, PING, PONG,
        ]),
        1 => prop::sample::select(vec![CLOSE, CONTINUE | 0x40, PING & !FIN, FIN | 0x5]),
    ];
    let payload = prop_oneof![
        6 => "[a-zé🦀]{0,40}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..60),
        1 => prop::collection::vec(Just(b'z'), 100..300),
    ];
    (first, payload).prop_map(|(first, payload)| Frame { first, payload })
}

fn any_role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Server, Role::Client])
}

/// Pieces of `bytes` between the given cuts.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn the_same_items_come_out_wherever_the_stream_is_cut(
        role in any_role(),
        frames in prop::collection::vec(any_frame(), 1..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let all = bytes(role, &frames);
        let whole = read(role, [&all[..]]);
        prop_assert_eq!(&read(role, pieces(&all, &cuts)), &whole);
        prop_assert_eq!(&read(role, all.chunks(1)), &whole);
    }

    #[test]
    fn garbage_never_panics_and_says_at_most_one_last_thing(
        role in any_role(),
        all in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let events = read(role, pieces(&all, &cuts));
        let last = events.iter().position(|event| matches!(event, Event::Fault(_) | Event::Close(..)));
        prop_assert!(last.is_none_or(|last| last + 1 == events.len()));
    }

    #[test]
    fn masking_is_its_own_inverse_and_turns_the_key_byte_by_byte(
        plain in prop::collection::vec(any::<u8>(), 0..200),
        key in any::<[u8; 4]>(),
    ) {
        let mut masked = plain.clone();
        mask(&mut masked, key);
        let slow: Vec<_> = plain.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        prop_assert_eq!(&masked, &slow);
        mask(&mut masked, key);
        prop_assert_eq!(masked, plain);
    }

    #[test]
    fn what_one_end_writes_the_other_reads(
        text_payload in "\\PC{0,300}",
        binary in prop::collection::vec(any::<u8>(), 0..=65_536),
        key in any::<[u8; 4]>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (mut server, mut client) = (Vec::new(), Vec::new());
        for (opcode, payload) in [(Opcode::Text, text_payload.as_bytes()), (Opcode::Binary, &binary)] {
            frame(opcode, payload, &mut server);
            masked_frame(opcode, payload, key, &mut client);
        }
        let expected = [Event::Text(text_payload), Event::Binary(binary)];
        prop_assert_eq!(&read(Role::Client, pieces(&server, &cuts))[..], &expected[..]);
        prop_assert_eq!(&read(Role::Server, pieces(&client, &cuts))[..], &expected[..]);
    }
}
