//! Which channels are wanted, which are subscribed to over which connection, and what is still to be said to Redis.
//!
//! Pure: what happened comes in, commands to send and things to tell come out. One per adapter; a partition belongs to at most one
//! connection at a time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::limits::SUBSCRIBE_CHANNELS_MAX;

/// One session of one subscriber connection; never used again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Session(pub(super) u64);

/// All channels.
#[derive(Debug)]
pub(super) struct Topics {
    partitions: Vec<Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    topics: HashMap<Arc<str>, Topic>,
    /// Channels to be looked at, each once.
    changed: VecDeque<Arc<str>>,
    session: Option<Session>,
    /// The words between relays are subscribed to (they are in the first partition).
    words: bool,
    /// Redis has ended or refused a subscription: whose the partition is has to be looked at, then everything said again.
    unsettled: bool,
}

/// What is known of one channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Topic {
    wanted: bool,
    /// What the last command to Redis was for it.
    subscribed: bool,
    /// The broker was told that it joined.
    joined: bool,
    /// It is among the changed.
    changed: bool,
    /// Commands that Redis has not confirmed.
    unconfirmed: u8,
}

/// What is to be said to Redis, all of one partition.
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct Change {
    pub(super) partition: usize,
    /// Subscribe to the words between relays first.
    pub(super) words: bool,
    pub(super) subscribe: Vec<Arc<str>>,
    pub(super) unsubscribe: Vec<Arc<str>>,
    /// The broker may be told at once.
    pub(super) joined: Vec<Arc<str>>,
}

impl Topics {
    pub(super) fn new(partitions: usize) -> Self {
        Self { partitions: (0..partitions).map(|_| Partition::default()).collect() }
    }

    /// The broker wants the channel, or no longer; true if the partition's connection has something to do.
    pub(super) fn want(&mut self, partition: usize, channel: Arc<str>, wanted: bool) -> bool {
        let partition = &mut self.partitions[partition];
        if !wanted && !partition.topics.contains_key(&channel) {
            return false;
        }
        let topic = partition.topics.entry(Arc::clone(&channel)).or_default();
        topic.wanted = wanted;
        if !topic.changed {
            topic.changed = true;
            partition.changed.push_back(channel);
        }
        partition.session.is_some()
    }

    /// Takes what this session should say next.
    pub(super) fn take(&mut self, session: Session) -> Option<Change> {
        let (index, partition) = self.partitions.iter_mut().enumerate().find(|(index, partition)| {
            let words = *index == 0 && !partition.words;
            partition.session == Some(session) && (words || !partition.changed.is_empty())
        })?;
        let words = index == 0 && !partition.words;
        partition.words = true;
        let mut change = Change { partition: index, words, ..Change::default() };
        for _ in 0..SUBSCRIBE_CHANNELS_MAX {
            let Some(channel) = partition.changed.pop_front() else { break };
            let Some(topic) = partition.topics.get_mut(&channel) else { continue };
            topic.changed = false;
            match (topic.wanted, topic.subscribed) {
                (true, false) => {
                    topic.subscribed = true;
                    topic.unconfirmed = topic.unconfirmed.saturating_add(1);
                    change.subscribe.push(channel);
                }
                (false, true) => {
                    (topic.subscribed, topic.joined) = (false, false);
                    topic.unconfirmed = topic.unconfirmed.saturating_add(1);
                    change.unsubscribe.push(channel);
                }
                // Wanted again before Redis was told otherwise.
                (true, true) if topic.joined => change.joined.push(channel),
                (true, true) => {}
                (false, false) if topic.unconfirmed == 0 => {
                    partition.topics.remove(&channel);
                }
                (false, false) => {}
            }
        }
        Some(change)
    }

    /// Redis has confirmed a command; true if the broker is to be told that the channel has joined.
    pub(super) fn confirmed(&mut self, session: Session, partition: usize, channel: &str) -> bool {
        let partition = &mut self.partitions[partition];
        let Some(topic) = partition.topics.get_mut(channel) else { return false };
        if partition.session != Some(session) {
            return false;
        }
        topic.unconfirmed = topic.unconfirmed.saturating_sub(1);
        if topic.unconfirmed > 0 {
            return false;
        }
        if topic.wanted && topic.subscribed && !topic.joined {
            topic.joined = true;
            return true;
        }
        if !topic.wanted && !topic.subscribed && !topic.changed {
            partition.topics.remove(channel);
        }
        false
    }

    /// Redis has ended a subscription by itself; true if the broker is to be told that the channel has parted.
    pub(super) fn ended(&mut self, session: Session, partition: usize, channel: &str) -> bool {
        let partition = &mut self.partitions[partition];
        if partition.session != Some(session) {
            return false;
        }
        partition.unsettled = true;
        let Some(topic) = partition.topics.get_mut(channel) else { return false };
        topic.subscribed = false;
        std::mem::take(&mut topic.joined)
    }

    /// Redis has refused a command because the partition is not, or not just now, its own.
    pub(super) fn refused(&mut self, session: Session, partition: usize) {
        let partition = &mut self.partitions[partition];
        partition.unsettled |= partition.session == Some(session);
    }

    /// Whether everything of the partition is to be said again.
    pub(super) fn unsettled(&self, partition: usize) -> bool {
        self.partitions[partition].unsettled
    }

    /// The partition belongs to this session now, or to none: everything wanted is to be subscribed to anew. Those that had joined.
    pub(super) fn assign(&mut self, partition: usize, session: Option<Session>) -> Vec<Arc<str>> {
        let partition = &mut self.partitions[partition];
        let mut parted = Vec::new();
        partition.session = session;
        (partition.words, partition.unsettled) = (false, false);
        partition.changed.clear();
        partition.topics.retain(|channel, topic| {
            if topic.joined {
                parted.push(Arc::clone(channel));
            }
            if topic.wanted {
                partition.changed.push_back(Arc::clone(channel));
                *topic = Topic { wanted: true, changed: true, ..Topic::default() };
            }
            topic.wanted
        });
        parted
    }

    /// The session is over. Those that had joined over it.
    pub(super) fn lost(&mut self, session: Session) -> Vec<Arc<str>> {
        let of_it = |partition: &Partition| partition.session == Some(session);
        let lost: Vec<usize> = (0..self.partitions.len()).filter(|&at| of_it(&self.partitions[at])).collect();
        lost.into_iter().flat_map(|partition| self.assign(partition, None)).collect()
    }

    /// Whether the channel has joined and not parted since.
    pub(super) fn has_joined(&self, partition: usize, channel: &str) -> bool {
        self.partitions[partition].topics.get(channel).is_some_and(|topic| topic.joined)
    }

    /// Channels that have joined over a session.
    pub(super) fn joined(&self, session: Session) -> Vec<Arc<str>> {
        let partitions = self.partitions.iter().filter(|partition| partition.session == Some(session));
        let topics = partitions.flat_map(|partition| &partition.topics);
        topics.filter(|(_, topic)| topic.joined).map(|(channel, _)| Arc::clone(channel)).collect()
    }

    /// Channels that are wanted, and those that have joined.
    pub(super) fn counts(&self) -> (usize, usize) {
        let topics = || self.partitions.iter().flat_map(|partition| partition.topics.values());
        (topics().filter(|topic| topic.wanted).count(), topics().filter(|topic| topic.joined).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Session = Session(1);
    const TWO: Session = Session(2);

    fn topics() -> Topics {
        let mut topics = Topics::new(2);
        topics.assign(0, Some(ONE));
        assert!(topics.take(ONE).is_some_and(|change| change.words));
        topics
    }

    fn subscribe(topics: &mut Topics) -> Vec<Arc<str>> {
        topics.take(ONE).unwrap_or_default().subscribe
    }

    #[test]
    fn a_channel_has_joined_once_redis_confirms() {
        let mut topics = topics();
        assert!(topics.want(0, "a".into(), true));
        assert_eq!(subscribe(&mut topics), [Arc::<str>::from("a")]);
        assert!(topics.confirmed(ONE, 0, "a"));
        assert_eq!(topics.take(ONE), None);
        assert_eq!(topics.counts(), (1, 1));
    }

    #[test]
    fn a_confirmation_of_before_is_none_for_what_is_wanted_now() {
        let mut topics = topics();
        for wanted in [true, false, true] {
            topics.want(0, "a".into(), wanted);
            topics.take(ONE).unwrap();
        }
        assert!(!topics.confirmed(ONE, 0, "a"), "of the first subscribe");
        assert!(!topics.confirmed(ONE, 0, "a"), "of the unsubscribe");
        assert!(topics.confirmed(ONE, 0, "a"));
    }

    #[test]
    fn wanted_again_before_redis_heard_otherwise_is_joined_still() {
        let mut topics = topics();
        topics.want(0, "a".into(), true);
        topics.take(ONE);
        topics.confirmed(ONE, 0, "a");
        topics.want(0, "a".into(), false);
        topics.want(0, "a".into(), true);
        assert_eq!(topics.take(ONE).unwrap().joined, [Arc::<str>::from("a")]);
    }

    #[test]
    fn a_lost_session_parts_its_channels_and_the_next_subscribes_to_what_is_wanted() {
        let mut topics = topics();
        for channel in ["a", "b"] {
            topics.want(0, channel.into(), true);
        }
        topics.take(ONE);
        topics.confirmed(ONE, 0, "a");
        topics.want(0, "b".into(), false);
        assert_eq!(topics.lost(ONE), [Arc::<str>::from("a")]);
        assert!(!topics.confirmed(ONE, 0, "a"), "too late");
        topics.assign(0, Some(TWO));
        let change = topics.take(TWO).unwrap();
        assert!(change.words && change.subscribe == [Arc::<str>::from("a")] && change.unsubscribe.is_empty());
        assert_eq!(topics.counts(), (1, 0));
    }

    #[test]
    fn what_redis_ends_by_itself_is_subscribed_to_when_its_partition_has_moved() {
        let mut topics = topics();
        topics.want(0, "a".into(), true);
        topics.take(ONE);
        topics.confirmed(ONE, 0, "a");
        assert!(topics.ended(ONE, 0, "a") && !topics.ended(ONE, 0, "a"));
        assert_eq!(topics.assign(0, Some(TWO)), Vec::<Arc<str>>::new());
        assert_eq!(topics.take(TWO).unwrap().subscribe, [Arc::<str>::from("a")]);
    }

    #[test]
    fn commands_are_bounded_and_of_one_partition() {
        let mut topics = topics();
        topics.assign(1, Some(ONE));
        for number in 0..SUBSCRIBE_CHANNELS_MAX + 3 {
            topics.want(number % 2, format!("{number}").into(), true);
            topics.want(0, format!("more {number}").into(), true);
        }
        let mut sizes = Vec::new();
        while let Some(change) = topics.take(ONE) {
            sizes.push((change.partition, change.subscribe.len()));
        }
        assert_eq!(sizes, [(0, 512), (0, 261), (1, 257)]);
    }

    #[test]
    fn nothing_is_kept_of_channels_that_nobody_wants() {
        let mut topics = topics();
        assert!(!topics.want(0, "a".into(), false));
        topics.want(0, "a".into(), true);
        topics.take(ONE);
        topics.confirmed(ONE, 0, "a");
        topics.want(0, "a".into(), false);
        assert_eq!(topics.take(ONE).unwrap().unsubscribe, [Arc::<str>::from("a")]);
        topics.confirmed(ONE, 0, "a");
        assert!(topics.partitions[0].topics.is_empty());
    }
}
