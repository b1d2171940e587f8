//! The order of conversations, and of what is found. Pure.

use std::fmt;
use std::str::FromStr;

use crate::model::{Id, Message, UnixMs};
use crate::problem::Problem;

/// A place in the list: `LATEST_AT.CHANNEL`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Before {
    /// When the channel last had a message.
    pub latest_at: UnixMs,
    /// The channel.
    pub channel: Id,
}

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.latest_at, self.channel)
    }
}

impl FromStr for Before {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let parse = || {
            let (latest_at, channel) = text.split_once('.')?;
            let digits = !latest_at.is_empty() && latest_at.bytes().all(|byte| byte.is_ascii_digit());
            let latest_at = latest_at.parse().ok().filter(|_| digits)?;
            Some(Self { latest_at, channel: channel.parse().ok()? })
        };
        parse().ok_or_else(|| Problem::invalid("before is the `next` of another part"))
    }
}

/// What several databases found, newest first.
pub(super) fn newest(mut found: Vec<Message>, limit: usize) -> Vec<Message> {
    found.sort_by_key(|message| std::cmp::Reverse(message.id));
    found.truncate(limit);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for text in ["0.1", "1760000000000.7301"] {
            assert_eq!(text.parse::<Before>().unwrap().to_string(), text);
        }
        for text in ["", ".", "1.", ".1", "-1.1", "1.01", "1.0", "a.1", "9223372036854775808.1"] {
            assert!(text.parse::<Before>().is_err(), "{text}");
        }
    }
}
