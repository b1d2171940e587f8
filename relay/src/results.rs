//! What became of publications that carried an idempotency key: their positions by channel and key, for a while.
//!
//! Owns the table and its bounds: in time, in each channel and in all. Never publishes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::Epoch;
use crate::limits::{
    RESULT_OVERHEAD_BYTES, RESULT_TTL, RESULTS_BYTES_MAX, RESULTS_EXPIRED_PER_TICK, RESULTS_PER_CHANNEL_MAX,
};

/// Where a publication was placed: offset and epoch, or 0 and none in a channel without history.
pub(crate) type Placed = (u64, Option<Epoch>);

/// The table. What came first goes first, in each channel and in all: every result lives equally long.
#[derive(Debug, Default)]
pub(crate) struct Results {
    channels: HashMap<Arc<str>, Keys>,
    /// The channel of each result, oldest first. A channel that let one go early leaves the place behind.
    order: VecDeque<(u64, Arc<str>)>,
    next: u64,
    bytes: usize,
    count: usize,
}

#[derive(Debug, Default)]
struct Keys {
    placed: HashMap<Arc<str>, Placed>,
    order: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    until: Duration,
    key: Arc<str>,
}

impl Results {
    /// What became of the key's publication, while it is remembered.
    pub(crate) fn find(&mut self, now: Duration, channel: &str, key: &str) -> Option<Placed> {
        self.lapse(now, channel);
        self.channels.get(channel)?.placed.get(key).copied()
    }

    /// Remembers a result that [`Results::find`] has just not found.
    pub(crate) fn insert(&mut self, now: Duration, channel: &str, key: &str, placed: Placed) {
        let number = self.next;
        self.next += 1;
        let key: Arc<str> = key.into();
        let channel: Arc<str> = match self.channels.get_key_value(channel) {
            Some((name, _)) => Arc::clone(name),
            None => channel.into(),
        };
        self.bytes += cost(&channel, &key);
        self.count += 1;
        let keys = self.channels.entry(Arc::clone(&channel)).or_default();
        let before = keys.placed.insert(Arc::clone(&key), placed);
        debug_assert!(before.is_none(), "a key is placed once");
        keys.order.push_back(Entry { number, until: now.saturating_add(RESULT_TTL), key });
        self.order.push_back((number, Arc::clone(&channel)));
        if self.channels.get(&channel).is_some_and(|keys| keys.order.len() > RESULTS_PER_CHANNEL_MAX) {
            self.drop_first(&channel);
        }
        while self.bytes > RESULTS_BYTES_MAX {
            self.drop_oldest();
        }
        if self.order.len() > 2 * self.count.max(RESULTS_PER_CHANNEL_MAX) {
            self.forget_left_places();
        }
        self.check();
    }

    /// Remembers a result of elsewhere for as long as it was to be remembered there.
    pub(crate) fn restore(
        &mut self,
        now: Duration,
        channel: &str,
        key: &str,
        placed: Placed,
        left: Duration,
    ) {
        if left > Duration::ZERO && self.find(now, channel, key).is_none() {
            // Results go in the order they came: one that came from elsewhere may stay a little longer than it would have there.
            self.insert(now.saturating_sub(RESULT_TTL.saturating_sub(left)), channel, key, placed);
        }
    }

    /// What is remembered of a channel: keys, positions and for how long, oldest first.
    pub(crate) fn all(&self, now: Duration, channel: &str) -> impl Iterator<Item = (&str, Placed, Duration)> {
        let keys = self.channels.get(channel);
        keys.into_iter().flat_map(move |keys| {
            keys.order.iter().filter_map(move |entry| {
                Some((&*entry.key, *keys.placed.get(&entry.key)?, entry.until.saturating_sub(now)))
            })
        })
    }

    /// Lets go of what is over, some at a time.
    pub(crate) fn expire(&mut self, now: Duration) {
        for _ in 0..RESULTS_EXPIRED_PER_TICK {
            let Some((number, channel)) = self.order.front() else { return };
            let first = self.channels.get(channel).and_then(|keys| keys.order.front());
            let lives = first.is_some_and(|first| first.number == *number && first.until > now);
            if lives {
                return;
            }
            self.drop_oldest();
        }
    }

    /// Results remembered.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Lets go of a channel's results whose time is over.
    fn lapse(&mut self, now: Duration, channel: &str) {
        while let Some(first) = self.channels.get(channel).and_then(|keys| keys.order.front())
            && first.until <= now
        {
            self.drop_first(channel);
        }
    }

    fn drop_oldest(&mut self) {
        let Some((number, channel)) = self.order.pop_front() else { return };
        let first = self.channels.get(&channel).and_then(|keys| keys.order.front());
        if first.is_some_and(|first| first.number == number) {
            self.drop_first(&channel);
        }
    }

    fn drop_first(&mut self, channel: &str) {
        let Some(keys) = self.channels.get_mut(channel) else { return };
        if let Some(entry) = keys.order.pop_front() {
            keys.placed.remove(&entry.key);
            self.bytes -= cost(channel, &entry.key);
            self.count -= 1;
        }
        if keys.order.is_empty() {
            self.channels.remove(channel);
        }
    }

    /// Takes places without a result out of the order.
    fn forget_left_places(&mut self) {
        let Self { order, channels, .. } = self;
        order.retain(|(number, channel)| {
            let keys = channels.get(channel);
            keys.is_some_and(|keys| keys.order.binary_search_by_key(number, |entry| entry.number).is_ok())
        });
    }

    fn check(&self) {
        debug_assert!(self.bytes <= RESULTS_BYTES_MAX, "results are bounded");
        debug_assert!(self.order.len() >= self.count, "each result has its place");
    }
}

/// The channel's name is shared, but counting it for each keeps the sum independent of what came first.
const fn cost(channel: &str, key: &str) -> usize {
    channel.len() + key.len() + RESULT_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_result_is_found_by_channel_and_key_until_its_time_is_over() {
        let mut results = Results::default();
        assert_eq!(results.find(SECOND, "a", "k"), None);
        results.insert(SECOND, "a", "k", (7, None));
        assert_eq!(results.find(RESULT_TTL, "a", "k"), Some((7, None)));
        assert_eq!(results.find(RESULT_TTL, "b", "k"), None);
        assert_eq!(results.find(RESULT_TTL + SECOND, "a", "k"), None);
        assert_eq!((results.len(), results.bytes, results.channels.len()), (0, 0, 0));
    }

    #[test]
    fn one_channel_keeps_its_latest_results_and_takes_nothing_from_others() {
        let mut results = Results::default();
        results.insert(SECOND, "other", "k", (1, None));
        for number in 0..4 * RESULTS_PER_CHANNEL_MAX as u64 {
            results.insert(SECOND, "busy", &number.to_string(), (number, None));
        }
        let last = 4 * RESULTS_PER_CHANNEL_MAX as u64 - 1;
        assert_eq!(results.find(SECOND, "busy", &last.to_string()), Some((last, None)));
        assert_eq!(results.find(SECOND, "busy", "0"), None);
        assert_eq!(results.find(SECOND, "other", "k"), Some((1, None)));
        assert_eq!(results.len(), RESULTS_PER_CHANNEL_MAX + 1);
        assert!(results.order.len() <= 2 * (RESULTS_PER_CHANNEL_MAX + 1));
    }

    #[test]
    fn all_together_are_bounded_and_the_oldest_go_first() {
        let mut results = Results::default();
        let long = "k".repeat(200_000);
        for channel in 0..1000 {
            results.insert(SECOND, &channel.to_string(), &long, (1, None));
        }
        assert!(results.bytes <= RESULTS_BYTES_MAX);
        assert_eq!(results.find(SECOND, "0", &long), None);
        assert_eq!(results.find(SECOND, "999", &long), Some((1, None)));
    }

    #[test]
    fn time_lets_go_of_everything_without_being_asked() {
        let mut results = Results::default();
        for channel in 0..3 * RESULTS_EXPIRED_PER_TICK {
            results.insert(SECOND, &channel.to_string(), "k", (1, None));
        }
        results.expire(RESULT_TTL);
        assert_eq!(results.len(), 3 * RESULTS_EXPIRED_PER_TICK);
        for _ in 0..3 {
            results.expire(RESULT_TTL + SECOND);
        }
        assert_eq!((results.len(), results.order.len(), results.bytes), (0, 0, 0));
    }
}
