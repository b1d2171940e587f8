//! A frame's header, read strictly: every rule that can be judged without knowing the message before it.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;

use super::{Opcode, Role, Violation, limits::CONTROL_BYTES_MAX, limits::HEADER_BYTES_MAX};

/// A frame's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// The last fragment of its message.
    pub(super) is_final: bool,
    pub(super) opcode: Opcode,
    pub(super) key: Option<[u8; 4]>,
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

/// Reads the header at the front of `bytes`. Each fault is named as early as the bytes show it.
pub(super) fn parse(role: Role, bytes: &[u8]) -> Result<Parsed, Violation> {
    let Some(&first) = bytes.first() else { return Ok(Parsed::Incomplete { need: 2 }) };
    check_first(first)?;
    let Some(&second) = bytes.get(1) else { return Ok(Parsed::Incomplete { need: 2 }) };
    let short = usize::from(second & 0x7f);
    check_second(role, is_control(first), second)?;
    let length_bytes = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let need = 2 + length_bytes + if second & 0x80 == 0 { 0 } else { 4 };
    debug_assert!(need <= HEADER_BYTES_MAX);
    if bytes.len() < need {
        return Ok(Parsed::Incomplete { need });
    }
    let Ok(Some((header, payload_bytes))) = FrameHeader::parse(&mut Cursor::new(bytes)) else {
        // All bytes are there, so what it can object to is the opcode.
        return Err(Violation::Opcode);
    };
    if payload_bytes > i64::MAX as u64 {
        return Err(Violation::SignedLength);
    }
    if (length_bytes == 2 && payload_bytes < 126) || (length_bytes == 8 && payload_bytes < 65_536) {
        return Err(Violation::WideLength);
    }
    let opcode = Opcode::try_from(header.opcode)?;
    Ok(Parsed::Complete(Head {
        is_final: header.is_final,
        opcode,
        key: header.mask,
        bytes: need,
        payload_bytes,
    }))
}

fn is_control(first: u8) -> bool {
    first & 0x08 != 0
}

fn check_first(first: u8) -> Result<(), Violation> {
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBits);
    }
    if matches!(first & 0x0f, 0x3..=0x7 | 0xb..=0xf) {
        return Err(Violation::Opcode);
    }
    if is_control(first) && first & 0x80 == 0 {
        return Err(Violation::FragmentedControl);
    }
    Ok(())
}

fn check_second(role: Role, control: bool, second: u8) -> Result<(), Violation> {
    match (role, second & 0x80 != 0) {
        (Role::Server, false) => return Err(Violation::Unmasked),
        (Role::Client, true) => return Err(Violation::Masked),
        (Role::Server, true) | (Role::Client, false) => {}
    }
    if control && usize::from(second & 0x7f) > CONTROL_BYTES_MAX {
        return Err(Violation::LongControl);
    }
    Ok(())
}
