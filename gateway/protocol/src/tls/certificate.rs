//! A server's certificates: chosen by the name and the signatures that a client asks for, with keys that may be elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{OtherError, SignatureAlgorithm, SignatureScheme};

use super::error::{TlsError, Unsigned};
use super::limits::NAMES_MAX;
use super::replay::{Signing, signing};

/// Certificates by name. The first is for clients that name no server, or an unknown one.
#[derive(Debug)]
pub struct Certificates {
    all: Vec<Arc<CertifiedKey>>,
    /// Lower-case names; one that stands for every first label begins with `*.`. Each has at least one certificate, and
    /// several in their order.
    by_name: HashMap<String, Vec<usize>>,
}

impl Certificates {
    /// Reads the DNS names of each certificate. Several may have the same name, say one with an ECDSA and one with an RSA
    /// key: the first with a signature scheme that the client knows is taken.
    pub fn new(all: Vec<CertifiedKey>) -> Result<Self, TlsError> {
        let refuse = |index, reason: String| TlsError::Certificate { index, reason };
        if all.is_empty() {
            return Err(refuse(0, "there is none".into()));
        }
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        let mut names = 0;
        for (index, certified) in all.iter().enumerate() {
            let der = certified.end_entity_cert().map_err(|_| refuse(index, "the chain is empty".into()))?;
            let parsed = webpki::EndEntityCert::try_from(der)
                .map_err(|error| refuse(index, format!("cannot be read: {error}")))?;
            for name in parsed.valid_dns_names() {
                names += 1;
                if names > NAMES_MAX {
                    return Err(refuse(index, format!("more than {NAMES_MAX} names in all")));
                }
                let indices = by_name.entry(name.to_ascii_lowercase()).or_default();
                if indices.last() != Some(&index) {
                    indices.push(index);
                }
            }
        }
        Ok(Self { all: all.into_iter().map(Arc::new).collect(), by_name })
    }

    /// Certificates whose keys another process holds and signs with.
    pub fn remote(
        certificates: &[wire::settings::Certificate],
        remote: &Arc<dyn Remote>,
    ) -> Result<Self, TlsError> {
        let certified = |(index, certificate): (usize, &wire::settings::Certificate)| {
            let key = RemoteKey::new(certificate.key, &certificate.schemes, Arc::clone(remote))
                .map_err(|reason| TlsError::Certificate { index, reason })?;
            let chain = certificate.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
            Ok(CertifiedKey::new(chain, Arc::new(key)))
        };
        Self::new(certificates.iter().enumerate().map(certified).collect::<Result<_, TlsError>>()?)
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Arc<CertifiedKey> {
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            self.by_name.get(&name).or_else(|| {
                // RFC 6125 §6.4.3: the star stands for the whole first label.
                let (_, parent) = name.split_once('.')?;
                self.by_name.get(&format!("*.{parent}"))
            })
        });
        let Some(indices) = named else {
            return Arc::clone(&self.all[0]);
        };
        let usable = indices.iter().find(|&&index| self.all[index].key.choose_scheme(schemes).is_some());
        let index = usable.unwrap_or(&indices[0]);
        Arc::clone(&self.all[*index])
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name(), hello.signature_schemes()))
    }
}

/// Whoever holds private keys. Called from within [`super::Handshake::receive`] while the handshake is in
/// [`super::Flight::Hello`]; blocks until there is an answer, for a bounded time. Not called by a flight in two passes
/// ([`super::Handshake::begin`]), unless the second differs from the first.
pub trait Remote: Send + Sync {
    /// Signs `message` with the key of this number in a TLS `SignatureScheme`; the answer in the scheme's TLS encoding.
    fn sign(&self, key: u32, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Unsigned>;
}

/// A private key that is somewhere else.
pub struct RemoteKey {
    key: u32,
    /// In the order of the key holder's preference; never empty, all of one algorithm.
    schemes: Vec<SignatureScheme>,
    remote: Arc<dyn Remote>,
}

impl RemoteKey {
    /// `schemes` are TLS numbers, preferred first. The error says what is wrong with them.
    pub fn new(key: u32, schemes: &[u16], remote: Arc<dyn Remote>) -> Result<Self, String> {
        let schemes: Vec<_> = schemes.iter().copied().map(SignatureScheme::from).collect();
        let Some(first) = schemes.first() else {
            return Err("its key has no signature scheme".into());
        };
        let algorithm = algorithm(*first);
        if algorithm == SignatureAlgorithm::Anonymous {
            return Err(format!("signature scheme {first:?} is unknown"));
        }
        if schemes.iter().any(|scheme| self::algorithm(*scheme) != algorithm) {
            return Err("its key's signature schemes are of several kinds".into());
        }
        Ok(Self { key, schemes, remote })
    }
}

impl SigningKey for RemoteKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = self.schemes.iter().copied().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(RemoteSigner { key: self.key, scheme, remote: Arc::clone(&self.remote) }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        algorithm(self.schemes[0])
    }
}

impl std::fmt::Debug for RemoteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteKey").field("key", &self.key).field("schemes", &self.schemes).finish()
    }
}

struct RemoteSigner {
    key: u32,
    scheme: SignatureScheme,
    remote: Arc<dyn Remote>,
}

impl Signer for RemoteSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let scheme = u16::from(self.scheme);
        match signing(self.key, scheme, message) {
            Signing::Known(signature) => Ok(signature),
            // Nobody sees this error: the first pass is thrown away.
            Signing::Later => Err(rustls::Error::General(String::new())),
            Signing::Ask => self
                .remote
                .sign(self.key, scheme, message)
                .map_err(|error| rustls::Error::Other(OtherError(Arc::new(error)))),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

impl std::fmt::Debug for RemoteSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteSigner").field("key", &self.key).field("scheme", &self.scheme).finish()
    }
}

/// `Anonymous` for what rustls has no name for.
fn algorithm(scheme: SignatureScheme) -> SignatureAlgorithm {
    use SignatureScheme as S;
    match scheme {
        S::RSA_PKCS1_SHA256
        | S::RSA_PKCS1_SHA384
        | S::RSA_PKCS1_SHA512
        | S::RSA_PSS_SHA256
        | S::RSA_PSS_SHA384
        | S::RSA_PSS_SHA512 => SignatureAlgorithm::RSA,
        S::ECDSA_NISTP256_SHA256 | S::ECDSA_NISTP384_SHA384 | S::ECDSA_NISTP521_SHA512 => {
            SignatureAlgorithm::ECDSA
        }
        S::ED25519 => SignatureAlgorithm::ED25519,
        S::ED448 => SignatureAlgorithm::ED448,
        _ => SignatureAlgorithm::Anonymous,
    }
}
