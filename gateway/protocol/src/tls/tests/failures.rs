//! Handshakes that do not come about, and what the peer is told.

use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, SignatureScheme};

use super::world::*;
use crate::tls::certificate::{Remote, RemoteKey};
use crate::tls::limits::{HANDSHAKE_CLIENT_BYTES_MAX, HANDSHAKE_SERVER_BYTES_MAX};
use crate::tls::{
    Cause, Certificates, ClientOptions, Failure, Handshake, Progress, ServerOptions, Suite, TlsError, Trust,
    Unsigned, client_config, server_config,
};

/// Runs our server against a rustls client until one of them gives up; returns why we did and what the client says.
fn fails(ours: Handshake, mut client: rustls::ClientConfig) -> (Cause, rustls::Error) {
    client.resumption = rustls::client::Resumption::disabled();
    run(ours, client_connection(client))
}

fn run(mut ours: Handshake, mut peer: rustls::Connection) -> (Cause, rustls::Error) {
    let (mut input, mut out) = (Vec::new(), Vec::new());
    let mut theirs = Ok(());
    for _ in 0..10 {
        drain(&mut peer, &mut input);
        let result = ours.receive(&mut input, &mut out);
        let mut bytes = &out[..];
        while !bytes.is_empty() && peer.read_tls(&mut bytes).unwrap_or(0) > 0 {
            theirs = theirs.and_then(|()| peer.process_new_packets().map(|_| ()));
        }
        out.clear();
        if let Err(Failure { cause }) = result {
            assert_eq!(ours.receive(&mut input, &mut out).unwrap_err().cause, Cause::Internal);
            assert!(out.is_empty());
            return (cause, theirs.unwrap_err());
        }
        assert!(matches!(result, Ok(Progress::More)));
    }
    panic!("nobody gave up");
}

fn alerted(alert: AlertDescription) -> rustls::Error {
    rustls::Error::AlertReceived(alert)
}

#[test]
fn a_client_that_offers_only_h2_is_refused() {
    let mut client = rustls_client(ALL);
    client.alpn_protocols = vec![b"h2".to_vec()];
    let ours = Handshake::server(&our_server(&ServerOptions::default())).unwrap();
    let expected = (Cause::NoProtocol, alerted(AlertDescription::NoApplicationProtocol));
    assert_eq!(fails(ours, client), expected);
    assert!(Cause::NoProtocol.is_mismatch());
}

#[test]
fn tls12_can_be_switched_off() {
    let options = ServerOptions { tls12: false, ..ServerOptions::default() };
    let ours = Handshake::server(&our_server(&options)).unwrap();
    let (cause, theirs) = fails(ours, rustls_client(&[suites()[3].1]));
    assert_eq!((cause, theirs), (Cause::NoVersion, alerted(AlertDescription::ProtocolVersion)));
}

#[test]
fn no_common_suite_is_a_mismatch() {
    // A suite that needs an ECDSA key, while we have an RSA one.
    let config = our_server_with(&ServerOptions::default(), vec![certified(Kind::Rsa, &["localhost"])]);
    let (cause, theirs) = fails(Handshake::server(&config).unwrap(), rustls_client(&[suites()[3].1]));
    assert!(cause.is_mismatch(), "{cause}");
    assert_eq!(theirs, alerted(AlertDescription::HandshakeFailure));
}

#[test]
fn no_common_group_is_a_mismatch() {
    let client = rustls_client_with(ALL, &[rustls::crypto::aws_lc_rs::kx_group::SECP384R1]);
    let ours = Handshake::server(&our_server(&ServerOptions::default())).unwrap();
    let expected = (Cause::NoSuite, alerted(AlertDescription::HandshakeFailure));
    assert_eq!(fails(ours, client), expected);
}

/// A key that can only do what no client offers.
#[test]
fn no_common_signature_scheme_is_a_mismatch() {
    let unknown: Arc<dyn Remote> = Arc::new(Holder(Err(Unsigned::Refused)));
    let mut key = certified(Kind::Ecdsa, &["localhost"]);
    key.key = Arc::new(RemoteKey::new(1, &[u16::from(SignatureScheme::ED448)], unknown).unwrap());
    let config = our_server_with(&ServerOptions::default(), vec![key]);
    for suite in [suites()[0].1, suites()[3].1] {
        let (cause, theirs) = fails(Handshake::server(&config).unwrap(), rustls_client(&[suite]));
        assert!(cause.is_mismatch(), "{cause}");
        assert_eq!(theirs, alerted(AlertDescription::HandshakeFailure));
    }
}

/// A client that offers our key's algorithm, but with other hashes and curves.
#[test]
fn no_common_signature_scheme_of_the_keys_algorithm_is_a_mismatch() {
    for suite in [suites()[0], suites()[3]] {
        let mut hello = Vec::new();
        drain(&mut client_connection(rustls_client(&[suite.1])), &mut hello);
        let ours = u16::from(SignatureScheme::ECDSA_NISTP256_SHA256).to_be_bytes();
        let offered = hello.windows(4).position(|part| part[..2] == [0, 13]).unwrap();
        let at = offered + hello[offered..].windows(2).position(|part| part == ours).unwrap();
        hello[at..at + 2].copy_from_slice(&[0xfe, 0xfe]);
        let mut server = Handshake::server(&our_server(&ServerOptions::default())).unwrap();
        let mut out = Vec::new();
        let failure = server.receive(&mut hello, &mut out).unwrap_err();
        assert_eq!(failure, Failure { cause: Cause::NoScheme }, "{:?}", suite.0);
        // In TLS 1.3 the alert comes protected, behind the ServerHello.
        assert!(suite.0 == Suite::Aes128 || out == [21, 3, 3, 0, 2, 2, 40]);
    }
}

/// A holder of keys that always answers the same.
struct Holder(Result<Vec<u8>, Unsigned>);

impl Remote for Holder {
    fn sign(&self, _key: u32, _scheme: u16, _message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        self.0.clone()
    }
}

#[test]
fn a_missing_signature_is_told_apart_and_the_client_gets_an_alert() {
    for (_, suite) in suites() {
        for answer in [Unsigned::Unavailable, Unsigned::Refused] {
            let mut certified = certified(kind_for(suite), &["localhost"]);
            let schemes: &[u16] = match kind_for(suite) {
                Kind::Rsa => &[0x0804, 0x0401],
                _ => &[0x0403],
            };
            certified.key = Arc::new(RemoteKey::new(1, schemes, Arc::new(Holder(Err(answer)))).unwrap());
            let config = our_server_with(&with_tickets(), vec![certified]);
            let (cause, theirs) = fails(Handshake::server(&config).unwrap(), rustls_client(&[suite]));
            assert_eq!((cause, theirs), (Cause::Signer, alerted(AlertDescription::InternalError)));
            assert!(cause.is_ours());
        }
    }
}

#[test]
fn a_wrong_signature_is_the_clients_complaint() {
    let mut certified = certified(Kind::Ecdsa, &["localhost"]);
    certified.key = Arc::new(RemoteKey::new(1, &[0x0403], Arc::new(Holder(Ok(vec![0; 70])))).unwrap());
    let config = our_server_with(&with_tickets(), vec![certified]);
    let (cause, theirs) = fails(Handshake::server(&config).unwrap(), rustls_client(&[suites()[0].1]));
    assert!(matches!(cause, Cause::Alerted(_)), "{cause}");
    assert!(matches!(theirs, rustls::Error::InvalidCertificate(CertificateError::BadSignature)), "{theirs}");
}

#[test]
fn a_client_that_does_not_trust_us_says_so() {
    let mut stranger = rcgen::CertificateParams::new(Vec::new()).unwrap();
    stranger.distinguished_name.push(rcgen::DnType::CommonName, "a stranger");
    let root = stranger.self_signed(key(Kind::Rsa)).unwrap();
    let options = ClientOptions { trust: Trust::Roots(vec![root.der().clone()]), ..ClientOptions::default() };
    let mut ours = Handshake::server(&our_server(&ServerOptions::default())).unwrap();
    let mut theirs = Handshake::client(&client_config(&options).unwrap(), localhost()).unwrap();
    let (mut up, mut down) = (Vec::new(), Vec::new());
    theirs.receive(&mut down, &mut up).unwrap();
    ours.receive(&mut up, &mut down).unwrap();
    assert_eq!(theirs.receive(&mut down, &mut up).unwrap_err().cause, Cause::Certificate);
    let cause = ours.receive(&mut up, &mut down).unwrap_err().cause;
    assert!(matches!(cause, Cause::Alerted(42..=48)), "{cause}");
}

#[test]
fn plain_http_is_refused_at_its_first_bytes() {
    let mut ours = Handshake::server(&our_server(&ServerOptions::default())).unwrap();
    let mut out = Vec::new();
    let failure = ours.receive(&mut b"GET / HTTP/1.1\r\n".to_vec(), &mut out).unwrap_err();
    assert_eq!(failure.cause, Cause::Peer);
    assert_eq!((out[0], out.len()), (21, 7));
}

#[test]
fn a_header_of_an_overlong_record_is_refused_without_its_body() {
    let mut ours = Handshake::server(&our_server(&ServerOptions::default())).unwrap();
    let mut out = Vec::new();
    let failure = ours.receive(&mut vec![22, 3, 1, 0xff, 0xff], &mut out).unwrap_err();
    assert_eq!((failure.cause, out.len()), (Cause::Peer, 7));
}

#[test]
fn an_endless_client_hello_is_cut_off() {
    let mut ours = Handshake::server(&our_server(&ServerOptions::default())).unwrap();
    let (mut input, mut out, mut given) = (Vec::new(), Vec::new(), 0);
    // A message of 60,000 bytes, in records of 100.
    let mut first = vec![22, 3, 1, 0, 104, 1, 0, 0xea, 0x60];
    first.resize(109, 0);
    input.extend(first);
    let cause = loop {
        match ours.receive(&mut input, &mut out) {
            Ok(_) => {}
            Err(failure) => break failure.cause,
        }
        input.extend([22, 3, 1, 0, 100]);
        input.resize(input.len() + 100, 0);
        given += 105;
        assert!(given < 2 * HANDSHAKE_SERVER_BYTES_MAX);
    };
    assert_eq!(cause, Cause::Oversize);
    assert!(input.len() <= HANDSHAKE_SERVER_BYTES_MAX + 210);
    assert_eq!(out[0], 21);
    const { assert!(HANDSHAKE_CLIENT_BYTES_MAX > 60_000) };
}

#[test]
fn a_changed_finished_message_is_refused() {
    for (_, suite) in [suites()[0], suites()[3]] {
        let mut ours = Handshake::server(&our_server(&with_tickets())).unwrap();
        let mut peer = client_connection(rustls_client(&[suite]));
        let (mut input, mut out) = (Vec::new(), Vec::new());
        drain(&mut peer, &mut input);
        ours.receive(&mut input, &mut out).unwrap();
        deliver(&mut peer, &out);
        drain(&mut peer, &mut input);
        *input.last_mut().unwrap() ^= 1;
        assert_eq!(ours.receive(&mut input, &mut out).unwrap_err().cause, Cause::Peer);
    }
}

/// Whatever is cut from, or put into, what a client sends: an answer, never a panic.
#[test]
fn no_corruption_of_a_client_hello_panics() {
    let config = our_server(&with_tickets());
    for (_, suite) in [suites()[0], suites()[3]] {
        let mut hello = Vec::new();
        drain(&mut client_connection(rustls_client(&[suite])), &mut hello);
        for at in 0..hello.len() {
            let mut ours = Handshake::server(&config).unwrap();
            let mut input = hello.clone();
            input[at] = input[at].wrapping_add(1);
            let _ = ours.receive(&mut input, &mut Vec::new());
            let mut ours = Handshake::server(&config).unwrap();
            let mut input = hello.clone();
            input.remove(at);
            input.extend([0; 300]);
            let _ = ours.receive(&mut input, &mut Vec::new());
        }
    }
}

#[test]
fn a_configuration_without_our_key_log_is_an_internal_error_and_not_a_wrong_connection() {
    let mut config = rustls::ServerConfig::clone(&our_server(&ServerOptions::default()));
    config.key_log = Arc::new(rustls::KeyLogFile::new());
    let ours = Handshake::server(&Arc::new(config)).unwrap();
    let failure = Pair::connect(ours, client_connection(rustls_client(&[suites()[0].1])), usize::MAX).err();
    assert_eq!(failure, Some(Failure { cause: Cause::Internal }));
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    let empty = CertifiedKey { cert: Vec::new(), ..certified(Kind::Ecdsa, &["a"]) };
    let broken = CertifiedKey { cert: vec![vec![1, 2, 3].into()], ..certified(Kind::Ecdsa, &["a"]) };
    for (list, index) in [(vec![], 0), (vec![certified(Kind::Ecdsa, &["a"]), empty], 1), (vec![broken], 0)] {
        let Err(TlsError::Certificate { index: found, .. }) = Certificates::new(list) else {
            panic!("accepted");
        };
        assert_eq!(found, index);
    }
    let good = Certificates::new(vec![certified(Kind::Ecdsa, &["a"])]).unwrap();
    assert!(server_config(&ServerOptions::default(), Arc::new(good)).is_ok());
    let broken = ClientOptions { trust: Trust::Roots(vec![vec![1, 2].into()]), ..ClientOptions::default() };
    assert!(client_config(&broken).is_err());
}
