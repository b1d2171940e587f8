//! The names of keys and topics in Redis.
//!
//! `PREFIX:k:NAME`, or `PREFIX:{tag}:k:NAME` in a cluster, where the tag is that of the channel's partition, so that all keys of one
//! channel, and a batch of topics, are of one slot. The letter `k` says what it is.

use relay::bus::EdgeId;
use relay::partition::{PARTITIONS, TAGS, partition};

/// Makes names.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// By partition; ends with a colon.
    stems: Vec<Box<str>>,
    /// What all topics begin with.
    common: Box<str>,
    cluster: bool,
}

/// What a topic is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Topic<'a> {
    /// A channel's publications and events.
    Channel(&'a str),
    /// Words between relays.
    Edges,
}

impl Keys {
    /// Names of one system. Topics know no databases, so the database is in the prefix.
    pub(super) fn new(prefix: &str, database: u32, cluster: bool) -> Self {
        let common = match database {
            0 => format!("{prefix}:"),
            number => format!("{prefix}:{number}:"),
        };
        let stems = match cluster {
            true => TAGS.iter().map(|tag| format!("{common}{{{tag}}}:").into()).collect(),
            false => vec![common.clone().into()],
        };
        Self { stems, common: common.into(), cluster }
    }

    /// How many partitions there are.
    pub(super) const fn partitions(&self) -> usize {
        if self.cluster { PARTITIONS } else { 1 }
    }

    /// A channel's partition.
    pub(super) fn partition(&self, channel: &str) -> usize {
        if self.cluster { partition(channel) } else { 0 }
    }

    /// A hash: the position `s` and the epoch `e`.
    pub(super) fn meta(&self, channel: &str) -> String {
        self.name(channel, 'm')
    }

    /// A stream: the publications by offset.
    pub(super) fn stream(&self, channel: &str) -> String {
        self.name(channel, 's')
    }

    /// A text: the place of the publication with an idempotency key.
    pub(super) fn result(&self, channel: &str, key: &str) -> String {
        let stem = &self.stems[self.partition(channel)];
        format!("{stem}r:{}:{channel}:{key}", channel.len())
    }

    /// A hash: members by client.
    pub(super) fn members(&self, channel: &str) -> String {
        self.name(channel, 'p')
    }

    /// A set: what is held under a lease in a partition, each the client's id and the channel.
    pub(super) fn index(&self, partition: usize, lease: u64) -> String {
        format!("{}i:{lease:016x}", self.stems[partition])
    }

    /// A sorted set: edges' leases by when they end.
    pub(super) fn leases(&self) -> String {
        format!("{}l", self.stems[0])
    }

    /// A text that says who removes what was held under a lease.
    pub(super) fn claim(&self, lease: u64) -> String {
        format!("{}x:{lease:016x}", self.stems[0])
    }

    /// A channel's topic.
    pub(super) fn topic(&self, channel: &str) -> String {
        self.name(channel, 'c')
    }

    /// The topic of words for one edge, or for all.
    pub(super) fn edge_topic(&self, edge: Option<EdgeId>) -> String {
        match edge {
            Some(EdgeId(edge)) => format!("{}e:{edge:016x}", self.stems[0]),
            None => format!("{}e:", self.stems[0]),
        }
    }

    /// What a topic is for; `None` when it is not one of ours.
    pub(super) fn read<'a>(&self, topic: &'a [u8]) -> Option<Topic<'a>> {
        let mut rest = topic.strip_prefix(self.common.as_bytes())?;
        if self.cluster {
            let end = rest.iter().position(|byte| *byte == b'}')?;
            rest = rest[end..].strip_prefix(b"}:")?;
        }
        match rest.split_first_chunk::<2>()? {
            (b"c:", channel) => str::from_utf8(channel).ok().map(Topic::Channel),
            (b"e:", _) => Some(Topic::Edges),
            _ => None,
        }
    }

    fn name(&self, channel: &str, kind: char) -> String {
        let stem = &self.stems[self.partition(channel)];
        format!("{stem}{kind}:{channel}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_back_whatever_a_channel_is_called() {
        for keys in
            [Keys::new("headland", 0, false), Keys::new("a:{b", 3, false), Keys::new("headland", 0, true)]
        {
            for channel in ["chat:lobby", "", "c:{}:}x", "é:#1,2"] {
                assert_eq!(keys.read(keys.topic(channel).as_bytes()), Some(Topic::Channel(channel)));
            }
            assert_eq!(keys.read(keys.edge_topic(None).as_bytes()), Some(Topic::Edges));
            assert_eq!(keys.read(keys.edge_topic(Some(EdgeId(7))).as_bytes()), Some(Topic::Edges));
            assert_eq!(keys.read(b"other:c:x"), None);
        }
    }

    #[test]
    fn results_of_two_channels_never_share_a_name() {
        let keys = Keys::new("headland", 0, false);
        assert_ne!(keys.result("a:b", "c"), keys.result("a", "b:c"));
    }

    #[test]
    fn keys_of_a_channel_have_one_tag() {
        let keys = Keys::new("headland", 0, true);
        let tag = format!("headland:{{{}}}:", TAGS[partition("chat:{x}")]);
        let names = [
            keys.meta("chat:{x}"),
            keys.stream("chat:{x}"),
            keys.result("chat:{x}", "k"),
            keys.topic("chat:{x}"),
        ];
        assert!(names.iter().all(|name| name.starts_with(&tag)), "{names:?}");
    }
}
