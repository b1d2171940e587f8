//! Certificates and tokens for development and tests: a small authority, server certificates under it, and signed tokens.
//! Nothing here is for production.

use anyhow::{Context, Result};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SignatureAlgorithm,
};
use serde_json::Value;

/// A certificate authority of one machine or one test.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A server certificate and its private key, PEM.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    /// The certificate; the authority's own is not part of the chain.
    pub chain: String,
    /// PKCS#8.
    pub key: String,
}

impl Authority {
    /// A new authority with a new P-256 key.
    pub fn new() -> Result<Self> {
        Self::with_key(KeyPair::generate()?)
    }

    /// The authority of a key that was kept, so that clients which trust it need not be told again.
    pub fn from_key(pem: &str) -> Result<Self> {
        Self::with_key(KeyPair::from_pem(pem).context("the authority's key is not PEM")?)
    }

    /// What clients have to trust, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The private key, PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A server certificate with a new P-256 key for DNS names and addresses; the first one is its common name.
    pub fn server(&self, names: &[&str]) -> Result<ServerCertificate> {
        self.server_with(names, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    /// The same with another kind of key.
    pub fn server_with(
        &self,
        names: &[&str],
        kind: &'static SignatureAlgorithm,
    ) -> Result<ServerCertificate> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone())?;
        params.distinguished_name.push(DnType::CommonName, names.first().cloned().unwrap_or_default());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(kind)?;
        let chain = params.signed_by(&key, &self.issuer)?.pem();
        Ok(ServerCertificate { chain, key: key.serialize_pem() })
    }

    fn with_key(key: KeyPair) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Headland development authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }
}

/// A token that is signed with a shared secret.
pub fn hs256(secret: &str, claims: &Value) -> Result<String> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_whose_key_was_kept_has_the_same_name_and_key() {
        let first = Authority::new().unwrap();
        let second = Authority::from_key(&first.key()).unwrap();
        assert_eq!(first.key(), second.key());
        assert!(
            second
                .server(&["localhost", "127.0.0.1"])
                .unwrap()
                .chain
                .starts_with("-----BEGIN CERTIFICATE-----")
        );
    }
}
