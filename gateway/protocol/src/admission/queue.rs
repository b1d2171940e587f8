//! How many handshakes may wait for their first flight: as many as are worked on in a short time, by what they took lately.
//!
//! A flight costs a key exchange and a signature, so a flood is turned away before it. Without a bound everybody would wait until
//! all deadlines have passed, and what was worked on would be for nothing.

use std::time::Duration;

/// The measure of one shard's flights.
#[derive(Debug)]
pub struct Queue {
    /// How long a flight may have to wait.
    patience: Duration,
    /// Microseconds per flight, as lately seen.
    each_us: u64,
    /// Since then flights have been waiting without a break.
    since: Duration,
    done: u64,
}

/// What a flight takes before any was seen; later figures are measured.
const FIRST_US: u64 = 200;
/// As long as flights are counted for one figure.
const WINDOW: Duration = Duration::from_millis(100);
/// So many may always wait: what arrives in one turn is no flood.
const ALWAYS: usize = 64;

impl Queue {
    /// Flights wait at most about `patience`.
    pub const fn new(patience: Duration) -> Self {
        Self { patience, each_us: FIRST_US, since: Duration::ZERO, done: 0 }
    }

    /// A flight has been worked on.
    pub const fn done(&mut self) {
        self.done += 1;
    }

    /// Feeds time, with how many wait. Only a time in which some always waited says what one takes.
    pub fn expire(&mut self, at: Duration, waiting: usize) {
        let passed = at.saturating_sub(self.since);
        if waiting == 0 {
            (self.since, self.done) = (at, 0);
        } else if passed >= WINDOW {
            let each_us = passed.as_micros() as u64 / self.done.max(1);
            self.each_us = (self.each_us * 3 + each_us).div_ceil(4);
            (self.since, self.done) = (at, 0);
        }
    }

    /// Whether one more may wait.
    pub fn has_room(&self, waiting: usize) -> bool {
        waiting < ALWAYS || waiting as u128 * u128::from(self.each_us) < self.patience.as_micros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_wait_as_are_worked_on_in_the_time_of_patience() {
        let mut queue = Queue::new(Duration::from_secs(1));
        let mut at = Duration::from_secs(5);
        queue.expire(at, 0);
        for _ in 0..100 {
            for _ in 0..50 {
                queue.done();
            }
            at += Duration::from_millis(100);
            queue.expire(at, 1000);
        }
        // 500 per second.
        assert!(queue.has_room(480) && !queue.has_room(520), "{queue:?}");
        // Nobody waits: nothing is learnt of what a flight takes.
        queue.expire(at + Duration::from_secs(60), 0);
        assert!(queue.has_room(480) && !queue.has_room(520), "{queue:?}");
    }

    #[test]
    fn a_few_may_always_wait() {
        let mut queue = Queue::new(Duration::ZERO);
        queue.expire(Duration::from_secs(100), 5);
        assert!(queue.has_room(63) && !queue.has_room(64));
    }
}
