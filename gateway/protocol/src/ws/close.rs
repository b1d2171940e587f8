//! The table of what a peer can do wrong in framing and which close code each fault gets; which codes may be sent at all; and
//! how a close frame is known where frames are not understood any more.

use super::limits::CONTROL_BYTES_MAX;

/// A fault of the peer. The connection is failed (RFC 6455 §7.1.7): send a close frame with [`code`](Violation::code) and the
/// `Display` text as its reason, read no further.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// RFC 6455 §5.2: an extension's bits without an extension.
    #[error("reserved bits set without an extension")]
    ReservedBits,
    /// RFC 6455 §5.2: opcodes 3-7 and 11-15.
    #[error("reserved opcode")]
    Opcode,
    /// RFC 6455 §5.1.
    #[error("frame from client is not masked")]
    Unmasked,
    /// RFC 6455 §5.1.
    #[error("frame from server is masked")]
    Masked,
    /// RFC 6455 §5.5.
    #[error("control frame is fragmented")]
    FragmentedControl,
    /// RFC 6455 §5.5.
    #[error("control frame is over 125 bytes")]
    LongControl,
    /// RFC 6455 §5.2: the minimal number of bytes must be used for a length.
    #[error("payload length is not minimally encoded")]
    WideLength,
    /// RFC 6455 §5.2: the most significant bit of a 64-bit length must be 0.
    #[error("payload length is over 63 bits")]
    SignedLength,
    /// RFC 6455 §5.4.
    #[error("continuation of no message")]
    Continuation,
    /// RFC 6455 §5.4.
    #[error("new message inside a fragmented one")]
    Interrupted,
    /// More than [`EMPTY_FRAGMENTS_MAX`](super::limits::EMPTY_FRAGMENTS_MAX): legal, but work for nothing.
    #[error("too many empty fragments")]
    EmptyFragments,
    /// RFC 6455 §5.5.1: a payload of one byte holds no code.
    #[error("close frame with half a code")]
    CloseLength,
    /// RFC 6455 §7.4: a code that must not be sent.
    #[error("invalid close code")]
    CloseCode,
    /// RFC 6455 §8.1: text, or the reason of a close.
    #[error("invalid UTF-8")]
    Utf8,
    /// RFC 7692 §7.2.2: a compressed message that is none, or only the beginning of one.
    #[error("invalid compressed data")]
    Deflate,
    /// Over the limit of the one who reads.
    #[error("message size limit exceeded")]
    TooBig,
    /// A message kind that the session above does not speak. The reader itself never says so.
    #[error("message kind not supported")]
    Unsupported,
}

impl Violation {
    /// The close code that tells the peer.
    pub fn code(self) -> u16 {
        match self {
            Self::Unsupported => 1003,
            Self::Utf8 | Self::Deflate => 1007,
            Self::EmptyFragments => 1008,
            Self::TooBig => 1009,
            Self::ReservedBits
            | Self::Opcode
            | Self::Unmasked
            | Self::Masked
            | Self::FragmentedControl
            | Self::LongControl
            | Self::WideLength
            | Self::SignedLength
            | Self::Continuation
            | Self::Interrupted
            | Self::CloseLength
            | Self::CloseCode => 1002,
        }
    }
}

/// Whether a close code may stand in a frame (RFC 6455 §7.4 and its IANA registry): 1005, 1006 and 1015 are for use inside a
/// program, 1004 and 1016-2999 are reserved, 3000-4999 belong to frameworks and applications.
pub fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Whether the header at the front of `input` is that of a close frame, valid or not.
pub fn is_close(input: &[u8]) -> bool {
    input.first().is_some_and(|first| first & 0x0f == 0x8)
}

/// Whether `input` ends with a client's valid close frame. What is no frame looks so once in some 30,000 times.
pub fn ends_with_close(input: &[u8]) -> bool {
    let lengths = (0..=CONTROL_BYTES_MAX).filter(|length| *length != 1);
    lengths.into_iter().any(|length| {
        let Some(start) = input.len().checked_sub(HEAD_BYTES + length) else { return false };
        match input[start..] {
            [0x88, second, a, b, _, _, ref payload @ ..] if usize::from(second) == 0x80 | length => {
                let code = payload.first_chunk().map(|[high, low]| u16::from_be_bytes([high ^ a, low ^ b]));
                code.is_none_or(is_sendable)
            }
            _ => false,
        }
    })
}

/// The header of a client's short frame, with its mask key.
const HEAD_BYTES: usize = 6;
