//! The public keys of tokens as one JWK set, whatever form the configuration had them in.
//!
//! Never lets anything but public keys through: the set goes to gateways.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use serde_json::{Value, json};

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
            Kind::Ecdsa => (DecodingKey::from_ec_pem(pem.as_bytes()), "a P-256 or P-384 public key"),
            Kind::Eddsa => (DecodingKey::from_ed_pem(pem.as_bytes()), "an Ed25519 public key"),
        };
        let refusal = || format!("expected {expected} as PEM (-----BEGIN PUBLIC KEY-----)");
        if pem.contains("PRIVATE KEY") {
            return Err("is a private key: only the public one belongs here".to_owned());
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
            let secret = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
            if secret.iter().any(|member| members.contains_key(*member))
                || members.get("kty") == Some(&json!("oct"))
            {
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

    /// The set as JSON; empty text when it is empty.
    pub(crate) fn finish(self) -> String {
        if self.0.is_empty() { String::new() } else { json!({ "keys": self.0 }).to_string() }
    }
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
