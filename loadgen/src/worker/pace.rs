//! How many connections are due: a total, reached at a rate. Never makes up for a pause by a burst longer than a second's worth.

use std::time::Duration;

/// The opening of one thread's connections.
#[derive(Debug)]
pub(super) struct Pace {
    total: u32,
    taken: u32,
    rate: f64,
    /// When the next is due, if there is a rate.
    next: Duration,
    stopped: bool,
}

impl Pace {
    pub(super) fn new(now: Duration) -> Self {
        Self { total: 0, taken: 0, rate: 0.0, next: now, stopped: false }
    }

    /// `total` connections in all, counted from the beginning, at `rate` per second; 0 is as fast as asked for.
    pub(super) fn aim(&mut self, total: u32, rate: f64, now: Duration) {
        self.total = total;
        self.rate = rate;
        self.next = now;
    }

    /// No more.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// How many may be [taken](Self::take) at `now`.
    pub(super) fn due(&self, now: Duration) -> u32 {
        if self.stopped {
            return 0;
        }
        let left = self.total.saturating_sub(self.taken);
        if self.rate <= 0.0 {
            return left;
        }
        match now.checked_sub(self.next) {
            None => 0,
            Some(late) => left.min((late.as_secs_f64().min(1.0) * self.rate) as u32 + 1),
        }
    }

    /// Takes one that is due; returns how many were taken before.
    pub(super) fn take(&mut self) -> u32 {
        if self.rate > 0.0 {
            self.next += Duration::from_secs_f64(1.0 / self.rate);
        }
        self.taken += 1;
        self.taken - 1
    }

    /// When one will be due; `None` when none is left.
    pub(super) fn next(&self, now: Duration) -> Option<Duration> {
        if self.stopped || self.taken >= self.total {
            return None;
        }
        Some(if self.rate <= 0.0 { now } else { self.next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn without_a_rate_everything_is_due_at_once() {
        let mut pace = Pace::new(at(0));
        assert_eq!(pace.due(at(0)), 0);
        pace.aim(10, 0.0, at(5));
        assert_eq!(pace.due(at(5)), 10);
        assert_eq!((0..4).map(|_| pace.take()).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(pace.due(at(5)), 6);
        pace.aim(12, 0.0, at(6));
        assert_eq!(pace.due(at(6)), 8);
    }

    #[test]
    fn with_a_rate_they_are_due_evenly() {
        let mut pace = Pace::new(at(0));
        pace.aim(1_000, 100.0, at(0));
        let mut taken = 0;
        for ms in 0..1_000 {
            for _ in 0..pace.due(at(ms)) {
                pace.take();
                taken += 1;
            }
        }
        assert!((99..=101).contains(&taken), "{taken}");
        assert_eq!(pace.next(at(999)), Some(at(1_000)));
    }

    #[test]
    fn a_long_pause_is_made_up_for_by_no_more_than_a_second_s_worth_at_once() {
        let mut pace = Pace::new(at(0));
        pace.aim(1_000_000, 100.0, at(0));
        assert_eq!(pace.due(at(60_000)), 101);
    }

    #[test]
    fn nothing_is_due_after_the_end_or_a_stop() {
        let mut pace = Pace::new(at(0));
        pace.aim(1, 0.0, at(0));
        pace.take();
        assert_eq!((pace.due(at(9)), pace.next(at(9))), (0, None));
        pace.aim(5, 0.0, at(9));
        pace.stop();
        assert_eq!((pace.due(at(9)), pace.next(at(9))), (0, None));
    }
}
