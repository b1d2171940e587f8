//! What a connection token (a JWT of the client protocol) is made of and says.
//!
//! Owns its parts and its claims. Never verifies a signature: the relay does for shared secrets, the gateway for public keys,
//! both on an [`Unverified`] token and both reading the claims with [`Unverified::payload`] afterwards.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Serialize};
use serde_json::{Number, value::RawValue};

/// The claims of a connection token that matter to a session. Verified by the relay (HMAC) or the gateway (public keys).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Claims {
    /// User id; empty is anonymous.
    pub user: String,
    /// Unix seconds after which the *token* is refused; 0 never.
    pub exp: u64,
    /// Unix seconds at which the *connection* expires; 0 never. `expire_at` if the token has it, else `exp`.
    pub expire_at: u64,
    /// JSON shown in presence, join, leave and publications; empty when absent.
    #[serde(with = "serde_bytes")]
    pub info: Vec<u8>,
}

impl Claims {
    /// Whether the token is past its time at `now` (Unix seconds). There is no leeway.
    pub const fn expired(&self, now: u64) -> bool {
        self.exp != 0 && self.exp <= now
    }
}

/// What a token says, times not yet compared.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Payload {
    /// The claims that a session keeps.
    pub claims: Claims,
    /// Unix seconds before which the token is refused (`nbf`) as if it had expired; 0 when it does not say.
    pub not_before: u64,
}

impl Payload {
    /// Whether the token is not valid yet at `now` (Unix seconds).
    pub const fn early(&self, now: u64) -> bool {
        self.not_before > now
    }

    /// Reads the JSON of a token's middle part. Unknown claims are ignored, duplicate ones refused.
    pub fn parse(json: &[u8]) -> Result<Self, Malformed> {
        let raw: RawClaims<'_> = serde_json::from_slice(json).map_err(|_| Malformed::Claims)?;
        // A token that names a time has one: zero in it is 1970, not "never".
        let exp = raw.exp.as_ref().map_or(0, |exp| seconds(exp).max(1));
        let info = raw.info()?;
        let expire_at = raw.expire_at.unwrap_or(exp);
        let claims = Claims { user: raw.sub.unwrap_or_default(), exp, expire_at, info };
        Ok(Self { claims, not_before: raw.nbf.map_or(0, |nbf| seconds(&nbf)) })
    }
}

/// A token whose signature nobody has looked at. Its header decides who can verify it, never whether it is genuine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unverified<'a> {
    /// What the signature claims to be.
    pub algorithm: Algorithm,
    /// Which key it claims to be made with.
    pub kid: Option<String>,
    /// What was signed: header and payload as they stand in the token.
    pub message: &'a str,
    /// Base64url without padding.
    pub signature: &'a str,
}

impl<'a> Unverified<'a> {
    /// Splits a token and reads its header. An algorithm that is not in [`Algorithm`] (`none` above all) and a critical header
    /// extension (RFC 7515 §4.1.11: none is understood here) are refused.
    pub fn parse(token: &'a str) -> Result<Self, Malformed> {
        let (message, signature) = token.rsplit_once('.').ok_or(Malformed::Parts)?;
        let (header, payload) = message.split_once('.').ok_or(Malformed::Parts)?;
        if payload.contains('.') {
            return Err(Malformed::Parts);
        }
        let json = URL_SAFE_NO_PAD.decode(header).map_err(|_| Malformed::Header)?;
        let header: RawHeader = serde_json::from_slice(&json).map_err(|_| Malformed::Header)?;
        if header.crit.is_some() {
            return Err(Malformed::Header);
        }
        let algorithm = Algorithm::named(&header.alg).ok_or(Malformed::Algorithm)?;
        Ok(Self { algorithm, kid: header.kid, message, signature })
    }

    /// What the token says. Only worth anything after `message` was found to be signed with `signature`.
    pub fn payload(&self) -> Result<Payload, Malformed> {
        let (_, payload) = self.message.split_once('.').ok_or(Malformed::Parts)?;
        let json = URL_SAFE_NO_PAD.decode(payload).map_err(|_| Malformed::Claims)?;
        Payload::parse(&json)
    }
}

/// A signature algorithm that some part of the system can verify (RFC 7518 §3.1, RFC 8037).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    EdDsa,
    Es256,
    Es384,
    Rs256,
    Rs384,
    Rs512,
}

impl Algorithm {
    /// The algorithm of a JWT's `alg`.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            "EdDSA" => Self::EdDsa,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            _ => return None,
        })
    }

    /// Whether it takes a shared secret (the relay verifies) rather than a public key (the gateway does).
    pub const fn takes_secret(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

/// Why a token cannot be read. Always the token's fault; trying it again is useless.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// Not three parts.
    #[error("not three parts separated by dots")]
    Parts,
    /// The header is not base64url of the JSON it should be, or has a critical extension.
    #[error("header not readable")]
    Header,
    /// `none`, or an algorithm that nothing here verifies.
    #[error("algorithm not supported")]
    Algorithm,
    /// The payload is not base64url of the JSON it should be.
    #[error("claims not readable")]
    Claims,
}

#[derive(Deserialize)]
struct RawHeader {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct RawClaims<'a> {
    sub: Option<String>,
    exp: Option<Number>,
    nbf: Option<Number>,
    expire_at: Option<u64>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    b64info: Option<String>,
}

/// Base64 as issuers write it: with padding or without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl RawClaims<'_> {
    /// `b64info` goes before `info`. It must hold JSON, since it is embedded as such in what every client of a channel reads.
    fn info(&self) -> Result<Vec<u8>, Malformed> {
        let Some(text) = self.b64info.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(self.info.map_or_else(Vec::new, |info| info.get().as_bytes().to_vec()));
        };
        let json = LENIENT.decode(text).map_err(|_| Malformed::Claims)?;
        serde_json::from_slice::<&RawValue>(&json).map_err(|_| Malformed::Claims)?;
        Ok(json)
    }
}

/// A NumericDate (RFC 7519 §2) may have a fraction; whole seconds are enough here. Before 1970 counts as 1970.
fn seconds(date: &Number) -> u64 {
    date.as_u64().unwrap_or_else(|| date.as_f64().map_or(0, |seconds| seconds as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    fn claims(json: &str) -> Claims {
        Payload::parse(json.as_bytes()).unwrap().claims
    }

    #[test]
    fn a_token_comes_apart_into_algorithm_key_and_signed_message() {
        let token = token(r#"{"alg":"ES256","typ":"JWT","kid":"k1"}"#, r#"{"sub":"42"}"#);
        let unverified = Unverified::parse(&token).unwrap();
        assert_eq!(unverified.algorithm, Algorithm::Es256);
        assert_eq!(unverified.kid.as_deref(), Some("k1"));
        assert_eq!(unverified.signature, "c2ln");
        assert_eq!(format!("{}.c2ln", unverified.message), token);
        assert_eq!(unverified.payload().unwrap().claims.user, "42");
    }

    #[test]
    fn no_algorithm_and_unknown_ones_are_refused() {
        for alg in ["none", "None", "NONE", "", "PS256", "ES512", "HS1", "es256"] {
            let token = token(&format!(r#"{{"alg":"{alg}"}}"#), "{}");
            assert_eq!(Unverified::parse(&token), Err(Malformed::Algorithm), "{alg}");
        }
        assert_eq!(Unverified::parse(&token("{}", "{}")), Err(Malformed::Header));
    }

    #[test]
    fn a_critical_extension_is_refused() {
        let token = token(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, "{}");
        assert_eq!(Unverified::parse(&token), Err(Malformed::Header));
    }

    #[test]
    fn garbage_is_malformed() {
        for token in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "!!.!!.!!", "e30.e30.e30", "🦀.🦀.🦀"] {
            assert!(Unverified::parse(token).is_err(), "{token}");
        }
        let token = token(r#"{"alg":"HS256"}"#, "[]");
        assert_eq!(Unverified::parse(&token).unwrap().payload(), Err(Malformed::Claims));
    }

    #[test]
    fn expiry_of_the_connection_follows_the_token_unless_it_says_otherwise() {
        assert_eq!(claims(r#"{"exp":100}"#), Claims { exp: 100, expire_at: 100, ..Claims::default() });
        assert_eq!(claims(r#"{"exp":100,"expire_at":0}"#), Claims { exp: 100, ..Claims::default() });
        assert_eq!(claims(r#"{"exp":100,"expire_at":200}"#).expire_at, 200);
        assert_eq!(claims(r#"{"expire_at":200}"#), Claims { expire_at: 200, ..Claims::default() });
        assert_eq!(claims("{}"), Claims::default());
    }

    #[test]
    fn an_expiry_at_or_before_1970_is_long_past_and_not_never() {
        for json in [r#"{"exp":0}"#, r#"{"exp":-5}"#, r#"{"exp":-1e300}"#] {
            assert!(claims(json).expired(1_000_000), "{json}");
        }
        assert!(!claims("{}").expired(u64::MAX));
        assert!(!claims(r#"{"exp":1e300}"#).expired(1_000_000));
    }

    #[test]
    fn dates_may_have_a_fraction_and_the_last_second_does_not_count() {
        let claims = claims(r#"{"exp":100.75}"#);
        assert!(!claims.expired(99));
        assert!(claims.expired(100));
        let payload = Payload::parse(br#"{"nbf":50}"#).unwrap();
        assert!(payload.early(49));
        assert!(!payload.early(50));
    }

    #[test]
    fn info_stays_verbatim_and_b64info_goes_before_it() {
        assert_eq!(claims(r#"{"info": {"name" : "A"} }"#).info, br#"{"name" : "A"}"#);
        assert_eq!(claims(r#"{"info":1,"b64info":"eyJhIjoxfQ=="}"#).info, br#"{"a":1}"#);
        assert_eq!(claims(r#"{"b64info":"eyJhIjoxfQ"}"#).info, br#"{"a":1}"#);
        assert_eq!(claims(r#"{"info":null,"b64info":""}"#).info, b"");
    }

    #[test]
    fn claims_of_the_wrong_kind_are_refused() {
        for json in [
            r#"{"sub":42}"#,
            r#"{"exp":"100"}"#,
            r#"{"expire_at":-1}"#,
            r#"{"b64info":"!"}"#,
            r#"{"b64info":"bm90IGpzb24="}"#,
            r#"{"sub":"a","sub":"b"}"#,
            "null",
            "",
        ] {
            assert_eq!(Payload::parse(json.as_bytes()), Err(Malformed::Claims), "{json}");
        }
    }
}
