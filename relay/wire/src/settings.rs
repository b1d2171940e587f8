//! What the relay tells a gateway on the control connection: everything a gateway needs and nothing that must stay secret.

use serde::{Deserialize, Serialize};

use crate::{
    channel::{self, Boundaries},
    code::{self, ErrorCode},
    pattern::Pattern,
};

/// Sent when a control connection opens and again on every reload. Replaces the last one whole.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Version text of the relay, told to clients.
    pub version: String,
    /// Options of client connections.
    pub client: ClientOptions,
    /// What backends decide on, beside what namespaces say.
    pub backend: Backend,
    /// Who may come, and how often clients may command.
    pub admission: crate::admission::Admission,
    /// Options of channels outside any namespace.
    pub default_namespace: Namespace,
    /// Options by namespace; sorted by name.
    pub namespaces: Vec<Namespace>,
    /// The marks inside channel names.
    pub boundaries: Boundaries,
    /// How connection tokens are verified, and subscription tokens too unless there is `subscription_tokens`.
    pub tokens: Tokens,
    /// How subscription tokens are verified, where that differs.
    pub subscription_tokens: Option<Tokens>,
    /// Certificates; the first is the default for unknown or absent SNI.
    pub certificates: Vec<Certificate>,
}

/// What backends decide on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Backend {
    /// Connections without a token.
    pub connect: bool,
    /// Fields of their HTTP request that are handed over, in lower case.
    pub headers: Vec<String>,
    /// Connections whose time is over; clients refresh none then.
    pub refresh: bool,
    /// Calls, those of this system aside.
    pub calls: bool,
    /// Sessions keep what a backend or a token gives them for backends.
    pub meta: bool,
    /// A node says which channels a connection with a token begins with, beside those of the token.
    pub channels: bool,
}

/// How tokens of one kind are verified.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tokens {
    /// Public keys as a JWK set in JSON; empty when there are none.
    pub jwks: String,
    /// The relay fetches that set from somewhere: it wants to be told of tokens whose key is not in it.
    pub fetched: bool,
    /// Whether the relay can verify tokens that are signed with a shared secret.
    pub hmac: bool,
    /// What a token's `aud` must have.
    pub audience: Expected,
    /// What a token's `iss` must be.
    pub issuer: Expected,
}

/// What a claim must be.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Expected {
    /// Anything, or absent.
    #[default]
    Anything,
    /// This.
    Exactly(String),
    /// Something this pattern is found in.
    Like(Pattern),
}

impl Expected {
    /// Whether one of the claim's values will do.
    pub fn met<'a>(&self, mut values: impl Iterator<Item = &'a str>) -> bool {
        match self {
            Self::Anything => true,
            Self::Exactly(text) => values.any(|value| value == text),
            Self::Like(pattern) => values.any(|value| pattern.matches(value)),
        }
    }
}

/// A certificate whose private key stays in the relay.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Certificate {
    /// Names the private key in [`crate::sign::SignRequest`]. Never reused by a later reload.
    pub key: u32,
    /// DER, end entity first.
    pub chain: Vec<serde_bytes::ByteBuf>,
    /// TLS `SignatureScheme` numbers the key can do, preferred first.
    pub schemes: Vec<u16>,
}

/// Options of client connections, named as in the relay's `[client]` table. Times in milliseconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClientOptions {
    /// Anonymous connections without a token.
    pub allow_anonymous_connect_without_token: bool,
    /// Tokens without a user are refused.
    pub disallow_anonymous_connection_tokens: bool,
    /// Development only: every command is permitted to everybody.
    pub insecure: bool,
    /// Each user's connections are subscribed to the user's personal channel, in this namespace (or, empty, in none).
    pub personal_channel: Option<String>,
    /// A new connection of a user ends the user's other ones.
    pub single_connection: bool,
    /// Connections of one user; 0 is any number.
    pub user_connection_limit: u32,
    /// Server ping interval; 0 sends none.
    pub ping_interval_ms: u32,
    /// How long a pong may take.
    pub pong_timeout_ms: u32,
    /// How long an upgraded connection may stay without `connect`.
    pub stale_close_delay_ms: u32,
    /// Grace after a connection's expiry for a refresh.
    pub expired_close_delay_ms: u32,
    /// The same for a subscription.
    pub expired_sub_close_delay_ms: u32,
    /// Subscriptions per connection.
    pub channel_limit: u32,
    /// Bytes of a channel name.
    pub channel_max_length: u32,
    /// Hard bound of one connection's backlog in bytes.
    pub queue_max_size: u32,
    /// Publications in one recovery.
    pub recovery_max_publication_limit: u32,
    /// Publications in one history answer.
    pub history_max_publication_limit: u32,
}

impl Default for ClientOptions {
    /// The defaults of the ecosystem whose protocol this is (reference: client-protocol.md §1.2).
    fn default() -> Self {
        Self {
            allow_anonymous_connect_without_token: false,
            disallow_anonymous_connection_tokens: false,
            insecure: false,
            personal_channel: None,
            single_connection: false,
            user_connection_limit: 0,
            ping_interval_ms: 25_000,
            pong_timeout_ms: 8_000,
            stale_close_delay_ms: 10_000,
            expired_close_delay_ms: 25_000,
            expired_sub_close_delay_ms: 25_000,
            channel_limit: 128,
            channel_max_length: 255,
            queue_max_size: 1024 * 1024,
            recovery_max_publication_limit: 300,
            history_max_publication_limit: 300,
        }
    }
}

/// Options of a namespace, named as in the relay's `[[channel.namespaces]]`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Namespace {
    /// The part of a channel name before the colon; empty for the default namespace.
    pub name: String,
    /// What the name must match behind the namespace. Without it names are printable ASCII.
    pub channel_regex: Option<Pattern>,
    /// Who stores what is published, and when.
    pub delivery: Delivery,
    /// A channel may name the users that may enter it; then nobody else does without a token.
    pub allow_user_limited_channels: bool,
    /// Publications kept; 0 with `history_ttl_ms` 0 keeps none.
    pub history_size: u32,
    /// How long they are kept after the last publication.
    pub history_ttl_ms: u64,
    /// How long a stream's offset and epoch outlive its publications; 0 is the relay's default.
    pub history_meta_ttl_ms: u64,
    /// Subscriptions recover by themselves.
    pub force_recovery: bool,
    /// Subscriptions are positioned by themselves.
    pub force_positioning: bool,
    /// Clients may ask for recovery.
    pub allow_recovery: bool,
    /// Clients may ask for positioning.
    pub allow_positioning: bool,
    /// What a recovery gives back.
    pub force_recovery_mode: RecoveryMode,
    /// Every subscription recovers, whether it asks or not. Only with [`RecoveryMode::Cache`].
    pub auto_cache_recover: bool,
    /// Subscribers may get publications as differences ("fossil" is the only kind).
    pub allow_delta_fossil: bool,
    /// Publications may be given as differences without their publisher saying so.
    pub delta_publish: bool,
    /// Subscribers may filter publications by tags.
    pub allow_tags_filter: bool,
    /// Subscribers that offer it get a number in place of the channel's name in pushes.
    pub allow_channel_compaction: bool,
    /// What publications must be.
    pub publication_data_format: DataFormat,
    /// Who is in the channel is kept.
    pub presence: bool,
    /// Join and leave events are made.
    pub join_leave: bool,
    /// Subscribers get them without asking.
    pub force_push_join_leave: bool,
    /// Authenticated clients may subscribe.
    pub allow_subscribe_for_client: bool,
    /// Anonymous ones too (with the above).
    pub allow_subscribe_for_anonymous: bool,
    /// Authenticated clients may publish.
    pub allow_publish_for_client: bool,
    /// Subscribers may publish.
    pub allow_publish_for_subscriber: bool,
    /// Anonymous ones too (with one of the above).
    pub allow_publish_for_anonymous: bool,
    /// Authenticated clients may read history.
    pub allow_history_for_client: bool,
    /// Subscribers may read history.
    pub allow_history_for_subscriber: bool,
    /// Anonymous ones too (with one of the above).
    pub allow_history_for_anonymous: bool,
    /// Authenticated clients may read presence.
    pub allow_presence_for_client: bool,
    /// Subscribers may read presence.
    pub allow_presence_for_subscriber: bool,
    /// Anonymous ones too (with one of the above).
    pub allow_presence_for_anonymous: bool,
    /// A backend decides on subscriptions without a token.
    pub subscribe_proxy: bool,
    /// A backend decides on publications of clients.
    pub publish_proxy: bool,
    /// A backend decides on subscriptions whose time is over.
    pub sub_refresh_proxy: bool,
}

/// When a channel's messages are stored, and by whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Delivery {
    /// By no node: what the bus keeps is all there is.
    #[default]
    Transient,
    /// By a node, before they are delivered: streams live in its store.
    Persist,
    /// By a node, at about the same time as they are delivered: streams live on the bus.
    Fast,
}

/// What a recovery gives back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum RecoveryMode {
    /// Everything that was missed, or nothing.
    #[default]
    Stream,
    /// The last publication.
    Cache,
}

/// What the data of publications must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum DataFormat {
    /// Something.
    #[default]
    Any,
    /// A JSON value.
    Json,
    /// A JSON object.
    JsonObject,
    /// Anything, even nothing.
    Binary,
}

impl DataFormat {
    /// Whether a publication may have this data.
    pub fn admits(self, data: &[u8]) -> bool {
        let json = || serde_json::from_slice::<&serde_json::value::RawValue>(data);
        match self {
            Self::Any => !data.is_empty(),
            Self::Json => json().is_ok(),
            Self::JsonObject => json().is_ok_and(|value| value.get().starts_with('{')),
            Self::Binary => true,
        }
    }
}

impl Namespace {
    /// Whether the channel keeps a stream that positions refer to.
    pub const fn has_history(&self) -> bool {
        self.history_size > 0 && self.history_ttl_ms > 0
    }
}

impl Settings {
    /// The options of a channel's namespace, or `None` when it names one that does not exist.
    pub fn namespace(&self, channel: &str) -> Option<&Namespace> {
        self.named(self.boundaries.split(channel).0)
    }

    /// The options of a channel that may exist: its name is one, and so is its namespace.
    pub fn channel(&self, channel: &str) -> Result<&Namespace, ErrorCode> {
        let length_max = self.client.channel_max_length as usize;
        if channel.len() > length_max {
            return Err(code::LIMIT_EXCEEDED);
        }
        let (name, rest) = self.boundaries.split(channel);
        let options = self.named(name);
        let good = match options.and_then(|options| options.channel_regex.as_ref()) {
            // What a pattern allows may be any text, but no name ends a line or a log's colours.
            Some(pattern) => {
                !channel.is_empty() && !channel.chars().any(char::is_control) && pattern.matches(rest)
            }
            None => channel::valid(channel, length_max),
        };
        if !good {
            return Err(code::BAD_REQUEST);
        }
        options.ok_or(code::UNKNOWN_CHANNEL)
    }

    /// As a bus knows channels: streams that nodes keep are none of its own, and whatever reaches it is to be published.
    #[must_use]
    pub fn on_bus(&self) -> Self {
        let mut settings = Self { certificates: Vec::new(), ..self.clone() };
        for namespace in settings.namespaces.iter_mut().chain([&mut settings.default_namespace]) {
            if namespace.delivery == Delivery::Persist {
                (namespace.history_size, namespace.history_ttl_ms) = (0, 0);
                (namespace.force_recovery, namespace.force_positioning) = (false, false);
            }
            namespace.delivery = Delivery::Transient;
        }
        settings
    }

    /// How subscription tokens are verified.
    pub fn subscription_tokens(&self) -> &Tokens {
        self.subscription_tokens.as_ref().unwrap_or(&self.tokens)
    }

    fn named(&self, name: &str) -> Option<&Namespace> {
        if name.is_empty() {
            return Some(&self.default_namespace);
        }
        let index = self.namespaces.binary_search_by(|n| n.name.as_str().cmp(name)).ok()?;
        Some(&self.namespaces[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(regex: Option<&str>) -> Settings {
        let channel_regex = regex.map(|text| Pattern::new(text).unwrap());
        let chat = Namespace { name: "chat".to_owned(), channel_regex, ..Namespace::default() };
        Settings { namespaces: vec![chat], ..Settings::default() }
    }

    #[test]
    fn a_channel_is_what_its_namespace_says_or_nothing() {
        let settings = world(None);
        assert_eq!(settings.channel("chat:1").map(|n| n.name.as_str()), Ok("chat"));
        assert_eq!(settings.channel("$chat:1").map(|n| n.name.as_str()), Ok("chat"));
        assert_eq!(settings.channel("news").map(|n| n.name.as_str()), Ok(""));
        assert_eq!(settings.channel("other:1"), Err(code::UNKNOWN_CHANNEL));
        assert_eq!(settings.channel(""), Err(code::BAD_REQUEST));
        assert_eq!(settings.channel("chat:größe"), Err(code::BAD_REQUEST));
        assert_eq!(settings.channel(&"a".repeat(256)), Err(code::LIMIT_EXCEEDED));
    }

    #[test]
    fn a_pattern_is_for_what_follows_the_namespace_and_may_allow_any_script() {
        let settings = world(Some("^[0-9]+$"));
        assert!(settings.channel("chat:42").is_ok());
        assert_eq!(settings.channel("chat:x"), Err(code::BAD_REQUEST));
        let any = world(Some("^.*$"));
        assert!(any.channel("chat:größe").is_ok());
        assert_eq!(any.channel("chat:a\nb"), Err(code::BAD_REQUEST));
    }

    #[test]
    fn what_is_expected_of_a_claim_is_met_by_any_of_its_values() {
        let values = ["api", "edge-1"];
        assert!(Expected::Anything.met([].into_iter()));
        assert!(Expected::Exactly("edge-1".to_owned()).met(values.into_iter()));
        assert!(!Expected::Exactly("edge".to_owned()).met(values.into_iter()));
        assert!(Expected::Like(Pattern::new("^edge-[0-9]$").unwrap()).met(values.into_iter()));
        assert!(!Expected::Exactly("edge".to_owned()).met([].into_iter()));
    }

    #[test]
    fn data_is_what_its_format_says() {
        let formats = [DataFormat::Any, DataFormat::Json, DataFormat::JsonObject, DataFormat::Binary];
        for (data, expected) in [
            (&b""[..], [false, false, false, true]),
            (b"\xff\x00", [true, false, false, true]),
            (b" [1] ", [true, true, false, true]),
            (b" {\"a\":1}", [true, true, true, true]),
            (b"{", [true, false, false, true]),
        ] {
            assert_eq!(formats.map(|format| format.admits(data)), expected, "{data:?}");
        }
    }
}
