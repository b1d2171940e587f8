//! What the program counts: requests by route and status with their times.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::limits::LOG_EVERY;

/// Upper bounds of the buckets of times in microseconds; one more counts what is above.
pub const BUCKETS_US: [u64; 12] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000];

/// Totals since the start. Routes and methods are those of the program, so their number is bounded.
#[derive(Debug, Default)]
pub struct Counters {
    requests: Mutex<BTreeMap<Request, u64>>,
    times: Mutex<BTreeMap<Route, Times>>,
    under_way: AtomicUsize,
    refused: AtomicU64,
    cached: AtomicU64,
    problems: Mutex<BTreeMap<&'static str, u64>>,
    logged: Mutex<Option<Duration>>,
    connections: AtomicUsize,
}

/// Method and route as the description has it.
pub type Route = (&'static str, String);
/// A route and a status.
pub type Request = (&'static str, String, u16);

/// How long requests took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// By [`BUCKETS_US`].
    pub buckets: [u64; BUCKETS_US.len() + 1],
    /// All together.
    pub sum_us: u64,
}

/// Counts a request as under way until it is dropped.
#[derive(Debug)]
pub struct UnderWay<'c>(&'c Counters);

impl Counters {
    /// A request begins, if not too many are under way.
    pub fn begin(&self, most: usize) -> Option<UnderWay<'_>> {
        if self.under_way.fetch_add(1, Ordering::Relaxed) < most {
            return Some(UnderWay(self));
        }
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.refused.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// A request was answered.
    pub fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        *lock(&self.requests).entry((method, route.to_owned(), status)).or_default() += 1;
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut times = lock(&self.times);
        let times = times.entry((method, route.to_owned())).or_default();
        times.buckets[BUCKETS_US.partition_point(|bound| *bound < us)] += 1;
        times.sum_us = times.sum_us.saturating_add(us);
    }

    /// A request ended with a problem.
    pub fn problem(&self, slug: &'static str) {
        *lock(&self.problems).entry(slug).or_default() += 1;
    }

    /// Whether what a database said is worth another line of the log: one in a second, however many requests hear it.
    pub fn may_log(&self, now: Duration) -> bool {
        let mut logged = lock(&self.logged);
        let may = logged.is_none_or(|last| now.saturating_sub(last) >= LOG_EVERY);
        if may {
            *logged = Some(now);
        }
        may
    }

    /// Problems by what they are.
    pub fn problems(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.problems).clone()
    }

    /// A page was served from the cache because the store is away.
    pub fn cached(&self) {
        self.cached.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection began (1) or ended (-1).
    pub fn connection(&self, change: isize) {
        self.connections.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
    }

    /// Requests by route and status.
    pub fn requests(&self) -> BTreeMap<Request, u64> {
        lock(&self.requests).clone()
    }

    /// Times by route.
    pub fn times(&self) -> BTreeMap<Route, Times> {
        lock(&self.times).clone()
    }

    /// Requests under way, requests refused because too many were, pages served while the store was away, connections.
    pub fn levels(&self) -> (usize, u64, u64, usize) {
        (
            self.under_way.load(Ordering::Relaxed),
            self.refused.load(Ordering::Relaxed),
            self.cached.load(Ordering::Relaxed),
            self.connections.load(Ordering::Relaxed),
        )
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_bound_are_under_way() {
        let counters = Counters::default();
        let one = counters.begin(1).unwrap();
        assert!(counters.begin(1).is_none());
        drop(one);
        assert!(counters.begin(1).is_some());
        assert_eq!(counters.levels().1, 1);
    }

    #[test]
    fn a_database_that_is_away_fills_no_log() {
        let (counters, start) = (Counters::default(), Duration::from_secs(5));
        assert!(counters.may_log(start));
        assert!(!counters.may_log(start + LOG_EVERY / 2));
        assert!(counters.may_log(start + LOG_EVERY));
    }

    #[test]
    fn times_fall_into_buckets() {
        let counters = Counters::default();
        counters.answered("GET", "/v1/me", 200, Duration::from_micros(250));
        counters.answered("GET", "/v1/me", 404, Duration::from_secs(60));
        let times = counters.times()[&("GET", "/v1/me".to_owned())];
        assert_eq!((times.buckets[0], times.buckets[BUCKETS_US.len()], times.sum_us), (1, 1, 60_000_250));
        assert_eq!(counters.requests().len(), 2);
    }
}
