//! The part of `idle` on one thread: keeps connections, and on the first thread tells every channel once when ordered.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use protocol::client::command::{Command, Publish, Request};
use protocol::client::received::Answer;

use crate::connection::{FIRST_FREE_ID, Line, Listener};
use crate::limits::{BROADCAST_WINDOW, CODES_MAX};
use crate::pattern::Pattern;
use crate::task::{Fate, Gauges, Order, PUBLISHER, Post, Task};
use crate::who::{Who, identity_by_who};

#[derive(Debug)]
pub(super) struct Keeper {
    who: Who,
    /// What the final broadcast says; nothing else does.
    nonce: String,
    gauges: Arc<Gauges>,
    broadcast: Option<Broadcast>,
    now: Duration,
    told: u64,
    /// Of those, not yet in the gauge.
    fresh: u64,
    last: Option<Duration>,
}

/// Telling every channel once, a window of them at a time.
#[derive(Debug)]
struct Broadcast {
    channels: Pattern,
    distinct: u32,
    next: u32,
    answered: u32,
    publisher: Option<u32>,
    began: Option<Duration>,
    /// Refusals by code.
    errors: Vec<(u32, u64)>,
}

/// What came of the final broadcast.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) began: bool,
    pub(super) count: u64,
    pub(super) last: Option<Duration>,
    pub(super) errors: Vec<(u32, u64)>,
}

impl Told {
    /// All threads together.
    pub(super) fn sum(keepers: &mut [Keeper]) -> Self {
        let mut sum = Self::default();
        let broadcast = keepers.iter_mut().find_map(|keeper| keeper.broadcast.as_mut());
        let began = broadcast.and_then(|broadcast| {
            sum.errors = std::mem::take(&mut broadcast.errors);
            broadcast.began
        });
        sum.began = began.is_some();
        sum.count = keepers.iter().map(|keeper| keeper.told).sum();
        let last = keepers.iter().filter_map(|keeper| keeper.last).max();
        sum.last = last.zip(began).map(|(last, began)| last.saturating_sub(began));
        sum
    }
}

impl Keeper {
    pub(super) fn new(
        who: Who,
        broadcast: Option<(Pattern, u32)>,
        nonce: String,
        gauges: Arc<Gauges>,
    ) -> Self {
        let broadcast = broadcast.map(|(channels, distinct)| Broadcast {
            channels,
            distinct,
            next: 0,
            answered: 0,
            publisher: None,
            began: None,
            errors: Vec::new(),
        });
        Self { who, nonce, gauges, broadcast, now: Duration::ZERO, told: 0, fresh: 0, last: None }
    }

    /// How many came back to everything, and how many publications that was.
    pub(super) fn recovered(&self) -> (u64, u64) {
        self.who.recovered
    }

    pub(super) fn ping_s(&self) -> u32 {
        self.who.ping_s
    }
}

impl Broadcast {
    fn post(&mut self, data: &[u8], post: &mut Post) {
        let Some(publisher) = self.publisher.filter(|_| self.began.is_some()) else { return };
        while self.next < self.distinct && ((self.next - self.answered) as usize) < BROADCAST_WINDOW {
            let channel = self.channels.name(self.next).into();
            let request = Request::Publish(Publish { channel, data });
            post.send(publisher, &Command { id: FIRST_FREE_ID + self.next, request });
            self.next += 1;
        }
    }

    fn refused(&mut self, code: u32) {
        if let Some((_, count)) = self.errors.iter_mut().find(|(known, _)| *known == code) {
            *count += 1;
        } else if self.errors.len() < CODES_MAX {
            self.errors.push((code, 1));
        }
    }
}

identity_by_who!(Keeper);

impl Listener for Keeper {
    fn publication(&mut self, line: &mut Line<'_>, data: &[u8]) {
        if !*line.marked && data == self.nonce.as_bytes() {
            *line.marked = true;
            self.told += 1;
            self.fresh += 1;
            self.last = Some(self.now);
        }
    }

    fn answer(&mut self, line: &mut Line<'_>, _id: u32, answer: &Answer<'_>) {
        let Some(broadcast) = self.broadcast.as_mut().filter(|_| line.number == PUBLISHER) else { return };
        broadcast.answered += 1;
        if let Answer::Error(failure) = answer {
            broadcast.refused(failure.code);
        }
        if broadcast.answered == broadcast.distinct && !broadcast.errors.is_empty() {
            // Some will never hear it, so there is nothing to wait for.
            self.gauges.complete.store(true, Relaxed);
        }
    }
}

impl Task for Keeper {
    fn opened(&mut self, line: &mut Line<'_>, _took: Duration, _now: Duration) -> Fate {
        if let Some(broadcast) = self.broadcast.as_mut().filter(|_| line.number == PUBLISHER) {
            broadcast.publisher = Some(line.index);
        }
        Fate::Keep
    }

    fn lost(&mut self, _index: u32, number: u32, _now: Duration) {
        if let Some(broadcast) = self.broadcast.as_mut().filter(|_| number == PUBLISHER) {
            broadcast.publisher = None;
            self.gauges.complete.store(true, Relaxed);
        }
    }

    fn order(&mut self, order: Order, now: Duration) {
        if let (Order::Broadcast, Some(broadcast)) = (order, &mut self.broadcast) {
            broadcast.began = Some(now);
        }
    }

    fn turn(&mut self, post: &mut Post, _now: Duration) {
        if let Some(broadcast) = &mut self.broadcast {
            broadcast.post(self.nonce.as_bytes(), post);
        }
        if self.fresh > 0 {
            self.gauges.done.fetch_add(self.fresh, Relaxed);
            self.fresh = 0;
        }
    }

    fn deadline(&self) -> Option<Duration> {
        None
    }

    fn clock(&mut self, now: Duration) {
        self.now = now;
    }
}
