//! A bounded table of buckets. A bucket that is full again says nothing, so it goes: what stays is who came lately.

use std::{collections::HashMap, hash::Hash, time::Duration};

use super::{Bucket, Rate};

/// What a table says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// There was a token, and it is gone.
    Token,
    /// The bucket is empty.
    Empty,
    /// The table is full of others' buckets, none of which is full again.
    NoRoom,
}

/// Buckets by key.
#[derive(Debug)]
pub struct Buckets<K> {
    entries: Vec<(K, Bucket)>,
    places: HashMap<K, u32>,
    cursor: usize,
    most: usize,
}

/// Entries looked at for one that is made: the table shrinks faster than it grows.
const LOOKS_PER_ENTRY: usize = 2;
/// A table of that many keeps its memory.
const KEPT: usize = 1024;

impl<K: Copy + Eq + Hash> Buckets<K> {
    /// An empty table that will hold at most `most` buckets.
    pub fn new(most: usize) -> Self {
        Self { entries: Vec::new(), places: HashMap::new(), cursor: 0, most }
    }

    /// Takes a token from a key's bucket.
    pub fn take(&mut self, key: K, at: Duration, rate: Rate) -> Taken {
        if !rate.is_limited() {
            return Taken::Token;
        }
        if let Some(place) = self.places.get(&key) {
            let taken = self.entries[*place as usize].1.take(at, rate);
            return if taken { Taken::Token } else { Taken::Empty };
        }
        self.sweep(at, LOOKS_PER_ENTRY);
        if self.entries.len() >= self.most {
            return Taken::NoRoom;
        }
        let mut bucket = Bucket::default();
        let taken = bucket.take(at, rate);
        self.places.insert(key, self.entries.len() as u32);
        self.entries.push((key, bucket));
        if taken { Taken::Token } else { Taken::Empty }
    }

    /// Whether [`Self::take`] would give a token, as far as the key's own bucket is concerned.
    pub fn has(&self, key: K, at: Duration, rate: Rate) -> bool {
        !rate.is_limited()
            || self.places.get(&key).is_none_or(|place| self.entries[*place as usize].1.has(at, rate))
    }

    /// Looks at some entries, in a circle, and drops those that are full again.
    pub fn sweep(&mut self, at: Duration, looks: usize) {
        for _ in 0..looks.min(self.entries.len()) {
            if self.cursor >= self.entries.len() {
                self.cursor = 0;
            }
            let (key, bucket) = self.entries[self.cursor];
            if !bucket.is_full(at) {
                self.cursor += 1;
                continue;
            }
            self.places.remove(&key);
            self.entries.swap_remove(self.cursor);
            if let Some((moved, _)) = self.entries.get(self.cursor) {
                self.places.insert(*moved, self.cursor as u32);
            }
        }
        if self.entries.capacity() > KEPT && self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to(self.entries.len() * 2);
            self.places.shrink_to(self.entries.len() * 2);
        }
        debug_assert_eq!(self.entries.len(), self.places.len());
    }

    /// Buckets held.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nobody came lately.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn full_buckets_make_room_and_others_do_not() {
        let rate = Rate::new(1, Duration::from_secs(1), 1);
        let mut table = Buckets::new(3);
        let at = Duration::from_secs;
        for key in 0..3 {
            assert_eq!(table.take(key, at(10), rate), Taken::Token);
        }
        assert_eq!(table.take(1, at(10), rate), Taken::Empty);
        assert_eq!(table.take(7, at(10), rate), Taken::NoRoom);
        assert_eq!(table.take(7, at(11), rate), Taken::Token);
        assert!(table.len() <= 2);
        table.sweep(at(12), 100);
        assert!(table.is_empty());
    }

    proptest! {
        #[test]
        fn the_table_is_bounded_and_agrees_with_a_bucket_for_everybody(
            visits in prop::collection::vec((0u8..40, 0u64..30), 1..400), most in 1usize..50,
        ) {
            let rate = Rate::new(20, Duration::from_secs(1), 3);
            let mut table = Buckets::new(most);
            let mut model = [Bucket::default(); 40];
            let mut at = Duration::ZERO;
            for (key, gap) in visits {
                at += Duration::from_millis(gap);
                let has = table.has(key, at, rate);
                match table.take(key, at, rate) {
                    Taken::Token => prop_assert!(has && model[usize::from(key)].take(at, rate)),
                    Taken::Empty => prop_assert!(!has && !model[usize::from(key)].take(at, rate)),
                    Taken::NoRoom => prop_assert!(table.len() == most),
                }
                prop_assert!(table.len() <= most);
            }
        }
    }
}
