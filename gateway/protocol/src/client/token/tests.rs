use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
        RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    },
};
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000;

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer with a key pair made for the test.
enum Issuer {
    Ed(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl Issuer {
    fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn p384() -> Self {
        Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    /// Members that make the public key a JWK, without `kid` and `alg`.
    fn jwk(&self) -> String {
        match self {
            Self::Ed(pair) => format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, b64(pair.public_key())),
            Self::P256(pair) => ec("P-256", pair),
            Self::P384(pair) => ec("P-384", pair),
            Self::Rsa(pair) => {
                let key = pair.public_key();
                let n = b64(key.modulus().big_endian_without_leading_zero());
                let e = b64(key.exponent().big_endian_without_leading_zero());
                format!(r#""kty":"RSA","n":"{n}","e":"{e}""#)
            }
        }
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", b64(header), b64(claims));
        let bytes = message.as_bytes();
        let rng = SystemRandom::new();
        let signature = match self {
            Self::Ed(pair) => b64(pair.sign(bytes)),
            Self::P256(pair) | Self::P384(pair) => b64(pair.sign(&rng, bytes).unwrap()),
            Self::Rsa(pair) => {
                let padding: &dyn RsaEncoding = match header {
                    _ if header.contains("PS256") => &RSA_PSS_SHA256,
                    _ if header.contains("PS384") => &RSA_PSS_SHA384,
                    _ if header.contains("PS512") => &RSA_PSS_SHA512,
                    _ if header.contains("RS384") => &RSA_PKCS1_SHA384,
                    _ if header.contains("RS512") => &RSA_PKCS1_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &rng, bytes, &mut signature).unwrap();
                b64(signature)
            }
        };
        format!("{message}.{signature}")
    }
}

fn ec(curve: &str, pair: &EcdsaKeyPair) -> String {
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    format!(r#""kty":"EC","crv":"{curve}","x":"{}","y":"{}""#, b64(x), b64(y))
}

fn keys(jwks: &[String]) -> Keys {
    let jwks: Vec<String> = jwks.iter().map(|jwk| format!("{{{jwk}}}")).collect();
    Keys::parse(&format!(r#"{{"keys":[{}]}}"#, jwks.join(","))).unwrap()
}

fn verify(keys: &Keys, token: &str) -> Result<Claims, Refused> {
    keys.verify(&peek(token)?, Kind::Connection, NOW)
}

fn claims() -> String {
    format!(r#"{{"sub":"42","exp":{},"info":{{"name":"A"}}}}"#, NOW + 60)
}

#[test]
fn every_algorithm_verifies_its_own_tokens() {
    for (issuer, algorithms) in [
        (Issuer::ed(), &["EdDSA"][..]),
        (Issuer::p256(), &["ES256"]),
        (Issuer::p384(), &["ES384"]),
        (Issuer::rsa(), &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
    ] {
        let keys = keys(&[issuer.jwk()]);
        for alg in algorithms {
            let token = issuer.sign(&format!(r#"{{"alg":"{alg}"}}"#), &claims());
            let claims = verify(&keys, &token).unwrap();
            assert_eq!(claims.user, "42", "{alg}");
            assert_eq!((claims.exp, claims.expire_at), (NOW + 60, NOW + 60));
            assert_eq!(claims.info, br#"{"name":"A"}"#);
        }
    }
}

#[test]
fn a_token_is_good_from_its_beginning_to_its_end() {
    let issuer = Issuer::ed();
    let keys = keys(&[issuer.jwk()]);
    let with = |claims: &str| verify(&keys, &issuer.sign(r#"{"alg":"EdDSA"}"#, claims));
    assert_eq!(with(&format!(r#"{{"exp":{NOW}}}"#)), Err(Refused::Expired));
    assert_eq!(with(&format!(r#"{{"exp":{}}}"#, NOW - 1)), Err(Refused::Expired));
    assert!(with(&format!(r#"{{"exp":{}}}"#, NOW + 1)).is_ok());
    assert_eq!(with(&format!(r#"{{"nbf":{}}}"#, NOW + 1)), Err(Refused::Early));
    assert!(with(&format!(r#"{{"nbf":{NOW}}}"#)).is_ok());
    assert_eq!(with("{}"), Ok(Claims::default()));
    assert!(Refused::Expired.wants_another() && Refused::Early.wants_another());
    assert!(!Refused::Signature.wants_another() && !Refused::UnknownKey.wants_another());
}

#[test]
fn a_token_that_names_a_key_is_verified_with_that_one_only() {
    let (old, new) = (Issuer::ed(), Issuer::ed());
    let keys = keys(&[format!(r#""kid":"old",{}"#, old.jwk()), format!(r#""kid":"new",{}"#, new.jwk())]);
    let header = |kid: &str| format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#);
    assert!(verify(&keys, &old.sign(&header("old"), "{}")).is_ok());
    assert!(verify(&keys, &new.sign(&header("new"), "{}")).is_ok());
    assert_eq!(verify(&keys, &old.sign(&header("new"), "{}")), Err(Refused::Signature));
    assert_eq!(verify(&keys, &old.sign(&header("none"), "{}")), Err(Refused::UnknownKey));
    assert_eq!(verify(&keys, &old.sign(&header(""), "{}")), Err(Refused::UnknownKey));
}

#[test]
fn a_token_that_names_no_key_is_tried_with_those_of_its_algorithm() {
    let issuers = [Issuer::p256(), Issuer::ed(), Issuer::ed()];
    let keys = keys(&issuers.each_ref().map(Issuer::jwk));
    assert!(verify(&keys, &issuers[0].sign(r#"{"alg":"ES256"}"#, "{}")).is_ok());
    assert!(verify(&keys, &issuers[2].sign(r#"{"alg":"EdDSA"}"#, "{}")).is_ok());
    assert_eq!(verify(&keys, &Issuer::ed().sign(r#"{"alg":"EdDSA"}"#, "{}")), Err(Refused::Signature));
    assert_eq!(verify(&keys, &Issuer::rsa().sign(r#"{"alg":"RS256"}"#, "{}")), Err(Refused::UnknownKey));
}

#[test]
fn the_public_key_is_no_shared_secret() {
    let issuer = Issuer::p256();
    let Issuer::P256(pair) = &issuer else { unreachable!() };
    let keys = keys(&[format!(r#""kid":"k",{}"#, issuer.jwk())]);
    let message = format!("{}.{}", b64(r#"{"alg":"HS256","kid":"k"}"#), b64("{}"));
    let secret = hmac::Key::new(hmac::HMAC_SHA256, pair.public_key().as_ref());
    let token = format!("{message}.{}", b64(hmac::sign(&secret, message.as_bytes())));
    assert!(peek(&token).unwrap().algorithm.takes_secret());
    assert_eq!(verify(&keys, &token), Err(Refused::UnknownKey));
}

#[test]
fn an_algorithm_that_is_not_the_keys_own_is_refused() {
    let issuer = Issuer::rsa();
    let named = keys(&[format!(r#""alg":"RS512",{}"#, issuer.jwk())]);
    assert!(verify(&named, &issuer.sign(r#"{"alg":"RS512"}"#, "{}")).is_ok());
    assert_eq!(verify(&named, &issuer.sign(r#"{"alg":"RS256"}"#, "{}")), Err(Refused::UnknownKey));
    // Signed with one algorithm, claimed to be of another that the key could do.
    let any = keys(&[issuer.jwk()]);
    let token = issuer.sign(r#"{"alg":"RS256"}"#, "{}");
    let forged = token.replacen(&b64(r#"{"alg":"RS256"}"#), &b64(r#"{"alg":"RS384"}"#), 1);
    assert_eq!(verify(&any, &forged), Err(Refused::Signature));
    assert_eq!(verify(&any, &issuer.sign(r#"{"alg":"ES256"}"#, "{}")), Err(Refused::UnknownKey));
}

#[test]
fn an_unsigned_token_is_refused() {
    let keys = keys(&[Issuer::ed().jwk()]);
    for alg in ["none", "None", "nOnE"] {
        let token = format!("{}.{}.", b64(format!(r#"{{"alg":"{alg}"}}"#)), b64("{}"));
        assert_eq!(verify(&keys, &token), Err(Refused::Malformed(Malformed::Algorithm)));
    }
    let token = format!("{}.{}.", b64(r#"{"alg":"EdDSA"}"#), b64("{}"));
    assert_eq!(verify(&keys, &token), Err(Refused::Signature));
}

#[test]
fn a_changed_token_is_refused() {
    let issuer = Issuer::ed();
    let keys = keys(&[issuer.jwk()]);
    let token = issuer.sign(r#"{"alg":"EdDSA"}"#, r#"{"sub":"42"}"#);
    let other = token.replace(&b64(r#"{"sub":"42"}"#), &b64(r#"{"sub":"43"}"#));
    assert_eq!(verify(&keys, &other), Err(Refused::Signature));
    assert_eq!(verify(&keys, &token[..token.len() - 4]), Err(Refused::Signature));
    assert_eq!(verify(&keys, &format!("{token}!")), Err(Refused::Signature));
}

#[test]
fn genuine_tokens_with_unreadable_claims_are_refused() {
    let issuer = Issuer::ed();
    let keys = keys(&[issuer.jwk()]);
    for claims in [r#"{"sub":42}"#, "[]", "", "{\"b64info\":\"!\"}"] {
        let token = issuer.sign(r#"{"alg":"EdDSA"}"#, claims);
        assert_eq!(verify(&keys, &token), Err(Refused::Malformed(Malformed::Claims)), "{claims}");
    }
}

#[test]
fn keys_that_no_token_could_use_are_left_out() {
    let issuer = Issuer::ed();
    let set = keys(
        &[
            r#""kty":"OKP","crv":"X25519","x":"AAAA""#.into(),
            r#""kty":"EC","crv":"secp256k1","x":"AAAA","y":"AAAA""#.into(),
            format!(r#""use":"enc",{}"#, issuer.jwk()),
            r#""kty":"RSA","alg":"RSA-OAEP","n":"x","e":"x""#.into(),
            r#""kty":"new""#.into(),
            format!(r#""use":"sig","key_ops":["verify"],{}"#, issuer.jwk()),
        ]
        .map(|jwk| jwk.replace(r#""n":"x","e":"x""#, &rsa_members())),
    );
    assert_eq!((set.len(), set.ignored()), (1, 5));
    assert!(Keys::parse("").unwrap().is_empty());
    assert!(Keys::parse(r#"{"keys":[]}"#).unwrap().is_empty());
}

fn rsa_members() -> String {
    format!(r#""n":"{}","e":"AQAB""#, b64([0xff; 256]))
}

#[test]
fn a_broken_key_refuses_the_set_and_says_which() {
    let good = Issuer::ed().jwk();
    for broken in [
        r#""kty":"OKP","crv":"Ed25519""#.to_owned(),
        r#""kty":"OKP","crv":"Ed25519","x":"AAAA""#.to_owned(),
        r#""kty":"OKP","crv":"Ed25519","x":"=""#.to_owned(),
        format!(r#""alg":"ES256",{good}"#),
        format!(r#""alg":"HS256",{good}"#),
        Issuer::p256().jwk().replace("P-256", "P-384"),
        format!(r#""kty":"RSA","n":"{}","e":"AQAB""#, b64([0xff; 128])),
        format!(r#""kty":"RSA","n":"{}","e":"""#, b64([0xff; 256])),
    ] {
        let set = format!(r#"{{"keys":[{{{good}}},{{{broken}}}]}}"#);
        assert_eq!(Keys::parse(&set).unwrap_err(), KeyError::Broken { index: 1 }, "{broken}");
    }
    for text in ["{}", "[]", "x", r#"{"keys":5}"#, r#"{"keys":[{}]}"#] {
        assert_eq!(Keys::parse(text).unwrap_err(), KeyError::NotASet, "{text}");
    }
    let many = vec![format!("{{{good}}}"); KEYS_MAX + 1].join(",");
    assert_eq!(Keys::parse(&format!(r#"{{"keys":[{many}]}}"#)).unwrap_err(), KeyError::TooMany);
}

#[test]
fn a_private_key_or_shared_secret_refuses_the_set() {
    for private in [format!(r#""d":"AAAA",{}"#, Issuer::ed().jwk()), r#""kty":"oct","k":"AAAA""#.into()] {
        let set = format!(r#"{{"keys":[{{{private}}}]}}"#);
        assert_eq!(Keys::parse(&set).unwrap_err(), KeyError::Private { index: 0 });
    }
}

#[test]
fn at_most_a_few_keys_are_tried_for_a_token_that_names_none() {
    let issuers: Vec<Issuer> = (0..=KEYS_TRIED_MAX).map(|_| Issuer::ed()).collect();
    let keys = keys(&issuers.iter().map(Issuer::jwk).collect::<Vec<_>>());
    let token = |issuer: &Issuer| issuer.sign(r#"{"alg":"EdDSA"}"#, "{}");
    assert!(verify(&keys, &token(&issuers[KEYS_TRIED_MAX - 1])).is_ok());
    assert_eq!(verify(&keys, &token(&issuers[KEYS_TRIED_MAX])), Err(Refused::Signature));
}

proptest! {
    #[test]
    fn any_text_is_refused(text in any::<String>(), parts in proptest::collection::vec(any::<Vec<u8>>(), 3)) {
        let keys = keys(&[Issuer::ed().jwk()]);
        prop_assert!(verify(&keys, &text).is_err());
        let token = parts.iter().map(b64).collect::<Vec<_>>().join(".");
        prop_assert!(verify(&keys, &token).is_err());
        let token = format!("{}.{}", b64(r#"{"alg":"EdDSA"}"#), parts[..2].iter().map(b64).collect::<Vec<_>>().join("."));
        prop_assert_eq!(verify(&keys, &token), Err(Refused::Signature));
    }
}
