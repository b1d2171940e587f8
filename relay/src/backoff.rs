//! How long to wait before something that failed is tried again: exponentially longer, each time by chance.
//!
//! Owns the waits; never waits.

use std::time::Duration;

/// Waits between tries, with full jitter: many edges that lost the same server do not come back at one moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    failures: u32,
    state: u64,
}

impl Backoff {
    /// The first wait is at most twice `least`, no wait is over `most`. `seed` comes from the shell's random source.
    pub const fn new(least: Duration, most: Duration, seed: u64) -> Self {
        Self { least, most, failures: 0, state: seed }
    }

    /// How long to wait after one more failure: anything from `least` up to a ceiling that doubles each time.
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let ceiling =
            self.least.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(self.most);
        let span = ceiling.saturating_sub(self.least);
        self.least + span.mul_f64(self.draw())
    }

    /// It worked: the next wait is a short one.
    pub const fn worked(&mut self) {
        self.failures = 0;
    }

    /// From 0 up to, not including, 1 (SplitMix64).
    fn draw(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(50);
    const MOST: Duration = Duration::from_secs(5);

    #[test]
    fn waits_grow_to_a_bound_and_begin_anew_after_success() {
        let mut backoff = Backoff::new(LEAST, MOST, 7);
        let waits: Vec<Duration> = (0..200).map(|_| backoff.failed()).collect();
        assert!(waits[0] <= 2 * LEAST && waits.iter().all(|wait| (LEAST..=MOST).contains(wait)));
        let late: Duration = waits[100..].iter().sum();
        assert!(late > 100 * MOST / 3, "on average half the bound, found {late:?}");
        backoff.worked();
        assert!(backoff.failed() <= 2 * LEAST);
    }

    #[test]
    fn two_edges_do_not_wait_alike() {
        let (mut one, mut two) = (Backoff::new(LEAST, MOST, 1), Backoff::new(LEAST, MOST, 2));
        let differing = (0..50).filter(|_| one.failed() != two.failed()).count();
        assert!(differing > 45);
    }
}
