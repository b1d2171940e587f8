//! What was asked lately: a bounded map that forgets what was not used for longest, roughly.
//!
//! Owns the bound. Never says whether what it has is still true: who asks, knows how old it may be.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps up to a weight. What was neither put nor asked for while half of that weight came in is forgotten.
#[derive(Debug)]
pub struct Recent<K, V> {
    halves: Mutex<Halves<K, V>>,
    weight_max: usize,
}

#[derive(Debug)]
struct Halves<K, V> {
    young: HashMap<K, (V, usize)>,
    young_weight: usize,
    old: HashMap<K, (V, usize)>,
    old_weight: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Recent<K, V> {
    /// Empty.
    pub fn new(weight_max: usize) -> Self {
        let halves = Halves { young: HashMap::new(), young_weight: 0, old: HashMap::new(), old_weight: 0 };
        Self { halves: Mutex::new(halves), weight_max }
    }

    /// What was put there last.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut halves = self.lock();
        if let Some((value, _)) = halves.young.get(key) {
            return Some(value.clone());
        }
        let (key, (value, weight)) = halves.old.remove_entry(key)?;
        halves.old_weight -= weight;
        halves.put(key, value.clone(), weight, self.weight_max);
        Some(value)
    }

    /// Keeps a value of some weight; one that is too heavy is not kept.
    pub fn put(&self, key: K, value: V, weight: usize) {
        let mut halves = self.lock();
        halves.remove(&key);
        if weight <= self.weight_max / 2 {
            halves.put(key, value, weight, self.weight_max);
        }
    }

    /// Forgets a value.
    pub fn remove(&self, key: &K) {
        self.lock().remove(key);
    }

    /// The weight of all that is kept.
    pub fn weight(&self) -> usize {
        let halves = self.lock();
        halves.young_weight + halves.old_weight
    }

    fn lock(&self) -> MutexGuard<'_, Halves<K, V>> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq, V> Halves<K, V> {
    fn put(&mut self, key: K, value: V, weight: usize, weight_max: usize) {
        if self.young_weight + weight > weight_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.old_weight = std::mem::take(&mut self.young_weight);
        }
        self.young_weight += weight;
        self.young.insert(key, (value, weight));
        debug_assert!(self.young_weight + self.old_weight <= weight_max.max(1));
    }

    fn remove(&mut self, key: &K) {
        if let Some((_, weight)) = self.young.remove(key) {
            self.young_weight -= weight;
        }
        if let Some((_, weight)) = self.old.remove(key) {
            self.old_weight -= weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let recent = Recent::new(10);
        recent.put(0, 'a', 1);
        for key in 1..100 {
            assert_eq!(recent.get(&0), Some('a'));
            recent.put(key, 'b', 1);
        }
        assert_eq!(recent.get(&1), None);
        assert!(recent.weight() <= 10);
    }

    #[test]
    fn what_is_too_heavy_is_not_kept_and_replaces_what_was() {
        let recent = Recent::new(10);
        recent.put(1, 'a', 1);
        recent.put(1, 'b', 6);
        assert_eq!(recent.get(&1), None);
        assert_eq!(recent.weight(), 0);
    }

    proptest! {
        #[test]
        fn it_never_weighs_more_than_it_may_and_never_tells_an_older_value(
            steps in proptest::collection::vec((0_u8..20, 0_usize..8, 0_u8..3), 0..200)
        ) {
            let recent = Recent::new(16);
            let mut last = HashMap::new();
            for (number, (key, weight, what)) in steps.into_iter().enumerate() {
                match what {
                    0 => {
                        recent.put(key, number, weight);
                        last.insert(key, number);
                    }
                    1 => {
                        recent.remove(&key);
                        last.remove(&key);
                    }
                    _ => {}
                }
                if let Some(found) = recent.get(&key) {
                    prop_assert_eq!(Some(&found), last.get(&key));
                }
                prop_assert!(recent.weight() <= 16);
            }
        }
    }
}
