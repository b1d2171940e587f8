//! Numbers that need to differ, not to be secret: session ids and the phases of pings. From a seed, so that a simulation repeats.

/// SplitMix64 over two streams (Steele, Lea and Flood, 2014): every state has one successor, so a stream's numbers never repeat
/// within 2⁶⁴ draws.
#[derive(Debug)]
pub(crate) struct Random([u64; 2]);

impl Random {
    /// From 16 bytes, random in production.
    pub(crate) fn new(seed: [u8; 16]) -> Self {
        let (low, high) = seed.split_at(8);
        let word = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Self([word(low), word(high)])
    }

    /// 16 bytes for an id.
    pub(crate) fn bytes(&mut self) -> [u8; 16] {
        let pair = u128::from(self.next(0)) << 64 | u128::from(self.next(1));
        pair.to_le_bytes()
    }

    /// A number below `bound` (at least 1), near enough to uniform for spreading work.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next(0)) * u128::from(bound.max(1))) >> 64) as u64
    }

    const fn next(&mut self, stream: usize) -> u64 {
        self.0[stream] = self.0[stream].wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0[stream];
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
