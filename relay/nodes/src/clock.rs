//! The two clocks: monotonic time since the start, which ages and limits count in, and Unix time, which everything that is stored has.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::UnixMs;

/// When the program started.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts counting.
    #[allow(clippy::disallowed_methods, reason = "the program's one monotonic clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }

    /// Unix milliseconds.
    #[allow(clippy::disallowed_methods, reason = "the program's one wall clock")]
    pub fn unix(&self) -> UnixMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMs::try_from(since.as_millis()).unwrap_or(UnixMs::MAX)
    }
}
