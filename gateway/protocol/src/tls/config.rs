//! rustls configurations for both ends: what is offered, in which order, and that the result can be taken over.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self as provider, cipher_suite as suite, kx_group};
use rustls::crypto::{
    CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion,
};

use super::capture::Capture;
use super::error::TlsError;
use super::replay::{self, TapedRandom};
use super::suite::{Suite, Version};

const ALPN: &[u8] = b"http/1.1";

/// AES-128 first: it has the smallest state and is the fastest where the processor helps, as every server's does.
const SUITES: &[(Suite, SupportedCipherSuite)] = &[
    (Suite::Aes128, suite::TLS13_AES_128_GCM_SHA256),
    (Suite::Aes256, suite::TLS13_AES_256_GCM_SHA384),
    (Suite::ChaCha, suite::TLS13_CHACHA20_POLY1305_SHA256),
    (Suite::Aes128Tls12, suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    (Suite::Aes128Tls12, suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    (Suite::Aes256Tls12, suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    (Suite::Aes256Tls12, suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    (Suite::ChaChaTls12, suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    (Suite::ChaChaTls12, suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// What a server offers.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// TLS 1.2 beside 1.3. Default: true, as some embedded clients have no better.
    pub tls12: bool,
    /// The X25519MLKEM768 group before the others. Default: false: it adds 2.2 kB to a handshake and a quarter to the
    /// server's CPU for it. Whoever must keep recorded traffic secret from later quantum computers turns it on.
    pub post_quantum: bool,
    /// Makes and reads session tickets; one for all shards, so that a client may resume with any. `None`: no resumption.
    pub tickets: Option<Arc<dyn ProducesTickets>>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { tls12: true, post_quantum: false, tickets: None }
    }
}

/// Tickets under keys of this process, replaced every six hours; each is good for twelve.
pub fn tickets() -> Result<Arc<dyn ProducesTickets>, TlsError> {
    Ok(provider::Ticketer::new()?)
}

/// A server's configuration, to be shared by all its handshakes.
pub fn server_config(
    options: &ServerOptions,
    certificates: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let suites: Vec<Suite> =
        Suite::ALL.into_iter().filter(|suite| options.tls12 || suite.version() == Version::Tls13).collect();
    let groups: [&'static dyn SupportedKxGroup; 3] =
        [&replay::X25519MLKEM768, &replay::X25519, &replay::SECP256R1];
    let crypto =
        CryptoProvider { secure_random: &TapedRandom, ..crypto(&suites, options.post_quantum, groups) };
    let mut config = ServerConfig::builder_with_provider(Arc::new(crypto))
        .with_protocol_versions(&versions(&suites))?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.ignore_client_order = true;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // One: a client reconnects once, and each costs a record and a signature's worth of symmetric work.
    config.send_tls13_tickets = usize::from(options.tickets.is_some());
    if let Some(tickets) = &options.tickets {
        config.ticketer = Arc::clone(tickets);
    }
    config.key_log = Arc::new(Capture);
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

/// Whom a client believes.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Servers with a certificate from one of these authorities.
    Roots(Vec<CertificateDer<'static>>),
    /// Anybody. For tests and benches against one's own servers only: whoever sits in between reads everything.
    Insecure,
}

/// What a client offers.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Whom it believes.
    pub trust: Trust,
    /// Suites, and with them the versions. Default: all. Their order is ours, see [`server_config`].
    pub suites: Vec<Suite>,
    /// The X25519MLKEM768 group before the others. Default: false.
    pub post_quantum: bool,
}

impl Default for ClientOptions {
    /// Believes nobody.
    fn default() -> Self {
        Self { trust: Trust::Roots(Vec::new()), suites: Suite::ALL.to_vec(), post_quantum: false }
    }
}

/// A client's configuration, to be shared by all its handshakes. Never resumes: each handshake is a full one.
pub fn client_config(options: &ClientOptions) -> Result<Arc<ClientConfig>, TlsError> {
    let groups = [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
    let crypto = Arc::new(crypto(&options.suites, options.post_quantum, groups));
    let algorithms = crypto.signature_verification_algorithms;
    let builder =
        ClientConfig::builder_with_provider(crypto).with_protocol_versions(&versions(&options.suites))?;
    let mut config = match &options.trust {
        Trust::Roots(roots) => {
            let mut store = RootCertStore::empty();
            for root in roots {
                store.add(root.clone())?;
            }
            builder.with_root_certificates(store).with_no_client_auth()
        }
        Trust::Insecure => {
            builder.dangerous().with_custom_certificate_verifier(credulous(algorithms)).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.key_log = Arc::new(Capture);
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

/// `groups` in the order of preference, the post-quantum one first.
fn crypto(
    suites: &[Suite],
    post_quantum: bool,
    groups: [&'static dyn SupportedKxGroup; 3],
) -> CryptoProvider {
    let kx_groups = groups[usize::from(!post_quantum)..].to_vec();
    let offered = SUITES.iter().filter(|(ours, _)| suites.contains(ours));
    let cipher_suites = offered.map(|(_, theirs)| *theirs).collect();
    CryptoProvider { cipher_suites, kx_groups, ..provider::default_provider() }
}

fn versions(suites: &[Suite]) -> Vec<&'static SupportedProtocolVersion> {
    [(Version::Tls13, &rustls::version::TLS13), (Version::Tls12, &rustls::version::TLS12)]
        .into_iter()
        .filter(|(ours, _)| suites.iter().any(|suite| suite.version() == *ours))
        .map(|(_, theirs)| theirs)
        .collect()
}

/// A verifier for [`Trust::Insecure`].
pub(super) fn credulous(algorithms: WebPkiSupportedAlgorithms) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Credulous(algorithms))
}

/// Takes any certificate, but still checks that the server holds its key.
#[derive(Debug)]
struct Credulous(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
