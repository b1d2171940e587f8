//! Bytes of a connection in, whole messages and control frames out.
//!
//! Owns the order of frames in a connection (RFC 6455 §5.4) and the incomplete message, if there is one. Never answers anything:
//! pongs and closes are the session's.

use std::borrow::Cow;

use super::{
    Opcode, Role, Violation,
    assembly::{Assembly, inflated},
    close::is_sendable,
    head::{self, Head, Parsed},
    limits::{CONTROL_BYTES_MAX, MESSAGE_BYTES_MAX},
};

/// What the one who reads accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Payload of a message, all fragments together. A larger one is refused at the header that shows it. Holds for a compressed
    /// message as it comes and as it was.
    pub message_bytes_max: usize,
    /// Messages may be compressed: permessage-deflate without context takeover was agreed to.
    pub deflate: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: MESSAGE_BYTES_MAX, deflate: false }
    }
}

/// What a call of [`Reader::next`] found. Borrowed from its input, unmasked there; a message that came in parts is owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// No more until there are this many bytes at the front of the input, counted after what was consumed. Never more than
    /// [`RETAINED_BYTES_MAX`](super::limits::RETAINED_BYTES_MAX) + 1.
    Incomplete {
        /// At least 1.
        need: usize,
    },
    /// A fragment was taken in: call again with the rest of the input.
    Nothing,
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// An answer, asked for or not.
    Pong(&'a [u8]),
    /// The peer's last frame. To be answered with one of the same code, unless ours went first.
    Close {
        /// Valid if present.
        code: Option<u16>,
        /// Empty without a code.
        reason: &'a str,
    },
}

/// The receiving half of a WebSocket: one pointer, null unless a message is incomplete or the connection has ended.
#[derive(Debug, Default)]
pub struct Reader {
    state: Option<Box<State>>,
}

/// Boxed as a whole, so that an idle reader has no discriminant to store.
#[derive(Debug)]
enum State {
    Message(Assembly),
    /// After a close frame or a violation: whatever comes is dropped.
    Closed,
}

impl Reader {
    /// Nothing received.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one frame, or as much of one as there is, from the front of `input`; returns the number of bytes to drop from it and
    /// what they were.
    ///
    /// Call until [`Item::Incomplete`]; then keep what was not consumed (at most
    /// [`RETAINED_BYTES_MAX`](super::limits::RETAINED_BYTES_MAX)), unchanged, at the front of the next input. After a close or a
    /// violation all input is consumed and says nothing.
    pub fn next<'a>(
        &mut self,
        role: Role,
        input: &'a mut [u8],
        limits: &Limits,
    ) -> Result<(usize, Item<'a>), Violation> {
        // Only the fault is looked at: to look into the item as well would wait for it to be written.
        self.advance(role, input, limits).inspect_err(|_| self.state = Some(Box::new(State::Closed)))
    }

    /// A part of a frame's payload is still to come: the next input does not begin with a header.
    pub fn is_inside_frame(&self) -> bool {
        matches!(self.state.as_deref(), Some(State::Message(message)) if message.is_owed())
    }

    /// After a close frame or a violation: nothing more is understood.
    pub fn is_closed(&self) -> bool {
        matches!(self.state.as_deref(), Some(State::Closed))
    }

    /// Heap bytes this reader holds.
    pub fn held_bytes(&self) -> usize {
        match self.state.as_deref() {
            None => 0,
            Some(State::Closed) => size_of::<State>(),
            Some(State::Message(message)) => size_of::<State>() + message.capacity(),
        }
    }

    fn advance<'a>(
        &mut self,
        role: Role,
        input: &'a mut [u8],
        limits: &Limits,
    ) -> Result<(usize, Item<'a>), Violation> {
        match self.state.as_deref() {
            Some(State::Closed) => return Ok((input.len(), Item::Incomplete { need: 1 })),
            Some(State::Message(message)) if message.is_owed() => {
                return self.feed(input, 0, limits);
            }
            Some(State::Message(_)) | None => {}
        }
        let head = match head::parse(role, limits.deflate, input)? {
            Parsed::Complete(head) => head,
            Parsed::Incomplete { need } => return Ok((0, Item::Incomplete { need })),
        };
        if head.opcode.is_control() { self.control(&head, input) } else { self.data(&head, input, limits) }
    }

    fn data<'a>(
        &mut self,
        head: &Head,
        input: &'a mut [u8],
        limits: &Limits,
    ) -> Result<(usize, Item<'a>), Violation> {
        let held = match (self.state.as_deref(), head.opcode) {
            (Some(State::Message(message)), Opcode::Continue) => message.bytes(),
            (Some(_), _) => return Err(Violation::Interrupted),
            (None, Opcode::Continue) => return Err(Violation::Continuation),
            (None, _) => 0,
        };
        let payload_bytes = usize::try_from(head.payload_bytes).map_err(|_| Violation::TooBig)?;
        if payload_bytes > limits.message_bytes_max.saturating_sub(held) {
            return Err(Violation::TooBig);
        }
        let end = head.bytes + payload_bytes;
        if self.state.is_none() && head.is_final && end <= input.len() {
            return Ok((end, whole(head, &mut input[head.bytes..end], limits)?));
        }
        if self.state.is_none() {
            let assembly = Assembly::new(head.opcode == Opcode::Text, head.compressed);
            self.state = Some(Box::new(State::Message(assembly)));
        }
        if let Some(State::Message(message)) = self.state.as_deref_mut() {
            message.begin(head, payload_bytes)?;
        }
        self.feed(input, head.bytes, limits)
    }

    /// Gives the incomplete message its part of `input` after `skip` bytes of header.
    fn feed<'a>(
        &mut self,
        input: &mut [u8],
        skip: usize,
        limits: &Limits,
    ) -> Result<(usize, Item<'a>), Violation> {
        let Some(State::Message(message)) = self.state.as_deref_mut() else {
            return Err(Violation::Continuation);
        };
        let consumed = skip + message.feed(&mut input[skip..], limits.message_bytes_max)?;
        if message.is_owed() {
            debug_assert!(consumed == input.len());
            return Ok((consumed, Item::Incomplete { need: 1 }));
        }
        if !message.is_complete() {
            return Ok((consumed, Item::Nothing));
        }
        match self.state.take().map(|state| *state) {
            Some(State::Message(message)) => Ok((consumed, message.finish(limits.message_bytes_max)?)),
            Some(State::Closed) | None => Err(Violation::Continuation),
        }
    }

    fn control<'a>(&mut self, head: &Head, input: &'a mut [u8]) -> Result<(usize, Item<'a>), Violation> {
        debug_assert!(head.payload_bytes <= CONTROL_BYTES_MAX as u64);
        let end = head.bytes + head.payload_bytes as usize;
        let Some(payload) = input.get_mut(head.bytes..end) else {
            return Ok((0, Item::Incomplete { need: end }));
        };
        if let Some(key) = head.key {
            key.apply(payload);
        }
        let payload: &'a [u8] = payload;
        let item = match head.opcode {
            Opcode::Ping => Item::Ping(payload),
            Opcode::Pong => Item::Pong(payload),
            Opcode::Close | Opcode::Continue | Opcode::Text | Opcode::Binary => {
                self.state = Some(Box::new(State::Closed));
                close(payload)?
            }
        };
        Ok((end, item))
    }
}

/// A message in one frame that is all there: unmasked where it lies.
fn whole<'a>(head: &Head, payload: &'a mut [u8], limits: &Limits) -> Result<Item<'a>, Violation> {
    if let Some(key) = head.key {
        key.apply(payload);
    }
    if head.compressed {
        inflated(payload, head.opcode == Opcode::Text, limits.message_bytes_max)
    } else if head.opcode == Opcode::Text {
        let text = std::str::from_utf8(payload).map_err(|_| Violation::Utf8)?;
        Ok(Item::Text(Cow::Borrowed(text)))
    } else {
        Ok(Item::Binary(Cow::Borrowed(payload)))
    }
}

/// RFC 6455 §5.5.1: nothing, or a code and a reason.
fn close(payload: &[u8]) -> Result<Item<'_>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(Item::Close { code: None, reason: "" })
        } else {
            Err(Violation::CloseLength)
        };
    };
    let code = u16::from_be_bytes(*code);
    if !is_sendable(code) {
        return Err(Violation::CloseCode);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::Utf8)?;
    Ok(Item::Close { code: Some(code), reason })
}
