//! Finds parts of a target in its source: by the hash of every whole block of the source.
//!
//! Work is bounded: each place of the target looks at a few blocks only, however alike the source's blocks are.

/// Bytes of a block. Equal parts shorter than two blocks may go unseen.
const BLOCK_BYTES: usize = 8;
/// Blocks with the hash of a place that are compared with it.
const CANDIDATES_MAX: usize = 8;

const NONE: u32 = u32::MAX;

/// The blocks of a source.
pub(super) struct Finder<'a> {
    source: &'a [u8],
    /// The last block of each hash.
    heads: Vec<u32>,
    /// The block before with the same hash, by block.
    before: Vec<u32>,
    shift: u32,
}

/// Equal bytes in source and target.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) source: usize,
    pub(super) target: usize,
    pub(super) length: usize,
}

impl<'a> Finder<'a> {
    pub(super) fn new(source: &'a [u8]) -> Self {
        let blocks = source.len() / BLOCK_BYTES;
        let bits = usize::BITS - blocks.max(1).leading_zeros();
        let mut finder = Self {
            source,
            heads: vec![NONE; 1 << bits],
            before: vec![NONE; blocks],
            shift: u64::BITS - bits,
        };
        // The first blocks are put in last and so are found first.
        for block in (0..blocks).rev() {
            if let Some(hash) = finder.hash(source, block * BLOCK_BYTES) {
                finder.before[block] = finder.heads[hash];
                finder.heads[hash] = block as u32;
            }
        }
        finder
    }

    /// The longest part found that holds the block at `at`, and may begin earlier, but not before `from`.
    pub(super) fn longest(&self, target: &[u8], at: usize, from: usize) -> Option<Found> {
        let mut block = self.heads[self.hash(target, at)?];
        let mut best: Option<Found> = None;
        for _ in 0..CANDIDATES_MAX {
            if block == NONE {
                break;
            }
            let found = self.extend(target, at, from, block as usize * BLOCK_BYTES);
            if found.length > best.map_or(0, |best| best.length) {
                best = Some(found);
            }
            block = self.before[block as usize];
        }
        best
    }

    fn extend(&self, target: &[u8], at: usize, from: usize, place: usize) -> Found {
        let forwards = self.source[place..].iter().zip(&target[at..]).take_while(|(a, b)| a == b).count();
        let backwards = if forwards == 0 {
            0
        } else {
            let earlier = self.source[..place].iter().rev().zip(target[from..at].iter().rev());
            earlier.take_while(|(a, b)| a == b).count()
        };
        Found { source: place - backwards, target: at - backwards, length: forwards + backwards }
    }

    /// Of the block at a place; `None` when there is no whole block.
    fn hash(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let block = bytes.get(at..)?.first_chunk::<BLOCK_BYTES>()?;
        let mixed = u64::from_le_bytes(*block).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Some((mixed >> self.shift) as usize)
    }
}
