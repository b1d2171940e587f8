//! Verification of tokens with public keys.
//!
//! Owns the keys of a JWK set, the choice among them and what else is expected of their tokens. Never holds a secret: a token that is signed with one is known by its
//! header ([`wire::token::Algorithm::takes_secret`]) and goes to the relay, whose answer still has to pass [`current`].

use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm as Jwa, DecodingKey, crypto};
use serde::{Deserialize, de::IgnoredAny};
use wire::{
    settings::Tokens,
    token::{Algorithm, Claims, Kind, Malformed, Unverified},
};

use super::limits::{KEYS_MAX, KEYS_TRIED_MAX};

/// Splits a token and reads its header. Says who can verify it, not whether it is genuine.
pub fn peek(token: &str) -> Result<Unverified<'_>, Refused> {
    Unverified::parse(token).map_err(Refused::Malformed)
}

/// Whether a genuine token is still good at `now` (Unix seconds).
pub const fn current(claims: &Claims, now: u64) -> Result<(), Refused> {
    if claims.expired(now) { Err(Refused::Expired) } else { Ok(()) }
}

/// Public keys that tokens may be signed with.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    keys: Vec<Key>,
    ignored: usize,
    /// Audience and issuer.
    expected: Tokens,
}

impl Keys {
    /// The keys of one kind of tokens, and what is expected of these.
    pub fn new(tokens: &Tokens) -> Result<Self, KeyError> {
        let (audience, issuer) = (tokens.audience.clone(), tokens.issuer.clone());
        let expected = Tokens { audience, issuer, ..Tokens::default() };
        Ok(Self { expected, ..Self::parse(&tokens.jwks)? })
    }

    /// Reads a JWK set (RFC 7517 §5). Keys that no token here could use (for encryption, on other curves, of other algorithms)
    /// are left out; one that could be used but is broken, or is not public, refuses the whole set. Empty text is the empty set.
    pub fn parse(jwks: &str) -> Result<Self, KeyError> {
        if jwks.is_empty() {
            return Ok(Self::default());
        }
        let set: JwkSet = serde_json::from_str(jwks).map_err(|_| KeyError::NotASet)?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeyError::TooMany);
        }
        let total = set.keys.len();
        let mut keys = Vec::with_capacity(total);
        for (index, jwk) in set.keys.into_iter().enumerate() {
            if jwk.d.is_some() || jwk.k.is_some() {
                return Err(KeyError::Private { index });
            }
            keys.extend(jwk.key().map_err(|()| KeyError::Broken { index })?);
        }
        Ok(Self { ignored: total - keys.len(), keys, expected: Tokens::default() })
    }

    /// Usable keys.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no token can be verified.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys of the set that no token here could use, for the operator to be told.
    pub const fn ignored(&self) -> usize {
        self.ignored
    }

    /// What a token of a kind says, if it is signed with one of these keys, for us, and its time is now (`now` in Unix seconds).
    ///
    /// A token that names a key is verified with that one only. The algorithm must be the key's own: never is a public key used
    /// as anything but what it is.
    pub fn verify(&self, token: &Unverified<'_>, kind: Kind, now: u64) -> Result<Claims, Refused> {
        if token.algorithm.takes_secret() {
            return Err(Refused::UnknownKey);
        }
        let fits = |key: &&Key| {
            key.algorithms.contains(&token.algorithm) && (token.kid.is_none() || key.kid == token.kid)
        };
        let mut candidates = self.keys.iter().filter(fits).take(KEYS_TRIED_MAX).peekable();
        if candidates.peek().is_none() {
            return Err(Refused::UnknownKey);
        }
        if !candidates.any(|key| key.decoding.signed(token)) {
            return Err(Refused::Signature);
        }
        let payload = token.payload(kind).map_err(Refused::Malformed)?;
        if !payload.expected(&self.expected) {
            return Err(Refused::Foreign);
        }
        if payload.early(now) {
            return Err(Refused::Early);
        }
        current(&payload.claims, now)?;
        Ok(payload.claims)
    }
}

/// Why a token opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// It cannot be read, or claims an algorithm that nobody here verifies.
    #[error("token malformed: {0}")]
    Malformed(Malformed),
    /// No key fits what it says it is signed with.
    #[error("no key for this token")]
    UnknownKey,
    /// It is not signed with the key it should be.
    #[error("token signature wrong")]
    Signature,
    /// It is meant for somebody else, or made by somebody else.
    #[error("token for another audience or of another issuer")]
    Foreign,
    /// Its time is over.
    #[error("token expired")]
    Expired,
    /// Its time has not come.
    #[error("token not valid yet")]
    Early,
}

impl Refused {
    /// Whether another token of the same issuer would do: the client is then told `token expired` (109) and fetches one. Otherwise
    /// the connection is closed with `invalid token` (3500).
    pub const fn wants_another(self) -> bool {
        matches!(self, Self::Expired | Self::Early)
    }
}

/// Why a JWK set cannot be used. The operator's to mend.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Not `{"keys": [..]}` with keys in it.
    #[error("not a JWK set")]
    NotASet,
    /// More than [`KEYS_MAX`].
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
    /// A member is missing, not base64url, of the wrong length, or contradicts another.
    #[error("key {index} of the JWK set is broken")]
    Broken {
        /// Place in the set, from 0.
        index: usize,
    },
    /// It has a private part or is a shared secret, which must never come here.
    #[error("key {index} of the JWK set is not a public key")]
    Private {
        /// Place in the set, from 0.
        index: usize,
    },
}

#[derive(Clone, Debug)]
struct Key {
    kid: Option<String>,
    algorithms: &'static [Algorithm],
    decoding: Decoding,
}

/// The key itself, by the library that can use it.
#[derive(Clone, Debug)]
enum Decoding {
    Jwt(DecodingKey),
    /// An uncompressed point on P-521.
    P521(Vec<u8>),
}

impl Decoding {
    /// Whether it made the token's signature. The algorithm is one of the key's own.
    fn signed(&self, token: &Unverified<'_>) -> bool {
        let message = token.message.as_bytes();
        match (self, asymmetric(token.algorithm)) {
            (Self::Jwt(key), Some(jwa)) => {
                crypto::verify(token.signature, message, key, jwa).unwrap_or(false)
            }
            (Self::P521(point), None) => URL_SAFE_NO_PAD.decode(token.signature).is_ok_and(|signature| {
                UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point).verify(message, &signature).is_ok()
            }),
            _ => false,
        }
    }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// A key as RFC 7517, 7518 and 8037 write it.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
}

/// RSA moduli below 2048 bits are refused, above 8192 the signature code does not go.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// An RSA key that names no algorithm is good for either padding.
const RSA: [Algorithm; 6] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];

impl Jwk {
    /// `None` when no token could use it.
    fn key(self) -> Result<Option<Key>, ()> {
        if self.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return Ok(None);
        }
        let crv = self.crv.as_deref().unwrap_or_default();
        let (fitting, decoding): (&'static [Algorithm], _) = match (self.kty.as_str(), crv) {
            ("OKP", "Ed25519") => (&[Algorithm::EdDsa], DecodingKey::from_ed_der(&sized(&self.x, 32)?)),
            ("EC", "P-256") => (&[Algorithm::Es256], DecodingKey::from_ec_der(&point(&self.x, &self.y, 32)?)),
            ("EC", "P-384") => (&[Algorithm::Es384], DecodingKey::from_ec_der(&point(&self.x, &self.y, 48)?)),
            ("EC", "P-521") => {
                let point = point(&self.x, &self.y, 66)?;
                return self.fitting(&[Algorithm::Es512], Decoding::P521(point));
            }
            ("RSA", _) => (&RSA, rsa(&self.n, &self.e)?),
            _ => return Ok(None),
        };
        self.fitting(fitting, Decoding::Jwt(decoding))
    }

    /// The key with the algorithms that fit it, or the one of them that it names.
    fn fitting(self, fitting: &'static [Algorithm], decoding: Decoding) -> Result<Option<Key>, ()> {
        let Some(alg) = self.alg.as_deref() else {
            return Ok(Some(Key { kid: self.kid, algorithms: fitting, decoding }));
        };
        // An algorithm of another family contradicts the key; one that is merely unknown here makes it useless.
        let Some(named) = Algorithm::named(alg) else { return Ok(None) };
        let at = fitting.iter().position(|algorithm| *algorithm == named).ok_or(())?;
        Ok(Some(Key { kid: self.kid, algorithms: &fitting[at..=at], decoding }))
    }
}

fn rsa(n: &Option<String>, e: &Option<String>) -> Result<DecodingKey, ()> {
    let (n, e) = (bytes(n)?, bytes(e)?);
    let n = &n[n.iter().take_while(|byte| **byte == 0).count()..];
    if !RSA_MODULUS_BYTES.contains(&n.len()) || e.is_empty() {
        return Err(());
    }
    Ok(DecodingKey::from_rsa_raw_components(n, &e))
}

/// An uncompressed point (SEC 1 §2.3.3).
fn point(x: &Option<String>, y: &Option<String>, length: usize) -> Result<Vec<u8>, ()> {
    Ok([&[4][..], &sized(x, length)?, &sized(y, length)?].concat())
}

fn sized(text: &Option<String>, length: usize) -> Result<Vec<u8>, ()> {
    bytes(text).and_then(|bytes| if bytes.len() == length { Ok(bytes) } else { Err(()) })
}

fn bytes(text: &Option<String>) -> Result<Vec<u8>, ()> {
    URL_SAFE_NO_PAD.decode(text.as_deref().ok_or(())?).map_err(|_| ())
}

/// The verifying library's name for an algorithm with public keys, if it has it.
const fn asymmetric(algorithm: Algorithm) -> Option<Jwa> {
    Some(match algorithm {
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 | Algorithm::Es512 => return None,
        Algorithm::EdDsa => Jwa::EdDSA,
        Algorithm::Es256 => Jwa::ES256,
        Algorithm::Es384 => Jwa::ES384,
        Algorithm::Rs256 => Jwa::RS256,
        Algorithm::Rs384 => Jwa::RS384,
        Algorithm::Rs512 => Jwa::RS512,
        Algorithm::Ps256 => Jwa::PS256,
        Algorithm::Ps384 => Jwa::PS384,
        Algorithm::Ps512 => Jwa::PS512,
    })
}

#[cfg(test)]
mod tests;
