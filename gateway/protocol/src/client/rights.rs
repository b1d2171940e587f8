//! What a client may do in a channel, decided from the settings alone.
//!
//! Owns the rules (those of the ecosystem's `allow_*` options) and the codes they are refused with. Never knows connections: the
//! caller says who asks and whether it is subscribed.

use wire::{
    code::{self, ErrorCode},
    settings::{ClientOptions, Namespace, RecoveryMode, Settings},
    token::Overrides,
};

use super::command::Subscribe;
use crate::pending::Wish;

/// The kind of difference that subscribers may ask for.
const DELTA_FOSSIL: &str = "fossil";

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller<'a> {
    /// Empty when anonymous.
    pub user: &'a str,
    /// Whether it is subscribed to the channel it asks about.
    pub subscribed: bool,
}

/// What lets a subscription be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grant<'a> {
    /// The options of the namespace.
    Options,
    /// A token for it, with what is different: a client's subscription token, or the connection token of one that the server makes.
    Token(&'a Overrides),
}

/// What a subscription gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Granted {
    /// It may recover. Implies `positioned`.
    pub recoverable: bool,
    /// Its position is watched.
    pub positioned: bool,
    /// It recovers, whether it asks or not.
    pub recovers: bool,
    /// What it gets back is the last publication.
    pub latest: bool,
    /// It is told who joins and leaves.
    pub join_leave: bool,
    /// Publications come as differences.
    pub delta: bool,
    /// Pushes have the channel's number.
    pub numbered: bool,
}

/// What others learn of a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Appearance {
    /// They see it in the channel's presence.
    pub seen: bool,
    /// They are told that it joined and left.
    pub announced: bool,
}

impl Granted {
    /// What is asked of the relay and told to the client.
    pub const fn wish(&self, asked: &Subscribe<'_>) -> Wish {
        Wish {
            recover: (asked.recover || self.recovers) && self.recoverable,
            latest: self.latest,
            offset: asked.offset,
            recoverable: self.recoverable,
            positioned: self.positioned,
            joins: self.join_leave,
            reject_unrecovered: asked.rejects_unrecovered(),
            delta: self.delta,
            numbered: self.numbered,
            filter: None,
            survey: 0,
        }
    }
}

/// Whether a connection without a token may be made.
pub const fn connect_anonymously(options: &ClientOptions) -> bool {
    options.insecure || options.allow_anonymous_connect_without_token
}

/// A subscription to `asked.channel`; `caller.subscribed` does not matter.
pub fn subscribe(
    settings: &Settings,
    caller: Caller<'_>,
    asked: &Subscribe<'_>,
    grant: Grant<'_>,
) -> Result<Granted, ErrorCode> {
    let namespace = namespace(settings, &asked.channel)?;
    if asked.kind != 0 {
        return Err(code::NOT_AVAILABLE);
    }
    let insecure = settings.client.insecure;
    let overrides = match grant {
        Grant::Options => {
            permit(may_subscribe(settings, namespace, caller, &asked.channel))?;
            Overrides::default()
        }
        Grant::Token(overrides) => *overrides,
    };
    // What the subscriber will be allowed once it is one.
    let subscriber = Caller { subscribed: true, ..caller };
    let history = reading_history(namespace).includes(subscriber, insecure);
    let presence = reading_presence(namespace).includes(subscriber, insecure);
    let force_recovery = overrides.force_recovery.unwrap_or(namespace.force_recovery);
    let force_positioning = overrides.force_positioning.unwrap_or(namespace.force_positioning);
    let force_push = overrides.force_push_join_leave.unwrap_or(namespace.force_push_join_leave);
    let events = namespace.join_leave || overrides.force_push_join_leave == Some(true);
    let recoverable = force_recovery || asked.recoverable && (namespace.allow_recovery || history);
    let positioned = force_positioning || asked.positioned && (namespace.allow_positioning || history);
    let positioned = (recoverable || positioned) && namespace.has_history();
    // Differences are to the publication before, which only those have who miss none.
    let delta = asked.delta == DELTA_FOSSIL && namespace.allow_delta_fossil && positioned;
    // The two ways to save bandwidth exclude each other.
    if !asked.filter.is_empty() && (delta || !namespace.allow_tags_filter) {
        return Err(code::BAD_REQUEST);
    }
    Ok(Granted {
        delta,
        numbered: asked.takes_number() && namespace.allow_channel_compaction,
        recoverable: recoverable && namespace.has_history(),
        positioned,
        recovers: namespace.auto_cache_recover,
        latest: namespace.force_recovery_mode == RecoveryMode::Cache,
        join_leave: events && (force_push || asked.join_leave && presence),
    })
}

/// Whether a backend decides on a subscription without a token: never on one that a name limits to certain users.
pub fn asks_backend(settings: &Settings, asked: &Subscribe<'_>) -> bool {
    let (channel, marks) = (asked.channel.as_ref(), &settings.boundaries);
    let Some(namespace) = settings.namespace(channel).filter(|namespace| namespace.subscribe_proxy) else {
        return false;
    };
    let limited = namespace.allow_user_limited_channels && marks.is_user_limited(channel);
    asked.kind == 0 && !limited && !marks.is_private(channel)
}

/// How subscriptions to a channel appear by the settings now, whenever they were made: as their tokens say, else as the namespace does.
pub fn appearance(settings: &Settings, channel: &str, overrides: &Overrides) -> Appearance {
    let namespace = settings.namespace(channel);
    Appearance {
        seen: overrides.presence.unwrap_or_else(|| namespace.is_some_and(|options| options.presence)),
        announced: overrides
            .join_leave
            .unwrap_or_else(|| namespace.is_some_and(|options| options.join_leave)),
    }
}

/// A publication.
pub fn publish(settings: &Settings, caller: Caller<'_>, channel: &str) -> Result<(), ErrorCode> {
    let namespace = namespace(settings, channel)?;
    permit(publishing(namespace).includes(caller, settings.client.insecure))
}

/// What is published, by whomever.
pub fn publication(settings: &Settings, channel: &str, data: &[u8]) -> Result<(), ErrorCode> {
    let format = namespace(settings, channel)?.publication_data_format;
    if format.admits(data) { Ok(()) } else { Err(code::BAD_REQUEST) }
}

/// Reading history.
pub fn history(settings: &Settings, caller: Caller<'_>, channel: &str) -> Result<(), ErrorCode> {
    let namespace = namespace(settings, channel)?;
    if !namespace.has_history() {
        return Err(code::NOT_AVAILABLE);
    }
    permit(reading_history(namespace).includes(caller, settings.client.insecure))
}

/// Reading presence or its statistics.
pub fn presence(settings: &Settings, caller: Caller<'_>, channel: &str) -> Result<(), ErrorCode> {
    let namespace = namespace(settings, channel)?;
    if !namespace.presence {
        return Err(code::NOT_AVAILABLE);
    }
    permit(reading_presence(namespace).includes(caller, settings.client.insecure))
}

/// The options of a channel, if it can exist.
pub fn namespace<'s>(settings: &'s Settings, channel: &str) -> Result<&'s Namespace, ErrorCode> {
    settings.channel(channel)
}

/// Without a token: never into a private channel; into a user-limited one if it names the user; else as the namespace says.
fn may_subscribe(settings: &Settings, namespace: &Namespace, caller: Caller<'_>, channel: &str) -> bool {
    let marks = &settings.boundaries;
    if marks.is_private(channel) {
        return false;
    }
    let insecure = settings.client.insecure;
    if namespace.allow_user_limited_channels && marks.is_user_limited(channel) {
        return insecure || marks.names_user(channel, caller.user);
    }
    subscribing(namespace).includes(caller, insecure)
}

const fn permit(allowed: bool) -> Result<(), ErrorCode> {
    if allowed { Ok(()) } else { Err(code::PERMISSION_DENIED) }
}

/// Three `allow_*` options of one act.
struct Allowed {
    client: bool,
    subscriber: bool,
    anonymous: bool,
}

impl Allowed {
    const fn includes(&self, caller: Caller<'_>, insecure: bool) -> bool {
        let near_enough = self.client || self.subscriber && caller.subscribed;
        let known_enough = self.anonymous || !caller.user.is_empty();
        insecure || near_enough && known_enough
    }
}

const fn subscribing(namespace: &Namespace) -> Allowed {
    Allowed {
        client: namespace.allow_subscribe_for_client,
        subscriber: false,
        anonymous: namespace.allow_subscribe_for_anonymous,
    }
}

const fn publishing(namespace: &Namespace) -> Allowed {
    Allowed {
        client: namespace.allow_publish_for_client,
        subscriber: namespace.allow_publish_for_subscriber,
        anonymous: namespace.allow_publish_for_anonymous,
    }
}

const fn reading_history(namespace: &Namespace) -> Allowed {
    Allowed {
        client: namespace.allow_history_for_client,
        subscriber: namespace.allow_history_for_subscriber,
        anonymous: namespace.allow_history_for_anonymous,
    }
}

const fn reading_presence(namespace: &Namespace) -> Allowed {
    Allowed {
        client: namespace.allow_presence_for_client,
        subscriber: namespace.allow_presence_for_subscriber,
        anonymous: namespace.allow_presence_for_anonymous,
    }
}

#[cfg(test)]
mod tests;
