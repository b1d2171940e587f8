//! What all shards are asked at once for the server API: to do something with a user's sessions, or to count.
//!
//! Owns the words and how answers add up. Never decides who is asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ClientId, limits::USERS_SKETCH_MAX, link::SESSION_BYTES, pattern::Pattern, token::Overrides};

/// What is asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Question {
    /// Do something with sessions. Counted in [`Answer::sessions`].
    Command(Command),
    /// Which channels have subscribers, and how many. `None`: all of them. Answered in [`Answer::channels`].
    Channels(Option<Pattern>),
    /// How many sessions, subscriptions and users there are: [`Answer::census`] of shards, [`Answer::nodes`] of relays.
    Census,
}

/// Something to be done with the sessions of a user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Command {
    /// Whose; empty: of those without a user.
    pub user: String,
    /// Only this one.
    pub client: Option<ClientId>,
    /// Only this one, by the secret that its client knows it by.
    pub session: Option<[u8; SESSION_BYTES]>,
    /// What.
    pub act: Act,
}

/// What is to be done with a session.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Act {
    /// Subscribe it, unless it is subscribed.
    Subscribe(Box<Subscribe>),
    /// End its subscription.
    Unsubscribe {
        /// Which; empty: all of them.
        channel: String,
        /// What its client is told.
        code: u16,
        /// The same in words.
        reason: String,
    },
    /// Close it.
    Disconnect {
        /// As a WebSocket close code.
        code: u16,
        /// At most [`crate::limits::REASON_BYTES_MAX`] bytes.
        reason: String,
        /// But not these.
        keep: Vec<ClientId>,
    },
    /// Change when it expires.
    Refresh {
        /// Unix seconds; 0 never.
        expire_at: u64,
        /// What others are shown of it, in JSON; `None`: as it was.
        info: Option<Vec<u8>>,
    },
}

/// A subscription that the server makes.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Subscribe {
    /// The channel.
    pub channel: String,
    /// Unix seconds at which it expires; 0 never.
    pub expire_at: u64,
    /// JSON shown with what the subscriber does in the channel; empty when there is none.
    #[serde(with = "serde_bytes")]
    pub info: Vec<u8>,
    /// For the subscriber; empty when there is none.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    /// What came after this offset of this epoch is wanted.
    pub recover: Option<(u64, String)>,
    /// What is different from the namespace.
    pub overrides: Overrides,
}

/// What came of a question; answers add up.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Sessions that a command was for.
    pub sessions: u32,
    /// Subscribers by channel.
    pub channels: BTreeMap<String, u32>,
    /// What shards counted.
    pub census: Census,
    /// Relays and what is theirs.
    pub nodes: Vec<Node>,
    /// Who was asked and could not answer, or not in time.
    pub missing: u32,
    /// The error of one of them; 0: there is none.
    pub failed: u16,
}

/// What is counted of sessions.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Census {
    /// Sessions.
    pub clients: u32,
    /// Subscriptions.
    pub subscriptions: u32,
    /// Who they are.
    pub users: Users,
}

/// One relay.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Node {
    /// Of this run.
    pub uid: String,
    /// For people.
    pub name: String,
    /// Of the program.
    pub version: String,
    /// Sessions on its gateways.
    pub clients: u32,
    /// Their subscriptions.
    pub subscriptions: u32,
    /// Their distinct users; near enough above [`USERS_SKETCH_MAX`].
    pub users: u32,
    /// Channels with subscribers.
    pub channels: u32,
    /// Seconds since its start.
    pub uptime_s: u32,
    /// Counters since then.
    pub counters: Vec<(String, u64)>,
}

impl Answer {
    /// An answer that there was none.
    pub fn failure(code: u16) -> Self {
        Self { failed: code, missing: 1, ..Self::default() }
    }

    /// Adds what somebody else answered.
    pub fn add(&mut self, other: Self) {
        self.sessions = self.sessions.saturating_add(other.sessions);
        for (channel, count) in other.channels {
            let all = self.channels.entry(channel).or_default();
            *all = all.saturating_add(count);
        }
        self.census.clients = self.census.clients.saturating_add(other.census.clients);
        self.census.subscriptions = self.census.subscriptions.saturating_add(other.census.subscriptions);
        self.census.users.merge(&other.census.users);
        self.nodes.extend(other.nodes);
        self.missing = self.missing.saturating_add(other.missing);
        if self.failed == 0 {
            self.failed = other.failed;
        }
    }

    /// What it takes, roughly.
    pub fn bytes(&self) -> usize {
        let channels: usize = self.channels.keys().map(|channel| channel.len() + CHANNEL_BYTES).sum();
        channels + self.census.users.0.len() * size_of::<u64>() + self.nodes.len() * size_of::<Node>()
    }
}

/// What a channel in an answer takes beside its name.
pub const CHANNEL_BYTES: usize = 64;

/// Distinct users of many shards without their names: the smallest of their hashes. Exact up to [`USERS_SKETCH_MAX`]; above, within
/// about 2 in 100.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Users(Vec<u64>);

impl Users {
    /// Adds a user, once.
    pub fn insert(&mut self, user: &str) {
        self.insert_hash(hash(user.as_bytes()));
    }

    /// Adds all that another one has.
    pub fn merge(&mut self, other: &Self) {
        for hash in &other.0 {
            self.insert_hash(*hash);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        match self.0.last() {
            Some(largest) if self.0.len() >= USERS_SKETCH_MAX => {
                // The k-th smallest of n evenly spread hashes stands at about k/n of their range.
                let share = *largest as f64 / u64::MAX as f64;
                ((USERS_SKETCH_MAX - 1) as f64 / share).round() as u32
            }
            _ => self.0.len() as u32,
        }
    }

    fn insert_hash(&mut self, hash: u64) {
        let full = self.0.len() >= USERS_SKETCH_MAX;
        if full && self.0.last().is_some_and(|largest| hash >= *largest) {
            return;
        }
        if let Err(place) = self.0.binary_search(&hash) {
            self.0.insert(place, hash);
            self.0.truncate(USERS_SKETCH_MAX);
        }
    }
}

/// The same on every machine and in every release: FNV-1a, then mixed (SplitMix64) so that all bits count alike.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(names: std::ops::Range<u32>) -> Users {
        let mut users = Users::default();
        names.for_each(|name| users.insert(&format!("user-{name}")));
        users
    }

    #[test]
    fn few_users_are_counted_exactly_and_once() {
        assert_eq!(Users::default().count(), 0);
        let mut all = users(0..1000);
        all.merge(&users(500..2000));
        assert_eq!(all.count(), 2000);
    }

    #[test]
    fn many_users_are_counted_nearly() {
        let mut all = users(0..60_000);
        all.merge(&users(30_000..100_000));
        let count = all.count();
        assert!((94_000..=106_000).contains(&count), "{count}");
        assert!(all.0.len() <= USERS_SKETCH_MAX);
    }

    #[test]
    fn answers_add_up() {
        let channels = |all: &[(&str, u32)]| all.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let mut answer =
            Answer { sessions: 1, channels: channels(&[("a", 1), ("b", 2)]), ..Answer::default() };
        answer.add(Answer { sessions: 2, channels: channels(&[("b", 3), ("c", 4)]), ..Answer::default() });
        answer.add(Answer::failure(111));
        answer.add(Answer::failure(100));
        assert_eq!(answer.sessions, 3);
        assert_eq!(answer.channels, channels(&[("a", 1), ("b", 5), ("c", 4)]));
        assert_eq!((answer.missing, answer.failed), (2, 111));
    }
}
