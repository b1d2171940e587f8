//! Calls by `rpc` that the edge answers itself: what the protocol's own commands lack, for any client that can call a method.
//!
//! Owns the words of each call. Their arguments and results are JSON in every encoding.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wire::{limits::IDEMPOTENCY_KEY_BYTES_MAX, tags::TagsBuf};

/// Method of [`Publish`].
pub const PUBLISH: &str = "publish";

/// Say something in a channel, once: `{"channel", "data", "idempotency_key", "tags"}`, the last two optional.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publish<'a> {
    /// The channel.
    pub channel: Cow<'a, str>,
    /// What to say: the text of one JSON value.
    pub data: &'a [u8],
    /// Of several calls with the same one in a channel, only the first is made; empty when none.
    pub key: Cow<'a, str>,
    /// What subscribers may filter by.
    pub tags: TagsBuf,
}

#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow, default)]
    idempotency_key: Option<Cow<'a, str>>,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct Published<'a> {
    offset: u64,
    epoch: &'a str,
    duplicate: bool,
}

impl<'a> Publish<'a> {
    /// Reads the arguments. `None`: not those of this call, or over a bound.
    pub fn read(arguments: &'a [u8]) -> Option<Self> {
        let read: Arguments<'a> = serde_json::from_slice(arguments).ok()?;
        let key = read.idempotency_key.unwrap_or_default();
        let tags = read.tags.unwrap_or_default();
        let tags = TagsBuf::pack(tags.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
        let fits = key.len() <= IDEMPOTENCY_KEY_BYTES_MAX;
        fits.then(|| Self { channel: read.channel, data: read.data.get().as_bytes(), key, tags })
    }
}

/// The result of [`Publish`]: where the publication is, and whether an earlier call has made it.
pub fn published(offset: u64, epoch: &str, duplicate: bool) -> Vec<u8> {
    serde_json::to_vec(&Published { offset, epoch, duplicate }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_and_the_payload_is_kept_verbatim() {
        let all = br#"{"channel":"a","data": {"x" : 1},"idempotency_key":"k","tags":{"t":"1"},"more":[]}"#;
        let call = Publish::read(all).unwrap();
        assert_eq!((&*call.channel, call.data, &*call.key), ("a", &br#"{"x" : 1}"#[..], "k"));
        assert_eq!(call.tags.as_tags().get("t"), Some("1"));
        let least = Publish::read(br#"{"channel":"a\n","data":null,"idempotency_key":null}"#).unwrap();
        assert_eq!((&*least.channel, least.data, &*least.key), ("a\n", &b"null"[..], ""));
    }

    #[test]
    fn what_is_missing_of_the_wrong_kind_or_too_long_is_refused() {
        let long = format!(r#"{{"channel":"a","data":1,"idempotency_key":"{}"}}"#, "k".repeat(257));
        let texts =
            [r#"{"channel":"a"}"#, r#"{"data":1}"#, r#"{"channel":1,"data":1}"#, "[]", "", long.as_str()];
        let tags = [r#"{"channel":"a","data":1,"tags":{"a":1}}"#, r#"{"channel":"a","data":1,"tags":[]}"#];
        for text in texts.into_iter().chain(tags) {
            assert_eq!(Publish::read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_result_has_all_its_members() {
        assert_eq!(published(0, "", false), br#"{"offset":0,"epoch":"","duplicate":false}"#);
        assert_eq!(published(7, "abcdEFGH", true), br#"{"offset":7,"epoch":"abcdEFGH","duplicate":true}"#);
    }
}
