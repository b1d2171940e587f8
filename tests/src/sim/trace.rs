//! What happened in a simulation, in order: hashed whole, its end kept for the report of a failure.

use std::{cell::RefCell, collections::VecDeque, fmt, rc::Rc, time::Duration};

/// Events kept for a report.
const KEPT: usize = 60;

/// One thing that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Event {
    /// Turn of the loop.
    pub(super) step: u32,
    /// Virtual time.
    pub(super) at: Duration,
    /// What.
    pub(super) what: &'static str,
    /// To whom: a client, a connection or a channel.
    pub(super) who: u64,
    /// How much, or with which outcome.
    pub(super) much: u64,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, at, what, who, much } = self;
        write!(f, "{step:>6} {:>9.3}s  {what} {who}: {much}", at.as_secs_f64())
    }
}

/// A handle on the trace of one simulation; all parts share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    step: u32,
    at: Duration,
    hash: u64,
    count: u64,
    last: VecDeque<Event>,
    aloud: bool,
}

impl Trace {
    /// Prints every event as it comes.
    pub(super) fn speak(&self) {
        self.0.borrow_mut().aloud = true;
    }

    /// Prints a line for whoever listens; no event.
    pub(super) fn say(&self, line: &str) {
        if self.0.borrow().aloud {
            println!("{line}");
        }
    }

    /// Where the simulation is.
    pub(super) fn stand(&self, step: u32, at: Duration) {
        let mut inner = self.0.borrow_mut();
        inner.step = step;
        inner.at = at;
    }

    /// Something happened.
    pub(super) fn note(&self, what: &'static str, who: u64, much: u64) {
        let mut inner = self.0.borrow_mut();
        let event = Event { step: inner.step, at: inner.at, what, who, much };
        let mut hash = inner.hash ^ what.len() as u64 ^ u64::from(what.as_bytes()[0]) << 32;
        for word in [u64::from(event.step), event.at.as_nanos() as u64, who, much] {
            hash = (hash ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(29);
        }
        inner.hash = hash;
        inner.count += 1;
        if inner.last.len() == KEPT {
            inner.last.pop_front();
        }
        inner.last.push_back(event);
        if inner.aloud {
            println!("{event}");
        }
    }

    /// The turn it is in.
    pub(super) fn step(&self) -> u32 {
        self.0.borrow().step
    }

    /// Of all events so far, with their number.
    pub(super) fn hash(&self) -> (u64, u64) {
        let inner = self.0.borrow();
        (inner.hash, inner.count)
    }

    /// The last events.
    pub(super) fn last(&self) -> Vec<String> {
        self.0.borrow().last.iter().map(Event::to_string).collect()
    }
}
