//! The choice of a certificate, and keys that are somewhere else.

use std::sync::{Arc, Mutex};

use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::world::*;
use crate::tls::certificate::{Remote, RemoteKey};
use crate::tls::{
    Certificates, ClientOptions, Handshake, Progress, ServerOptions, Trust, Unsigned, client_config,
    server_config,
};

/// Signs with a real key and writes down what it was asked.
struct Holder {
    key: CertifiedKey,
    asked: Mutex<Vec<(u32, u16, usize)>>,
}

impl Remote for Holder {
    fn sign(&self, key: u32, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        self.asked.lock().unwrap().push((key, scheme, message.len()));
        let signer = self.key.key.choose_scheme(&[SignatureScheme::from(scheme)]).ok_or(Unsigned::Refused)?;
        signer.sign(message).map_err(|_| Unsigned::Unavailable)
    }
}

/// The certificate that a client sees which asks for `name`.
fn served(config: &Arc<rustls::ServerConfig>, name: ServerName<'static>) -> Vec<u8> {
    let ours = Handshake::server(config).unwrap();
    let client = rustls::ClientConnection::new(Arc::new(rustls_client(ALL)), name).unwrap();
    let pair = Pair::connect(ours, client.into(), usize::MAX).unwrap();
    pair.peer.peer_certificates().unwrap()[0].to_vec()
}

fn named(name: &'static str) -> ServerName<'static> {
    ServerName::try_from(name).unwrap()
}

#[test]
fn a_certificate_is_chosen_by_name() {
    let all = [
        certified(Kind::Ecdsa, &["default.example", "198.51.100.7"]),
        certified(Kind::Ecdsa, &["chat.example", "WWW.Chat.example"]),
        certified(Kind::Ecdsa, &["*.chat.example", "*.xn--bcher-kva.example"]),
    ];
    let [default, chat, wild] = all.each_ref().map(|certified| certified.cert[0].to_vec());
    let config = our_server_with(&ServerOptions::default(), all.to_vec());
    for (name, expected) in [
        ("default.example", &default),
        ("chat.example", &chat),
        ("CHAT.example", &chat),
        ("www.chat.example", &chat),
        ("eu.chat.example", &wild),
        ("Eu.Chat.Example", &wild),
        ("a.xn--bcher-kva.example", &wild),
        // A star is one label.
        ("a.b.chat.example", &default),
        ("unknown.example", &default),
        ("example", &default),
        // No SNI at all.
        ("198.51.100.7", &default),
        ("::1", &default),
    ] {
        assert_eq!(&served(&config, named(name)), expected, "{name}");
    }
}

#[test]
fn of_several_certificates_of_a_name_one_that_the_client_can_check_is_taken() {
    let ecdsa = certified(Kind::Ecdsa, &["localhost"]);
    let rsa = certified(Kind::Rsa, &["localhost"]);
    let expected = [ecdsa.cert[0].to_vec(), rsa.cert[0].to_vec()];
    let config = our_server_with(&ServerOptions::default(), vec![ecdsa, rsa]);
    for (suite, expected) in [(suites()[3].1, &expected[0]), (suites()[6].1, &expected[1])] {
        let ours = Handshake::server(&config).unwrap();
        let pair = Pair::connect(ours, client_connection(rustls_client(&[suite])), usize::MAX).unwrap();
        assert_eq!(pair.peer.peer_certificates().unwrap()[0].as_ref(), expected);
    }
}

#[test]
fn remote_keys_sign_in_every_suite() {
    let cases = [
        (Kind::Ecdsa, &[0x0403_u16][..], SignatureAlgorithm::ECDSA),
        (Kind::Rsa, &[0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601], SignatureAlgorithm::RSA),
        (Kind::Ed25519, &[0x0807], SignatureAlgorithm::ED25519),
    ];
    for (kind, schemes, algorithm) in cases {
        let key = certified(kind, &["localhost"]);
        let chain = key.cert.iter().map(|der| serde_bytes_of(der)).collect();
        let holder = Arc::new(Holder { key, asked: Mutex::default() });
        let remote: Arc<dyn Remote> = Arc::clone(&holder) as _;
        let settings = wire::settings::Certificate { key: 77, chain, schemes: schemes.to_vec() };
        let certificates = Certificates::remote(&[settings], &remote).unwrap();
        let config = server_config(&ServerOptions::default(), Arc::new(certificates)).unwrap();
        let key = RemoteKey::new(77, schemes, remote).unwrap();
        assert_eq!(rustls::sign::SigningKey::algorithm(&key), algorithm);
        for (_, suite) in suites()
            .into_iter()
            .filter(|(suite, name)| suite.version() == crate::tls::Version::Tls13 || kind_for(*name) == kind)
        {
            let ours = Handshake::server(&config).unwrap();
            Pair::connect(ours, client_connection(rustls_client(&[suite])), usize::MAX).unwrap();
        }
        for (key, scheme, bytes) in holder.asked.lock().unwrap().drain(..) {
            assert!(key == 77 && schemes.contains(&scheme));
            assert!(bytes <= wire::limits::SIGN_MESSAGE_BYTES_MAX);
        }
    }
}

fn serde_bytes_of(der: &[u8]) -> serde_bytes::ByteBuf {
    serde_bytes::ByteBuf::from(der.to_vec())
}

#[test]
fn signature_schemes_of_a_remote_key_are_checked() {
    let key = certified(Kind::Ecdsa, &["localhost"]);
    let holder: Arc<dyn Remote> = Arc::new(Holder { key, asked: Mutex::default() });
    for schemes in [&[][..], &[0xffff], &[0x0403, 0x0804], &[0x0201]] {
        assert!(RemoteKey::new(1, schemes, Arc::clone(&holder)).is_err(), "{schemes:x?}");
    }
}

#[test]
fn a_client_checks_the_servers_certificate_against_its_roots() {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = authority.self_signed(key(Kind::Rsa)).unwrap();
    let issuer = rcgen::Issuer::new(authority, key(Kind::Rsa));
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(key(Kind::Ecdsa), &issuer).unwrap();
    let chain = CertifiedKey { cert: vec![leaf.der().clone()], ..certified(Kind::Ecdsa, &["localhost"]) };
    let server = our_server_with(&ServerOptions::default(), vec![chain]);
    let options = ClientOptions { trust: Trust::Roots(vec![root.der().clone()]), ..ClientOptions::default() };
    let client = client_config(&options).unwrap();
    for (name, right) in [("localhost", true), ("otherhost", false)] {
        let mut server = Handshake::server(&server).unwrap();
        let mut client = Handshake::client(&client, named(name)).unwrap();
        let (mut up, mut down) = (Vec::new(), Vec::new());
        client.receive(&mut down, &mut up).unwrap();
        server.receive(&mut up, &mut down).unwrap();
        assert_eq!(matches!(client.receive(&mut down, &mut up), Ok(Progress::Done(_))), right);
    }
}
