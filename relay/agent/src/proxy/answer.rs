//! What a backend said, and what that decides: one shape for HTTP and gRPC, and how HTTP writes it.

use std::collections::BTreeMap;

use base64::Engine;
use serde::Deserialize;
use serde_json::value::RawValue;
use wire::backend::{Given, Outcome, Refusal};
use wire::limits::{META_BYTES_MAX, REASON_BYTES_MAX, TOKEN_SUBS_MAX};
use wire::tags::TagsBuf;
use wire::token::{BASE64, Claims, Overrides, OverridesJson, Sub};

use super::request::Method;

/// Close codes that a backend may choose.
const CLOSE_CODES: std::ops::RangeInclusive<u32> = 3000..=4999;

/// A backend's answer.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(super) result: Option<Answer>,
    pub(super) error: Option<Refusal>,
    pub(super) disconnect: Option<(u32, String)>,
}

/// A result. Each kind of question has its own, of which this has every field; absent ones are empty.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) user: String,
    pub(super) expired: bool,
    pub(super) expire_at: i64,
    pub(super) shown: Shown,
    pub(super) channels: Vec<String>,
    pub(super) subs: BTreeMap<String, (Shown, Overrides)>,
    pub(super) meta: Vec<u8>,
    pub(super) overrides: Overrides,
    pub(super) skip_history: bool,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) key: String,
    pub(super) delta: bool,
}

/// Info and data, each as it is or as base64, which goes before.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) info: Vec<u8>,
    pub(super) b64info: String,
    pub(super) data: Vec<u8>,
    pub(super) b64data: String,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Decision {
    /// Told to the shard.
    Outcome(Outcome),
    /// The publication is made.
    Publish(Box<Changes>),
}

/// What a backend changes about a publication; empty is as the client has it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Changes {
    pub(crate) data: Vec<u8>,
    pub(crate) tags: Option<TagsBuf>,
    pub(crate) key: String,
    pub(crate) skip_history: bool,
    pub(crate) delta: bool,
}

impl Said {
    /// Reads the body of a response. `None`: it is not one.
    pub(super) fn json(body: &[u8]) -> Option<Self> {
        let raw: Raw<'_> = serde_json::from_slice(body).ok()?;
        Some(Self {
            result: raw.result.map(RawAnswer::answer),
            error: raw.error.map(|error| Refusal {
                code: error.code,
                message: error.message,
                temporary: error.temporary,
            }),
            disconnect: raw.disconnect.map(|disconnect| (disconnect.code, disconnect.reason)),
        })
    }

    /// What it decides. `None`: something in it cannot be.
    pub(super) fn decide(self, method: Method, channel: &str) -> Option<Decision> {
        if let Some((code, reason)) = self.disconnect {
            let code = u16::try_from(code).ok().filter(|code| CLOSE_CODES.contains(&u32::from(*code)))?;
            return Some(Decision::Outcome(Outcome::Disconnect { code, reason: fitting(reason) }));
        }
        if let Some(error) = self.error {
            return (error.code > 0).then_some(Decision::Outcome(Outcome::Refused(error)));
        }
        let outcome = match (method, self.result) {
            (Method::Connect, None) => Outcome::Nothing,
            (Method::Refresh | Method::SubRefresh, None) => Outcome::Expired,
            (Method::Refresh | Method::SubRefresh, Some(answer)) if answer.expired => Outcome::Expired,
            (Method::Call, answer) => Outcome::Returned(answer.unwrap_or_default().shown.data()?),
            (Method::Publish, answer) => {
                let changes = answer.unwrap_or_default().changes()?;
                return Some(Decision::Publish(Box::new(changes)));
            }
            (_, answer) => Outcome::Granted(Box::new(answer.unwrap_or_default().given(method, channel)?)),
        };
        Some(Decision::Outcome(outcome))
    }
}

impl Answer {
    fn given(self, method: Method, channel: &str) -> Option<Given> {
        let data = self.shown.data()?;
        let info = self.shown.info()?;
        let subs = match method {
            Method::Connect => self.server_subs()?,
            Method::Subscribe => {
                let (info, data) = (info.clone(), data.clone());
                vec![Sub { channel: channel.to_owned(), info, data, overrides: self.overrides }]
            }
            _ => Vec::new(),
        };
        let meta = json(self.meta)?;
        let expire_at = u64::try_from(self.expire_at).unwrap_or(0);
        let fits = meta.len() <= META_BYTES_MAX;
        let claims = Claims { user: self.user, expire_at, info, subs, meta, ..Claims::default() };
        fits.then_some(Given { claims, data })
    }

    /// Sorted by name, each once, as those of tokens.
    fn server_subs(&self) -> Option<Vec<Sub>> {
        let mut subs = BTreeMap::new();
        for channel in &self.channels {
            subs.insert(channel.as_str(), Sub { channel: channel.clone(), ..Sub::default() });
        }
        for (channel, (shown, overrides)) in &self.subs {
            let (info, data) = (shown.info()?, shown.data()?);
            subs.insert(channel, Sub { channel: channel.clone(), info, data, overrides: *overrides });
        }
        (subs.len() <= TOKEN_SUBS_MAX).then(|| subs.into_values().collect())
    }

    fn changes(self) -> Option<Changes> {
        let tags = self.tags.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let tags = if self.tags.is_empty() { None } else { Some(TagsBuf::pack(tags)?) };
        let data = self.shown.data()?;
        Some(Changes { data, tags, key: self.key, skip_history: self.skip_history, delta: self.delta })
    }
}

impl Shown {
    /// Any bytes. `None`: the base64 is none.
    fn data(&self) -> Option<Vec<u8>> {
        either(&self.data, &self.b64data)
    }

    /// JSON, since every client of a channel reads it, or empty.
    fn info(&self) -> Option<Vec<u8>> {
        either(&self.info, &self.b64info).and_then(json)
    }
}

fn either(plain: &[u8], base64: &str) -> Option<Vec<u8>> {
    if base64.is_empty() { Some(plain.to_vec()) } else { BASE64.decode(base64).ok() }
}

fn json(bytes: Vec<u8>) -> Option<Vec<u8>> {
    let good = bytes.is_empty() || serde_json::from_slice::<&RawValue>(&bytes).is_ok();
    good.then_some(bytes)
}

/// As much of a reason as a close frame takes.
fn fitting(mut reason: String) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    result: Option<RawAnswer<'a>>,
    error: Option<RawError>,
    disconnect: Option<RawDisconnect>,
}

#[derive(Deserialize)]
struct RawError {
    #[serde(default)]
    code: u32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    temporary: bool,
}

#[derive(Deserialize)]
struct RawDisconnect {
    #[serde(default)]
    code: u32,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct RawAnswer<'a> {
    user: Option<String>,
    expired: Option<bool>,
    expire_at: Option<i64>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    b64info: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    b64data: Option<String>,
    channels: Option<Vec<String>>,
    #[serde(borrow)]
    subs: Option<BTreeMap<String, RawSub<'a>>>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    #[serde(rename = "override")]
    overrides: Option<OverridesJson>,
    skip_history: Option<bool>,
    tags: Option<BTreeMap<String, String>>,
    idempotency_key: Option<String>,
    delta: Option<bool>,
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

impl RawAnswer<'_> {
    fn answer(self) -> Answer {
        let sub = |sub: RawSub<'_>| {
            let overrides = sub.overrides.unwrap_or_default().into();
            (shown(sub.info, sub.b64info, sub.data, sub.b64data), overrides)
        };
        let subs = self.subs.unwrap_or_default();
        Answer {
            user: self.user.unwrap_or_default(),
            expired: self.expired.unwrap_or_default(),
            expire_at: self.expire_at.unwrap_or_default(),
            shown: shown(self.info, self.b64info, self.data, self.b64data),
            channels: self.channels.unwrap_or_default(),
            subs: subs.into_iter().map(|(channel, raw)| (channel, sub(raw))).collect(),
            meta: text(self.meta),
            overrides: self.overrides.unwrap_or_default().into(),
            skip_history: self.skip_history.unwrap_or_default(),
            tags: self.tags.unwrap_or_default(),
            key: self.idempotency_key.unwrap_or_default(),
            delta: self.delta.unwrap_or_default(),
        }
    }
}

fn shown(
    info: Option<&RawValue>,
    b64info: Option<String>,
    data: Option<&RawValue>,
    b64data: Option<String>,
) -> Shown {
    Shown {
        info: text(info),
        b64info: b64info.unwrap_or_default(),
        data: text(data),
        b64data: b64data.unwrap_or_default(),
    }
}

fn text(json: Option<&RawValue>) -> Vec<u8> {
    json.map_or_else(Vec::new, |json| json.get().as_bytes().to_vec())
}

#[cfg(test)]
mod tests;
