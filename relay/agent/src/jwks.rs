//! The public keys of tokens as one JWK set, whatever form the configuration had them in.
//!
//! Never lets anything but public keys through: the set goes to gateways.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value, json};

use crate::limits::FETCHED_KEYS_MAX;

/// What kind of key a PEM is to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Rsa,
    Ecdsa,
    Eddsa,
}

/// A JWK set in the making.
#[derive(Debug, Default)]
pub(crate) struct Set(Vec<Value>);

impl Set {
    /// Adds a public key in PEM form.
    pub(crate) fn add_pem(&mut self, kind: Kind, pem: &str) -> Result<(), String> {
        let (key, expected) = match kind {
            Kind::Rsa => (DecodingKey::from_rsa_pem(pem.as_bytes()), "an RSA public key"),
            Kind::Ecdsa => (DecodingKey::from_ec_pem(pem.as_bytes()), "a P-256, P-384 or P-521 public key"),
            Kind::Eddsa => (DecodingKey::from_ed_pem(pem.as_bytes()), "an Ed25519 public key"),
        };
        let refusal = || format!("expected {expected} as PEM (-----BEGIN PUBLIC KEY-----)");
        if pem.contains("PRIVATE KEY") {
            return Err("is a private key: only the public one belongs here".to_owned());
        }
        if let Some(jwk) = p521(pem).filter(|_| matches!(kind, Kind::Ecdsa)) {
            self.0.push(jwk);
            return Ok(());
        }
        let jwk = key.and_then(|key| Jwk::from_decoding_key(&key, None)).map_err(|_| refusal())?;
        let mut jwk = jwk;
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        self.0.push(serde_json::to_value(jwk).map_err(|_| refusal())?);
        Ok(())
    }

    /// Adds the keys of a JWK set.
    pub(crate) fn add_set(&mut self, text: &str) -> Result<(), String> {
        let set: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let Some(keys) = set.get("keys").and_then(Value::as_array) else {
            return Err("expected a JWK set: {\"keys\": [...]}".to_owned());
        };
        for (index, key) in keys.iter().enumerate() {
            let Some(members) = key.as_object() else { return Err(format!("key {index} is not an object")) };
            if secret(members) {
                return Err(format!(
                    "key {index} is a private or shared key: only public ones belong here (a shared secret is hmac_secret_key)"
                ));
            }
            if !members.contains_key("kty") {
                return Err(format!("key {index} has no 'kty'"));
            }
        }
        self.0.extend(keys.iter().cloned());
        Ok(())
    }

    /// Adds what of a fetched JWK set a gateway can use, up to the bound. The result counts what it cannot.
    pub(crate) fn add_fetched(&mut self, text: &str) -> Result<usize, String> {
        let set: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let Some(keys) = set.get("keys").and_then(Value::as_array) else {
            return Err("not a JWK set: {\"keys\": [...]}".to_owned());
        };
        let good = keys.iter().filter(|key| key.as_object().is_some_and(usable));
        let before = self.0.len();
        self.0.extend(good.take(FETCHED_KEYS_MAX).cloned());
        Ok(keys.len() - (self.0.len() - before))
    }

    /// Adds the keys of a set that was finished before.
    pub(crate) fn add_finished(&mut self, text: &str) {
        let set = serde_json::from_str::<Value>(text).unwrap_or_default();
        self.0.extend(set.get("keys").and_then(Value::as_array).into_iter().flatten().cloned());
    }

    /// How many keys there are.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The set as JSON; empty text when it is empty.
    pub(crate) fn finish(self) -> String {
        if self.0.is_empty() { String::new() } else { json!({ "keys": self.0 }).to_string() }
    }
}

/// Whether a key has a private part or is a shared secret.
fn secret(members: &Map<String, Value>) -> bool {
    let parts = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    parts.iter().any(|member| members.contains_key(*member)) || members.get("kty") == Some(&json!("oct"))
}

/// Whether a key is one that a gateway takes: public, whole, of a kind that tokens are signed with. (A gateway refuses a whole set
/// for a key that is broken, which is right for one that an operator wrote and wrong for one that changes by itself.)
fn usable(members: &Map<String, Value>) -> bool {
    let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)).map_or(0, |bytes| bytes.len());
    let texts =
        ["use", "alg", "kid", "crv"].iter().all(|name| members.get(*name).is_none_or(Value::is_string));
    let family = |names: &[&str]| text("alg").is_empty() || names.contains(&text("alg"));
    let whole = match (text("kty"), text("crv")) {
        ("OKP", "Ed25519") => bytes("x") == 32 && family(&["EdDSA"]),
        ("EC", "P-256") => bytes("x") == 32 && bytes("y") == 32 && family(&["ES256"]),
        ("EC", "P-384") => bytes("x") == 48 && bytes("y") == 48 && family(&["ES384"]),
        ("EC", "P-521") => bytes("x") == 66 && bytes("y") == 66 && family(&["ES512"]),
        ("RSA", _) => {
            (256..=1024).contains(&bytes("n"))
                && bytes("e") > 0
                && family(&["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
        }
        _ => false,
    };
    whole && texts && !secret(members) && matches!(text("use"), "" | "sig")
}

/// A public key on P-521 (RFC 5480 §2.2: the point follows a fixed head), which the library above does not read.
fn p521(pem: &str) -> Option<Value> {
    const HEAD: &[u8] = &[
        0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
        0x81, 0x04, 0x00, 0x23, 0x03, 0x81, 0x86, 0x00, 0x04,
    ];
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (x, y) = der.strip_prefix(HEAD).filter(|point| point.len() == 132)?.split_at(66);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    Some(json!({ "kty": "EC", "crv": "P-521", "use": "sig", "x": x, "y": y }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        (pair.public_key_pem(), pair.serialize_pem())
    }

    #[test]
    fn public_keys_of_each_kind_become_one_set() {
        let mut set = Set::default();
        set.add_pem(Kind::Ecdsa, &pem(&rcgen::PKCS_ECDSA_P256_SHA256).0).unwrap();
        set.add_pem(Kind::Eddsa, &pem(&rcgen::PKCS_ED25519).0).unwrap();
        set.add_set(r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","kid":"k"}]}"#).unwrap();
        let json: Value = serde_json::from_str(&set.finish()).unwrap();
        let kinds: Vec<&str> =
            json["keys"].as_array().unwrap().iter().map(|k| k["kty"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["EC", "OKP", "OKP"]);
        assert_eq!(json["keys"][0]["crv"], "P-256");
        assert_eq!(json["keys"][0]["use"], "sig");
    }

    #[test]
    fn a_key_on_p521_is_read_from_its_pem() {
        let pem = pem(&rcgen::PKCS_ECDSA_P521_SHA512).0;
        let mut set = Set::default();
        set.add_pem(Kind::Ecdsa, &pem).unwrap();
        assert!(Set::default().add_pem(Kind::Rsa, &pem).is_err());
        let json: Value = serde_json::from_str(&set.finish()).unwrap();
        assert_eq!(json["keys"][0]["crv"], "P-521");
        assert!(usable(json["keys"][0].as_object().unwrap()));
    }

    #[test]
    fn of_a_fetched_set_only_what_a_gateway_can_use_is_taken() {
        let mut good = Set::default();
        good.add_pem(Kind::Eddsa, &pem(&rcgen::PKCS_ED25519).0).unwrap();
        good.add_pem(Kind::Ecdsa, &pem(&rcgen::PKCS_ECDSA_P384_SHA384).0).unwrap();
        let mut json: Value = serde_json::from_str(&good.finish()).unwrap();
        for useless in [
            json!({ "kty": "oct", "k": "c2VjcmV0" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA" }),
            json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }),
            json!({ "kty": 5 }),
            json!("key"),
        ] {
            json["keys"].as_array_mut().unwrap().push(useless);
        }
        let mut set = Set::default();
        assert_eq!(set.add_fetched(&json.to_string()), Ok(5));
        let kept: Value = serde_json::from_str(&set.finish()).unwrap();
        assert_eq!(kept["keys"].as_array().unwrap().len(), 2);
        assert!(Set::default().add_fetched("[]").is_err() && Set::default().add_fetched("<html>").is_err());
    }

    #[test]
    fn no_keys_are_no_set() {
        assert_eq!(Set::default().finish(), "");
    }

    #[test]
    fn anything_private_or_shared_is_refused() {
        let mut set = Set::default();
        let private = pem(&rcgen::PKCS_ECDSA_P256_SHA256).1;
        assert!(set.add_pem(Kind::Ecdsa, &private).unwrap_err().contains("private key"));
        for key in [r#"{"kty":"oct","k":"c2VjcmV0"}"#, r#"{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}"#] {
            assert!(set.add_set(&format!(r#"{{"keys":[{key}]}}"#)).unwrap_err().contains("only public ones"));
        }
        assert_eq!(set.finish(), "", "nothing of a refused set is kept");
    }

    #[test]
    fn a_key_of_another_kind_or_no_key_is_refused() {
        let mut set = Set::default();
        assert!(set.add_pem(Kind::Rsa, &pem(&rcgen::PKCS_ED25519).0).is_err());
        assert!(set.add_pem(Kind::Eddsa, "hello").is_err());
        assert!(set.add_set("{}").is_err() && set.add_set("x").is_err());
    }
}
