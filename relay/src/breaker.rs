//! Whether a backend is worth asking: after several failures in a row nobody asks it for a while, and then one does to find out.

use std::time::Duration;

use crate::limits::{BREAKER_FAILURES, BREAKER_PAUSE};

/// The state of one backend. Times are durations since any one moment.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    pause_max: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::default(), pause_max: BREAKER_PAUSE.1 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Everybody may ask; so many failures in a row.
    Closed { failures: u32 },
    /// Nobody may until then.
    Open { until: Duration, pause: Duration },
    /// One has gone to find out.
    Probing { pause: Duration },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// Leave to ask. Goes back by [`Breaker::report`], or nobody would ever ask again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Pass {
    /// As everybody.
    Free,
    /// To find out.
    Probe,
}

/// How a breaker stands, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The backend is asked.
    Closed,
    /// Somebody finds out whether it is well again.
    HalfOpen,
    /// It is left alone.
    Open,
}

impl Breaker {
    /// One whose pauses are never longer than this.
    pub fn pausing(pause_max: Duration) -> Self {
        Self { pause_max, ..Self::default() }
    }

    /// Leave to ask, or not now.
    pub fn admit(&mut self, now: Duration) -> Option<Pass> {
        match self.state {
            State::Closed { .. } => Some(Pass::Free),
            State::Open { until, pause } if until <= now => {
                self.state = State::Probing { pause };
                Some(Pass::Probe)
            }
            State::Open { .. } | State::Probing { .. } => None,
        }
    }

    /// What became of it. True when that has opened or closed the breaker. Whoever asked before it opened changes nothing.
    pub fn report(&mut self, now: Duration, pass: Pass, well: bool) -> bool {
        let next = match (self.state, pass) {
            (State::Closed { .. }, Pass::Free) if well => State::Closed { failures: 0 },
            (State::Closed { failures }, Pass::Free) if failures + 1 < BREAKER_FAILURES => {
                State::Closed { failures: failures + 1 }
            }
            (State::Closed { .. }, Pass::Free) => {
                let pause = BREAKER_PAUSE.0.min(self.pause_max);
                State::Open { until: now + pause, pause }
            }
            (State::Probing { .. }, Pass::Probe) if well => State::Closed { failures: 0 },
            (State::Probing { pause }, Pass::Probe) => {
                let pause = (2 * pause).min(self.pause_max);
                State::Open { until: now + pause, pause }
            }
            (other, _) => other,
        };
        let before = self.standing();
        self.state = next;
        let after = self.standing();
        before != after && (before == Standing::Closed || after == Standing::Closed)
    }

    /// How it stands.
    pub const fn standing(&self) -> Standing {
        match self.state {
            State::Closed { .. } => Standing::Closed,
            State::Open { .. } => Standing::Open,
            State::Probing { .. } => Standing::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn fail(breaker: &mut Breaker, now: Duration) -> bool {
        let pass = breaker.admit(now).unwrap();
        breaker.report(now, pass, false)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for left in (0..BREAKER_FAILURES).rev() {
            assert_eq!(fail(&mut breaker, ms(0)), left == 0);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            for _ in 1..BREAKER_FAILURES {
                fail(&mut breaker, ms(0));
            }
            let pass = breaker.admit(ms(0)).unwrap();
            assert!(!breaker.report(ms(0), pass, true));
        }
        assert_eq!(opened().standing(), Standing::Open);
    }

    #[test]
    fn one_finds_out_after_the_pause_and_the_others_wait_for_what_it_finds() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(ms(999)), None);
        assert_eq!(breaker.admit(ms(1_000)), Some(Pass::Probe));
        assert_eq!(breaker.admit(ms(1_000)), None);
        assert_eq!(breaker.standing(), Standing::HalfOpen);
        assert!(breaker.report(ms(1_100), Pass::Probe, true));
        assert_eq!(breaker.admit(ms(1_100)), Some(Pass::Free));
    }

    #[test]
    fn each_failure_to_find_it_well_doubles_the_pause_up_to_its_bound() {
        let mut breaker = opened();
        let mut now = BREAKER_PAUSE.0;
        let mut pause = BREAKER_PAUSE.0;
        for _ in 0..10 {
            assert_eq!(breaker.admit(now), Some(Pass::Probe));
            assert!(!breaker.report(now, Pass::Probe, false));
            pause = (2 * pause).min(BREAKER_PAUSE.1);
            assert_eq!(breaker.admit(now + pause - ms(1)), None);
            now += pause;
        }
        assert_eq!(pause, BREAKER_PAUSE.1);
    }

    #[test]
    fn who_asked_before_it_opened_neither_closes_nor_prolongs_it() {
        let mut breaker = Breaker::default();
        let early = breaker.admit(ms(0)).unwrap();
        for _ in 0..BREAKER_FAILURES {
            fail(&mut breaker, ms(0));
        }
        assert!(!breaker.report(ms(500), early, true));
        assert!(!breaker.report(ms(500), early, false));
        assert_eq!((breaker.admit(ms(900)), breaker.admit(ms(1_000))), (None, Some(Pass::Probe)));
        assert!(!breaker.report(ms(1_000), early, true));
        assert_eq!(breaker.standing(), Standing::HalfOpen);
    }
}
