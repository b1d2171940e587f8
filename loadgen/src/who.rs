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
}

impl Who {
    /// Clients with `credentials` that each subscribe to the channel of their number.
    pub fn new(credentials: Credentials, channel: Option<Pattern>) -> Self {
        Self { credentials, channel, ping_s: 0 }
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

            fn announced(&mut self, ping_s: u32) {
                self.who.announced(ping_s);
            }
        }
    };
}
pub(crate) use identity_by_who;
