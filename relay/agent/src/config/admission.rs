//! Who may come, and how often clients may command: what gateways are told of it, and what is wrong with it.

use std::time::Duration;

use wire::admission::{self, CommandKind, CommandRate, CommandRates, Prefix};
use wire::config::{Places, Problem};
use wire::config_table;

use super::Config;
use crate::limits::PREFIXES_MAX;

config_table! {
    /// `[admission]`.
    pub struct Admission {
        /// Addresses and prefixes ("192.0.2.7", "2001:db8::/32") that are let in whatever `deny` and the gateway's limits per source say.
        allow: Vec<Prefix> = Vec::new(),
        /// Those that are turned away. Holds for new connections, from the next reload on.
        deny: Vec<Prefix> = Vec::new(),
    }
}

config_table! {
    /// So many commands within a time. They may come all at once.
    pub struct Rate {
        /// How many. 0 is no limit.
        rate: u32 = 0,
        /// Within which time.
        interval: Duration = Duration::from_secs(1),
    }
}

config_table! {
    /// So many refused commands within a time.
    pub struct Refusals {
        /// How many. 0 is no limit.
        rate: u32 = 100,
        /// Within which time.
        interval: Duration = Duration::from_secs(10),
    }
}

config_table! {
    /// How often one connection may command what. A command above that is answered with error 111 (too many requests), a `send` dropped.
    pub struct RateLimit {
        /// All commands but connect and pongs.
        total: Rate = Rate::default(),
        /// subscribe.
        subscribe: Rate = Rate::default(),
        /// unsubscribe.
        unsubscribe: Rate = Rate::default(),
        /// publish.
        publish: Rate = Rate::default(),
        /// history.
        history: Rate = Rate::default(),
        /// presence.
        presence: Rate = Rate::default(),
        /// presence_stats.
        presence_stats: Rate = Rate::default(),
        /// refresh and sub_refresh.
        refresh: Rate = Rate::default(),
        /// rpc.
        rpc: Rate = Rate::default(),
        /// send.
        send: Rate = Rate::default(),
        /// Commands refused by the above: with more of them the connection is closed with 3509 (too many errors), and its client
        /// stays away.
        refused: Refusals = Refusals::default(),
    }
}

/// Checked to fit before.
fn command((rate, interval): (u32, Duration)) -> CommandRate {
    CommandRate { rate, interval_ms: u32::try_from(interval.as_millis()).unwrap_or(u32::MAX) }
}

impl RateLimit {
    /// Every table: how many within which time.
    fn kinds(&self) -> [(CommandKind, (u32, Duration)); CommandKind::COUNT] {
        let of = |rate: &Rate| (rate.rate, rate.interval);
        [
            (CommandKind::Total, of(&self.total)),
            (CommandKind::Subscribe, of(&self.subscribe)),
            (CommandKind::Unsubscribe, of(&self.unsubscribe)),
            (CommandKind::Publish, of(&self.publish)),
            (CommandKind::History, of(&self.history)),
            (CommandKind::Presence, of(&self.presence)),
            (CommandKind::PresenceStats, of(&self.presence_stats)),
            (CommandKind::Refresh, of(&self.refresh)),
            (CommandKind::Rpc, of(&self.rpc)),
            (CommandKind::Send, of(&self.send)),
            (CommandKind::Refused, (self.refused.rate, self.refused.interval)),
        ]
    }
}

/// As gateways get it.
pub(super) fn settings(config: &Config) -> admission::Admission {
    let kinds = config.client.rate_limit.kinds();
    let commands = kinds
        .into_iter()
        .fold(CommandRates::default(), |rates, (kind, rate)| rates.with(kind, command(rate)));
    admission::Admission {
        allow: config.admission.allow.clone(),
        deny: config.admission.deny.clone(),
        commands,
    }
}

pub(super) fn check(config: &Config, places: &Places, problems: &mut Vec<Problem>) {
    for (key, list) in [("allow", &config.admission.allow), ("deny", &config.admission.deny)] {
        if list.len() > PREFIXES_MAX {
            let text = format!("has {} entries, at most {PREFIXES_MAX} are allowed", list.len());
            problems.push(places.problem(&format!("admission.{key}"), &text));
        }
    }
    let fits = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
    for (kind, (_, interval)) in config.client.rate_limit.kinds() {
        if !fits.contains(&interval) {
            let path = format!("client.rate_limit.{}.interval", kind.name());
            problems.push(places.problem(&path, "must be from 1ms to 24h"));
        }
    }
}
