//! Ids of everything: Snowflakes, 41 bits of milliseconds since 2024, 10 bits of the node's number, 12 bits of sequence.
//!
//! Owns the layout and that one maker never gives an id twice or out of order, whatever its clock does. Never reads a clock.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::model::{Id, UnixMs};

/// Makes ids. One number belongs to one running node at a time.
#[derive(Debug)]
pub struct Ids {
    number: u16,
    /// Milliseconds since [`BEGINNING`] and sequence of the last id, without the number between them.
    last: AtomicI64,
}

impl Ids {
    /// For the node of this number, below [`NUMBERS`].
    ///
    /// # Panics
    /// If the number is not below [`NUMBERS`].
    #[must_use]
    pub fn new(number: u16) -> Self {
        assert!(number < NUMBERS, "numbers of nodes end below {NUMBERS}");
        Self { number, last: AtomicI64::new(0) }
    }

    /// The node's number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The next id, greater than all before. Where the clock steps back, or more than 4,096 ids are taken in a millisecond, the time in
    /// the id runs on from the last one's instead.
    pub fn next(&self, now: UnixMs) -> Id {
        let earliest = (now.saturating_sub(BEGINNING)).clamp(0, TIME_MAX) << SEQUENCE_BITS;
        let taken =
            self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(earliest.max(last + 1)));
        let last = taken.unwrap_or_else(|last| last);
        let next = earliest.max(last + 1);
        let (time, sequence) = (next >> SEQUENCE_BITS, next & SEQUENCE_MASK);
        debug_assert!(time <= TIME_MAX, "the layout ends in 2093");
        Id((time << TIME_SHIFT) | (i64::from(self.number) << SEQUENCE_BITS) | sequence)
    }
}

/// When an id was made, by the clock of the node that made it.
#[must_use]
pub fn time(id: Id) -> UnixMs {
    (id.0 >> TIME_SHIFT) + BEGINNING
}

/// Who made an id.
#[must_use]
pub fn number(id: Id) -> u16 {
    u16::try_from((id.0 >> SEQUENCE_BITS) & i64::from(NUMBERS - 1)).unwrap_or_default()
}

/// How many nodes may have a number.
pub const NUMBERS: u16 = 1 << 10;
/// 2024-01-01T00:00:00Z.
const BEGINNING: UnixMs = 1_704_067_200_000;
const SEQUENCE_BITS: u32 = 12;
const SEQUENCE_MASK: i64 = (1 << SEQUENCE_BITS) - 1;
const TIME_SHIFT: u32 = SEQUENCE_BITS + NUMBERS.trailing_zeros();
const TIME_MAX: i64 = (1 << 41) - 1;

const _: () = assert!(NUMBERS.is_power_of_two() && TIME_SHIFT + 41 == 63);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const NOW: UnixMs = 1_760_000_000_000;

    proptest! {
        #[test]
        fn ids_grow_and_say_who_and_when_whatever_the_clock_does(
            steps in proptest::collection::vec(-100_000i64..100_000, 1..200),
            node in 0..NUMBERS,
        ) {
            let ids = Ids::new(node);
            let (mut now, mut latest, mut last) = (NOW, NOW, Id(0));
            for step in steps {
                now += step;
                let id = ids.next(now);
                prop_assert!(id > last);
                prop_assert_eq!(number(id), node);
                // Never before the clock; ahead of the latest it has shown only by ids taken.
                prop_assert!(time(id) >= now);
                latest = latest.max(now);
                prop_assert!(time(id) <= latest + 1);
                last = id;
            }
        }

        #[test]
        fn nodes_of_different_numbers_never_make_the_same_id(a in 0..NUMBERS, b in 0..NUMBERS, count in 1..5_000usize) {
            prop_assume!(a != b);
            let (a, b) = (Ids::new(a), Ids::new(b));
            let made: BTreeSet<Id> = (0..count).flat_map(|_| [a.next(NOW), b.next(NOW)]).collect();
            prop_assert_eq!(made.len(), count * 2);
        }
    }

    #[test]
    fn a_millisecond_with_more_ids_than_fit_runs_into_the_next() {
        let ids = Ids::new(1);
        let made: Vec<Id> = (0..10_000).map(|_| ids.next(NOW)).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
        assert_eq!(time(made[0]), NOW);
        assert_eq!(time(made[4_095]), NOW);
        assert_eq!(time(made[4_096]), NOW + 1);
    }

    #[test]
    fn threads_that_share_a_maker_get_different_ids() {
        let ids = Ids::new(7);
        let made: Vec<Vec<Id>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..20_000).map(|_| ids.next(NOW)).collect())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|made| made.is_sorted_by(|a, b| a < b)));
        assert_eq!(made.iter().flatten().collect::<BTreeSet<_>>().len(), 80_000);
    }

    #[test]
    fn before_the_beginning_ids_are_still_above_zero() {
        assert!(Ids::new(0).next(0) > Id(0));
    }
}
