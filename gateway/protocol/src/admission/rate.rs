//! Token buckets in eight bytes each: the moment at which a bucket will be full again says how full it is now.

use std::time::Duration;

/// How fast tokens come back, and how many a bucket holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rate {
    /// Between two tokens; 0: no limit.
    each_ns: u64,
    /// To fill an empty bucket.
    whole_ns: u64,
}

/// One bucket, full when made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bucket {
    full_at_ns: u64,
}

impl Rate {
    /// So many tokens in a time, of which a bucket holds `burst`, and at least one. 0 tokens: no limit.
    pub fn new(tokens: u32, time: Duration, burst: u32) -> Self {
        if tokens == 0 {
            return Self::default();
        }
        let each_ns = (nanoseconds(time) / u64::from(tokens)).max(1);
        Self { each_ns, whole_ns: each_ns.saturating_mul(u64::from(burst.max(1))) }
    }

    /// The part of one of several shards, between which a source's connections are spread.
    #[must_use]
    pub fn share(self, shards: u32) -> Self {
        let shards = u64::from(shards.max(1));
        let each_ns = self.each_ns.saturating_mul(shards);
        // The time to fill it stays: a bucket of one shard holds its part of the burst, and at least one token.
        Self { each_ns, whole_ns: self.whole_ns.max(each_ns) }
    }

    /// Whether there is a limit.
    pub const fn is_limited(self) -> bool {
        self.each_ns > 0
    }
}

impl Bucket {
    /// Takes a token if there is one.
    pub fn take(&mut self, at: Duration, rate: Rate) -> bool {
        let taken = self.has(at, rate);
        if taken {
            self.full_at_ns = self.full_at_ns.max(nanoseconds(at)).saturating_add(rate.each_ns);
        }
        taken
    }

    /// Whether there is a token.
    pub fn has(&self, at: Duration, rate: Rate) -> bool {
        let now = nanoseconds(at);
        let after = self.full_at_ns.max(now).saturating_add(rate.each_ns);
        after <= now.saturating_add(rate.whole_ns)
    }

    /// Whether it is as good as new.
    pub fn is_full(&self, at: Duration) -> bool {
        self.full_at_ns <= nanoseconds(at)
    }
}

/// 584 years fit.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_passes_and_then_as_many_as_come_back() {
        let rate = Rate::new(10, SECOND, 5);
        let mut bucket = Bucket::default();
        let mut at = 7 * SECOND;
        let passed = |bucket: &mut Bucket, at| (0..100).filter(|_| bucket.take(at, rate)).count();
        assert_eq!(passed(&mut bucket, at), 5);
        at += Duration::from_millis(250);
        assert_eq!(passed(&mut bucket, at), 2);
        assert!(!bucket.is_full(at));
        at += SECOND;
        assert!(bucket.is_full(at));
        assert_eq!(passed(&mut bucket, at), 5);
    }

    #[test]
    fn no_limit_is_no_limit() {
        let mut bucket = Bucket::default();
        assert!((0..1000).all(|_| bucket.take(Duration::ZERO, Rate::new(0, SECOND, 1))));
        assert!(bucket.is_full(Duration::ZERO));
    }

    #[test]
    fn shares_add_up_to_the_whole_and_are_never_nothing() {
        let share = Rate::new(100, SECOND, 40).share(4);
        let mut bucket = Bucket::default();
        assert_eq!((0..100).filter(|_| bucket.take(SECOND, share)).count(), 10);
        let mut bucket = Bucket::default();
        assert!(bucket.take(SECOND, Rate::new(1, SECOND, 1).share(64)));
        assert!(!bucket.take(SECOND, Rate::new(1, SECOND, 1).share(64)));
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_burst_and_rate_and_whoever_stays_below_gets_everything(
            tokens in 1u32..1000, burst in 1u32..100, gaps in prop::collection::vec(0u64..50_000, 1..300),
        ) {
            let rate = Rate::new(tokens, SECOND, burst);
            let (mut greedy, mut modest) = (Bucket::default(), Bucket::default());
            let (mut at, mut got, mut modest_at) = (Duration::ZERO, 0u64, Duration::ZERO);
            for gap in gaps {
                at += Duration::from_micros(gap);
                got += u64::from(greedy.take(at, rate));
                prop_assert!(got <= u64::from(burst) + (at.as_secs_f64() * f64::from(tokens) * 1.001) as u64 + 1);
                modest_at += SECOND / tokens;
                prop_assert!(modest.take(modest_at, rate));
            }
        }
    }
}
