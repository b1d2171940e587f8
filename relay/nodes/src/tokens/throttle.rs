//! Failed sign-ins, counted by account and by source: whoever guesses has to wait.
//!
//! Owns the counts. Each is forgotten evenly over a window; the clock is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::limits::{FAILURES_KEPT_MAX, FAILURES_WINDOW};

/// Counts of one kind.
#[derive(Debug)]
pub struct Throttle<K> {
    counts: Mutex<HashMap<K, Count>>,
    /// Failures forgotten in a window; 0 is any number.
    most: u32,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: f64,
    at: Duration,
}

impl Count {
    fn now(self, now: Duration, most: u32) -> f64 {
        let forgotten =
            now.saturating_sub(self.at).as_secs_f64() / FAILURES_WINDOW.as_secs_f64() * f64::from(most);
        (self.failures - forgotten).max(0.0)
    }
}

impl<K: Hash + Eq + Clone> Throttle<K> {
    /// So many failures are forgotten in a window.
    pub fn new(most: u32) -> Self {
        Self { counts: Mutex::new(HashMap::new()), most }
    }

    /// After how many seconds another try may be; `None`: now.
    pub fn wait_s(&self, key: &K, now: Duration) -> Option<u32> {
        if self.most == 0 {
            return None;
        }
        let failures = self.lock().get(key)?.now(now, self.most);
        let over = failures - f64::from(self.most) + 1.0;
        let seconds = (over / f64::from(self.most) * FAILURES_WINDOW.as_secs_f64()).ceil();
        (over > 0.0).then_some((seconds as u32).max(1))
    }

    /// Another failure.
    pub fn failed(&self, key: &K, now: Duration) {
        let mut counts = self.lock();
        if counts.len() >= FAILURES_KEPT_MAX && !counts.contains_key(key) {
            self.make_room(&mut counts, now);
        }
        let count = counts.entry(key.clone()).or_insert(Count { failures: 0.0, at: now });
        let failures = (count.now(now, self.most) + 1.0).min(f64::from(self.most.max(1)));
        *count = Count { failures, at: now };
    }

    /// Forgets what is over; where nothing is, those with the fewest failures.
    fn make_room(&self, counts: &mut HashMap<K, Count>, now: Duration) {
        counts.retain(|_, count| count.now(now, self.most) > 0.0);
        let mut least = 0.5;
        while counts.len() >= FAILURES_KEPT_MAX {
            counts.retain(|_, count| count.now(now, self.most) > least);
            least += 1.0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    #[test]
    fn after_some_failures_the_next_waits_and_others_do_not() {
        let throttle = Throttle::new(10);
        for _ in 0..10 {
            assert_eq!(throttle.wait_s(&"ann", START), None);
            throttle.failed(&"ann", START);
        }
        let wait = throttle.wait_s(&"ann", START).unwrap();
        assert_eq!(wait, 30);
        assert_eq!(throttle.wait_s(&"bob", START), None);
        assert_eq!(throttle.wait_s(&"ann", START + Duration::from_secs(wait.into())), None);
    }

    #[test]
    fn who_goes_on_trying_waits_no_longer_than_the_window() {
        let throttle = Throttle::new(10);
        for _ in 0..1000 {
            throttle.failed(&1, START);
        }
        assert_eq!(throttle.wait_s(&1, START), Some(30));
        assert_eq!(Throttle::new(0).wait_s(&1, START), None);
    }

    #[test]
    fn a_flood_of_names_forgets_the_least_guilty_first() {
        let throttle = Throttle::new(10);
        for _ in 0..10 {
            throttle.failed(&usize::MAX, START);
        }
        for name in 0..2 * FAILURES_KEPT_MAX {
            throttle.failed(&name, START);
        }
        assert!(throttle.lock().len() <= FAILURES_KEPT_MAX);
        assert!(throttle.wait_s(&usize::MAX, START).is_some());
    }
}
