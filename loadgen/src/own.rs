//! Watches this program itself: how much of the time each thread used or wanted a core, and how long its turns were, so that
//! a run can say when it measured the generator rather than the server.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::latency;
use crate::limits::{OWN_LOAD_MAX, OWN_TURN_P99_MAX};

/// What one thread did in the measured time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct OwnLoad {
    /// Share of the time it ran, 0 to 1.
    pub busy: f64,
    /// Share of the time it was ready to run but had no core.
    pub waiting: f64,
    /// 99th percentile of the time from readiness being reported to everything being done about it.
    pub turn_p99_ms: f64,
}

/// Measures one thread from its birth on; belongs to that thread.
#[derive(Debug)]
pub struct Watch {
    began: Duration,
    cpu: Duration,
    waited: Option<Duration>,
    turns: Histogram<u64>,
}

impl Watch {
    /// Starts at `now` of the thread's clock.
    pub fn start(now: Duration) -> Self {
        Self { began: now, cpu: sys::thread_cpu(), waited: waited(), turns: latency::histogram() }
    }

    /// Notes one turn.
    pub fn turn(&mut self, took: Duration) {
        latency::record(&mut self.turns, took, 1);
    }

    /// What was measured up to `now`.
    pub fn load(&self, now: Duration) -> OwnLoad {
        let wall = now.saturating_sub(self.began).as_secs_f64().max(1e-6);
        let share = |time: Duration| (time.as_secs_f64() / wall).min(1.0);
        let waiting = match (self.waited, waited()) {
            (Some(before), Some(after)) => share(after.saturating_sub(before)),
            _ => 0.0,
        };
        OwnLoad {
            busy: share(sys::thread_cpu().saturating_sub(self.cpu)),
            waiting,
            turn_p99_ms: latency::ms(&self.turns, 0.99),
        }
    }
}

impl OwnLoad {
    /// Why figures taken by the clock are in doubt; `None` when they are not.
    pub fn doubt(&self, thread: usize) -> Option<String> {
        let wanted = self.busy + self.waiting;
        if wanted > OWN_LOAD_MAX {
            return Some(format!(
                "load generator thread {thread} ran {:.0} % of the time and waited for a core {:.0} % (bound: {:.0} % together)",
                self.busy * 100.0,
                self.waiting * 100.0,
                OWN_LOAD_MAX * 100.0
            ));
        }
        let bound = OWN_TURN_P99_MAX.as_secs_f64() * 1e3;
        (self.turn_p99_ms > bound).then(|| {
            format!(
                "load generator thread {thread} took {:.0} ms per turn at the 99th percentile (bound: {bound:.0} ms)",
                self.turn_p99_ms
            )
        })
    }
}

/// Time the calling thread was ready to run without running, if this kernel tells.
fn waited() -> Option<Duration> {
    let mut text = String::new();
    File::open("/proc/thread-self/schedstat").ok()?.take(256).read_to_string(&mut text).ok()?;
    text.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spinning_thread_is_seen_as_busy_or_waiting() {
        let watch = Watch::start(Duration::ZERO);
        let cpu = sys::thread_cpu();
        while sys::thread_cpu() - cpu < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        let load = watch.load(Duration::from_millis(31));
        assert!(load.busy > 0.9, "{load:?}");
        assert!(load.doubt(3).unwrap().starts_with("load generator thread 3 ran"));
    }

    #[test]
    fn an_idle_thread_is_not_doubted() {
        let watch = Watch::start(Duration::ZERO);
        assert_eq!(watch.load(Duration::from_secs(10)).doubt(0), None);
    }

    #[test]
    fn long_turns_are_doubted_even_when_the_thread_is_mostly_idle() {
        let mut watch = Watch::start(Duration::ZERO);
        for _ in 0..100 {
            watch.turn(Duration::from_millis(80));
        }
        assert!(watch.load(Duration::from_secs(1000)).doubt(0).unwrap().contains("per turn"));
    }
}
