//! WebSocket framing (RFC 6455), strict, for both ends, over buffers that belong to the caller.
//!
//! Owns the rules of frames and messages and the close codes they lead to. Never keeps a byte of an idle connection: a [`Reader`]
//! is one pointer, null unless a message is incomplete. The one extension is compression of single messages, where both ends have agreed to it.

mod assembly;
mod close;
mod deflate;
mod head;
pub mod limits;
mod mask;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use close::{Violation, ends_with_close, is_close, is_sendable};
pub use deflate::{Compression, Deflater};
pub use mask::mask;
pub use reader::{Item, Limits, Reader};
pub use writer::{
    close_frame, close_payload, frame, header, header_bytes, masked_close_frame, masked_frame, payload,
};

use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Which end of the connection this program is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// What arrives must be masked, what is sent must not.
    Server,
    /// The other way round.
    Client,
}

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opcode {
    /// A further fragment of a message.
    Continue = 0x0,
    /// A text message or its first fragment.
    Text = 0x1,
    /// A binary message or its first fragment.
    Binary = 0x2,
    /// The last frame of this side.
    Close = 0x8,
    /// Must be answered by a pong with the same payload.
    Ping = 0x9,
    /// The answer, or a sign of life.
    Pong = 0xa,
}

impl Opcode {
    /// Control frames are short, never fragmented, and may stand between the fragments of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl From<Opcode> for OpCode {
    fn from(opcode: Opcode) -> Self {
        match opcode {
            Opcode::Continue => Self::Data(Data::Continue),
            Opcode::Text => Self::Data(Data::Text),
            Opcode::Binary => Self::Data(Data::Binary),
            Opcode::Close => Self::Control(Control::Close),
            Opcode::Ping => Self::Control(Control::Ping),
            Opcode::Pong => Self::Control(Control::Pong),
        }
    }
}
