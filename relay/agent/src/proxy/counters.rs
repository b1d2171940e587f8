//! What became of the calls of one backend, and how long they took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the histogram's buckets in microseconds; one more bucket counts what is above.
pub(crate) const BUCKETS_US: [u64; 9] =
    [1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 250_000, 1_000_000, 4_000_000];

/// How a call ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Granted,
    Refused,
    Disconnected,
    Late,
    Unreachable,
    Lost,
    Status,
    Broken,
    /// As many as may be are under way.
    Full,
    /// The breaker is open.
    Open,
}

/// Names in the order of [`End`].
const ENDS: [&str; 10] =
    ["granted", "refused", "disconnected", "late", "unreachable", "lost", "status", "broken", "full", "open"];

/// Totals since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    ends: [AtomicU64; ENDS.len()],
    retries: AtomicU64,
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    us: AtomicU64,
}

/// A moment's totals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Results {
    pub(crate) ends: [(&'static str, u64); ENDS.len()],
    pub(crate) retries: u64,
    pub(crate) buckets: [u64; BUCKETS_US.len() + 1],
    pub(crate) us: u64,
}

impl Counters {
    pub(super) fn ended(&self, end: End) {
        self.ends[end as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn took(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.buckets[BUCKETS_US.partition_point(|bound| *bound < us)].fetch_add(1, Ordering::Relaxed);
        self.us.fetch_add(us, Ordering::Relaxed);
    }

    pub(super) fn results(&self) -> Results {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Results {
            ends: std::array::from_fn(|i| (ENDS[i], load(&self.ends[i]))),
            retries: load(&self.retries),
            buckets: std::array::from_fn(|i| load(&self.buckets[i])),
            us: load(&self.us),
        }
    }
}
