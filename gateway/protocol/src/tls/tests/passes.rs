//! Flights in two passes: a peer cannot tell them from flights in one, and nothing of the first remains.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
use rustls::sign::SigningKey;
use rustls::{AlertDescription, ServerConfig, SignatureScheme, SupportedCipherSuite};

use super::world::*;
use crate::tls::certificate::{Remote, RemoteKey};
use crate::tls::limits::REEL_BYTES_MAX;
use crate::tls::{Begun, Cause, Handshake, Progress, ServerOptions, Unsigned, Wanted, replay};

/// Holds a real key and counts how often it is asked by the blocking call.
struct Holder {
    key: Arc<dyn SigningKey>,
    asked: AtomicUsize,
}

struct Server {
    config: Arc<ServerConfig>,
    holder: Arc<Holder>,
}

impl Remote for Holder {
    fn sign(&self, key: u32, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.answer(&Wanted { key, scheme, message: message.to_vec() })
    }
}

impl Holder {
    fn answer(&self, wanted: &Wanted) -> Result<Vec<u8>, Unsigned> {
        assert_eq!(wanted.key, 7);
        let scheme = SignatureScheme::from(wanted.scheme);
        let signer = self.key.choose_scheme(&[scheme]).ok_or(Unsigned::Refused)?;
        signer.sign(&wanted.message).map_err(|_| Unsigned::Unavailable)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Server {
    fn new(kind: Kind, options: &ServerOptions) -> Self {
        let mut certified = certified(kind, &["localhost"]);
        let holder = Arc::new(Holder { key: Arc::clone(&certified.key), asked: AtomicUsize::new(0) });
        let schemes: &[u16] = match kind {
            Kind::Ecdsa => &[0x0403],
            Kind::Rsa => &[0x0804, 0x0401],
            Kind::Ed25519 => &[0x0807],
        };
        let remote = Arc::clone(&holder) as Arc<dyn Remote>;
        certified.key = Arc::new(RemoteKey::new(7, schemes, remote).unwrap());
        Self { config: our_server_with(options, vec![certified]), holder }
    }

    /// The first flight to what this client says first; the signature in between.
    fn answer(&self, peer: &mut rustls::Connection) -> (Handshake, Vec<u8>, bool) {
        let mut ours = Handshake::server(&self.config).unwrap();
        let (mut input, mut out) = (Vec::new(), Vec::new());
        drain(peer, &mut input);
        let asked = self.flight(&mut ours, &mut input, &mut out);
        (ours, out, asked)
    }

    /// Whether a signature was needed, and no blocking call.
    fn flight(&self, ours: &mut Handshake, input: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
        let (told, before) = (out.len(), self.holder.asked());
        let begun = ours.begin(input, out).unwrap();
        assert!(replay::nothing_is_left());
        match begun {
            Begun::Progress(Progress::More) => false,
            Begun::Progress(Progress::Done(_)) => panic!("not in one flight"),
            Begun::Unsigned => {
                assert_eq!((0, told), (input.len(), out.len()));
                let signature = self.holder.answer(ours.wanted().unwrap());
                assert!(matches!(ours.signed(signature, input, out), Ok(Progress::More)));
                assert!(replay::nothing_is_left() && ours.wanted().is_none() && input.is_empty());
                assert_eq!(self.holder.asked(), before);
                true
            }
        }
    }
}

/// Completes what [`Server::answer`] began.
fn complete(ours: Handshake, mut peer: rustls::Connection, out: &[u8]) -> Pair {
    deliver(&mut peer, out);
    let mut pair = Pair::connect(ours, peer, usize::MAX).unwrap();
    let mut record = Vec::new();
    pair.traffic().seal(b"hello", &mut record).unwrap();
    assert_eq!(pair.peer_reads(&record), b"hello");
    std::io::Write::write_all(&mut pair.peer.writer(), b"and back").unwrap();
    assert_eq!(pair.open_all(), b"and back");
    pair
}

fn client(suite: SupportedCipherSuite, group: &'static dyn SupportedKxGroup) -> rustls::Connection {
    client_connection(rustls_client_with(&[suite], &[group]))
}

#[test]
fn clients_of_every_suite_group_and_key_accept_two_passes() {
    for (_, suite) in suites() {
        let kinds = match suite.tls13() {
            Some(_) => vec![Kind::Ecdsa, Kind::Rsa, Kind::Ed25519],
            None => vec![kind_for(suite)],
        };
        for kind in kinds {
            let server = Server::new(kind, &with_tickets());
            for group in [X25519, SECP256R1] {
                let mut peer = client(suite, group);
                let (ours, out, asked) = server.answer(&mut peer);
                assert!(asked);
                let pair = complete(ours, peer, &out);
                assert!(!pair.done.resumed);
                assert_eq!(pair.peer.negotiated_key_exchange_group().unwrap().name(), group.name());
            }
        }
    }
}

#[test]
fn a_post_quantum_exchange_is_played_back_too() {
    let server = Server::new(Kind::Ecdsa, &ServerOptions { post_quantum: true, ..with_tickets() });
    let mut peer = client(suites()[0].1, X25519MLKEM768);
    let (ours, out, asked) = server.answer(&mut peer);
    assert!(asked);
    complete(ours, peer, &out);
}

#[test]
fn a_resumption_ends_in_the_first_pass() {
    for (_, suite) in [suites()[0], suites()[3]] {
        let server = Server::new(Kind::Ecdsa, &with_tickets());
        let config = rustls_client(&[suite]);
        for resumed in [false, true, true] {
            let mut peer = client_connection(config.clone());
            let (ours, out, asked) = server.answer(&mut peer);
            assert_eq!(asked, !resumed);
            assert_eq!(complete(ours, peer, &out).done.resumed, resumed);
        }
        assert_eq!(server.holder.asked(), 0);
    }
}

#[test]
fn a_key_of_our_own_ends_in_the_first_pass() {
    for (_, suite) in [suites()[0], suites()[3]] {
        let mut ours = Handshake::server(&our_server(&with_tickets())).unwrap();
        let mut peer = client(suite, X25519);
        let (mut input, mut out) = (Vec::new(), Vec::new());
        drain(&mut peer, &mut input);
        assert!(matches!(ours.begin(&mut input, &mut out), Ok(Begun::Progress(Progress::More))));
        assert!(replay::nothing_is_left());
        complete(ours, peer, &out);
    }
}

#[test]
fn after_a_hello_retry_both_flights_are_played_back() {
    let server = Server::new(Kind::Ecdsa, &with_tickets());
    // A share for P-384 first, which our server does not know; P-256 on request.
    let config = rustls_client_with(&[suites()[0].1], &[SECP384R1, SECP256R1]);
    let mut peer = client_connection(config);
    let (mut ours, out, asked) = server.answer(&mut peer);
    assert!(!asked && !out.is_empty());
    deliver(&mut peer, &out);
    let (mut input, mut out) = (Vec::new(), b"before".to_vec());
    drain(&mut peer, &mut input);
    assert!(server.flight(&mut ours, &mut input, &mut out));
    let answer = out.strip_prefix(b"before").unwrap();
    complete(ours, peer, answer);
}

/// Cuts the only message of the first record into records of `piece` bytes.
fn fragmented(hello: &[u8], piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in hello[5..].chunks(piece) {
        out.extend_from_slice(&[22, 3, 1, 0, part.len() as u8]);
        out.extend_from_slice(part);
    }
    out
}

#[test]
fn a_fragmented_client_hello_is_played_back_as_it_came() {
    for (_, suite) in [suites()[0], suites()[3]] {
        let server = Server::new(Kind::Ecdsa, &with_tickets());
        let mut peer = client(suite, X25519);
        let mut hello = Vec::new();
        drain(&mut peer, &mut hello);
        let (mut input, mut out) = (fragmented(&hello, 50), Vec::new());
        let mut ours = Handshake::server(&server.config).unwrap();
        assert!(server.flight(&mut ours, &mut input, &mut out));
        complete(ours, peer, &out);
    }
}

#[test]
fn a_client_hello_that_comes_piece_by_piece_is_played_back_whole() {
    for (_, suite) in [suites()[0], suites()[3]] {
        for piece in [1, 20, 55, 56, 300] {
            let server = Server::new(Kind::Ecdsa, &with_tickets());
            let mut peer = client(suite, X25519);
            let mut hello = Vec::new();
            drain(&mut peer, &mut hello);
            let mut ours = Handshake::server(&server.config).unwrap();
            let (mut input, mut out, mut asked) = (Vec::new(), Vec::new(), false);
            for piece in fragmented(&hello, 50).chunks(piece) {
                input.extend_from_slice(piece);
                asked |= server.flight(&mut ours, &mut input, &mut out);
            }
            assert!(asked);
            complete(ours, peer, &out);
        }
    }
}

#[test]
fn more_than_a_reel_holds_is_asked_for_by_the_blocking_call() {
    let server = Server::new(Kind::Ecdsa, &with_tickets());
    let mut peer = client(suites()[0].1, X25519);
    let mut input = Vec::new();
    drain(&mut peer, &mut input);
    let whole = input.len();
    input.resize(REEL_BYTES_MAX + 1, 0);
    let mut ours = Handshake::server(&server.config).unwrap();
    let begun = ours.begin(&mut input, &mut Vec::new());
    assert!(!matches!(begun, Ok(Begun::Unsigned)), "{begun:?} to {whole} bytes");
    assert_eq!(server.holder.asked(), 1);
}

#[test]
fn a_wrong_signature_is_the_clients_complaint() {
    let server = Server::new(Kind::Ecdsa, &with_tickets());
    let mut ours = Handshake::server(&server.config).unwrap();
    let mut peer = client(suites()[0].1, X25519);
    let (mut input, mut out) = (Vec::new(), Vec::new());
    drain(&mut peer, &mut input);
    assert!(matches!(ours.begin(&mut input, &mut out), Ok(Begun::Unsigned)));
    assert!(matches!(ours.signed(Ok(vec![0; 70]), &mut input, &mut out), Ok(Progress::More)));
    peer.read_tls(&mut &out[..]).unwrap();
    assert!(peer.process_new_packets().is_err());
    drain(&mut peer, &mut input);
    let failure = ours.receive(&mut input, &mut Vec::new()).unwrap_err();
    assert!(matches!(failure.cause, Cause::Alerted(_)), "{failure}");
}

#[test]
fn a_refused_signature_is_told_apart_and_the_client_gets_an_alert() {
    for (_, suite) in [suites()[0], suites()[3]] {
        for answer in [Unsigned::Unavailable, Unsigned::Refused] {
            let server = Server::new(Kind::Ecdsa, &with_tickets());
            let mut ours = Handshake::server(&server.config).unwrap();
            let mut peer = client(suite, X25519);
            let (mut input, mut out) = (Vec::new(), Vec::new());
            drain(&mut peer, &mut input);
            assert!(matches!(ours.begin(&mut input, &mut out), Ok(Begun::Unsigned)));
            let failure = ours.signed(Err(answer), &mut input, &mut out).unwrap_err();
            assert_eq!(failure.cause, Cause::Signer);
            peer.read_tls(&mut &out[..]).unwrap();
            let theirs = peer.process_new_packets().unwrap_err();
            assert_eq!(theirs, rustls::Error::AlertReceived(AlertDescription::InternalError));
            // It is of no more use.
            assert!(ours.signed(Ok(vec![1]), &mut input, &mut out).is_err());
            assert!(ours.begin(&mut input, &mut out).is_err());
        }
    }
}

#[test]
fn failures_of_the_first_pass_are_what_they_are_in_one() {
    let server = Server::new(Kind::Ecdsa, &ServerOptions::default());
    for (mut input, expected) in
        [(b"GET / HTTP/1.1\r\n".to_vec(), Cause::Peer), (vec![22, 3, 1, 0xff, 0xff], Cause::Peer)]
    {
        let (mut ours, mut out) = (Handshake::server(&server.config).unwrap(), Vec::new());
        assert_eq!(ours.begin(&mut input, &mut out).unwrap_err().cause, expected);
        assert_eq!((out[0], out.len()), (21, 7));
        assert!(replay::nothing_is_left());
    }
}

/// Bytes 11 to 43 of the first record are the server's random.
#[test]
fn no_two_connections_have_the_same_random_and_both_passes_of_one_do() {
    let server = Server::new(Kind::Ecdsa, &with_tickets());
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        let mut peer = client(suites()[3].1, X25519);
        let mut ours = Handshake::server(&server.config).unwrap();
        let (mut input, mut out) = (Vec::new(), Vec::new());
        drain(&mut peer, &mut input);
        assert!(matches!(ours.begin(&mut input, &mut out), Ok(Begun::Unsigned)));
        let wanted = ours.wanted().unwrap();
        // TLS 1.2 signs both randoms first.
        let random = wanted.message[32..64].to_vec();
        let signature = server.holder.answer(wanted);
        ours.signed(signature, &mut input, &mut out).unwrap();
        assert_eq!(out[11..43], random);
        assert!(seen.insert(random));
    }
}

#[test]
fn passes_of_several_connections_interleave_and_may_end_on_another_thread() {
    let server = Server::new(Kind::Ecdsa, &with_tickets());
    let mut begun = Vec::new();
    for number in 0..6 {
        let mut peer = client(suites()[number % 4].1, X25519);
        let mut ours = Handshake::server(&server.config).unwrap();
        let (mut input, mut out) = (Vec::new(), Vec::new());
        drain(&mut peer, &mut input);
        assert!(matches!(ours.begin(&mut input, &mut out), Ok(Begun::Unsigned)));
        begun.push((ours, peer, input, out));
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (mut ours, peer, mut input, mut out) in begun {
                let signature = server.holder.answer(ours.wanted().unwrap());
                ours.signed(signature, &mut input, &mut out).unwrap();
                assert!(replay::nothing_is_left());
                complete(ours, peer, &out);
            }
        });
    });
    assert_eq!(server.holder.asked(), 0);
}
