//! What backends write: the arguments of each method, as JSON. What is absent or null has its default, what is unknown is skipped.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use wire::token::Overrides;

macro_rules! words {
    ($(#[doc = $doc:literal] $name:ident $(<$life:lifetime>)? { $($field:ident: $kind:ty,)* $(=> $($json:ident: $raw:ty,)*)? })*) => {$(
        #[doc = $doc]
        #[derive(Deserialize, Default)]
        #[serde(default)]
        pub(super) struct $name $(<$life>)? {
            $(pub(super) $field: Option<$kind>,)*
            $($(#[serde(borrow)] pub(super) $json: Option<$raw>,)*)?
        }
    )*};
}

type Json<'a> = &'a RawValue;

words! {
    /// `publish` and, with `channels`, `broadcast`.
    Publish<'a> {
        channel: String,
        channels: Vec<String>,
        b64data: String,
        idempotency_key: String,
        tags: BTreeMap<String, String>,
        skip_history: bool,
        delta: bool,
        version: u64,
        => data: Json<'a>,
    }
    /// `subscribe`, `unsubscribe`, `disconnect` and `refresh`.
    Session<'a> {
        user: String,
        client: String,
        session: String,
        channel: String,
        b64info: String,
        b64data: String,
        expire_at: i64,
        expired: bool,
        where_listed: bool,
        recover_since: Since,
        whitelist: Vec<String>,
        disconnect: Reason,
        unsubscribe: Reason,
        r#override: Override,
        => info: Json<'a>, data: Json<'a>,
    }
    /// What a client is told at an end.
    Reason { code: u32, reason: String, }
    /// A place in a stream.
    Since { offset: u64, epoch: String, }
    /// What is different from the namespace.
    Override {
        presence: Switch,
        join_leave: Switch,
        force_push_join_leave: Switch,
        force_positioning: Switch,
        force_recovery: Switch,
    }
    /// An option that is set.
    Switch { value: bool, }
    /// `presence`, `presence_stats`, `history` and `history_remove`.
    Channel { channel: String, limit: i32, since: Since, reverse: bool, }
    /// `channels`.
    Channels { pattern: String, }
    /// `batch`.
    Batch<'a> { parallel: bool, => commands: Vec<BTreeMap<String, Json<'a>>>, }
    /// A command of the old form.
    Command<'a> { method: String, => id: Json<'a>, params: Json<'a>, }
}

/// A text, empty when there is none.
pub(super) fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

/// Bytes that were given as JSON or, whatever they are, in base64. `None`: it is not base64.
pub(super) fn bytes<'t>(json: Option<Json<'t>>, base64: &Option<String>) -> Option<Cow<'t, [u8]>> {
    match text(base64) {
        "" => Some(Cow::Borrowed(json.map_or(&[], |json| json.get().as_bytes()))),
        written => STANDARD.decode(written).ok().map(Cow::Owned),
    }
}

impl Override {
    pub(super) fn overrides(&self) -> Overrides {
        let set = |switch: &Option<Switch>| switch.as_ref().map(|switch| switch.value.unwrap_or_default());
        Overrides {
            presence: set(&self.presence),
            join_leave: set(&self.join_leave),
            force_push_join_leave: set(&self.force_push_join_leave),
            force_positioning: set(&self.force_positioning),
            force_recovery: set(&self.force_recovery),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_kept_as_they_were_written() {
        let read: Publish<'_> =
            serde_json::from_str(r#"{"channel":"a","data": {"x" : 1.0},"more":[]}"#).unwrap();
        assert_eq!(bytes(read.data, &read.b64data).unwrap(), &br#"{"x" : 1.0}"#[..]);
        let read: Publish<'_> = serde_json::from_str(r#"{"channel":"a","b64data":"AP8="}"#).unwrap();
        assert_eq!(bytes(read.data, &read.b64data).unwrap(), &[0, 255][..]);
        assert!(bytes(None, &Some("no base64!".to_owned())).is_none());
    }

    #[test]
    fn null_is_absent() {
        let read: Session<'_> =
            serde_json::from_str(r#"{"user":"ann","client":null,"data":null,"whitelist":null}"#).unwrap();
        assert_eq!(read.user.as_deref(), Some("ann"));
        assert!(read.client.is_none() && read.data.is_none() && read.whitelist.is_none());
    }

    #[test]
    fn an_override_says_only_what_it_sets() {
        let read: Override = serde_json::from_str(
            r#"{"presence":{"value":true},"join_leave":{"value":false},"force_recovery":null}"#,
        )
        .unwrap();
        let overrides = Overrides { presence: Some(true), join_leave: Some(false), ..Overrides::default() };
        assert_eq!(read.overrides(), overrides);
    }
}
