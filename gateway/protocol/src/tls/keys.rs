//! Sealing keys that are set up already, for a bounded number of connections that are sent to again and again.
//!
//! Setting a key up costs more than sealing a short message with it. Owns copies of keys, which are erased when another takes the
//! place and when the table is cleared; whose they are does not matter, as a key is found by its own bytes.

use aws_lc_rs::aead::LessSafeKey;
use zeroize::Zeroize;

use super::error::TlsError;
use super::limits::SEALING_KEYS_MAX;
use super::record;
use super::suite::Suite;

/// A table of keys; empty it holds no memory, full about 700 bytes for each of [`SEALING_KEYS_MAX`].
#[derive(Default)]
pub struct SealingKeys {
    slots: Vec<Slot>,
}

/// One cache line.
#[derive(Default)]
struct Slot {
    bytes: [u8; 32],
    ready: Option<(Suite, LessSafeKey)>,
}

impl SealingKeys {
    /// Forgets and frees everything.
    pub fn clear(&mut self) {
        self.slots = Vec::new();
    }

    /// Whether there is nothing to clear.
    pub const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The key, set up now if the place has another. `place` is any number that a connection keeps; one beyond the table shares.
    pub(super) fn get(&mut self, place: usize, suite: Suite, bytes: &[u8]) -> Result<&LessSafeKey, TlsError> {
        if self.slots.is_empty() {
            self.slots.resize_with(SEALING_KEYS_MAX, Slot::default);
        }
        let slot = &mut self.slots[place % SEALING_KEYS_MAX];
        let known =
            matches!(&slot.ready, Some((known, _)) if *known == suite) && slot.bytes[..bytes.len()] == *bytes;
        if !known {
            slot.ready = None;
            slot.bytes.zeroize();
            slot.bytes[..bytes.len()].copy_from_slice(bytes);
        }
        let Slot { bytes: own, ready } = slot;
        let (_, key) = match ready {
            Some(ready) => ready,
            None => ready.insert((suite, record::key(suite, &own[..suite.key_bytes()])?)),
        };
        Ok(key)
    }
}

impl Drop for Slot {
    /// The set up key is erased by its library.
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_serves_whoever_comes_with_the_key_that_came_with_him() {
        let mut keys = SealingKeys::default();
        assert!(keys.is_empty());
        let first = std::ptr::from_ref(keys.get(3, Suite::Aes128, &[1; 16]).unwrap());
        assert_eq!(first, keys.get(3, Suite::Aes128, &[1; 16]).unwrap());
        for (suite, bytes) in
            [(Suite::Aes128, vec![2; 16]), (Suite::Aes256, vec![2; 32]), (Suite::ChaCha, vec![2; 32])]
        {
            let key = keys.get(3 + SEALING_KEYS_MAX, suite, &bytes).unwrap();
            assert_eq!(key.algorithm(), suite.aead());
            assert_eq!(keys.slots[3].bytes[..bytes.len()], bytes);
        }
        keys.clear();
        assert!(keys.is_empty());
    }

    #[test]
    fn a_slot_is_a_line_of_a_cache() {
        assert!(size_of::<Slot>() <= 64, "{}", size_of::<Slot>());
    }
}
