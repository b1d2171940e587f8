//! Which streams one receiver has missed something of, and where each left off.
//!
//! Owns the bounded set; never fetches anything. A receiver is whoever gets a stream in order: a link of this box, or a
//! bus that may lose messages. What is after a gap is for history to say ([`crate::Stream::after`]).

use std::collections::BTreeMap;

use crate::Epoch;
use crate::limits::GAPS_MAX;

/// The last position that the receiver has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// The stream's incarnation then.
    pub epoch: Epoch,
    /// The last offset it got.
    pub offset: u64,
}

/// The gapped streams of one receiver, by a table index that stays theirs while the gap is open.
#[derive(Debug, Default)]
pub struct Gaps {
    open: BTreeMap<u32, Gap>,
}

/// What became of a mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marked {
    /// The gap is new.
    Opened,
    /// It was open: it begins where it began.
    Widened,
    /// No further gap can be remembered.
    Full,
}

impl Gaps {
    /// Remembers that everything after `last` was left out. An open gap keeps its beginning.
    pub fn mark(&mut self, stream: u32, last: Gap) -> Marked {
        if self.open.contains_key(&stream) {
            return Marked::Widened;
        }
        if self.open.len() >= GAPS_MAX {
            return Marked::Full;
        }
        self.open.insert(stream, last);
        Marked::Opened
    }

    /// The receiver has got everything up to `offset`.
    pub fn advance(&mut self, stream: u32, offset: u64) {
        if let Some(gap) = self.open.get_mut(&stream) {
            debug_assert!(gap.offset <= offset, "repair goes forward");
            gap.offset = offset;
        }
    }

    /// Forgets a gap: repaired, told, or no longer wanted.
    pub fn close(&mut self, stream: u32) -> Option<Gap> {
        self.open.remove(&stream)
    }

    /// Whether publications of this stream must wait for a repair.
    pub fn is_open(&self, stream: u32) -> bool {
        self.open.contains_key(&stream)
    }

    /// Where a stream left off, if it did.
    pub fn get(&self, stream: u32) -> Option<Gap> {
        self.open.get(&stream).copied()
    }

    /// Any one gap: the one with the lowest index.
    pub fn first(&self) -> Option<(u32, Gap)> {
        self.open.first_key_value().map(|(stream, gap)| (*stream, *gap))
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epochs;

    #[test]
    fn a_gap_keeps_its_beginning_until_repaired() {
        let epoch = Epochs::new(1).draw();
        let mut gaps = Gaps::default();
        assert_eq!(gaps.mark(3, Gap { epoch, offset: 5 }), Marked::Opened);
        assert_eq!(gaps.mark(3, Gap { epoch, offset: 9 }), Marked::Widened);
        assert_eq!(gaps.first(), Some((3, Gap { epoch, offset: 5 })));
        gaps.advance(3, 7);
        assert_eq!(gaps.close(3), Some(Gap { epoch, offset: 7 }));
        assert!(!gaps.is_open(3));
    }

    #[test]
    fn the_set_is_bounded() {
        let gap = Gap { epoch: Epochs::new(1).draw(), offset: 0 };
        let mut gaps = Gaps::default();
        assert!((0..GAPS_MAX as u32).all(|stream| gaps.mark(stream, gap) == Marked::Opened));
        assert_eq!(gaps.mark(GAPS_MAX as u32, gap), Marked::Full);
        assert_eq!(gaps.mark(0, gap), Marked::Widened);
        assert_eq!(gaps.len(), GAPS_MAX);
    }
}
