//! Certificates and their private keys, as long as gateways may ask for signatures with them.
//!
//! Private keys are read here and never leave: gateways get certificate chains, numbers of keys and what each key can do.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use wire::settings::Certificate;
use zeroize::{Zeroize, Zeroizing};

use crate::files::{self, FileError};
use crate::limits::{FILE_BYTES_MAX, KEY_GRACE, KEYS_MAX};
use crate::log::log;
use crate::signer::Signer;

/// The keys by number. A number is never used again, so an answer can never be made with another key than was meant.
#[derive(Clone, Default)]
pub struct Keyring {
    keys: BTreeMap<u32, Kept>,
    next: u32,
}

#[derive(Clone)]
struct Kept {
    signer: Arc<Signer>,
    /// Since when another certificate has been in its place.
    replaced: Option<Duration>,
}

/// A certificate with its key, read and found to fit.
struct Pair {
    chain: Vec<CertificateDer<'static>>,
    signer: Signer,
}

/// What is wrong with a certificate or key file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("{path}: {what}")]
    File {
        /// The file.
        path: String,
        /// A sentence.
        what: String,
    },
    /// The key is not the certificate's.
    #[error("{key} is not the private key of {certificate}: check that both files are of one pair")]
    Mismatch {
        /// The key file.
        key: String,
        /// The certificate file.
        certificate: String,
    },
}

impl Keyring {
    /// Reads every pair and puts it in place of those before, which still sign for [`KEY_GRACE`]. On failure nothing changes.
    pub fn replace<'a>(
        &mut self,
        now: Duration,
        files: impl Iterator<Item = (&'a PathBuf, &'a PathBuf)>,
    ) -> Result<Vec<Certificate>, KeyError> {
        let pairs = files.map(|(chain, key)| Pair::read(chain, key)).collect::<Result<Vec<_>, _>>()?;
        for kept in self.keys.values_mut() {
            kept.replaced.get_or_insert(now);
        }
        let certificates = pairs.into_iter().map(|pair| self.add(pair)).collect();
        self.retire(now);
        Ok(certificates)
    }

    fn add(&mut self, pair: Pair) -> Certificate {
        self.next += 1;
        let certificate = Certificate {
            key: self.next,
            chain: pair.chain.iter().map(|der| der.to_vec().into()).collect(),
            schemes: pair.signer.schemes().collect(),
        };
        self.keys.insert(self.next, Kept { signer: Arc::new(pair.signer), replaced: None });
        certificate
    }

    /// Forgets keys whose grace is over, and the oldest of those that are over the bound.
    pub fn retire(&mut self, now: Duration) {
        self.keys.retain(|_, kept| kept.replaced.is_none_or(|since| now < since + KEY_GRACE));
        while self.keys.len() > KEYS_MAX {
            let Some(oldest) =
                self.keys.iter().find(|(_, kept)| kept.replaced.is_some()).map(|(key, _)| *key)
            else {
                return;
            };
            self.keys.remove(&oldest);
        }
    }

    /// The key of a number.
    pub fn signer(&self, key: u32) -> Option<&Arc<Signer>> {
        self.keys.get(&key).map(|kept| &kept.signer)
    }

    /// Keys in memory.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.keys.len())
    }
}

impl Pair {
    fn read(certificate: &Path, key: &Path) -> Result<Self, KeyError> {
        let chain = read_chain(certificate)?;
        let mut der = read_key(key)?;
        let signing_key = any_supported_type(&der);
        der.zeroize();
        let signing_key = signing_key.map_err(|_| {
            let what = "expected an ECDSA P-256 or P-384, RSA or Ed25519 private key".to_owned();
            KeyError::File { path: key.display().to_string(), what }
        })?;
        let certified = CertifiedKey::new(chain, signing_key);
        if certified.keys_match().is_err() {
            let (key, certificate) = (key.display().to_string(), certificate.display().to_string());
            return Err(KeyError::Mismatch { key, certificate });
        }
        Ok(Self { signer: Signer::new(&*certified.key), chain: certified.cert })
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, KeyError> {
    let error = |what: String| KeyError::File { path: path.display().to_string(), what };
    let pem = files::read(path, FILE_BYTES_MAX).map_err(|e| error(e.to_string()))?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(error("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".to_owned())),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, KeyError> {
    let error = |what: String| KeyError::File { path: path.display().to_string(), what };
    let pem = files::read(path, FILE_BYTES_MAX).map_err(|e| error(e.to_string()))?;
    let pem = Zeroizing::new(pem);
    warn_if_open(path).map_err(|e| error(e.to_string()))?;
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| error("holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)".to_owned()))
}

fn warn_if_open(path: &Path) -> Result<(), FileError> {
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o007 != 0 {
        log!("{} can be read by every user of this machine: run chmod 600 on it", path.display());
    }
    Ok(())
}
