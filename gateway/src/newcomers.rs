//! How much of a shard's time may go to connections that are being made while established ones have work.
//!
//! Owns an account of time, filled by a share of what passes and emptied by accepts and handshake flights.

use std::time::Duration;

use crate::limits::{
    ACCEPTS_PER_BUSY_TURN, ACCEPTS_PER_TURN, FLIGHTS_PER_BUSY_TURN, FLIGHTS_PER_TURN, NEWCOMERS_CREDIT,
    NEWCOMERS_SHARE,
};

/// See the module.
#[derive(Default)]
pub(crate) struct Newcomers {
    /// Time that may be spent; negative after a turn that took more.
    credit_us: i64,
    at: Duration,
    pressed: bool,
}

impl Newcomers {
    /// A turn begins.
    pub(crate) fn earn(&mut self, now: Duration, pressed: bool) {
        let passed = now.saturating_sub(self.at);
        self.at = now;
        self.pressed = pressed;
        let most = NEWCOMERS_CREDIT.as_micros() as i64;
        let earned = i64::try_from((passed / NEWCOMERS_SHARE).as_micros()).unwrap_or(most);
        self.credit_us = if pressed { self.credit_us.saturating_add(earned).min(most) } else { most };
    }

    /// Work for newcomers took this long.
    pub(crate) fn spend(&mut self, time: Duration) {
        if self.pressed {
            self.credit_us -= i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        }
    }

    /// Accepts per listener in this turn.
    pub(crate) const fn accepts(&self) -> usize {
        match (self.pressed, self.credit_us > 0) {
            (false, _) => ACCEPTS_PER_TURN,
            (true, true) => ACCEPTS_PER_BUSY_TURN,
            (true, false) => 0,
        }
    }

    /// Handshake flights in this turn.
    pub(crate) const fn flights(&self) -> usize {
        match (self.pressed, self.credit_us > 0) {
            (false, _) => FLIGHTS_PER_TURN,
            (true, true) => FLIGHTS_PER_BUSY_TURN,
            (true, false) => 0,
        }
    }

    /// How long nothing may be spent.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let missing =
            u64::try_from(1 - self.credit_us).ok().filter(|missing| self.pressed && *missing > 0)?;
        Some(Duration::from_micros(missing) * NEWCOMERS_SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcomers_get_their_share_of_the_time_and_no_more() {
        let mut newcomers = Newcomers::default();
        let (mut now, mut spent) = (Duration::ZERO, Duration::ZERO);
        let flight = Duration::from_micros(120);
        newcomers.earn(now, true);
        while now < Duration::from_secs(10) {
            match newcomers.wait() {
                Some(wait) => now += wait,
                None => {
                    assert!(newcomers.flights() > 0 && newcomers.accepts() > 0);
                    newcomers.spend(flight);
                    spent += flight;
                    now += flight;
                }
            }
            newcomers.earn(now, true);
        }
        let share = now / NEWCOMERS_SHARE;
        assert!(spent < share + NEWCOMERS_CREDIT + flight, "{spent:?} of {now:?}");
        assert!(spent > share * 9 / 10, "{spent:?} of {now:?}");
    }

    #[test]
    fn without_pressure_nothing_is_counted() {
        let mut newcomers = Newcomers::default();
        newcomers.earn(Duration::from_secs(1), false);
        newcomers.spend(Duration::from_secs(100));
        assert_eq!((newcomers.wait(), newcomers.flights()), (None, FLIGHTS_PER_TURN));
        newcomers.earn(Duration::from_secs(1), true);
        newcomers.spend(NEWCOMERS_CREDIT * 2);
        assert_eq!((newcomers.accepts(), newcomers.flights()), (0, 0));
        assert!(newcomers.wait().is_some());
        newcomers.earn(Duration::from_secs(2), true);
        assert_eq!(newcomers.wait(), None);
    }
}
