//! One channel's stream: its position, and the last publications as the frames that links get.
//!
//! Offsets in a stream are contiguous, so a publication's offset is its place. Never decides who may read.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use wire::link::Position;

use crate::limits::PUBLICATION_OVERHEAD_BYTES;

/// A stream's incarnation: eight letters, or what a node has of that length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Epoch([u8; 8]);

impl Epoch {
    /// An epoch that crossed a link: eight letters, digits, `-` or `_`, or none.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 8] = text.as_bytes().try_into().ok()?;
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        bytes.iter().all(plain).then_some(Self(bytes))
    }

    /// As it crosses links.
    pub fn as_str(&self) -> &str {
        // Only letters are ever put in; a failure would read as the empty epoch of a client that named none.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Makes epochs from a seed (SplitMix64). Two relays with different seeds do not repeat each other's.
#[derive(Clone, Debug)]
pub struct Epochs(u64);

impl Epochs {
    /// The seed comes from the shell's random source, once.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next epoch.
    pub fn draw(&mut self) -> Epoch {
        const LETTERS: &[u8; 52] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        Epoch(std::array::from_fn(|_| {
            let letter = LETTERS[(z % 52) as usize];
            z /= 52;
            letter
        }))
    }
}

/// How much of a stream a namespace keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Publications.
    pub size: usize,
    /// How long after the last one.
    pub ttl: Duration,
    /// How long offset and epoch outlive the last use.
    pub meta_ttl: Duration,
}

/// A channel's stream.
#[derive(Debug)]
pub struct Stream {
    epoch: Epoch,
    top: u64,
    entries: VecDeque<Box<[u8]>>,
    bytes: usize,
    publications_until: Duration,
    meta_until: Duration,
}

impl Stream {
    /// An empty stream at offset 0.
    pub fn new(epoch: Epoch, now: Duration, kept: Kept) -> Self {
        Self {
            epoch,
            top: 0,
            entries: VecDeque::new(),
            bytes: 0,
            publications_until: now,
            meta_until: now.saturating_add(kept.meta_ttl),
        }
    }

    /// A stream of which everything up to `top` has been seen, and nothing is kept.
    pub fn at(epoch: Epoch, top: u64, now: Duration, kept: Kept) -> Self {
        Self { top, ..Self::new(epoch, now, kept) }
    }

    /// Puts a publication before the oldest one that is kept; false when it is not the one that belongs there, or when there is no
    /// room for it in `kept`.
    pub fn prepend(&mut self, now: Duration, offset: u64, frame: &[u8], kept: Kept) -> bool {
        let fits = self.entries.len() < kept.size && offset > 0 && offset + 1 == self.first();
        if fits {
            self.bytes += frame.len() + PUBLICATION_OVERHEAD_BYTES;
            if self.entries.is_empty() {
                self.publications_until = now.saturating_add(kept.ttl);
            }
            self.entries.push_front(frame.into());
        }
        fits
    }

    /// The frame at an offset, if it is kept.
    pub fn frame(&self, offset: u64) -> Option<&[u8]> {
        let place = usize::try_from(offset.checked_sub(self.first())?).ok()?;
        self.entries.get(place).map(|frame| &**frame)
    }

    /// A stream as it was elsewhere: `frames` are those up to `top`, kept for `ttl` more, the position for `meta_ttl`.
    pub(crate) fn restored(
        epoch: Epoch,
        top: u64,
        now: Duration,
        (ttl, meta_ttl): (Duration, Duration),
        frames: Vec<Box<[u8]>>,
    ) -> Self {
        let entries = VecDeque::from(frames);
        let bytes = entries.iter().map(|frame| frame.len() + PUBLICATION_OVERHEAD_BYTES).sum();
        debug_assert!(entries.len() as u64 <= top, "offsets begin at 1");
        let publications_until = now.saturating_add(ttl);
        Self { epoch, top, entries, bytes, publications_until, meta_until: now.saturating_add(meta_ttl) }
    }

    /// How long from `now` publications are kept, and the position.
    pub(crate) fn left(&self, now: Duration) -> (Duration, Duration) {
        (self.publications_until.saturating_sub(now), self.meta_until.saturating_sub(now))
    }

    /// Appends the publication at offset `top() + 1`, and lets go of what is over `kept`.
    pub fn append(&mut self, now: Duration, frame: &[u8], kept: Kept) {
        debug_assert!(kept.size > 0, "a stream that keeps nothing has no stream");
        self.top += 1;
        self.bytes += frame.len() + PUBLICATION_OVERHEAD_BYTES;
        self.entries.push_back(frame.into());
        while self.entries.len() > kept.size {
            self.drop_oldest();
        }
        self.publications_until = now.saturating_add(kept.ttl);
        self.touch(now, kept);
    }

    /// Lets go of the oldest publication; false when there was none.
    pub fn drop_oldest(&mut self) -> bool {
        let Some(frame) = self.entries.pop_front() else { return false };
        self.bytes -= frame.len() + PUBLICATION_OVERHEAD_BYTES;
        true
    }

    /// Lets go of every publication. Position and epoch stay, so those who are behind learn that they are.
    pub fn clear(&mut self) {
        self.entries = VecDeque::new();
        self.bytes = 0;
    }

    /// Keeps position and epoch for another `meta_ttl`.
    pub fn touch(&mut self, now: Duration, kept: Kept) {
        self.meta_until = now.saturating_add(kept.meta_ttl);
    }

    /// Lets go of publications whose time is over; true if there were any.
    pub fn expire(&mut self, now: Duration) -> bool {
        let over = self.ends(now);
        if over {
            self.clear();
        }
        over
    }

    /// Whether [`Stream::expire`] would let go of anything.
    pub fn ends(&self, now: Duration) -> bool {
        now >= self.publications_until && !self.entries.is_empty()
    }

    /// Whether even position and epoch are over.
    pub fn forgettable(&self, now: Duration) -> bool {
        now >= self.meta_until && self.entries.is_empty()
    }

    /// The places of everything after `asked`, or `None` when something is missing: another epoch, a position in the
    /// future, or publications that are gone. An empty epoch stands for the present one.
    pub fn after(&self, asked: Position<'_>) -> Option<Range<usize>> {
        if !asked.epoch.is_empty() && asked.epoch != self.epoch.as_str() {
            return None;
        }
        let behind = usize::try_from(self.top.checked_sub(asked.offset)?).ok()?;
        let start = self.entries.len().checked_sub(behind)?;
        Some(start..self.entries.len())
    }

    /// The frames at `places`, in order, each with its offset.
    pub fn frames(&self, places: Range<usize>) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
        let first = self.first();
        let start = places.start as u64;
        self.entries.range(places).enumerate().map(move |(i, frame)| (first + start + i as u64, &**frame))
    }

    /// Offset of the oldest kept publication; one past the top when none is kept.
    pub fn first(&self) -> u64 {
        self.top + 1 - self.entries.len() as u64
    }

    /// Offset of the last publication; 0 before the first.
    pub const fn top(&self) -> u64 {
        self.top
    }

    /// The incarnation.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Publications kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Memory of the publications.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEPT: Kept = Kept { size: 3, ttl: Duration::from_secs(10), meta_ttl: Duration::from_secs(100) };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn stream(publications: u64) -> Stream {
        let mut stream = Stream::new(Epochs::new(1).draw(), Duration::ZERO, KEPT);
        (0..publications).for_each(|i| stream.append(Duration::ZERO, &[i as u8; 4], KEPT));
        stream
    }

    #[test]
    fn epochs_are_eight_letters_and_differ() {
        let mut epochs = Epochs::new(7);
        let (one, two) = (epochs.draw(), epochs.draw());
        assert_ne!(one, two);
        assert!(one.as_str().len() == 8 && one.as_str().bytes().all(|byte| byte.is_ascii_alphabetic()));
        assert_eq!(Epochs::new(7).draw(), one);
    }

    #[test]
    fn a_position_is_continued_only_when_nothing_is_missing() {
        let stream = stream(5);
        let epoch = stream.epoch();
        let after = |offset, epoch| stream.after(Position { offset, epoch }).map(|places| places.len());
        assert_eq!(after(5, epoch.as_str()), Some(0));
        assert_eq!(after(3, epoch.as_str()), Some(2));
        assert_eq!(after(2, ""), Some(3));
        assert_eq!(after(1, epoch.as_str()), None, "publication 2 is gone");
        assert_eq!(after(6, epoch.as_str()), None, "the future");
        assert_eq!(after(5, "otherone"), None);
    }

    #[test]
    fn publications_go_before_the_position_does() {
        let mut stream = stream(2);
        assert!(!stream.expire(seconds(9)));
        assert!(stream.expire(seconds(10)));
        assert_eq!((stream.top(), stream.len(), stream.bytes()), (2, 0, 0));
        assert!(!stream.forgettable(seconds(99)));
        assert!(stream.forgettable(seconds(100)));
    }

    proptest! {
        #[test]
        fn kept_frames_carry_their_offsets_and_their_bytes_are_counted(count in 0u64..9, from in 0u64..10) {
            let stream = stream(count);
            prop_assert_eq!(stream.len() as u64, count.min(3));
            prop_assert_eq!(stream.bytes(), stream.len() * (4 + PUBLICATION_OVERHEAD_BYTES));
            if let Some(places) = stream.after(Position { offset: from, epoch: "" }) {
                let offsets: Vec<u64> = stream.frames(places).map(|(offset, _)| offset).collect();
                prop_assert_eq!(offsets, (from + 1..=count).collect::<Vec<_>>());
            }
        }
    }
}
