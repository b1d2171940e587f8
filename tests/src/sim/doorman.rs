//! What the rate of a source promises, kept count of beside the loop: nobody beyond it comes in, and everybody within it does unless
//! another rule of the door stands against them. Counts tokens, where the loop keeps times.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use sys::Handle;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Doorman {
    /// Between two tokens of a source; zero: no rate.
    each: Duration,
    burst: u32,
    /// When a source was last looked at, and its tokens then, as the time they took to come.
    tokens: BTreeMap<IpAddr, (Duration, Duration)>,
    /// Accepted, and neither let in nor turned away.
    fresh: Option<(Handle, IpAddr)>,
    /// Turned away with a token left.
    pub(super) refused_within: u64,
}

impl Doorman {
    /// So many per second from each source, so many at once.
    pub(super) fn new(rate: u32, burst: u32) -> Self {
        let each = if rate == 0 { Duration::ZERO } else { Duration::from_secs(1) / rate };
        Self { each, burst, ..Self::default() }
    }

    pub(super) fn accepted(&mut self, handle: Handle, source: IpAddr) {
        self.fresh = Some((handle, source));
    }

    /// A connection is watched: if it is the one just accepted, it has been let in. An error names the broken promise.
    pub(super) fn watched(&mut self, now: Duration, handle: Handle) -> Result<(), String> {
        let Some((_, source)) = self.fresh.take_if(|fresh| fresh.0 == handle) else { return Ok(()) };
        let each = self.each;
        let tokens = self.tokens(now, source);
        *tokens = tokens.checked_sub(each).ok_or_else(|| format!("{source} came in beyond its rate"))?;
        Ok(())
    }

    /// A connection is reset: if it is the one just accepted, it has been turned away.
    pub(super) fn reset(&mut self, now: Duration, handle: Handle) {
        if let Some((_, source)) = self.fresh.take_if(|fresh| fresh.0 == handle) {
            let each = self.each;
            self.refused_within += u64::from(*self.tokens(now, source) >= each);
        }
    }

    /// Sources that have come.
    pub(super) fn sources(&self) -> usize {
        self.tokens.len()
    }

    fn tokens(&mut self, now: Duration, source: IpAddr) -> &mut Duration {
        let most = self.each * self.burst;
        let (last, tokens) = self.tokens.entry(source).or_insert((now, most));
        *tokens = (*tokens + now.saturating_sub(*last)).min(most);
        *last = now;
        tokens
    }
}
