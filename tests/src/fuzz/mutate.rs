//! Changes inputs at random from a seed, as a fuzzer without coverage would.

/// A stream of mutated inputs; the same seed gives the same stream.
pub struct Mutator {
    state: u64,
}

/// Values at which parsers turn.
const INTERESTING: [u8; 16] =
    [0, 1, 2, 16, 0x20, 0x7d, 0x7e, 0x7f, 0x80, 0x81, 0xc0, 0xed, 0xf4, 0xfe, 0xff, b'\n'];
/// Mutated inputs stay below this.
const BYTES_MAX: usize = 16_384;

impl Mutator {
    /// Any seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// One of the seeds, changed one to eight times.
    pub fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.seed(seeds);
        for _ in 0..=self.below(8) {
            self.change(&mut input, seeds);
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn seed(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let index = self.below(seeds.len());
        seeds.get(index).cloned().unwrap_or_default()
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = at + self.below(input.len() - at + 1).min(64);
        match self.below(8) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = INTERESTING[self.below(INTERESTING.len())],
            2 => input.insert(at, self.next() as u8),
            3 => drop(input.drain(at..end)),
            4 => {
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            5 => input.truncate(at),
            6 => {
                let other = self.seed(seeds);
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                for byte in &mut input[at..end] {
                    *byte = byte.wrapping_add(1);
                }
            }
        }
    }
}
