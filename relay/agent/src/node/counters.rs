//! What is asked of nodes, counted by word and outcome.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    Publish,
    Read,
    Renew,
    Rights,
    Channels,
}

impl Word {
    const ALL: [Self; 5] = [Self::Publish, Self::Read, Self::Renew, Self::Rights, Self::Channels];

    /// As paths and metrics have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Renew => "renew",
            Self::Rights => "rights",
            Self::Channels => "channels",
        }
    }
}

/// How questions ended: answered, refused, or not known.
pub(crate) const ENDS: [&str; 3] = ["answered", "refused", "failed"];

/// Totals by word, in the order of [`ENDS`].
pub(crate) type Ends = Vec<(&'static str, [(&'static str, u64); ENDS.len()])>;

#[derive(Debug, Default)]
pub(super) struct Counters {
    ends: [[AtomicU64; ENDS.len()]; Word::ALL.len()],
    retries: AtomicU64,
}

impl Counters {
    pub(super) fn ended(&self, word: Word, end: usize) {
        self.ends[word as usize][end].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ends(&self) -> Ends {
        let of = |word: Word| {
            let totals = &self.ends[word as usize];
            (word.name(), std::array::from_fn(|end| (ENDS[end], totals[end].load(Ordering::Relaxed))))
        };
        Word::ALL.into_iter().map(of).collect()
    }

    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}
