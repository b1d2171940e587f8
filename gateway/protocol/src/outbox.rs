//! What a connection is owed: a queue of shared frames and own bytes, in order, counted. Messages are batched into frames.
//!
//! Owns no bound: the shard compares [`Outbox::bytes`] with the connection's. Never looks inside the bytes.

use std::{collections::VecDeque, rc::Rc};

use crate::{
    client::{encoding::Encoding, limits::MESSAGES_IN_FRAME_MAX},
    framing::Framing,
    limits::JOINED_BYTES_MAX,
};

/// A piece of what is owed.
#[derive(Clone, Debug)]
pub enum Chunk {
    /// One publication's frame, shared by all its receivers.
    Shared(Rc<[u8]>),
    /// A reply, or several.
    Own(Vec<u8>),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

/// Frames that wait to be sealed and sent. Empty, it holds at most a small ring.
#[derive(Debug, Default)]
pub struct Outbox {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are already taken.
    taken: usize,
    bytes: usize,
    /// Messages that will share a frame, with separators, and how many.
    batch: Vec<u8>,
    batched: usize,
    framing: Framing,
    /// Messages queued since the framing was set; wraps.
    messages: u32,
}

impl Outbox {
    /// Messages queued from now on are framed like this.
    pub fn set_framing(&mut self, framing: Framing) {
        debug_assert_eq!(self.batched, 0, "queued messages have their framing");
        self.framing = framing;
        self.messages = 0;
    }

    /// Queues a shared frame.
    pub fn push_shared(&mut self, encoding: Encoding, frame: &Rc<[u8]>) {
        self.end_batch(encoding);
        self.messages = self.messages.wrapping_add(1);
        self.bytes += frame.len();
        self.chunks.push_back(Chunk::Shared(Rc::clone(frame)));
        self.check();
    }

    /// Queues bytes written by `write`, joined to the last own chunk if that is the last and not long: a reader that is never
    /// quite done would otherwise keep all that it has taken. After [`Outbox::end_batch`] only.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if !matches!(self.chunks.back(), Some(Chunk::Own(own)) if own.len() < JOINED_BYTES_MAX) {
            self.chunks.push_back(Chunk::Own(Vec::new()));
        }
        debug_assert_eq!(self.batched, 0, "bytes would overtake a message");
        if let Some(Chunk::Own(own)) = self.chunks.back_mut() {
            let before = own.len();
            write(own);
            debug_assert!(own.len() >= before, "writers only append");
            self.bytes += own.len() - before;
        }
        self.check();
    }

    /// Queues one message of the client protocol. It shares a frame with those queued just before and after it.
    pub fn push_message(&mut self, encoding: Encoding, write: impl FnOnce(&mut Vec<u8>)) {
        if self.batched >= MESSAGES_IN_FRAME_MAX {
            self.end_batch(encoding);
        }
        let before = self.batch.len();
        if self.batched > 0 {
            self.batch.extend_from_slice(encoding.separator());
        }
        write(&mut self.batch);
        self.batched += 1;
        self.messages = self.messages.wrapping_add(1);
        self.bytes += self.batch.len() - before;
    }

    /// Makes a frame of the messages queued so far. Needed before [`Outbox::take`] and before other frames are pushed.
    pub fn end_batch(&mut self, encoding: Encoding) {
        if self.batched == 0 {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        self.batched = 0;
        self.bytes -= batch.len();
        let framing = self.framing;
        self.push_with(|out| framing.frame(encoding, &batch, out));
        self.batch = batch;
        self.batch.clear();
    }

    /// Everything owed, given away; what is queued from now on is framed in the same way.
    pub fn begin_anew(&mut self) -> Self {
        let next = Self { framing: self.framing, ..Self::default() };
        std::mem::replace(self, next)
    }

    /// Queues all that `other` owes behind what is owed here. Nothing of it may have been taken.
    pub fn append(&mut self, encoding: Encoding, mut other: Self) {
        debug_assert_eq!(other.taken, 0, "a part of a frame cannot follow another frame");
        other.end_batch(encoding);
        self.end_batch(encoding);
        self.bytes += other.bytes;
        self.messages = self.messages.wrapping_add(other.messages);
        self.chunks.append(&mut other.chunks);
        self.check();
    }

    /// Moves up to `bytes_max` bytes to the end of `out`; never splits below that bound.
    pub fn take(&mut self, bytes_max: usize, out: &mut Vec<u8>) {
        let mut room = bytes_max;
        while room > 0 {
            let Some(chunk) = self.chunks.front() else { break };
            let rest = &chunk.bytes()[self.taken..];
            let part = rest.len().min(room);
            out.extend_from_slice(&rest[..part]);
            room -= part;
            self.bytes -= part;
            if part == rest.len() {
                self.chunks.pop_front();
                self.taken = 0;
            } else {
                self.taken += part;
            }
        }
        self.check();
    }

    /// Forgets what has not begun to be taken; a frame that has must be finished before another can follow.
    pub fn abandon(&mut self) {
        self.batch.clear();
        self.batched = 0;
        self.chunks.truncate(usize::from(self.taken > 0));
        self.bytes = self.chunks.front().map_or(0, |chunk| chunk.bytes().len() - self.taken);
        self.check();
    }

    /// Forgets everything, keeping a small capacity.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.chunks.shrink_to(8);
        self.taken = 0;
        self.bytes = 0;
        self.batch.clear();
        self.batch.shrink_to(0);
        self.batched = 0;
    }

    /// Messages queued since the framing was set; wraps.
    pub const fn messages(&self) -> u32 {
        self.messages
    }

    /// Bytes owed. Shared frames count in full for each receiver.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing is owed.
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn check(&self) {
        debug_assert!(self.taken == 0 || self.chunks.front().is_some_and(|c| c.bytes().len() > self.taken));
        #[cfg(debug_assertions)]
        if self.chunks.len() < 64 {
            let sum: usize = self.chunks.iter().map(|c| c.bytes().len()).sum();
            debug_assert_eq!(sum - self.taken + self.batch.len(), self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws;

    #[test]
    fn bytes_come_out_in_order_whatever_the_portions() {
        let mut outbox = Outbox::default();
        let shared: Rc<[u8]> = Rc::from(&b"shared"[..]);
        outbox.push_with(|out| out.extend_from_slice(b"one,"));
        outbox.push_with(|out| out.extend_from_slice(b"two,"));
        outbox.push_shared(Encoding::Json, &shared);
        outbox.push_with(|out| out.extend_from_slice(b",end"));
        assert_eq!(outbox.bytes(), 18);
        let mut out = Vec::new();
        while !outbox.is_empty() {
            outbox.take(5, &mut out);
        }
        assert_eq!(out, b"one,two,shared,end");
        assert_eq!(Rc::strong_count(&shared), 1);
    }

    #[test]
    fn messages_share_frames_up_to_the_bound_and_keep_their_place() {
        let mut outbox = Outbox::default();
        for _ in 0..MESSAGES_IN_FRAME_MAX + 1 {
            outbox.push_message(Encoding::Json, |out| out.extend_from_slice(b"{}"));
        }
        outbox.push_shared(Encoding::Json, &Rc::from(&b"shared"[..]));
        outbox.end_batch(Encoding::Json);
        let mut out = Vec::new();
        outbox.take(1000, &mut out);
        let mut expected = Vec::new();
        ws::frame(ws::Opcode::Text, ["{}"; MESSAGES_IN_FRAME_MAX].join("\n").as_bytes(), &mut expected);
        ws::frame(ws::Opcode::Text, b"{}", &mut expected);
        expected.extend_from_slice(b"shared");
        assert_eq!(out, expected);
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_another_owes_comes_behind_what_is_owed_here() {
        let (mut first, mut second) = (Outbox::default(), Outbox::default());
        second.push_shared(Encoding::Json, &Rc::from(&b"shared"[..]));
        second.push_with(|out| out.extend_from_slice(b",end"));
        first.push_with(|out| out.extend_from_slice(b"one,"));
        first.append(Encoding::Json, second);
        assert_eq!(first.bytes(), 14);
        let mut out = Vec::new();
        first.take(1000, &mut out);
        assert_eq!(out, b"one,shared,end");
    }

    #[test]
    fn what_has_been_taken_is_freed_though_more_is_always_owed() {
        let mut outbox = Outbox::default();
        let mut out = Vec::new();
        outbox.push_with(|out| out.resize(out.len() + 100, b'a'));
        for _ in 0..1000 {
            outbox.push_with(|out| out.resize(out.len() + 1000, b'b'));
            outbox.take(1000, &mut out);
            let kept: usize = outbox.chunks.iter().map(|chunk| chunk.bytes().len()).sum();
            assert!(kept <= 2 * JOINED_BYTES_MAX, "{kept} bytes kept for {} owed", outbox.bytes());
        }
        assert_eq!((outbox.bytes(), out.len()), (100, 1_000_000));
    }

    #[test]
    fn a_write_of_nothing_owes_nothing() {
        let mut outbox = Outbox::default();
        outbox.push_with(|_| {});
        assert!(outbox.is_empty());
        let mut out = Vec::new();
        outbox.take(10, &mut out);
        assert!(out.is_empty());
    }
}
