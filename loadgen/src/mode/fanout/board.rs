//! What the threads of a fan-out share: per publication in flight, when it was sent and how many have it.

use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::time::Duration;

use crate::limits::IN_FLIGHT_MAX;

/// A ring of publications, by number.
#[derive(Debug)]
pub(super) struct Board {
    slots: Box<[Slot]>,
    /// Subscribers now.
    subscribers: AtomicU32,
    /// Subscribers that have gone so far.
    gone: AtomicU32,
}

#[derive(Debug, Default)]
struct Slot {
    /// Number of the publication, plus one; 0 before the first.
    tenant: AtomicU64,
    sent_us: AtomicU64,
    delivered: AtomicU32,
}

impl Board {
    pub(super) fn new() -> Self {
        // Twice as many slots as can be in flight, so that a straggler of an abandoned one is told from its successor.
        let slots = (0..IN_FLIGHT_MAX * 2).map(|_| Slot::default()).collect();
        Self { slots, subscribers: AtomicU32::new(0), gone: AtomicU32::new(0) }
    }

    /// Publication `number` is sent at `now`.
    pub(super) fn publish(&self, number: u64, now: Duration) {
        let slot = self.slot(number);
        slot.delivered.store(0, Relaxed);
        slot.sent_us.store(now.as_micros() as u64, Relaxed);
        slot.tenant.store(number + 1, Release);
    }

    /// When publication `number` was sent; `None` when its slot has another tenant.
    pub(super) fn sent(&self, number: u64) -> Option<Duration> {
        let slot = self.slot(number);
        (slot.tenant.load(Acquire) == number + 1).then(|| Duration::from_micros(slot.sent_us.load(Relaxed)))
    }

    /// `count` more have publication `number`; returns how many do now.
    pub(super) fn deliver(&self, number: u64, count: u32) -> u32 {
        let slot = self.slot(number);
        if slot.tenant.load(Acquire) != number + 1 {
            return 0;
        }
        slot.delivered.fetch_add(count, AcqRel) + count
    }

    /// How many have publication `number`, which is in flight.
    pub(super) fn delivered(&self, number: u64) -> u32 {
        self.slot(number).delivered.load(Acquire)
    }

    pub(super) fn enter(&self) {
        self.subscribers.fetch_add(1, AcqRel);
    }

    pub(super) fn leave(&self) {
        self.subscribers.fetch_sub(1, AcqRel);
        self.gone.fetch_add(1, AcqRel);
    }

    pub(super) fn subscribers(&self) -> u32 {
        self.subscribers.load(Acquire)
    }

    pub(super) fn gone(&self) -> u32 {
        self.gone.load(Acquire)
    }

    fn slot(&self, number: u64) -> &Slot {
        &self.slots[number as usize % self.slots.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_counted_for_the_publication_they_belong_to() {
        let board = Board::new();
        board.publish(7, Duration::from_millis(3));
        assert_eq!(board.sent(7), Some(Duration::from_millis(3)));
        assert_eq!((board.deliver(7, 2), board.deliver(7, 3)), (2, 5));
        assert_eq!(board.sent(8), None);
        assert_eq!(board.deliver(8, 1), 0);
    }

    #[test]
    fn a_straggler_does_not_count_for_its_successor() {
        let board = Board::new();
        board.publish(1, Duration::ZERO);
        let successor = 1 + IN_FLIGHT_MAX as u64 * 2;
        board.publish(successor, Duration::ZERO);
        assert_eq!(board.deliver(1, 4), 0);
        assert_eq!((board.delivered(successor), board.sent(1)), (0, None));
    }

    #[test]
    fn subscribers_come_and_go() {
        let board = Board::new();
        board.enter();
        board.enter();
        board.leave();
        assert_eq!((board.subscribers(), board.gone()), (1, 1));
    }
}
