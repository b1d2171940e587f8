//! How often the server API was asked for what, and with which result.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Method;

/// Results: 0 is a good one, others are error codes. What is none of these counts as an internal error.
const RESULTS: [u16; 10] = [0, 100, 102, 103, 104, 106, 107, 108, 111, 112];

/// Why a request was refused before its method was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unserved {
    /// No key, or another one.
    Key,
    /// No such method.
    Method,
    /// A body that is too large, late or no JSON.
    Body,
}

/// Totals since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: [[AtomicU64; RESULTS.len()]; Method::ALL.len()],
    unserved: [AtomicU64; 3],
}

impl Counters {
    pub(super) fn served(&self, method: Method, result: u16) {
        let place = RESULTS.iter().position(|code| *code == result).unwrap_or(1);
        self.requests[method as usize][place].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unserved(&self, why: Unserved) {
        self.unserved[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Method, result and count of all that have happened.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (&'static str, String, u64)> {
        Method::ALL.iter().zip(&self.requests).flat_map(|(method, results)| {
            RESULTS.iter().zip(results).filter_map(|(code, count)| {
                let count = count.load(Ordering::Relaxed);
                let result = if *code == 0 { "ok".to_owned() } else { code.to_string() };
                (count > 0).then_some((method.name(), result, count))
            })
        })
    }

    /// By cause.
    pub(crate) fn refused(&self) -> [(&'static str, u64); 3] {
        let [key, method, body] = &self.unserved;
        [("key", key), ("method", method), ("body", body)]
            .map(|(cause, count)| (cause, count.load(Ordering::Relaxed)))
    }
}
