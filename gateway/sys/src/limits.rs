//! Bounds and fixed numbers of the system layer.

use std::time::Duration;

/// Events taken by one `wait` unless told: enough that a busy loop rarely calls twice, little enough to stay in cache.
pub const EVENTS_DEFAULT: usize = 1024;

/// Seconds of linger that turn a close into a reset.
pub const LINGER_RESET: i32 = 0;

/// How long the process that connects to the relay may take to answer; it only has to be scheduled.
pub(crate) const OPENER_PATIENCE: Duration = Duration::from_millis(500);

/// Bytes read of one `/proc` file.
pub(crate) const PROC_BYTES_MAX: u64 = 64 * 1024;

/// `smaps_rollup`, of which kernels write about 700 bytes.
pub(crate) const ROLLUP_BYTES_MAX: usize = 4096;

/// Retries of an interrupted `getrandom` before giving up; signals arrive far apart.
pub(crate) const RANDOM_RETRIES_MAX: u32 = 1000;

/// The kernel's highest process number on 64 bits (`PID_MAX_LIMIT`).
pub(crate) const PID_MAX: u32 = 4 * 1024 * 1024;
