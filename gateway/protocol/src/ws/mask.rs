//! Masking (RFC 6455 §5.3): the same operation on both ends.

/// XORs `bytes` in place with `key`, repeated from its first byte.
pub fn mask(bytes: &mut [u8], key: [u8; 4]) {
    Key::new(key).apply(bytes);
}

/// A mask key as one word, in memory order: four single bytes are slow to hand on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key(u32);

impl Key {
    pub(super) fn new(bytes: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(bytes))
    }

    /// XORs `bytes` in place.
    pub(super) fn apply(self, bytes: &mut [u8]) {
        let wide = u64::from(self.0) << 32 | u64::from(self.0);
        // Whole words in a loop without a branch: the compiler makes vector instructions of it.
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(wide.to_ne_bytes()) {
            *byte ^= key;
        }
    }

    /// The key for what follows `bytes` masked bytes of the same frame.
    pub(super) fn advanced(self, bytes: usize) -> Self {
        let mut key = self.0.to_ne_bytes();
        key.rotate_left(bytes % 4);
        Self::new(key)
    }
}
