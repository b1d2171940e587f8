//! What waits for one link: frames in order, the bound on them, and the streams that were left out because of it.
//!
//! Never writes: the shell takes the bytes with [`crate::Broker::transmit`] and writes them.

use std::mem;

use crate::gap::{Gap, Gaps, Marked};
use crate::limits::{Limits, QUEUE_KEEP_BYTES};

/// What the shell is to do after asking for bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transmit {
    /// Write what was given, then ask again.
    Write,
    /// Wait for the next [`crate::Event::Ready`].
    Idle,
    /// Close the connection: it fell too far behind, or is not known.
    Close,
}

/// One link's queue.
#[derive(Debug)]
pub(crate) struct Outbound {
    queue: Vec<u8>,
    /// Bytes that the shell has taken and, as far as is known, not yet written.
    taken: usize,
    /// The shell has been told that there is something, and has not yet found nothing.
    announced: bool,
    overflowed: bool,
    /// Gateway and shard at the other end.
    pub(crate) address: Option<(u64, u16)>,
    /// Somebody was entered through this link.
    pub(crate) entered: bool,
    pub(crate) gaps: Gaps,
}

/// What became of a publication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offered {
    Queued,
    /// Left out; the gap is new.
    Gapped,
    /// Left out behind an open gap.
    Waiting,
    /// Left out, and the gap could not be remembered: the link must go.
    Overflow,
}

impl Outbound {
    pub(crate) fn new() -> Self {
        Self {
            queue: Vec::new(),
            taken: 0,
            announced: false,
            overflowed: false,
            address: None,
            entered: false,
            gaps: Gaps::default(),
        }
    }

    /// A frame that must arrive: an answer, or news of a loss. False when it does not fit: the link must go.
    pub(crate) fn answer(&mut self, frame: &[u8], limits: &Limits) -> bool {
        let fits = !self.overflowed && self.queued() + frame.len() <= limits.link_bytes;
        if fits {
            self.queue.extend_from_slice(frame);
        }
        fits
    }

    /// A publication of a stream.
    pub(crate) fn offer(&mut self, stream: u32, before: Gap, frame: &[u8], limits: &Limits) -> Offered {
        let open = self.gaps.is_open(stream);
        if !open && self.has_room(frame.len(), limits) {
            self.queue.extend_from_slice(frame);
            return Offered::Queued;
        }
        match self.gaps.mark(stream, before) {
            Marked::Opened => Offered::Gapped,
            Marked::Widened => Offered::Waiting,
            Marked::Full => Offered::Overflow,
        }
    }

    /// A frame that nobody can ask for again: lost (false) when there is no room.
    pub(crate) fn offer_loose(&mut self, frame: &[u8], limits: &Limits) -> bool {
        let room = self.has_room(frame.len(), limits);
        if room {
            self.queue.extend_from_slice(frame);
        }
        room
    }

    pub(crate) fn has_room(&self, bytes: usize, limits: &Limits) -> bool {
        !self.overflowed && self.queued() + bytes <= limits.link_publications_bytes
    }

    /// Gives all that waits to `out`, which the shell has written; true if there is anything.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>) -> bool {
        out.clear();
        if out.capacity() > QUEUE_KEEP_BYTES {
            *out = Vec::new();
        }
        mem::swap(&mut self.queue, out);
        self.taken = out.len();
        self.announced = !out.is_empty();
        self.announced
    }

    /// True once for each time that there is something new for a shell that had found nothing.
    pub(crate) fn announce(&mut self) -> bool {
        let news = !self.announced && (self.overflowed || !self.queue.is_empty());
        self.announced |= news;
        news
    }

    /// The link is to be closed: nothing further is kept for it.
    pub(crate) fn overflow(&mut self) {
        self.overflowed = true;
        self.announced = false;
        self.queue = Vec::new();
        self.gaps.clear();
    }

    pub(crate) const fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// What the shell took has been written.
    pub(crate) const fn written(&mut self) {
        self.taken = 0;
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len() + self.taken
    }
}
