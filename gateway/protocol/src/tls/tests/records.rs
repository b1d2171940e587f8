//! Records that are as they should be: every size, every suite, every cut.

use proptest::prelude::*;

use super::world::*;
use crate::tls::limits::{
    BLOCKS_PER_KEY_MAX, BODY_TLS13_BYTES_MAX, HEADER_BYTES, OVERHEAD_BYTES_MAX, PLAINTEXT_BYTES_MAX,
    RECORDS_PER_KEY_MAX, SEQUENCE_MAX,
};
use crate::tls::message::key_update;
use crate::tls::record::{self, DATA, HANDSHAKE};
use crate::tls::state::Field;
use crate::tls::{Misbehaviour, Opened, Suite, TlsError, Traffic, Version};

/// Appends a record of any inner type and padding, as a peer could send it.
pub(super) fn raw(from: &mut Traffic, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
    let suite = from.suite();
    let mut half = from.sending(suite);
    if padding == 0 {
        let mut out = vec![0; record::prefix_bytes(suite)];
        out.extend_from_slice(content);
        record::seal(suite, &mut half, kind, 0, &mut out).unwrap();
        return out;
    }
    // Padding lies behind the type: make the type part of the content and a zero the type.
    let mut out = vec![0; HEADER_BYTES];
    out.extend_from_slice(content);
    out.push(kind);
    out.resize(out.len() + padding - 1, 0);
    seal_unchecked(suite, &mut half, &mut out);
    out
}

/// Seals a TLS 1.3 record of any length, with a last byte of zero.
fn seal_unchecked(suite: Suite, half: &mut crate::tls::state::View<'_>, out: &mut Vec<u8>) {
    use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
    assert_eq!(suite.version(), Version::Tls13);
    out.push(0);
    let [high, low] = ((out.len() - HEADER_BYTES + 16) as u16).to_be_bytes();
    let header = [DATA, 3, 3, high, low];
    out[..HEADER_BYTES].copy_from_slice(&header);
    let sequence = half.field(Field::SEQUENCE);
    let mut nonce = *half.iv;
    for (byte, number) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
        *byte ^= number;
    }
    let key = LessSafeKey::new(UnboundKey::new(suite.aead(), half.key).unwrap());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(header), &mut out[HEADER_BYTES..]).unwrap();
    out.extend_from_slice(tag.as_ref());
    half.put(Field::SEQUENCE, sequence + 1);
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(
        suite in prop::sample::select(&Suite::ALL[..]),
        texts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..700), any::<bool>()), 1..12),
        cut in 1_usize..2000,
        updates in any::<[u8; 4]>(),
    ) {
        let (mut server, mut client) = twins(suite, updates[0]);
        let (mut sent, mut out) = (Vec::new(), Vec::new());
        for (n, (text, in_place)) in texts.iter().enumerate() {
            if *in_place {
                server.seal_with(&mut out, |out| out.extend_from_slice(text)).unwrap();
            } else {
                server.seal(text, &mut out).unwrap();
            }
            if suite.version() == Version::Tls13 && updates.contains(&(n as u8)) {
                server.request_key_update(&mut out).unwrap();
            }
            sent.extend_from_slice(text);
        }
        // The client gets the stream in pieces and asks again with what was left over.
        let (mut heard, mut input) = (Vec::new(), Vec::new());
        for piece in out.chunks(cut) {
            input.extend_from_slice(piece);
            let (plain, rest) = open_all(&mut client, &input);
            heard.extend(plain);
            input = rest;
        }
        prop_assert_eq!(&heard, &sent);
        prop_assert!(input.is_empty());
    }

    #[test]
    fn a_changed_bit_is_noticed(
        suite in prop::sample::select(&Suite::ALL[..]),
        text in prop::collection::vec(any::<u8>(), 1..100),
        place in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let (mut server, mut client) = twins(suite, 1);
        let mut out = Vec::new();
        server.seal(&text, &mut out).unwrap();
        let place = place.index(out.len());
        out[place] ^= 1_u8 << bit;
        match client.open(&mut out) {
            Ok((0, Opened::Incomplete { .. })) => prop_assert!([3, 4].contains(&place)),
            Ok(other) => prop_assert!(false, "opened as {:?}", other),
            Err(Misbehaviour::BadMac) => {}
            Err(Misbehaviour::Unexpected) => prop_assert_eq!(place, 0),
            Err(Misbehaviour::Overflow) => prop_assert_eq!(place, 3),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn garbage_never_panics(
        suite in prop::sample::select(&Suite::ALL[..]),
        mut input in prop::collection::vec(any::<u8>(), 0..400),
        valid_header in any::<bool>(),
    ) {
        let (mut server, _) = twins(suite, 1);
        if valid_header && input.len() >= HEADER_BYTES {
            let body = (input.len() - HEADER_BYTES) as u16;
            input[..3].copy_from_slice(&[DATA, 3, 3]);
            input[3..5].copy_from_slice(&body.to_be_bytes());
        }
        if let Ok((used, opened)) = server.open(&mut input) {
            let incomplete = matches!(opened, Opened::Incomplete { .. });
            prop_assert!(incomplete && used == 0);
        }
    }
}

#[test]
fn every_size_around_the_limit_is_cut_right() {
    for suite in Suite::ALL {
        let (mut server, mut client) = twins(suite, 3);
        for length in [0, 1, 15, 16, 17, 16_383, 16_384, 16_385, 40_000, 2 * 16_384] {
            let text = vec![0xab; length];
            let mut out = Vec::new();
            server.seal(&text, &mut out).unwrap();
            let records = length.div_ceil(PLAINTEXT_BYTES_MAX);
            assert!(out.len() <= length + records * (OVERHEAD_BYTES_MAX + 1));
            assert_eq!(open_all(&mut client, &out), (text.clone(), Vec::new()));

            let mut again = vec![1, 2, 3];
            server.seal_with(&mut again, |out| out.extend_from_slice(&text)).unwrap();
            assert_eq!((again.len() - 3, &again[..3]), (out.len(), &[1, 2, 3][..]));
            assert_eq!(open_all(&mut client, &again[3..]), (text, Vec::new()));
        }
    }
}

#[test]
fn how_much_is_needed_is_told_as_soon_as_it_is_known() {
    let (mut server, mut client) = twins(Suite::Aes128, 3);
    let mut out = Vec::new();
    server.seal(b"hello", &mut out).unwrap();
    for have in 0..out.len() {
        let need = if have < HEADER_BYTES { HEADER_BYTES } else { out.len() };
        assert_eq!(client.open(&mut out[..have]), Ok((0, Opened::Incomplete { need })));
    }
    assert_eq!(client.open(&mut out), Ok((27, Opened::Data(&mut b"hello".to_vec()))));
}

#[test]
fn padding_is_taken_off() {
    for suite in [Suite::Aes128, Suite::Aes256, Suite::ChaCha] {
        let (mut server, mut client) = twins(suite, 3);
        for (length, padding) in [(1, 1), (5, 255), (100, 16_284), (16_384, 0), (16_383, 1), (0, 16_384)] {
            let text = vec![9; length];
            let record = raw(&mut client, DATA, &text, padding);
            assert!(record.len() <= HEADER_BYTES + BODY_TLS13_BYTES_MAX);
            assert_eq!(open_all(&mut server, &record), (text, Vec::new()));
        }
        // Data that itself ends in zeros keeps them.
        let record = raw(&mut client, DATA, &[1, 0, 0, 0], 7);
        assert_eq!(open_all(&mut server, &record).0, [1, 0, 0, 0]);
        // Other types may be padded too.
        let record = raw(&mut client, HANDSHAKE, &key_update(false), 30);
        assert_eq!(open_all(&mut server, &record), (Vec::new(), Vec::new()));
    }
}

#[test]
fn an_owed_key_update_goes_out_before_the_next_data_and_once() {
    let (mut server, mut client) = twins(Suite::Aes128, 3);
    let mut up = Vec::new();
    for _ in 0..3 {
        client.request_key_update(&mut up).unwrap();
    }
    open_all(&mut server, &up);
    for (round, sizes) in [(1, 2 * 22 + 5 + 4), (2, 22 + 4)] {
        let mut down = Vec::new();
        server.seal(b"data", &mut down).unwrap();
        assert_eq!(down.len(), sizes, "round {round}");
        assert_eq!(open_all(&mut client, &down).0, b"data");
    }
}

#[test]
fn a_sending_key_is_replaced_at_its_limit_in_tls13() {
    for suite in [Suite::Aes128, Suite::Aes256, Suite::ChaCha] {
        let (mut server, mut client) = twins(suite, 3);
        let near = RECORDS_PER_KEY_MAX - 9;
        server.sending(suite).put(Field::SEQUENCE, near);
        client.halves(suite).1.put(Field::SEQUENCE, near);
        let mut out = Vec::new();
        // Four records in one call, the second of which needs a new key.
        server.seal(&vec![7; 3 * PLAINTEXT_BYTES_MAX + 1], &mut out).unwrap();
        assert_eq!(server.sending(suite).field(Field::SEQUENCE), 3);
        assert_eq!(open_all(&mut client, &out).0.len(), 3 * PLAINTEXT_BYTES_MAX + 1);
        // It asks for nothing, so the other direction keeps its key.
        assert_eq!(client.sending(suite).field(Field::OWED), 0);
    }
}

#[test]
fn a_tls12_key_ends_with_its_limit_but_for_the_alert() {
    let suite = Suite::Aes128Tls12;
    let (mut server, mut client) = twins(suite, 3);
    // 16 bytes and a tag are two blocks.
    server.sending(suite).set_blocks(BLOCKS_PER_KEY_MAX - 2);
    let mut out = Vec::new();
    server.seal(&[0; 16], &mut out).unwrap();
    let sealed = out.len();
    assert!(matches!(server.seal(&[0; 16], &mut out), Err(TlsError::Exhausted)));
    assert!(matches!(server.seal_with(&mut out, |out| out.extend([0; 16])), Err(TlsError::Exhausted)));
    assert_eq!(out.len(), sealed);
    server.seal_close(&mut out).unwrap();
    assert_eq!(open_all(&mut client, &out).0, [0; 16]);
    assert!(client.is_closed());
}

#[test]
fn small_records_do_not_use_up_a_tls12_key_early() {
    let suite = Suite::Aes256Tls12;
    let (mut server, _) = twins(suite, 3);
    server.sending(suite).put(Field::SEQUENCE, 1 << 29);
    server.sending(suite).set_blocks(15 << 29);
    server.seal(&[0; 220], &mut Vec::new()).unwrap();
}

#[test]
fn sequence_numbers_do_not_wrap() {
    for suite in Suite::ALL {
        let (mut server, mut client) = twins(suite, 3);
        server.sending(suite).put(Field::SEQUENCE, SEQUENCE_MAX - 1);
        client.halves(suite).1.put(Field::SEQUENCE, SEQUENCE_MAX - 1);
        let last = raw(&mut server, DATA, b"last", 0);
        assert_eq!(open_all(&mut client, &last).0, b"last");
        let half = &mut server.sending(suite);
        let mut out = vec![0; 64];
        assert!(matches!(record::seal(suite, half, DATA, 0, &mut out), Err(TlsError::Exhausted)));
        assert_eq!(client.open(&mut last.clone()), Err(Misbehaviour::Exhausted));
        assert_eq!(client.suite(), suite);
    }
    // A ChaCha key of TLS 1.2 has no other limit.
    let (mut server, _) = twins(Suite::ChaChaTls12, 3);
    server.sending(Suite::ChaChaTls12).put(Field::SEQUENCE, SEQUENCE_MAX - 8);
    assert!(matches!(server.seal(b"no", &mut Vec::new()), Err(TlsError::Exhausted)));
    server.seal_close(&mut Vec::new()).unwrap();
}

#[test]
fn nothing_is_sealed_after_the_end() {
    for suite in Suite::ALL {
        let (mut server, mut client) = twins(suite, 3);
        let mut out = Vec::new();
        assert!(!server.is_ended());
        server.seal_close(&mut out).unwrap();
        let closed = out.len();
        assert!(server.is_ended());
        assert!(matches!(server.seal(b"more", &mut out), Err(TlsError::Closed)));
        server.seal_close(&mut out).unwrap();
        server.seal_alert(Misbehaviour::BadMac, &mut out).unwrap();
        assert_eq!(out.len(), closed);
        assert_eq!(client.open(&mut out), Ok((closed, Opened::Closed)));
        // Both directions close on their own.
        let mut up = Vec::new();
        client.seal(b"still here", &mut up).unwrap();
        assert_eq!(open_all(&mut server, &up).0, b"still here");
        // What comes after a close is ignored, whatever it is.
        assert_eq!(client.open(&mut [0; 77]), Ok((77, Opened::Closed)));
    }
}

#[test]
fn tls12_has_no_key_update() {
    let (mut server, _) = twins(Suite::Aes128Tls12, 3);
    assert!(matches!(server.request_key_update(&mut Vec::new()), Err(TlsError::NoKeyUpdate)));
}
