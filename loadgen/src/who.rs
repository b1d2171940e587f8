//! Names for connections: token and channel by number. The [`Identity`](crate::connection::Identity) that every task has inside.

use crate::cause::Cause;
use crate::credentials::Credentials;
use crate::pattern::Pattern;
use crate::task::PUBLISHER;

/// Who the connections of a thread are.
#[derive(Debug, Clone)]
pub struct Who {
    credentials: Credentials,
    channel: Option<Pattern>,
    /// Longest ping interval that the server announced, in seconds; 0 when none.
    pub ping_s: u32,
    /// Where they all were in their channels, if they come back.
    pub recovers_from: Option<u64>,
    /// How many came back to everything they had missed, and how many publications that was.
    pub recovered: (u64, u64),
}

impl Who {
    /// Clients with `credentials` that each subscribe to the channel of their number.
    pub fn new(credentials: Credentials, channel: Option<Pattern>) -> Self {
        Self { credentials, channel, ping_s: 0, recovers_from: None, recovered: (0, 0) }
    }

    /// The token of `number`.
    pub fn token(&self, number: u32) -> Result<String, Cause> {
        self.credentials.token(number).map_err(Cause::Garbled)
    }

    /// The channel of `number`; the publisher has none.
    pub fn channel(&self, number: u32) -> Option<String> {
        if number == PUBLISHER {
            return None;
        }
        self.channel.as_ref().map(|pattern| pattern.name(number))
    }

    /// Where `number` was in its channel.
    pub fn recovers_from(&self) -> Option<u64> {
        self.recovers_from
    }

    /// Notes what a recovery gave back.
    pub fn recovered(&mut self, publications: Option<usize>) {
        if let Some(publications) = publications {
            let (count, all) = self.recovered;
            self.recovered = (count + 1, all + publications as u64);
        }
    }

    /// Notes a ping interval.
    pub fn announced(&mut self, ping_s: u32) {
        self.ping_s = self.ping_s.max(ping_s);
    }
}

/// Implements [`Identity`](crate::connection::Identity) by the `who` field.
macro_rules! identity_by_who {
    ($task:ty) => {
        impl $crate::connection::Identity for $task {
            fn token(&mut self, number: u32) -> Result<String, $crate::cause::Cause> {
                self.who.token(number)
            }

            fn channel(&mut self, number: u32) -> Option<String> {
                self.who.channel(number)
            }

            fn recovers_from(&self) -> Option<u64> {
                self.who.recovers_from()
            }

            fn recovered(&mut self, _number: u32, publications: Option<usize>) {
                self.who.recovered(publications);
            }

            fn announced(&mut self, ping_s: u32) {
                self.who.announced(ping_s);
            }
        }
    };
}
pub(crate) use identity_by_who;
