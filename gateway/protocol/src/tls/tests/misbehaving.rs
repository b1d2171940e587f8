//! Peers that hold the right keys and break the rules with them.

use super::records::raw;
use super::world::*;
use crate::tls::limits::{
    BODY_TLS12_BYTES_MAX, BODY_TLS13_BYTES_MAX, FRUITLESS_RECORDS_MAX, KEY_UPDATES_BURST,
    RECORDS_PER_KEY_UPDATE,
};
use crate::tls::message::key_update;
use crate::tls::record::{ALERT, CHANGE_CIPHER_SPEC, DATA, HANDSHAKE};
use crate::tls::{Misbehaviour, Opened, Suite, Traffic};

const TLS13: [Suite; 3] = [Suite::Aes128, Suite::Aes256, Suite::ChaCha];
const TLS12: [Suite; 3] = [Suite::Aes128Tls12, Suite::Aes256Tls12, Suite::ChaChaTls12];

/// What the server makes of one record of the client's.
fn answer(suite: Suite, kind: u8, content: &[u8]) -> Result<bool, Misbehaviour> {
    let (mut server, mut client) = twins(suite, 9);
    let mut record = raw(&mut client, kind, content, 0);
    server.open(&mut record).map(|(_, opened)| opened == Opened::Closed)
}

fn flood(to: &mut Traffic, mut record: impl FnMut() -> Vec<u8>, allowed: u64) {
    for n in 0..allowed {
        assert_eq!(to.open(&mut record()).map(|(_, opened)| opened), Ok(Opened::Nothing), "record {n}");
    }
    assert_eq!(to.open(&mut record()), Err(Misbehaviour::Flood));
}

#[test]
fn only_protected_records_come_after_the_handshake() {
    let (mut server, _) = twins(Suite::Aes128, 9);
    for kind in (0..=255).filter(|&kind| kind != DATA) {
        // Refused at the header: the body does not even have to come.
        assert_eq!(server.open(&mut [kind, 3, 3, 0, 1]), Err(Misbehaviour::Unexpected));
    }
    let (mut server, _) = twins(Suite::Aes128Tls12, 9);
    for kind in (0..=255).filter(|kind| !(CHANGE_CIPHER_SPEC..=DATA).contains(kind)) {
        assert_eq!(server.open(&mut [kind, 3, 3, 0, 1]), Err(Misbehaviour::Unexpected));
    }
}

#[test]
fn a_length_above_the_limit_is_refused_at_the_header() {
    for (suite, limit) in [(Suite::Aes128, BODY_TLS13_BYTES_MAX), (Suite::Aes128Tls12, BODY_TLS12_BYTES_MAX)]
    {
        let (mut server, _) = twins(suite, 9);
        let header = |body: usize| {
            let [high, low] = (body as u16).to_be_bytes();
            [DATA, 3, 3, high, low]
        };
        let need = limit + 5;
        assert_eq!(server.open(&mut header(limit)), Ok((0, Opened::Incomplete { need })));
        assert_eq!(server.open(&mut header(limit + 1)), Err(Misbehaviour::Overflow));
        assert_eq!(server.open(&mut header(0xffff)), Err(Misbehaviour::Overflow));
    }
}

#[test]
fn more_than_a_record_of_plaintext_is_an_overflow() {
    for suite in TLS13 {
        // 16,383 bytes of data, the type and padding to one too many.
        let (mut server, mut client) = twins(suite, 9);
        let mut record = raw(&mut client, DATA, &[1; 16_383], 2);
        assert_eq!(server.open(&mut record), Err(Misbehaviour::Overflow));
    }
}

#[test]
fn a_record_too_short_for_its_tag_is_a_bad_one() {
    for suite in Suite::ALL {
        for body in 0..16_u8 {
            let (mut server, _) = twins(suite, 9);
            let mut record = vec![DATA, 3, 3, 0, body];
            record.resize(5 + usize::from(body), 0);
            assert_eq!(server.open(&mut record), Err(Misbehaviour::BadMac));
        }
    }
}

#[test]
fn a_record_of_another_key_or_out_of_order_is_a_bad_one() {
    for suite in Suite::ALL {
        let (mut server, _) = twins(suite, 9);
        let (_, mut stranger) = twins(suite, 10);
        let mut record = raw(&mut stranger, DATA, b"let me in", 0);
        assert_eq!(server.open(&mut record), Err(Misbehaviour::BadMac));

        let (mut server, mut client) = twins(suite, 9);
        let first = raw(&mut client, DATA, b"first", 0);
        let mut second = raw(&mut client, DATA, b"second", 0);
        assert_eq!(server.open(&mut second), Err(Misbehaviour::BadMac));
        // Replayed.
        let (mut server, _) = twins(suite, 9);
        assert!(server.open(&mut first.clone()).is_ok());
        assert_eq!(server.open(&mut first.clone()), Err(Misbehaviour::BadMac));
        // Reflected.
        let (mut server, _) = twins(suite, 9);
        let mut own = raw(&mut server, DATA, b"own", 0);
        assert_eq!(server.open(&mut own), Err(Misbehaviour::BadMac));
    }
}

#[test]
fn a_record_without_a_type_is_refused() {
    for suite in TLS13 {
        for zeros in [0, 1, 100, 16_384] {
            let (mut server, mut client) = twins(suite, 9);
            let mut record = raw(&mut client, 0, &vec![0; zeros], 0);
            assert_eq!(server.open(&mut record), Err(Misbehaviour::Unexpected));
        }
    }
}

#[test]
fn inner_types_that_do_not_exist_here_are_refused() {
    for kind in [CHANGE_CIPHER_SPEC, 1, 24, 26, 255] {
        assert_eq!(answer(Suite::Aes128, kind, &[1]), Err(Misbehaviour::Unexpected));
    }
    assert_eq!(answer(Suite::Aes128Tls12, CHANGE_CIPHER_SPEC, &[1]), Err(Misbehaviour::Unexpected));
}

#[test]
fn handshake_messages_after_the_handshake_are_refused() {
    for suite in TLS13 {
        for kind in (0..=255).filter(|&kind| kind != 24) {
            assert_eq!(answer(suite, HANDSHAKE, &[kind, 0, 0, 0]), Err(Misbehaviour::Unexpected));
        }
        assert_eq!(answer(suite, HANDSHAKE, &[]), Err(Misbehaviour::Unexpected));
    }
}

#[test]
fn renegotiation_is_refused_in_tls12() {
    for suite in TLS12 {
        assert_eq!(answer(suite, HANDSHAKE, &[1, 0, 0, 0]), Err(Misbehaviour::Renegotiation));
        for kind in (0..=255).filter(|&kind| kind != 1) {
            assert_eq!(answer(suite, HANDSHAKE, &[kind, 0, 0, 0]), Err(Misbehaviour::Unexpected));
        }
        assert_eq!(answer(suite, HANDSHAKE, &[]), Err(Misbehaviour::Unexpected));
        // A client ignores the server's wish, but not for ever.
        let (mut server, mut client) = twins(suite, 9);
        flood(&mut client, || raw(&mut server, HANDSHAKE, &[0; 4], 0), FRUITLESS_RECORDS_MAX);
    }
}

#[test]
fn alerts_end_the_connection_or_are_warnings() {
    for suite in TLS13 {
        for level in [0, 1, 2, 77] {
            assert_eq!(answer(suite, ALERT, &[level, 0]), Ok(true));
            assert_eq!(answer(suite, ALERT, &[level, 90]), Ok(false));
            assert_eq!(answer(suite, ALERT, &[level, 48]), Err(Misbehaviour::Alerted(48)));
        }
    }
    for suite in TLS12 {
        assert_eq!(answer(suite, ALERT, &[1, 0]), Ok(true));
        assert_eq!(answer(suite, ALERT, &[1, 100]), Ok(false));
        assert_eq!(answer(suite, ALERT, &[2, 20]), Err(Misbehaviour::Alerted(20)));
        assert_eq!(answer(suite, ALERT, &[2, 0]), Err(Misbehaviour::Alerted(0)));
        assert_eq!(answer(suite, ALERT, &[3, 20]), Err(Misbehaviour::Illegal));
    }
    for suite in Suite::ALL {
        for content in [&[][..], &[1], &[1, 0, 0], &[2, 20, 2, 20]] {
            assert_eq!(answer(suite, ALERT, content), Err(Misbehaviour::Decode));
        }
    }
}

#[test]
fn a_peers_alert_is_not_answered() {
    let (mut server, _) = twins(Suite::Aes128, 9);
    let mut out = Vec::new();
    server.seal_alert(Misbehaviour::Alerted(48), &mut out).unwrap();
    assert!(out.is_empty() && server.is_ended());
}

#[test]
fn every_misbehaviour_is_answered_by_its_alert() {
    let answers = [
        (Misbehaviour::Unexpected, 10),
        (Misbehaviour::BadMac, 20),
        (Misbehaviour::Overflow, 22),
        (Misbehaviour::Decode, 50),
        (Misbehaviour::Illegal, 47),
        (Misbehaviour::Flood, 10),
        (Misbehaviour::Exhausted, 80),
        (Misbehaviour::Internal, 80),
    ];
    for suite in Suite::ALL {
        for (misbehaviour, alert) in answers {
            let (mut server, mut client) = twins(suite, 9);
            let mut out = Vec::new();
            server.seal_alert(misbehaviour, &mut out).unwrap();
            assert_eq!(client.open(&mut out), Err(Misbehaviour::Alerted(alert)));
        }
    }
    let (mut server, mut client) = twins(Suite::Aes128Tls12, 9);
    let mut out = Vec::new();
    server.seal_alert(Misbehaviour::Renegotiation, &mut out).unwrap();
    assert_eq!(client.open(&mut out).map(|(_, opened)| opened), Ok(Opened::Nothing));
}

#[test]
fn nothing_may_come_between_the_parts_of_a_message() {
    for (kind, content) in [(DATA, &b"data"[..]), (ALERT, &[1, 0]), (DATA, &[])] {
        let (mut server, mut client) = twins(Suite::Aes128, 9);
        let mut record = raw(&mut client, HANDSHAKE, &key_update(false)[..3], 0);
        assert_eq!(server.open(&mut record).map(|(_, opened)| opened), Ok(Opened::Nothing));
        let mut record = raw(&mut client, kind, content, 0);
        assert_eq!(server.open(&mut record), Err(Misbehaviour::Unexpected));
    }
}

#[test]
fn a_fragmented_key_update_changes_the_key_at_its_end() {
    for suite in TLS13 {
        let (mut server, mut client) = twins(suite, 9);
        let message = key_update(true);
        for byte in message {
            let mut record = raw(&mut client, HANDSHAKE, &[byte], 0);
            assert_eq!(server.open(&mut record).map(|(_, opened)| opened), Ok(Opened::Nothing));
        }
        crate::tls::schedule::advance(suite, &mut client.sending(suite)).unwrap();
        let record = raw(&mut client, DATA, b"new key", 0);
        assert_eq!(open_all(&mut server, &record).0, b"new key");
        let mut out = Vec::new();
        server.seal(b"answer", &mut out).unwrap();
        assert_eq!(open_all(&mut client, &out).0, b"answer");
    }
}

#[test]
fn an_old_key_is_of_no_use_after_an_update() {
    let (mut server, mut client) = twins(Suite::Aes128, 9);
    let mut record = raw(&mut client, HANDSHAKE, &key_update(false), 0);
    assert!(server.open(&mut record).is_ok());
    let mut record = raw(&mut client, DATA, b"old key", 0);
    assert_eq!(server.open(&mut record), Err(Misbehaviour::BadMac));
}

#[test]
fn a_malformed_key_update_is_refused() {
    for (content, expected) in [
        (&[24, 0, 0, 1, 2][..], Misbehaviour::Illegal),
        (&[24, 0, 0, 0], Misbehaviour::Decode),
        (&[24, 0, 0, 2, 0, 0], Misbehaviour::Decode),
        (&[24, 0, 0, 1, 0, 24, 0, 0, 1, 0], Misbehaviour::Unexpected),
        (&[24, 0, 0, 1, 0, 0], Misbehaviour::Unexpected),
    ] {
        assert_eq!(answer(Suite::Aes128, HANDSHAKE, content), Err(expected));
    }
}

#[test]
fn floods_of_key_updates_are_stopped() {
    for request in [false, true] {
        let (mut server, mut client) = twins(Suite::Aes128, 9);
        let update = || {
            let record = raw(&mut client, HANDSHAKE, &key_update(request), 0);
            crate::tls::schedule::advance(Suite::Aes128, &mut client.sending(Suite::Aes128)).unwrap();
            record
        };
        flood(&mut server, update, KEY_UPDATES_BURST);
    }
}

#[test]
fn data_earns_key_updates() {
    let (mut server, mut client) = twins(Suite::Aes128, 9);
    for _ in 0..10 * KEY_UPDATES_BURST {
        let mut stream = raw(&mut client, HANDSHAKE, &key_update(false), 0);
        crate::tls::schedule::advance(Suite::Aes128, &mut client.sending(Suite::Aes128)).unwrap();
        for _ in 0..RECORDS_PER_KEY_UPDATE {
            stream.extend(raw(&mut client, DATA, &[1], 0));
        }
        assert_eq!(open_all(&mut server, &stream).0.len() as u64, RECORDS_PER_KEY_UPDATE);
    }
    // One less each time is not enough in the long run.
    let mut outcome = Ok(());
    for _ in 0..KEY_UPDATES_BURST * RECORDS_PER_KEY_UPDATE {
        let mut stream = raw(&mut client, HANDSHAKE, &key_update(false), 0);
        crate::tls::schedule::advance(Suite::Aes128, &mut client.sending(Suite::Aes128)).unwrap();
        for _ in 1..RECORDS_PER_KEY_UPDATE {
            stream.extend(raw(&mut client, DATA, &[1], 0));
        }
        let mut at = 0;
        while outcome.is_ok() && at < stream.len() {
            outcome = server.open(&mut stream[at..]).map(|(used, _)| at += used);
        }
    }
    assert_eq!(outcome, Err(Misbehaviour::Flood));
}

#[test]
fn floods_of_empty_records_and_warnings_are_stopped() {
    for suite in Suite::ALL {
        let (mut server, mut client) = twins(suite, 9);
        flood(&mut server, || raw(&mut client, DATA, &[], 0), FRUITLESS_RECORDS_MAX);
        let (mut server, mut client) = twins(suite, 9);
        flood(&mut server, || raw(&mut client, ALERT, &[1, 90], 0), FRUITLESS_RECORDS_MAX);
        // Data in between is all it takes.
        let (mut server, mut client) = twins(suite, 9);
        for _ in 0..1000 {
            let mut stream = raw(&mut client, DATA, &[], 0);
            stream.extend(raw(&mut client, DATA, &[1], 0));
            assert_eq!(open_all(&mut server, &stream).0, [1]);
        }
    }
}

#[test]
fn floods_of_tickets_are_stopped() {
    let (mut server, mut client) = twins(Suite::Aes128, 9);
    let ticket = [&[4, 0, 0, 20][..], &[1; 20]].concat();
    flood(&mut client, || raw(&mut server, HANDSHAKE, &ticket, 0), FRUITLESS_RECORDS_MAX);
}
