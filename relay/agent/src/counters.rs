//! What the program itself counts, beside the bus: tokens and signatures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::signer::Refusal;

/// Upper bounds of the signature-time histogram's buckets in microseconds; one more bucket counts what is above.
pub(crate) const SIGN_BUCKETS_US: [u64; 10] = [10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 100_000];

/// Totals since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    verified: AtomicU64,
    tokens_refused: AtomicU64,
    buckets: [AtomicU64; SIGN_BUCKETS_US.len() + 1],
    sign_us: AtomicU64,
    sign_refusals: [AtomicU64; 4],
    links_refused: AtomicU64,
    fetches: [AtomicU64; 2],
}

/// A moment's totals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    pub(crate) verified: u64,
    pub(crate) tokens_refused: u64,
    pub(crate) sign_buckets: [u64; SIGN_BUCKETS_US.len() + 1],
    pub(crate) sign_us: u64,
    /// By cause: no such key, scheme, shape, failed.
    pub(crate) sign_refusals: [u64; 4],
    pub(crate) links_refused: u64,
    /// Fetches of keys: those that failed, those that did not.
    pub(crate) fetches: [u64; 2],
}

impl Counters {
    pub(crate) fn verified(&self) {
        self.verified.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn token_refused(&self) {
        self.tokens_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn link_refused(&self) {
        self.links_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn fetched(&self, well: bool) {
        self.fetches[usize::from(well)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn signed(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = SIGN_BUCKETS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sign_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(crate) fn sign_refused(&self, refusal: Refusal) {
        self.sign_refusals[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn totals(&self) -> Totals {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            verified: load(&self.verified),
            tokens_refused: load(&self.tokens_refused),
            sign_buckets: std::array::from_fn(|i| load(&self.buckets[i])),
            sign_us: load(&self.sign_us),
            sign_refusals: std::array::from_fn(|i| load(&self.sign_refusals[i])),
            links_refused: load(&self.links_refused),
            fetches: std::array::from_fn(|i| load(&self.fetches[i])),
        }
    }
}
