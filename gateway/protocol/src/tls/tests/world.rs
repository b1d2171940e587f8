//! Small worlds for the tests: certificates, configurations, and pairs of connections in memory.

use std::sync::{Arc, OnceLock};

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection, SupportedCipherSuite,
};

use crate::tls::{
    Certificates, ClientOptions, Done, Failure, Handshake, Opened, Progress, ServerOptions, Suite, Traffic,
    Trust, client_config, server_config, tickets,
};

/// Kinds of private keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Ecdsa,
    Rsa,
    Ed25519,
}

/// A self-signed certificate with its key.
pub(crate) fn certified(kind: Kind, names: &[&str]) -> CertifiedKey {
    let key = key(kind);
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(key).unwrap();
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    CertifiedKey::from_der(chain, der, &provider::default_provider()).unwrap()
}

/// One key of each kind for all tests: an RSA key takes a while to make.
pub(crate) fn key(kind: Kind) -> &'static KeyPair {
    static KEYS: [OnceLock<KeyPair>; 3] = [const { OnceLock::new() }; 3];
    let algorithm = match kind {
        Kind::Ecdsa => &rcgen::PKCS_ECDSA_P256_SHA256,
        Kind::Rsa => &rcgen::PKCS_RSA_SHA256,
        Kind::Ed25519 => &rcgen::PKCS_ED25519,
    };
    KEYS[kind as usize].get_or_init(|| KeyPair::generate_for(algorithm).unwrap())
}

pub(crate) fn our_server(options: &ServerOptions) -> Arc<ServerConfig> {
    our_server_with(options, vec![certified(Kind::Ecdsa, &["localhost"])])
}

pub(crate) fn our_server_with(options: &ServerOptions, certified: Vec<CertifiedKey>) -> Arc<ServerConfig> {
    server_config(options, Arc::new(Certificates::new(certified).unwrap())).unwrap()
}

/// The defaults of a gateway.
pub(crate) fn with_tickets() -> ServerOptions {
    ServerOptions { tickets: Some(tickets().unwrap()), ..ServerOptions::default() }
}

pub(crate) fn our_client() -> Arc<ClientConfig> {
    client_config(&ClientOptions { trust: Trust::Insecure, ..ClientOptions::default() }).unwrap()
}

/// Our client with one suite only; the version follows.
pub(crate) fn our_client_of(suite: Suite) -> Arc<ClientConfig> {
    let options = ClientOptions { trust: Trust::Insecure, suites: vec![suite], ..ClientOptions::default() };
    client_config(&options).unwrap()
}

/// An ordinary rustls client that believes anybody.
pub(crate) fn rustls_client(suites: &[SupportedCipherSuite]) -> ClientConfig {
    rustls_client_with(suites, &provider::default_provider().kx_groups)
}

pub(crate) fn rustls_client_with(
    suites: &[SupportedCipherSuite],
    groups: &[&'static dyn SupportedKxGroup],
) -> ClientConfig {
    let crypto = rustls::crypto::CryptoProvider {
        cipher_suites: suites.to_vec(),
        kx_groups: groups.to_vec(),
        ..provider::default_provider()
    };
    let versions: Vec<_> = [&rustls::version::TLS13, &rustls::version::TLS12]
        .into_iter()
        .filter(|version| suites.iter().any(|suite| suite.version() == *version))
        .collect();
    let verifier = crate::tls::config::credulous(crypto.signature_verification_algorithms);
    ClientConfig::builder_with_provider(Arc::new(crypto))
        .with_protocol_versions(&versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth()
}

/// An ordinary rustls server.
pub(crate) fn rustls_server(suites: &[SupportedCipherSuite], kind: Kind) -> ServerConfig {
    let crypto =
        rustls::crypto::CryptoProvider { cipher_suites: suites.to_vec(), ..provider::default_provider() };
    let certificates = Certificates::new(vec![certified(kind, &["localhost"])]).unwrap();
    ServerConfig::builder_with_provider(Arc::new(crypto))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates))
}

pub(crate) fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

pub(crate) fn client_connection(config: ClientConfig) -> Connection {
    ClientConnection::new(Arc::new(config), localhost()).unwrap().into()
}

pub(crate) fn server_connection(config: ServerConfig) -> Connection {
    ServerConnection::new(Arc::new(config)).unwrap().into()
}

/// An established connection between our code and rustls.
pub(crate) struct Pair {
    pub(crate) done: Done,
    pub(crate) peer: Connection,
    /// Received and not yet opened by us.
    pub(crate) input: Vec<u8>,
}

impl Pair {
    /// Runs a handshake, giving us at most `piece` bytes at a time.
    pub(crate) fn connect(mut ours: Handshake, mut peer: Connection, piece: usize) -> Result<Self, Failure> {
        let mut input = Vec::new();
        let mut wire = Vec::new();
        for _ in 0..100_000 {
            let mut out = Vec::new();
            let progress = ours.receive(&mut input, &mut out);
            deliver(&mut peer, &out);
            match progress? {
                Progress::Done(done) => {
                    drain(&mut peer, &mut wire);
                    input.append(&mut wire);
                    return Ok(Self { done, peer, input });
                }
                Progress::More => {}
            }
            drain(&mut peer, &mut wire);
            let piece = piece.min(wire.len());
            input.extend(wire.drain(..piece));
        }
        panic!("the handshake does not end");
    }

    pub(crate) fn traffic(&mut self) -> &mut Traffic {
        &mut self.done.traffic
    }

    /// Opens everything that is there; panics on misbehaviour.
    pub(crate) fn open_all(&mut self) -> Vec<u8> {
        drain(&mut self.peer, &mut self.input);
        let (plain, rest) = open_all(&mut self.done.traffic, &self.input);
        self.input = rest;
        plain
    }

    /// What the peer reads when it is given `bytes`.
    pub(crate) fn peer_reads(&mut self, bytes: &[u8]) -> Vec<u8> {
        deliver(&mut self.peer, bytes)
    }
}

/// Hands bytes to a rustls connection; returns the plaintext. An error of the peer's shows in what it does next.
pub(crate) fn deliver(peer: &mut Connection, mut bytes: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut plain = Vec::new();
    while !bytes.is_empty() {
        if peer.read_tls(&mut bytes).unwrap_or(0) == 0 {
            break;
        }
        let _ = peer.process_new_packets();
        let _ = peer.reader().read_to_end(&mut plain);
    }
    plain
}

pub(crate) fn drain(peer: &mut Connection, wire: &mut Vec<u8>) {
    while peer.wants_write() {
        peer.write_tls(wire).unwrap();
    }
}

/// Opens all whole records; returns the data and what is left over.
pub(crate) fn open_all(traffic: &mut Traffic, input: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut input = input.to_vec();
    let mut plain = Vec::new();
    let mut at = 0;
    loop {
        let (used, opened) = traffic.open(&mut input[at..]).unwrap();
        match opened {
            Opened::Data(data) => plain.extend_from_slice(data),
            Opened::Nothing => {}
            Opened::Incomplete { need } => {
                assert!(need > input.len() - at);
                break;
            }
            Opened::Closed => break,
        }
        at += used;
    }
    (plain, input.split_off(at))
}

/// Both ends of a connection as our own code holds them, with keys made of `seed`.
pub(crate) fn twins(suite: Suite, seed: u8) -> (Traffic, Traffic) {
    let mut server = Traffic::blank(suite, false);
    let mut client = Traffic::blank(suite, true);
    let (mut server_sends, mut server_receives) = server.halves(suite);
    let (mut client_sends, mut client_receives) = client.halves(suite);
    for (n, half) in [&mut server_sends, &mut client_receives, &mut client_sends, &mut server_receives]
        .into_iter()
        .enumerate()
    {
        let byte = seed.wrapping_add(n as u8 / 2 + 1);
        half.key.fill(byte);
        half.iv.fill(!byte);
        if suite.version() == crate::tls::Version::Tls13 {
            half.secret.fill(byte ^ 0x55);
        }
    }
    (server, client)
}

/// All suites with their rustls names, ECDSA and RSA ones of TLS 1.2 being the same to us.
pub(crate) fn suites() -> [(Suite, SupportedCipherSuite); 9] {
    use provider::cipher_suite as s;
    [
        (Suite::Aes128, s::TLS13_AES_128_GCM_SHA256),
        (Suite::Aes256, s::TLS13_AES_256_GCM_SHA384),
        (Suite::ChaCha, s::TLS13_CHACHA20_POLY1305_SHA256),
        (Suite::Aes128Tls12, s::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        (Suite::Aes256Tls12, s::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
        (Suite::ChaChaTls12, s::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
        (Suite::Aes128Tls12, s::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
        (Suite::Aes256Tls12, s::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
        (Suite::ChaChaTls12, s::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ]
}

/// The kind of key that a suite of TLS 1.2 needs.
pub(crate) fn kind_for(suite: SupportedCipherSuite) -> Kind {
    if format!("{suite:?}").contains("_RSA_") { Kind::Rsa } else { Kind::Ecdsa }
}

pub(crate) const ALL: &[SupportedCipherSuite] = provider::ALL_CIPHER_SUITES;
