//! What a token (a JWT of the client protocol, for a connection or for a subscription) is made of and says.
//!
//! Owns its parts and its claims, and what is expected of them. Never verifies a signature: the relay does for shared secrets, the gateway for public keys,
//! both on an [`Unverified`] token and both reading the claims with [`Unverified::payload`] afterwards.

use std::collections::BTreeMap;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Serialize};
use serde_json::{Number, value::RawValue};

use crate::{limits::TOKEN_SUBS_MAX, settings::Tokens};

/// What a token is for. One of a kind is never taken for the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// A connection: it may have channels, never *a* channel.
    Connection,
    /// One subscription: it names the channel.
    Subscription,
}

/// The claims of a token that matter to a session. Verified by the relay (HMAC) or the gateway (public keys).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Claims {
    /// User id; empty is anonymous.
    pub user: String,
    /// Unix seconds after which the *token* is refused; 0 never.
    pub exp: u64,
    /// Unix seconds at which the *connection* or subscription expires; 0 never. `expire_at` if the token has it, else `exp`.
    pub expire_at: u64,
    /// JSON of the connection, shown in presence, join, leave and publications; empty when absent.
    #[serde(with = "serde_bytes")]
    pub info: Vec<u8>,
    /// Of a connection token: the channels that the server subscribes the connection to, sorted by name. Of a subscription
    /// token: the one it is for.
    pub subs: Vec<Sub>,
    /// Of a subscription token: the only session that may use it; empty for any of the user's.
    pub client: String,
    /// JSON for backends alone; empty when absent.
    #[serde(with = "serde_bytes")]
    pub meta: Vec<u8>,
}

/// A subscription as a token grants it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sub {
    /// The channel.
    pub channel: String,
    /// JSON shown with whatever the subscriber does in the channel; empty when absent.
    #[serde(with = "serde_bytes")]
    pub info: Vec<u8>,
    /// JSON for the subscriber; empty when absent.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    /// Options of the namespace that are others here.
    pub overrides: Overrides,
}

/// Options of a namespace that are others for one subscription; `None` is as the namespace says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Overrides {
    /// The subscriber is seen in presence.
    pub presence: Option<bool>,
    /// Others are told when it joins and leaves.
    pub join_leave: Option<bool>,
    /// It is told without asking who joins and leaves.
    pub force_push_join_leave: Option<bool>,
    /// It recovers without asking.
    pub force_recovery: Option<bool>,
    /// It is positioned without asking.
    pub force_positioning: Option<bool>,
}

impl Claims {
    /// Whether the token is past its time at `now` (Unix seconds). There is no leeway.
    pub const fn expired(&self, now: u64) -> bool {
        self.exp != 0 && self.exp <= now
    }
}

/// What a token says, nothing of it compared yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Payload {
    /// The claims that a session keeps.
    pub claims: Claims,
    /// Unix seconds before which the token is refused (`nbf`) as if it had expired; 0 when it does not say.
    pub not_before: u64,
    /// Who it is meant for (`aud`).
    pub audience: Vec<String>,
    /// Who made it (`iss`); empty when it does not say.
    pub issuer: String,
}

impl Payload {
    /// Whether the token is not valid yet at `now` (Unix seconds).
    pub const fn early(&self, now: u64) -> bool {
        self.not_before > now
    }

    /// Whether its audience and issuer are what the operator expects.
    pub fn expected(&self, tokens: &Tokens) -> bool {
        let issuer = Some(self.issuer.as_str()).filter(|issuer| !issuer.is_empty());
        tokens.audience.met(self.audience.iter().map(String::as_str)) && tokens.issuer.met(issuer.into_iter())
    }

    /// Reads the JSON of a token's middle part. Unknown claims are ignored, duplicate ones refused. A token of the other kind
    /// is malformed.
    pub fn parse(json: &[u8], kind: Kind) -> Result<Self, Malformed> {
        let raw: RawClaims<'_> = serde_json::from_slice(json).map_err(|_| Malformed::Claims)?;
        // A token that names a time has one: zero in it is 1970, not "never".
        let exp = raw.exp.as_ref().map_or(0, |exp| seconds(exp).max(1));
        let expire_at = raw.expire_at.map_or(exp, |at| u64::try_from(at).unwrap_or(0));
        let info = embedded(raw.info, raw.b64info.as_deref())?;
        let mut claims = Claims {
            user: raw.sub.unwrap_or_default(),
            exp,
            expire_at,
            client: raw.client.unwrap_or_default(),
            ..Claims::default()
        };
        let channel = raw.channel.unwrap_or_default();
        match kind {
            Kind::Connection if !channel.is_empty() => return Err(Malformed::Kind),
            Kind::Connection => {
                claims.info = info;
                claims.meta = raw.meta.map_or_else(Vec::new, |json| json.get().as_bytes().to_vec());
                claims.subs = subs(raw.subs.unwrap_or_default(), raw.channels.unwrap_or_default())?;
            }
            Kind::Subscription if channel.is_empty() => return Err(Malformed::Kind),
            Kind::Subscription => {
                let data = embedded(raw.data, raw.b64data.as_deref())?;
                let overrides = raw.overrides.unwrap_or_default().into();
                claims.subs = vec![Sub { channel, info, data, overrides }];
            }
        }
        Ok(Self {
            claims,
            not_before: raw.nbf.map_or(0, |nbf| seconds(&nbf)),
            audience: raw.aud.map(RawAudience::all).unwrap_or_default(),
            issuer: raw.iss.unwrap_or_default(),
        })
    }
}

/// The channels of a connection token, sorted: `subs` if it has any, else `channels`.
fn subs(subs: BTreeMap<String, RawSub<'_>>, mut channels: Vec<String>) -> Result<Vec<Sub>, Malformed> {
    if subs.len() > TOKEN_SUBS_MAX || channels.len() > TOKEN_SUBS_MAX {
        return Err(Malformed::Claims);
    }
    if subs.is_empty() {
        channels.sort_unstable();
        channels.dedup();
        return Ok(channels.into_iter().map(|channel| Sub { channel, ..Sub::default() }).collect());
    }
    let read = |(channel, raw): (String, RawSub<'_>)| {
        Ok(Sub {
            channel,
            info: embedded(raw.info, raw.b64info.as_deref())?,
            data: embedded(raw.data, raw.b64data.as_deref())?,
            overrides: raw.overrides.unwrap_or_default().into(),
        })
    };
    subs.into_iter().map(read).collect()
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
    pub fn payload(&self, kind: Kind) -> Result<Payload, Malformed> {
        let (_, payload) = self.message.split_once('.').ok_or(Malformed::Parts)?;
        let json = URL_SAFE_NO_PAD.decode(payload).map_err(|_| Malformed::Claims)?;
        Payload::parse(&json, kind)
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
    Es512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
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
            "ES512" => Self::Es512,
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
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
    /// A connection's token with a `channel`, or a subscription's without.
    #[error("made for a connection where a subscription's is needed, or the other way")]
    Kind,
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
    aud: Option<RawAudience>,
    iss: Option<String>,
    expire_at: Option<i64>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    b64info: Option<String>,
    channels: Option<Vec<String>>,
    #[serde(borrow)]
    subs: Option<BTreeMap<String, RawSub<'a>>>,
    channel: Option<String>,
    client: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    b64data: Option<String>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    #[serde(rename = "override")]
    overrides: Option<OverridesJson>,
}

/// RFC 7519 §4.1.3: one, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawAudience {
    One(String),
    Several(Vec<String>),
}

impl RawAudience {
    fn all(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Several(all) => all,
        }
    }
}

#[derive(Deserialize)]
struct RawSub<'a> {
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    b64info: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    b64data: Option<String>,
    #[serde(rename = "override")]
    overrides: Option<OverridesJson>,
}

/// [`Overrides`] as JSON has them, in tokens and in what backends answer: each an object with a `value`.
#[derive(Default, Deserialize)]
pub struct OverridesJson {
    presence: Option<RawBool>,
    join_leave: Option<RawBool>,
    force_push_join_leave: Option<RawBool>,
    force_recovery: Option<RawBool>,
    force_positioning: Option<RawBool>,
}

#[derive(Deserialize)]
struct RawBool {
    #[serde(default)]
    value: bool,
}

impl From<OverridesJson> for Overrides {
    fn from(raw: OverridesJson) -> Self {
        let value = |raw: Option<RawBool>| raw.map(|raw| raw.value);
        Self {
            presence: value(raw.presence),
            join_leave: value(raw.join_leave),
            force_push_join_leave: value(raw.force_push_join_leave),
            force_recovery: value(raw.force_recovery),
            force_positioning: value(raw.force_positioning),
        }
    }
}

/// Base64 as issuers and backends write it: with padding or without.
pub const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// JSON from one of two claims; base64 goes before plain. It must hold JSON, since it is embedded as such in what every client of
/// a channel reads.
fn embedded(plain: Option<&RawValue>, base64: Option<&str>) -> Result<Vec<u8>, Malformed> {
    let Some(text) = base64.filter(|text| !text.is_empty()) else {
        return Ok(plain.map_or_else(Vec::new, |json| json.get().as_bytes().to_vec()));
    };
    let json = BASE64.decode(text).map_err(|_| Malformed::Claims)?;
    serde_json::from_slice::<&RawValue>(&json).map_err(|_| Malformed::Claims)?;
    Ok(json)
}

/// A NumericDate (RFC 7519 §2) may have a fraction; whole seconds are enough here. Before 1970 counts as 1970.
fn seconds(date: &Number) -> u64 {
    date.as_u64().unwrap_or_else(|| date.as_f64().map_or(0, |seconds| seconds as u64))
}

#[cfg(test)]
mod tests;
