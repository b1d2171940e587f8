//! The part of `rpc` on one thread: each connection's commands in flight, when each was sent, and what came back.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hdrhistogram::Histogram;
use protocol::client::command::{Command, History, Publish, Request, Rpc};
use protocol::client::received::Answer;

use crate::connection::{FIRST_FREE_ID, Line, Listener};
use crate::latency;
use crate::limits::CODES_MAX;
use crate::options::CommandKind;
use crate::pattern::Pattern;
use crate::task::{Fate, Gauges, Order, Post, Task};
use crate::who::{Who, identity_by_who};

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Question {
    kind: CommandKind,
    method: String,
    channel: Pattern,
    data: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Asker {
    who: Who,
    question: Question,
    in_flight: usize,
    gauges: Arc<Gauges>,
    now: Duration,
    running: bool,
    measuring: bool,
    /// When each command in flight was sent: `in_flight` of them per connection, by its index.
    sent: Vec<Duration>,
    /// Connections that are open and have not asked yet.
    waiting: Vec<u32>,
    latencies: Histogram<u64>,
    errors: Vec<(u32, u64)>,
    fresh: u64,
    /// Numbers of the connections, by index.
    numbers: Vec<u32>,
}

impl Question {
    pub(super) fn new(kind: CommandKind, method: &str, channel: Pattern, payload_bytes: usize) -> Self {
        // A JSON string, so that any size from two bytes on is possible.
        let mut data = vec![b'x'; payload_bytes.max(2)];
        data[0] = b'"';
        *data.last_mut().expect("invariant: at least two bytes") = b'"';
        Self { kind, method: method.to_owned(), channel, data }
    }

    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            CommandKind::Rpc => "rpc",
            CommandKind::Publish => "publish",
            CommandKind::History => "history",
            CommandKind::Presence => "presence",
        }
    }

    fn command(&self, id: u32, number: u32) -> Command<'_> {
        let channel = || self.channel.name(number).into();
        let request = match self.kind {
            CommandKind::Rpc => Request::Rpc(Rpc { method: self.method.as_str().into(), data: &self.data }),
            CommandKind::Publish => Request::Publish(Publish { channel: channel(), data: &self.data }),
            CommandKind::History => Request::History(History {
                channel: channel(),
                limit: 1,
                reverse: true,
                ..History::default()
            }),
            CommandKind::Presence => Request::Presence { channel: channel() },
        };
        Command { id, request }
    }
}

impl Asker {
    pub(super) fn new(who: Who, question: Question, in_flight: usize, gauges: Arc<Gauges>) -> Self {
        Self {
            who,
            question,
            in_flight,
            gauges,
            now: Duration::ZERO,
            running: false,
            measuring: false,
            sent: Vec::new(),
            waiting: Vec::new(),
            latencies: latency::histogram(),
            errors: Vec::new(),
            fresh: 0,
            numbers: Vec::new(),
        }
    }

    pub(super) fn latencies(&self) -> &Histogram<u64> {
        &self.latencies
    }

    pub(super) fn errors(&self) -> &[(u32, u64)] {
        &self.errors
    }

    fn failed(&mut self, code: u32) {
        if let Some((_, count)) = self.errors.iter_mut().find(|(known, _)| *known == code) {
            *count += 1;
        } else if self.errors.len() < CODES_MAX {
            self.errors.push((code, 1));
        }
    }

    /// Where the command with `id` on connection `index` is noted; `None` for an id that was never sent.
    fn slot(&self, index: u32, id: u32) -> Option<usize> {
        let place = id.checked_sub(FIRST_FREE_ID)? as usize % self.in_flight;
        Some(index as usize * self.in_flight + place)
    }

    /// The id that takes the place of `id`: the same remainder, so the same slot.
    fn successor(&self, id: u32) -> u32 {
        let place = id.wrapping_sub(FIRST_FREE_ID) as usize % self.in_flight;
        let step = u32::try_from(self.in_flight).expect("invariant: at most IN_FLIGHT_MAX");
        let first = FIRST_FREE_ID + u32::try_from(place).expect("invariant: below IN_FLIGHT_MAX");
        id.checked_add(step).unwrap_or(first)
    }
}

identity_by_who!(Asker);

impl Listener for Asker {
    fn publication(&mut self, _line: &mut Line<'_>, _data: &[u8]) {}

    fn answer(&mut self, line: &mut Line<'_>, id: u32, answer: &Answer<'_>) {
        let Some(slot) = self.slot(line.index, id).filter(|&slot| slot < self.sent.len()) else { return };
        if self.measuring {
            latency::record(&mut self.latencies, self.now.saturating_sub(self.sent[slot]), 1);
            if let Answer::Error(failure) = answer {
                self.failed(failure.code);
            }
        }
        self.fresh += 1;
        if self.running {
            self.sent[slot] = self.now;
            line.frames.command(&self.question.command(self.successor(id), line.number));
        }
    }
}

impl Task for Asker {
    fn opened(&mut self, line: &mut Line<'_>, _took: Duration, now: Duration) -> Fate {
        let slots = (line.index as usize + 1) * self.in_flight;
        if self.sent.len() < slots {
            self.sent.resize(slots, now);
            self.numbers.resize(line.index as usize + 1, 0);
        }
        self.numbers[line.index as usize] = line.number;
        self.waiting.push(line.index);
        Fate::Keep
    }

    fn lost(&mut self, index: u32, _number: u32, _now: Duration) {
        self.waiting.retain(|&waiting| waiting != index);
    }

    fn order(&mut self, order: Order, _now: Duration) {
        match order {
            Order::Go => self.running = true,
            Order::Mark => self.measuring = true,
            Order::Stop => (self.running, self.measuring) = (false, false),
            _ => {}
        }
    }

    fn turn(&mut self, post: &mut Post, now: Duration) {
        if self.running {
            for index in std::mem::take(&mut self.waiting) {
                for id in (FIRST_FREE_ID..).take(self.in_flight) {
                    if let Some(slot) = self.slot(index, id) {
                        self.sent[slot] = now;
                    }
                    post.send(index, &self.question.command(id, self.numbers[index as usize]));
                }
            }
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
