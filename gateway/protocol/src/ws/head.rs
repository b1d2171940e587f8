//! A frame's header, read strictly: every rule that can be judged without knowing the message before it.
//!
//! tungstenite's parser sees whole headers only and knows few of these rules. Every byte has to be looked at here anyway; calling it
//! as well would add 15 ns to the 25 that a small message takes. The tests hold this reading against its.

use super::{
    Opcode, Role, Violation,
    deflate::COMPRESSED,
    limits::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX},
    mask::Key,
};

/// A frame's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// The last fragment of its message.
    pub(super) is_final: bool,
    /// The message that begins with it is compressed.
    pub(super) compressed: bool,
    pub(super) opcode: Opcode,
    pub(super) key: Option<Key>,
    /// Length of the header itself.
    pub(super) bytes: usize,
    /// Length of what follows; below 2^63.
    pub(super) payload_bytes: u64,
}

/// How far the header got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Parsed {
    /// Nothing wrong so far; this many bytes from the start are needed to say more.
    Incomplete {
        /// From the start of the frame.
        need: usize,
    },
    /// All there.
    Complete(Head),
}

/// Reads the header at the front of `bytes`; messages may be compressed if that was agreed to (`deflate`). Each fault is named as early as the bytes show it.
#[inline]
pub(super) fn parse(role: Role, deflate: bool, bytes: &[u8]) -> Result<Parsed, Violation> {
    let Some(&first) = bytes.first() else { return Ok(Parsed::Incomplete { need: 2 }) };
    let opcode = check_first(first, deflate)?;
    let Some(&second) = bytes.get(1) else { return Ok(Parsed::Incomplete { need: 2 }) };
    check_second(role, opcode, second)?;
    let short = second & 0x7f;
    let length_bytes = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let key_at = 2 + length_bytes;
    let masked = second & 0x80 != 0;
    let need = key_at + if masked { 4 } else { 0 };
    debug_assert!(need <= HEADER_BYTES_MAX);
    let Some(head) = bytes.get(..need) else { return Ok(Parsed::Incomplete { need }) };
    let payload_bytes = match head[2..key_at] {
        [a, b] => u64::from(u16::from_be_bytes([a, b])),
        [a, b, c, d, e, f, g, h] => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => u64::from(short),
    };
    check_length(length_bytes, payload_bytes)?;
    Ok(Parsed::Complete(Head {
        is_final: first & 0x80 != 0,
        compressed: first & COMPRESSED != 0,
        opcode,
        key: head.last_chunk().filter(|_| masked).map(|key| Key::new(*key)),
        bytes: need,
        payload_bytes,
    }))
}

fn check_first(first: u8, deflate: bool) -> Result<Opcode, Violation> {
    // RFC 7692 §6: the bit stands on the first frame of a message.
    let may_be = if deflate && matches!(first & 0x0f, 0x1 | 0x2) { COMPRESSED } else { 0 };
    if first & 0x70 & !may_be != 0 {
        return Err(Violation::ReservedBits);
    }
    let opcode = match first & 0x0f {
        0x0 => Opcode::Continue,
        0x1 => Opcode::Text,
        0x2 => Opcode::Binary,
        0x8 => Opcode::Close,
        0x9 => Opcode::Ping,
        0xa => Opcode::Pong,
        _ => return Err(Violation::Opcode),
    };
    if opcode.is_control() && first & 0x80 == 0 {
        return Err(Violation::FragmentedControl);
    }
    Ok(opcode)
}

fn check_second(role: Role, opcode: Opcode, second: u8) -> Result<(), Violation> {
    match (role, second & 0x80 != 0) {
        (Role::Server, false) => return Err(Violation::Unmasked),
        (Role::Client, true) => return Err(Violation::Masked),
        (Role::Server, true) | (Role::Client, false) => {}
    }
    if opcode.is_control() && usize::from(second & 0x7f) > CONTROL_BYTES_MAX {
        return Err(Violation::LongControl);
    }
    Ok(())
}

fn check_length(length_bytes: usize, payload_bytes: u64) -> Result<(), Violation> {
    if payload_bytes > i64::MAX as u64 {
        return Err(Violation::SignedLength);
    }
    let least = match length_bytes {
        2 => 126,
        8 => 65_536,
        _ => 0,
    };
    if payload_bytes < least { Err(Violation::WideLength) } else { Ok(()) }
}
