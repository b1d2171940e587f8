//! Handshakes that succeed, with rustls at the other end and with ourselves.

use std::io::Write as _;

use rustls::NamedGroup;

use super::world::*;
use crate::tls::{Done, Flight, Handshake, Progress, ServerOptions, Suite, Version};

/// Sends in both directions, updates keys where there are such, and closes.
fn talk(pair: &mut Pair) {
    let tls13 = pair.done.version == Version::Tls13;
    for round in 0..3_usize {
        let text = vec![round as u8; [1, 300, 40_000][round]];
        let mut out = Vec::new();
        pair.traffic().seal(&text, &mut out).unwrap();
        assert_eq!(pair.peer_reads(&out), text);
        let mut rest = &text[..];
        let mut heard = Vec::new();
        while !rest.is_empty() {
            let written = pair.peer.writer().write(rest).unwrap();
            rest = &rest[written..];
            heard.extend(pair.open_all());
        }
        assert_eq!(heard, text);
        if tls13 {
            pair.peer.refresh_traffic_keys().unwrap();
            let mut out = Vec::new();
            pair.traffic().request_key_update(&mut out).unwrap();
            pair.peer_reads(&out);
        }
    }
    pair.peer.send_close_notify();
    assert_eq!(pair.open_all(), b"");
    assert!(pair.traffic().is_closed());
    let mut out = Vec::new();
    pair.traffic().seal(b"last words", &mut out).unwrap();
    pair.traffic().seal_close(&mut out).unwrap();
    assert_eq!(pair.peer_reads(&out), b"last words");
    assert!(pair.peer.process_new_packets().unwrap().peer_has_closed());
}

#[test]
fn our_server_serves_rustls_in_every_suite() {
    let certified = vec![certified(Kind::Ecdsa, &["localhost"]), certified(Kind::Rsa, &["localhost"])];
    let config = our_server_with(&with_tickets(), certified);
    for (expected, suite) in suites() {
        let ours = Handshake::server(&config).unwrap();
        let mut pair = Pair::connect(ours, client_connection(rustls_client(&[suite])), usize::MAX).unwrap();
        assert_eq!(pair.traffic().suite(), expected);
        assert_eq!(pair.done.version, expected.version());
        assert!(!pair.done.resumed);
        talk(&mut pair);
    }
}

#[test]
fn our_client_uses_rustls_in_every_suite() {
    for (expected, suite) in suites() {
        let ours = Handshake::client(&our_client_of(expected), localhost()).unwrap();
        let peer = server_connection(rustls_server(&[suite], kind_for(suite)));
        let mut pair = Pair::connect(ours, peer, usize::MAX).unwrap();
        assert_eq!(pair.traffic().suite(), expected);
        talk(&mut pair);
    }
}

#[test]
fn the_smallest_state_is_preferred() {
    let ours = Handshake::server(&our_server(&ServerOptions::default())).unwrap();
    let pair = Pair::connect(ours, client_connection(rustls_client(ALL)), usize::MAX).unwrap();
    assert_eq!(pair.done.traffic.suite(), Suite::Aes128);
    assert_eq!(pair.done.traffic.heap_bytes(), 136);
}

#[test]
fn bytes_may_come_one_by_one() {
    for (expected, suite) in suites() {
        let config = our_server_with(&with_tickets(), vec![certified(kind_for(suite), &["localhost"])]);
        let ours = Handshake::server(&config).unwrap();
        let mut pair = Pair::connect(ours, client_connection(rustls_client(&[suite])), 1).unwrap();
        talk(&mut pair);
        let ours = Handshake::client(&our_client_of(expected), localhost()).unwrap();
        let peer = server_connection(rustls_server(&[suite], kind_for(suite)));
        talk(&mut Pair::connect(ours, peer, 1).unwrap());
    }
}

#[test]
fn messages_may_be_cut_into_many_records() {
    for (expected, suite) in suites() {
        let config = our_server_with(&with_tickets(), vec![certified(kind_for(suite), &["localhost"])]);
        let mut client = rustls_client(&[suite]);
        client.max_fragment_size = Some(32 + 5);
        let ours = Handshake::server(&config).unwrap();
        let mut pair = Pair::connect(ours, client_connection(client), 7).unwrap();
        talk(&mut pair);
        let mut server = rustls_server(&[suite], kind_for(suite));
        server.max_fragment_size = Some(32 + 5);
        let ours = Handshake::client(&our_client_of(expected), localhost()).unwrap();
        talk(&mut Pair::connect(ours, server_connection(server), usize::MAX).unwrap());
    }
}

#[test]
fn data_right_behind_the_finished_message_is_left_for_the_traffic() {
    let config = our_server(&with_tickets());
    let mut ours = Handshake::server(&config).unwrap();
    let mut peer = client_connection(rustls_client(&[suites()[0].1]));
    let (mut input, mut out, mut wire) = (Vec::new(), Vec::new(), Vec::new());
    drain(&mut peer, &mut input);
    assert!(matches!(ours.receive(&mut input, &mut out), Ok(Progress::More)));
    deliver(&mut peer, &out);
    for n in 0..1000 {
        peer.writer().write_all(&[n as u8; 30]).unwrap();
        drain(&mut peer, &mut wire);
    }
    input.extend(wire);
    let Ok(Progress::Done(Done { mut traffic, .. })) = ours.receive(&mut input, &mut out) else {
        panic!("not done");
    };
    let (plain, rest) = open_all(&mut traffic, &input);
    assert_eq!((plain.len(), rest.len()), (30_000, 0));
}

#[test]
fn only_the_first_flight_is_expensive_in_tls13() {
    let config = our_server(&with_tickets());
    let mut ours = Handshake::server(&config).unwrap();
    let mut peer = client_connection(rustls_client(&[suites()[0].1]));
    let (mut input, mut out) = (Vec::new(), Vec::new());
    assert_eq!(ours.flight(), Flight::Hello);
    drain(&mut peer, &mut input);
    let rest = input.split_off(10);
    assert!(matches!(ours.receive(&mut input, &mut out), Ok(Progress::More)));
    assert_eq!((ours.flight(), out.len()), (Flight::Hello, 0));
    input.extend(rest);
    assert!(matches!(ours.receive(&mut input, &mut out), Ok(Progress::More)));
    assert_eq!(ours.flight(), Flight::Finish);
    assert!(input.is_empty());
}

#[test]
fn a_hello_retry_is_still_the_first_flight() {
    let config = our_server(&ServerOptions::default());
    use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1};
    // A share for P-384 first, which our server does not know; P-256 on request.
    let client = rustls_client_with(&[suites()[0].1], &[SECP384R1, SECP256R1]);
    let mut peer = client_connection(client);
    let mut ours = Handshake::server(&config).unwrap();
    let (mut input, mut out) = (Vec::new(), Vec::new());
    drain(&mut peer, &mut input);
    assert!(matches!(ours.receive(&mut input, &mut out), Ok(Progress::More)));
    assert_eq!(ours.flight(), Flight::Hello);
    deliver(&mut peer, &out);
    let mut pair = Pair::connect(ours, peer, usize::MAX).unwrap();
    assert_eq!(pair.peer.negotiated_key_exchange_group().unwrap().name(), NamedGroup::secp256r1);
    talk(&mut pair);
}

#[test]
fn a_client_with_a_ticket_resumes_in_both_versions() {
    for (_, suite) in suites() {
        let config = our_server_with(&with_tickets(), vec![certified(kind_for(suite), &["localhost"])]);
        let client = rustls_client(&[suite]);
        for resumed in [false, true, true] {
            let ours = Handshake::server(&config).unwrap();
            let mut pair = Pair::connect(ours, client_connection(client.clone()), 50).unwrap();
            assert_eq!(pair.done.resumed, resumed, "{suite:?}");
            talk(&mut pair);
        }
    }
}

#[test]
fn tickets_hold_across_configurations_that_share_the_ticketer() {
    let options = with_tickets();
    let client = rustls_client(&[suites()[0].1]);
    for resumed in [false, true] {
        // As after a reload: another certificate, the same ticketer.
        let config = our_server_with(&options, vec![certified(Kind::Ecdsa, &["localhost"])]);
        let ours = Handshake::server(&config).unwrap();
        let mut pair = Pair::connect(ours, client_connection(client.clone()), usize::MAX).unwrap();
        assert_eq!(pair.done.resumed, resumed);
        talk(&mut pair);
    }
}

#[test]
fn one_ticket_is_sent_and_none_without_a_ticketer() {
    for (options, tickets) in [(with_tickets(), 1), (ServerOptions::default(), 0)] {
        let ours = Handshake::server(&our_server(&options)).unwrap();
        let pair =
            Pair::connect(ours, client_connection(rustls_client(&[suites()[0].1])), usize::MAX).unwrap();
        let rustls::Connection::Client(client) = &pair.peer else { panic!("a client") };
        assert_eq!(client.tls13_tickets_received(), tickets);
    }
}

#[test]
fn alpn_is_http11_or_absent() {
    let config = our_server(&ServerOptions::default());
    for (offered, agreed) in [(vec![], false), (vec![b"h2".to_vec(), b"http/1.1".to_vec()], true)] {
        let mut client = rustls_client(ALL);
        client.alpn_protocols = offered;
        let ours = Handshake::server(&config).unwrap();
        let pair = Pair::connect(ours, client_connection(client), usize::MAX).unwrap();
        assert_eq!(pair.done.http11, agreed);
    }
}

#[test]
fn the_post_quantum_group_is_used_when_turned_on() {
    use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
    for (on, expected) in [(false, NamedGroup::X25519), (true, NamedGroup::X25519MLKEM768)] {
        let options = ServerOptions { post_quantum: on, ..ServerOptions::default() };
        let ours = Handshake::server(&our_server(&options)).unwrap();
        let client = rustls_client_with(ALL, &[X25519MLKEM768, X25519]);
        let pair = Pair::connect(ours, client_connection(client), usize::MAX).unwrap();
        assert_eq!(pair.peer.negotiated_key_exchange_group().unwrap().name(), expected);
    }
}

#[test]
fn both_ends_may_be_ours() {
    for kind in [Kind::Ecdsa, Kind::Rsa, Kind::Ed25519] {
        let config = our_server_with(&with_tickets(), vec![certified(kind, &["localhost"])]);
        let mut server = Handshake::server(&config).unwrap();
        let mut client = Handshake::client(&our_client(), localhost()).unwrap();
        let (mut up, mut down, mut ends) = (Vec::new(), Vec::new(), (None, None));
        for _ in 0..4 {
            if ends.0.is_none()
                && let Progress::Done(done) = client.receive(&mut down, &mut up).unwrap()
            {
                ends.0 = Some(done);
            }
            if ends.1.is_none()
                && let Progress::Done(done) = server.receive(&mut up, &mut down).unwrap()
            {
                ends.1 = Some(done);
            }
        }
        let (mut client, mut server) = (ends.0.unwrap(), ends.1.unwrap());
        assert!(client.http11 && server.http11);
        // The server's ticket comes first and is skipped.
        assert!(!down.is_empty());
        server.traffic.seal(b"hello", &mut down).unwrap();
        assert_eq!(open_all(&mut client.traffic, &down), (b"hello".to_vec(), Vec::new()));
        client.traffic.seal(b"there", &mut up).unwrap();
        assert_eq!(open_all(&mut server.traffic, &up), (b"there".to_vec(), Vec::new()));
    }
}

#[test]
fn a_handshake_may_change_threads() {
    let config = our_server(&with_tickets());
    let mut ours = Handshake::server(&config).unwrap();
    let mut peer = client_connection(rustls_client(&[suites()[0].1]));
    let (mut input, mut out) = (Vec::new(), Vec::new());
    drain(&mut peer, &mut input);
    let (ours, out) = std::thread::spawn(move || {
        ours.receive(&mut input, &mut out).unwrap();
        (ours, out)
    })
    .join()
    .unwrap();
    deliver(&mut peer, &out);
    talk(&mut Pair::connect(ours, peer, usize::MAX).unwrap());
}

#[test]
fn early_data_on_the_strength_of_somebody_elses_ticket_is_skipped() {
    let mut client = rustls_client(&[suites()[0].1]);
    client.enable_early_data = true;
    let mut other = rustls_server(&[suites()[0].1], Kind::Ecdsa);
    other.max_early_data_size = 16_384;
    let (mut giver, mut taker) = (server_connection(other), client_connection(client.clone()));
    for _ in 0..4 {
        let mut wire = Vec::new();
        drain(&mut taker, &mut wire);
        deliver(&mut giver, &wire);
        wire.clear();
        drain(&mut giver, &mut wire);
        deliver(&mut taker, &wire);
    }
    let mut connection = rustls::ClientConnection::new(std::sync::Arc::new(client), localhost()).unwrap();
    for _ in 0..3 {
        connection.early_data().expect("a ticket that allows it").write_all(&[1; 500]).unwrap();
    }
    let ours = Handshake::server(&our_server(&with_tickets())).unwrap();
    let mut pair = Pair::connect(ours, connection.into(), 999).unwrap();
    assert!(!pair.done.resumed);
    let rustls::Connection::Client(client) = &pair.peer else { panic!("a client") };
    assert!(!client.is_early_data_accepted());
    talk(&mut pair);
}

#[test]
fn a_handshake_is_a_pointer_to_move() {
    assert_eq!(size_of::<Handshake>(), size_of::<usize>());
}
