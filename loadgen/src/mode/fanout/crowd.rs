//! The part of a fan-out on one thread: subscribers that count what they receive, and on the first thread the publisher.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hdrhistogram::Histogram;
use protocol::client::received::Answer;

use super::board::Board;
use super::press::{Press, Pressed, number};
use crate::connection::{Line, Listener};
use crate::crew::Wakers;
use crate::latency;
use crate::limits::IN_FLIGHT_MAX;
use crate::task::{Fate, Gauges, Order, PUBLISHER, Post, Task};
use crate::who::{Who, identity_by_who};

#[derive(Debug)]
pub(super) struct Crowd {
    who: Who,
    press: Option<Press>,
    board: Arc<Board>,
    gauges: Arc<Gauges>,
    wakers: Wakers,
    now: Duration,
    measuring: bool,
    latencies: Histogram<u64>,
    /// Deliveries of this turn, by publication; the latest last.
    fresh: Vec<(u64, u32)>,
}

impl Crowd {
    pub(super) fn new(
        who: Who,
        press: Option<Press>,
        board: Arc<Board>,
        gauges: Arc<Gauges>,
        wakers: Wakers,
    ) -> Self {
        Self {
            who,
            press,
            board,
            gauges,
            wakers,
            now: Duration::ZERO,
            measuring: false,
            latencies: latency::histogram(),
            fresh: Vec::with_capacity(IN_FLIGHT_MAX),
        }
    }

    pub(super) fn latencies(&self) -> &Histogram<u64> {
        &self.latencies
    }

    pub(super) fn pressed(&self) -> Option<Pressed> {
        self.press.as_ref().map(Press::pressed)
    }

    /// Puts this turn's deliveries on the board; says whether a publication may have become complete.
    fn report(&mut self) -> bool {
        let (mut all, mut complete) = (0, false);
        let subscribers = self.board.subscribers();
        for (number, count) in self.fresh.drain(..) {
            all += u64::from(count);
            complete |= self.board.deliver(number, count) >= subscribers;
        }
        if all > 0 {
            self.gauges.done.fetch_add(all, Relaxed);
        }
        complete
    }
}

identity_by_who!(Crowd);

impl Listener for Crowd {
    fn publication(&mut self, _line: &mut Line<'_>, data: &[u8]) {
        let Some(number) = number(data) else { return };
        // A stranger's number, or one that was given up.
        let Some(sent) = self.board.sent(number) else { return };
        if self.measuring {
            latency::record(&mut self.latencies, self.now.saturating_sub(sent), 1);
        }
        match self.fresh.iter_mut().rev().find(|(known, _)| *known == number) {
            Some((_, count)) => *count += 1,
            None => self.fresh.push((number, 1)),
        }
    }

    fn answer(&mut self, line: &mut Line<'_>, id: u32, answer: &Answer<'_>) {
        if let (Some(press), Answer::Error(failure), PUBLISHER) = (&mut self.press, answer, line.number) {
            press.refused(id, failure.code);
        }
    }
}

impl Task for Crowd {
    fn opened(&mut self, line: &mut Line<'_>, _took: Duration, _now: Duration) -> Fate {
        if line.number != PUBLISHER {
            self.board.enter();
        } else if let Some(press) = &mut self.press {
            press.set_publisher(Some(line.index));
        }
        Fate::Keep
    }

    fn lost(&mut self, _index: u32, number: u32, _now: Duration) {
        if number != PUBLISHER {
            self.board.leave();
            self.wakers.wake(0);
        } else if let Some(press) = &mut self.press {
            press.set_publisher(None);
            self.gauges.complete.store(true, Relaxed);
        }
    }

    fn order(&mut self, order: Order, now: Duration) {
        match order {
            Order::Mark => self.measuring = true,
            Order::Stop => self.measuring = false,
            _ => {}
        }
        match (order, &mut self.press) {
            (Order::Go, Some(press)) => press.run(now),
            (Order::Mark | Order::Stop, Some(press)) => press.measure(self.measuring),
            _ => {}
        }
    }

    fn turn(&mut self, post: &mut Post, now: Duration) {
        let complete = self.report();
        match &mut self.press {
            Some(press) => {
                press.turn(&self.board, post, now);
                if press.is_done() {
                    self.gauges.complete.store(true, Relaxed);
                }
            }
            None if complete => self.wakers.wake(0),
            None => {}
        }
    }

    fn deadline(&self) -> Option<Duration> {
        self.press.as_ref().and_then(Press::deadline)
    }

    fn clock(&mut self, now: Duration) {
        self.now = now;
    }
}
