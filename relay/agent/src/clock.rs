//! The two clocks: monotonic time since the start, which the bus counts in, and Unix time, which tokens count in.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// When the program started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Starts counting.
    #[allow(clippy::disallowed_methods, reason = "the program's one monotonic clock")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.0.elapsed()
    }

    /// Unix seconds.
    #[allow(clippy::disallowed_methods, reason = "the program's one wall clock")]
    pub(crate) fn unix(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}
