//! Bounds of WebSocket framing.

/// A control frame's payload (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;
/// A close frame's reason: a control payload without its code.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;
/// The longest frame header: two bytes, a 64-bit length, a mask key.
pub const HEADER_BYTES_MAX: usize = 14;
/// What a caller may have to keep between two calls of [`Reader::next`](super::Reader::next): an incomplete control frame.
/// Incomplete data frames are taken over by the reader.
pub const RETAINED_BYTES_MAX: usize = 2 + 4 + CONTROL_BYTES_MAX - 1;
/// A received message, all fragments together, unless configured otherwise. The ecosystem's servers have the same default.
pub const MESSAGE_BYTES_MAX: usize = 65_536;
/// Fragments without payload in one message. They are legal and say nothing; without a bound they would cost work for free.
pub const EMPTY_FRAGMENTS_MAX: u16 = 128;
/// Messages shorter than this are not compressed unless configured otherwise: without others before them they gain next to nothing.
pub const COMPRESSED_BYTES_MIN: usize = 128;
/// Room that a compressor keeps for its next message; what a longer one needed is freed.
pub const DEFLATED_BYTES_KEPT: usize = 128 * 1024;
/// Reserved at first for what a compressed message is to become; doubled as it grows.
pub const INFLATED_BYTES_FIRST: usize = 256;

const _: () = assert!(RETAINED_BYTES_MAX >= HEADER_BYTES_MAX - 1);
