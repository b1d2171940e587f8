//! TLS in a simulation. Key exchange draws from the system whatever the seed, so two runs differ in every byte of it and in nothing
//! else: certificates and signatures have fixed lengths (Ed25519), and no event of a trace speaks of ciphertext but by its length.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use protocol::tls::{
    Certificates, ClientOptions, ServerOptions, Trust, Unsigned, certificate::Remote, client_config,
    server_config,
};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SerialNumber, SigningKey};
use rustls::{ClientConfig, ServerConfig};
use wire::settings::Certificate;

/// Both ends' configurations and the holder of the key.
pub(super) struct Secure {
    /// The gateway's.
    pub(super) server: Arc<ServerConfig>,
    /// The clients'.
    pub(super) client: Arc<ClientConfig>,
    /// Who signs.
    pub(super) signer: Arc<Signer>,
}

/// Holds the private key, unless it is away.
pub(super) struct Signer {
    key: KeyPair,
    /// It is not.
    pub(super) away: AtomicBool,
}

/// TLS number of Ed25519 (RFC 8446 §4.2.3).
const ED25519: u16 = 0x0807;

impl Secure {
    /// A new key and its certificate.
    pub(super) fn new() -> Result<Self, String> {
        let text = |error: rcgen::Error| error.to_string();
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(text)?;
        let mut params = CertificateParams::new(vec!["sim.invalid".to_owned()]).map_err(text)?;
        params.serial_number = Some(SerialNumber::from(1));
        let certificate = params.self_signed(&key).map_err(text)?;
        let certificate =
            Certificate { key: 1, chain: vec![certificate.der().to_vec().into()], schemes: vec![ED25519] };
        let signer = Arc::new(Signer { key, away: AtomicBool::new(false) });
        let remote: Arc<dyn Remote> = Arc::new(Blocking);
        let certificates =
            Certificates::remote(&[certificate], &remote).map_err(|error| error.to_string())?;
        let server = server_config(&ServerOptions::default(), Arc::new(certificates));
        let client = client_config(&ClientOptions { trust: Trust::Insecure, ..ClientOptions::default() });
        Ok(Self {
            server: server.map_err(|error| error.to_string())?,
            client: client.map_err(|error| error.to_string())?,
            signer,
        })
    }
}

impl Signer {
    /// As the relay answers.
    pub(super) fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        if self.away.load(Ordering::Relaxed) { None } else { self.key.sign(message).ok() }
    }
}

/// The gateway's way to the key that it may not use: a loop that waits for a signature serves nobody else.
struct Blocking;

impl Remote for Blocking {
    fn sign(&self, _key: u32, _scheme: u16, _message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        panic!("a handshake would have waited for its signature");
    }
}
