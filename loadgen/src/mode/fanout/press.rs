//! The publisher of a fan-out: which publications are in flight, which are complete, which come next.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use hdrhistogram::Histogram;
use protocol::client::command::{Command, Publish, Request};

use super::board::Board;
use crate::connection::FIRST_FREE_ID;
use crate::latency;
use crate::limits::{CODES_MAX, PUBLICATION_TIMEOUT};
use crate::task::Post;

/// Publishes numbered payloads while told to.
#[derive(Debug)]
pub(super) struct Press {
    channel: String,
    payload_bytes: usize,
    window: usize,
    interval: Option<Duration>,
    count: Option<u64>,
    /// The connection, once it is open.
    publisher: Option<u32>,
    running: bool,
    measuring: bool,
    next: u64,
    due: Duration,
    flying: VecDeque<Flying>,
    data: Vec<u8>,
    pressed: Pressed,
}

#[derive(Debug, Clone, Copy)]
struct Flying {
    number: u64,
    sent: Duration,
    /// Subscribers when it was sent.
    audience: u32,
    /// Those that had gone by then.
    gone: u32,
}

/// What came of the publications.
#[derive(Debug, Clone)]
pub(super) struct Pressed {
    /// In the measured time.
    pub(super) completed: u64,
    pub(super) incomplete: u64,
    /// Deliveries that the incomplete ones lack.
    pub(super) missing: u64,
    /// From sending to the last subscriber, in the measured time.
    pub(super) spans: Histogram<u64>,
    /// Refusals by code.
    pub(super) errors: Vec<(u32, u64)>,
}

impl Default for Pressed {
    fn default() -> Self {
        Self { completed: 0, incomplete: 0, missing: 0, spans: latency::histogram(), errors: Vec::new() }
    }
}

impl Press {
    pub(super) fn new(
        channel: &str,
        payload_bytes: usize,
        window: usize,
        rate: Option<f64>,
        count: Option<u64>,
    ) -> Self {
        Self {
            channel: channel.to_owned(),
            payload_bytes,
            window,
            interval: rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            count,
            publisher: None,
            running: false,
            measuring: false,
            next: 0,
            due: Duration::ZERO,
            flying: VecDeque::with_capacity(window),
            data: Vec::with_capacity(payload_bytes),
            pressed: Pressed::default(),
        }
    }

    /// The publisher's connection is open, or gone.
    pub(super) fn set_publisher(&mut self, index: Option<u32>) {
        self.publisher = index;
    }

    /// From now on it publishes.
    pub(super) fn run(&mut self, now: Duration) {
        self.running = true;
        self.due = now;
    }

    /// The measured time begins, or ends and publishing with it.
    pub(super) fn measure(&mut self, on: bool) {
        self.measuring = on;
        self.running &= on;
    }

    /// Takes the answer to a publication that was refused: it will reach nobody.
    pub(super) fn refused(&mut self, id: u32, code: u32) {
        self.flying.retain(|one| command_id(one.number) != id);
        if let Some((_, count)) = self.pressed.errors.iter_mut().find(|(known, _)| *known == code) {
            *count += 1;
        } else if self.pressed.errors.len() < CODES_MAX {
            self.pressed.errors.push((code, 1));
        }
    }

    /// Retires what everybody has, gives up on what takes too long, and sends what may be sent.
    pub(super) fn turn(&mut self, board: &Board, post: &mut Post, now: Duration) {
        self.retire(board, now);
        let Some(publisher) = self.publisher.filter(|_| self.running) else { return };
        while self.flying.len() < self.window && self.is_due(now) {
            let number = self.next;
            self.next += 1;
            if let Some(interval) = self.interval {
                // A publisher that fell behind goes on from now: it does not catch up in a burst.
                self.due = (self.due + interval).max(now.saturating_sub(interval));
            }
            fill(&mut self.data, number, self.payload_bytes);
            board.publish(number, now);
            let (audience, gone) = (board.subscribers(), board.gone());
            self.flying.push_back(Flying { number, sent: now, audience, gone });
            let channel = self.channel.as_str().into();
            let request = Request::Publish(Publish { channel, data: &self.data });
            post.send(publisher, &Command { id: command_id(number), request });
        }
    }

    /// When the next one is due, if they have a rate.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let paced = self.running && self.interval.is_some() && self.flying.len() < self.window;
        paced.then_some(self.due)
    }

    /// Whether as many as were asked for have been sent and none is in flight.
    pub(super) fn is_done(&self) -> bool {
        self.running && self.flying.is_empty() && self.count.is_some_and(|count| self.next >= count)
    }

    /// What came of it so far.
    pub(super) fn pressed(&self) -> Pressed {
        self.pressed.clone()
    }

    fn is_due(&self, now: Duration) -> bool {
        self.count.is_none_or(|count| self.next < count) && (self.interval.is_none() || self.due <= now)
    }

    fn retire(&mut self, board: &Board, now: Duration) {
        let gone = board.gone();
        let (measuring, pressed) = (self.measuring, &mut self.pressed);
        self.flying.retain(|one| {
            // Who left in the meantime is not waited for.
            let reached = board.delivered(one.number);
            let age = now.saturating_sub(one.sent);
            if reached + (gone - one.gone) >= one.audience {
                if measuring {
                    pressed.completed += 1;
                    latency::record(&mut pressed.spans, age, 1);
                }
                return false;
            }
            if age > PUBLICATION_TIMEOUT {
                pressed.incomplete += 1;
                pressed.missing += u64::from(one.audience - reached);
                return false;
            }
            true
        });
    }
}

/// The number of the publication that `data` is.
pub(super) fn number(data: &[u8]) -> Option<u64> {
    let digits = data.strip_prefix(PREFIX)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

const PREFIX: &[u8] = b"{\"n\":";

/// A JSON object of exactly `bytes` bytes that holds `number`.
fn fill(data: &mut Vec<u8>, number: u64, bytes: usize) {
    const MIDDLE: &[u8] = b",\"p\":\"";
    const END: &[u8] = b"\"}";
    data.clear();
    data.extend_from_slice(PREFIX);
    data.extend_from_slice(number.to_string().as_bytes());
    data.extend_from_slice(MIDDLE);
    data.resize(bytes.saturating_sub(END.len()).max(data.len()), b'x');
    data.extend_from_slice(END);
}

/// Ids come round after four thousand million publications.
fn command_id(number: u64) -> u32 {
    FIRST_FREE_ID + (number % u64::from(u32::MAX - FIRST_FREE_ID)) as u32
}
