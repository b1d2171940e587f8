//! Time as the pure code sees it: given, never read.

use std::time::Duration;

/// The moment of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Monotonic, since the shard's birth.
    pub at: Duration,
    /// Wall clock, Unix seconds; only tokens and expiries look at it.
    pub unix: u64,
}

/// Deadlines are kept in ticks of 100 ms, so that one takes four bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub struct Tick(pub u32);

/// Length of a tick.
pub const TICK_MS: u64 = 100;

impl Tick {
    /// No deadline.
    pub const NEVER: Self = Self(u32::MAX);

    /// The tick that has ended `ms` from `now`; 13 years fit.
    pub fn after(now: Now, ms: u64) -> Self {
        let ticks = (now.at.as_millis() as u64 + ms).div_ceil(TICK_MS);
        Self(u32::try_from(ticks).map_or(u32::MAX - 1, |t| t.min(u32::MAX - 1)))
    }

    /// The last tick that has ended by `now`.
    pub fn current(now: Now) -> Self {
        Self(u32::try_from(now.at.as_millis() as u64 / TICK_MS).map_or(u32::MAX - 1, |t| t.min(u32::MAX - 1)))
    }

    /// Later or earlier by some milliseconds (rounded down to ticks), saturating.
    pub const fn shift(self, ms: i64) -> Self {
        Self(self.0.saturating_add_signed((ms / TICK_MS as i64) as i32))
    }
}
