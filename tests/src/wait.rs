//! Waiting for another process: a condition, looked at again and again until a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks at a condition that nothing announces.
const PAUSE: Duration = Duration::from_millis(10);

/// The clock of tests and benches of real programs.
#[allow(clippy::disallowed_methods, reason = "real programs run in real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits until `look` finds something; the error names `what` did not come.
pub fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = now() + within;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if now() >= deadline {
            bail!("waited {within:?} for {what}");
        }
        pause(PAUSE);
    }
}

/// Lets time pass where the passing itself is what matters: a rate, a slow reader, a measured interval.
#[allow(clippy::disallowed_methods, reason = "the one place where tests of real programs let time pass")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
