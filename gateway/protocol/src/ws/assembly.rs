//! A message that is not complete yet: fragments, or a frame of which only a part has come.
//!
//! Owns what was received of it, already unmasked and (text that is not compressed) already validated. Exists only while it is incomplete.

use std::borrow::Cow;

use super::{Item, Violation, deflate::inflate, head::Head, limits::EMPTY_FRAGMENTS_MAX, mask::Key};

/// What there is of one incomplete message.
#[derive(Debug)]
pub(super) struct Assembly {
    body: Body,
    /// Payload bytes that the current frame still owes; 0 between frames.
    owed: usize,
    /// Turned so that its first byte masks the next payload byte.
    key: Option<Key>,
    /// The current frame is the message's last.
    is_final: bool,
    empty_fragments: u16,
}

#[derive(Debug)]
enum Body {
    Text(Text),
    Binary(Vec<u8>),
    /// Validated once it is whole.
    Compressed {
        held: Vec<u8>,
        text: bool,
    },
}

/// Text of which everything but an unfinished character at the end is known to be UTF-8.
#[derive(Debug, Default)]
struct Text {
    checked: String,
    tail: [u8; 4],
    tail_bytes: usize,
}

impl Assembly {
    pub(super) fn new(text: bool, compressed: bool) -> Self {
        let body = match (compressed, text) {
            (true, text) => Body::Compressed { held: Vec::new(), text },
            (false, true) => Body::Text(Text::default()),
            (false, false) => Body::Binary(Vec::new()),
        };
        Self { body, owed: 0, key: None, is_final: false, empty_fragments: 0 }
    }

    /// Starts the next frame of the message. The caller has checked the whole message against its limit.
    pub(super) fn begin(&mut self, head: &Head, payload_bytes: usize) -> Result<(), Violation> {
        debug_assert!(self.owed == 0, "a frame begins after the one before it is complete");
        debug_assert!(!self.is_final, "nothing follows the last fragment");
        if payload_bytes == 0 && !head.is_final {
            self.empty_fragments += 1;
            if self.empty_fragments > EMPTY_FRAGMENTS_MAX {
                return Err(Violation::EmptyFragments);
            }
        }
        self.owed = payload_bytes;
        self.key = head.key;
        self.is_final = head.is_final;
        Ok(())
    }

    /// Takes what the current frame owes from the front of `input` and returns how many bytes that was. `limit` bounds the memory
    /// reserved, which follows what has arrived and not what was announced.
    pub(super) fn feed(&mut self, input: &mut [u8], limit: usize) -> Result<usize, Violation> {
        let bytes = self.owed.min(input.len());
        let payload = &mut input[..bytes];
        if let Some(key) = self.key {
            key.apply(payload);
            self.key = Some(key.advanced(bytes));
        }
        match &mut self.body {
            Body::Text(text) => text.push(payload, limit)?,
            Body::Binary(held) | Body::Compressed { held, .. } => {
                held.reserve_exact(growth(held.len(), held.capacity(), bytes, limit));
                held.extend_from_slice(payload);
            }
        }
        self.owed -= bytes;
        Ok(bytes)
    }

    /// The message, taken out, of at most `limit` bytes. Only when [`is_complete`](Self::is_complete).
    pub(super) fn finish(self, limit: usize) -> Result<Item<'static>, Violation> {
        debug_assert!(self.is_complete());
        match self.body {
            Body::Text(text) if text.tail_bytes > 0 => Err(Violation::Utf8),
            Body::Text(text) => Ok(Item::Text(Cow::Owned(text.checked))),
            Body::Binary(held) => Ok(Item::Binary(Cow::Owned(held))),
            Body::Compressed { held, text } => inflated(&held, text, limit),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_final && self.owed == 0
    }

    /// The current frame has not come to its end.
    pub(super) fn is_owed(&self) -> bool {
        self.owed > 0
    }

    /// Payload bytes received so far.
    pub(super) fn bytes(&self) -> usize {
        match &self.body {
            Body::Text(text) => text.checked.len() + text.tail_bytes,
            Body::Binary(held) | Body::Compressed { held, .. } => held.len(),
        }
    }

    /// Bytes reserved for the payload.
    pub(super) fn capacity(&self) -> usize {
        match &self.body {
            Body::Text(text) => text.checked.capacity(),
            Body::Binary(held) | Body::Compressed { held, .. } => held.capacity(),
        }
    }
}

impl Text {
    /// Appends, and refuses bytes as soon as no continuation could make them UTF-8.
    fn push(&mut self, mut bytes: &[u8], limit: usize) -> Result<(), Violation> {
        let more = self.tail_bytes + bytes.len();
        self.checked.reserve_exact(growth(self.checked.len(), self.checked.capacity(), more, limit));
        while self.tail_bytes > 0 {
            let Some((&next, rest)) = bytes.split_first() else { return Ok(()) };
            bytes = rest;
            self.tail[self.tail_bytes] = next;
            self.tail_bytes += 1;
            match std::str::from_utf8(&self.tail[..self.tail_bytes]) {
                Ok(character) => {
                    self.checked.push_str(character);
                    self.tail_bytes = 0;
                }
                Err(fault) if fault.error_len().is_some() => return Err(Violation::Utf8),
                // Four bytes are a character or a fault, so an unfinished one leaves room.
                Err(_) => debug_assert!(self.tail_bytes < self.tail.len()),
            }
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.checked.push_str(text),
            Err(fault) if fault.error_len().is_some() => return Err(Violation::Utf8),
            Err(fault) => {
                let (valid, tail) = bytes.split_at(fault.valid_up_to());
                let valid = std::str::from_utf8(valid).map_err(|_| Violation::Utf8)?;
                self.checked.push_str(valid);
                self.tail[..tail.len()].copy_from_slice(tail);
                self.tail_bytes = tail.len();
            }
        }
        Ok(())
    }
}

/// A message whose compressed body is all there.
pub(super) fn inflated(body: &[u8], text: bool, limit: usize) -> Result<Item<'static>, Violation> {
    let message = inflate(body, limit)?;
    if text {
        let text = String::from_utf8(message).map_err(|_| Violation::Utf8)?;
        Ok(Item::Text(Cow::Owned(text)))
    } else {
        Ok(Item::Binary(Cow::Owned(message)))
    }
}

/// How much to reserve for `more` bytes: doubling, but never over `limit` unless what is there needs it.
fn growth(held: usize, capacity: usize, more: usize, limit: usize) -> usize {
    let need = held + more;
    if need <= capacity {
        return 0;
    }
    need.max((capacity * 2).min(limit)) - held
}
