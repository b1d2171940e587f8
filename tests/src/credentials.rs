//! Certificates and tokens for development and tests: a small authority, server certificates under it, and signed tokens.
//! Nothing here is for production.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SignatureAlgorithm,
};
use serde_json::Value;

/// How long a server certificate is good, from now on; it begins a day before, for clocks that are behind.
const LIFE: Duration = Duration::from_secs(85 * 24 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[allow(clippy::disallowed_methods, reason = "certificates are good in real time; nothing here is simulated")]
fn now() -> SystemTime {
    SystemTime::now()
}

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
        // As short as public certificates become; some systems refuse what is good for over two years.
        let now = now();
        (params.not_before, params.not_after) = ((now - DAY).into(), (now + LIFE).into());
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

/// Signs tokens with a private key whose public half a relay is given.
pub struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Signer {
    /// EdDSA.
    pub fn ed25519() -> Result<Self> {
        Self::new(Algorithm::EdDSA)
    }

    /// ES256.
    pub fn p256() -> Result<Self> {
        Self::new(Algorithm::ES256)
    }

    /// RS256 with 2048 bits.
    pub fn rsa() -> Result<Self> {
        Self::new(Algorithm::RS256)
    }

    /// A signer that claims to be this one and has another key.
    pub fn forged(&self) -> Result<Self> {
        Self::new(self.algorithm)
    }

    /// The algorithm's name, which is also the key's id.
    pub fn name(&self) -> String {
        format!("{:?}", self.algorithm)
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.name());
        Ok(jsonwebtoken::encode(&header, claims, &self.key)?)
    }

    /// The public key.
    pub fn jwk(&self) -> Result<Value> {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm)?;
        jwk.common.key_id = Some(self.name());
        Ok(serde_json::to_value(jwk)?)
    }

    fn new(algorithm: Algorithm) -> Result<Self> {
        let key = match algorithm {
            Algorithm::EdDSA => ed25519()?,
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem(&rcgen::PKCS_ECDSA_P256_SHA256)?.as_bytes())?,
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem(&rcgen::PKCS_RSA_SHA256)?.as_bytes())?,
            other => anyhow::bail!("no signer for {other:?}"),
        };
        Ok(Self { algorithm, key })
    }
}

/// The first version of PKCS#8 (RFC 8410 §7), which holds the private key alone: token libraries tell keys by its length.
fn ed25519() -> Result<EncodingKey> {
    const HEAD: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    const SEED: std::ops::Range<usize> = 16..48;
    let whole = KeyPair::generate_for(&rcgen::PKCS_ED25519)?.serialize_der();
    let seed = whole.get(SEED).context("an Ed25519 key is 32 bytes")?;
    Ok(EncodingKey::from_ed_der(&[&HEAD, seed].concat()))
}

fn pem(kind: &'static SignatureAlgorithm) -> Result<String> {
    Ok(KeyPair::generate_for(kind)?.serialize_pem())
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

    #[test]
    fn every_signer_signs_and_has_a_public_half() {
        for signer in [Signer::ed25519(), Signer::p256(), Signer::rsa()].map(Result::unwrap) {
            let token = signer.sign(&serde_json::json!({ "sub": "ann" })).unwrap();
            let jwk: Jwk = serde_json::from_value(signer.jwk().unwrap()).unwrap();
            let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
            let mut rules = jsonwebtoken::Validation::new(signer.algorithm);
            rules.required_spec_claims.clear();
            jsonwebtoken::decode::<Value>(&token, &key, &rules).unwrap();
        }
    }
}
