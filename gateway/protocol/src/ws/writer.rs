//! Frames out. Always whole messages in one frame; the client's variants mask with a key the caller drew.

use tungstenite::protocol::frame::FrameHeader;

use super::{
    Opcode, is_sendable,
    limits::{CLOSE_REASON_BYTES_MAX, CONTROL_BYTES_MAX},
    mask::mask,
};

/// Appends an unmasked frame, as a server sends it.
pub fn frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends the header of an unmasked frame; its payload must follow.
pub fn header(opcode: Opcode, payload_bytes: usize, out: &mut Vec<u8>) {
    write_header(opcode, payload_bytes, None, out);
}

/// How long [`header`] is for a payload of this length.
pub fn header_bytes(payload_bytes: usize) -> usize {
    match payload_bytes {
        0..126 => 2,
        126..65_536 => 4,
        _ => 10,
    }
}

/// The payload of a whole unmasked frame, as [`frame`] writes them.
pub fn payload(frame: &[u8]) -> &[u8] {
    let header = match frame.get(1).map(|length| length & 0x7f) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    frame.get(header..).unwrap_or_default()
}

/// Appends a frame as a client sends it. A new, unpredictable `key` for each frame is the caller's duty (RFC 6455 §5.3).
pub fn masked_frame(opcode: Opcode, payload: &[u8], key: [u8; 4], out: &mut Vec<u8>) {
    write_header(opcode, payload.len(), Some(key), out);
    let start = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[start..], key);
}

/// Appends a server's close frame. `None` sends no code: only to answer one that had none. A reason over
/// [`CLOSE_REASON_BYTES_MAX`] is cut at a character.
pub fn close_frame(code: Option<u16>, reason: &str, out: &mut Vec<u8>) {
    let (payload, bytes) = close_payload(code, reason);
    frame(Opcode::Close, &payload[..bytes], out);
}

/// Appends a client's close frame.
pub fn masked_close_frame(code: Option<u16>, reason: &str, key: [u8; 4], out: &mut Vec<u8>) {
    let (payload, bytes) = close_payload(code, reason);
    masked_frame(Opcode::Close, &payload[..bytes], key, out);
}

/// A close frame's payload and its length.
pub fn close_payload(code: Option<u16>, reason: &str) -> ([u8; CONTROL_BYTES_MAX], usize) {
    let mut payload = [0; CONTROL_BYTES_MAX];
    let Some(code) = code else { return (payload, 0) };
    debug_assert!(is_sendable(code), "close code {code} must not be sent");
    let mut end = reason.len().min(CLOSE_REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = &reason.as_bytes()[..end];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason);
    (payload, 2 + reason.len())
}

fn write_header(opcode: Opcode, payload_bytes: usize, key: Option<[u8; 4]>, out: &mut Vec<u8>) {
    debug_assert!(!opcode.is_control() || payload_bytes <= CONTROL_BYTES_MAX);
    let header = FrameHeader { opcode: opcode.into(), mask: key, ..FrameHeader::default() };
    header.format(payload_bytes as u64, out).expect("invariant: writing to a Vec does not fail");
}
