//! What the rules of the door promise, kept count of beside the loop: nobody beyond a rate comes in nor anybody who is listed, and
//! everybody within does unless another rule stands against them. Counts tokens, where the loop keeps times.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use sys::Handle;
use wire::admission::{Admission, Prefix};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Doorman {
    source: Rate,
    site: Rate,
    all: Rate,
    /// The lists in force.
    pub(super) lists: Admission,
    /// Accepted, and neither let in nor turned away.
    fresh: Option<(Handle, IpAddr)>,
    /// Turned away with a token left of each rate.
    pub(super) refused_within: u64,
}

/// One of the rates.
#[derive(Debug, Default)]
struct Rate {
    /// Between two tokens; zero: no rate.
    each: Duration,
    burst: u32,
    /// When somebody was last looked at, and the tokens then, as the time they took to come.
    tokens: BTreeMap<u128, (Duration, Duration)>,
}

impl Doorman {
    /// So many per second and so many at once: from each source, from each site, from everywhere.
    pub(super) fn new(rates: [(u32, u32); 3]) -> Self {
        let [source, site, all] = rates.map(|(rate, burst)| {
            let each = if rate == 0 { Duration::ZERO } else { Duration::from_secs(1) / rate };
            Rate { each, burst, tokens: BTreeMap::new() }
        });
        Self { source, site, all, ..Self::default() }
    }

    pub(super) fn accepted(&mut self, handle: Handle, source: IpAddr) {
        self.fresh = Some((handle, source));
    }

    /// A connection is watched: if it is the one just accepted, it has been let in. An error names the broken promise.
    pub(super) fn watched(&mut self, now: Duration, handle: Handle) -> Result<(), String> {
        let Some((_, source)) = self.fresh.take_if(|fresh| fresh.0 == handle) else { return Ok(()) };
        if self.is_denied(source) {
            return Err(format!("{source} came in, which the list denies"));
        }
        for (rate, key) in self.rates(source) {
            let each = rate.each;
            let tokens = rate.tokens(now, key);
            *tokens = tokens.checked_sub(each).ok_or_else(|| format!("{source} came in beyond its rate"))?;
        }
        Ok(())
    }

    /// A connection is reset: if it is the one just accepted, it has been turned away.
    pub(super) fn reset(&mut self, now: Duration, handle: Handle) {
        let Some((_, source)) = self.fresh.take_if(|fresh| fresh.0 == handle) else { return };
        let denied = self.is_denied(source);
        let mut within = !denied;
        for (rate, key) in self.rates(source) {
            let each = rate.each;
            within &= *rate.tokens(now, key) >= each;
        }
        self.refused_within += u64::from(within);
    }

    /// Sources that have come, and their sites.
    pub(super) fn sources(&self) -> usize {
        self.source.tokens.len() + self.site.tokens.len()
    }

    fn is_denied(&self, source: IpAddr) -> bool {
        is_in(&self.lists.deny, source) && !is_in(&self.lists.allow, source)
    }

    /// The rates that hold for a source, each with its key there.
    fn rates(&mut self, source: IpAddr) -> impl Iterator<Item = (&mut Rate, u128)> {
        let stranger = !is_in(&self.lists.allow, source);
        let (number, site) = match source {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), None),
            IpAddr::V6(v6) => (v6.to_bits() >> 64, Some(v6.to_bits() >> 80)),
        };
        let site = site.map(|site| (&mut self.site, site));
        let own = [Some((&mut self.source, number)), site].into_iter().flatten();
        own.filter(move |_| stranger).chain([(&mut self.all, 0)])
    }
}

impl Rate {
    fn tokens(&mut self, now: Duration, key: u128) -> &mut Duration {
        let most = self.each * self.burst;
        let (last, tokens) = self.tokens.entry(key).or_insert((now, most));
        *tokens = (*tokens + now.saturating_sub(*last)).min(most);
        *last = now;
        tokens
    }
}

fn is_in(list: &[Prefix], source: IpAddr) -> bool {
    let number = match source {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    list.iter().any(|prefix| (prefix.range().0..=prefix.range().1).contains(&number))
}
