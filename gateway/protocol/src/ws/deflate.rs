//! permessage-deflate (RFC 7692) without context takeover: every message is compressed by itself, so that no connection keeps
//! anything for it, and one frame serves all who take it.
//!
//! Owns the coding of messages and its bounds. Who has agreed to it is known elsewhere.

use std::rc::Rc;

use miniz_oxide::{
    deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params},
    inflate::{
        TINFLStatus,
        core::{
            DecompressorOxide, decompress,
            inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
        },
    },
};

use super::{
    Opcode, Violation, header,
    limits::{COMPRESSED_BYTES_MIN, DEFLATED_BYTES_KEPT, INFLATED_BYTES_FIRST},
    payload,
};

/// Which messages are compressed, and how hard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compression {
    /// Shorter ones are left as they are.
    pub bytes_min: usize,
    /// From 1, the fastest, to 9, the smallest.
    pub level: u8,
}

/// Compresses whole frames, one by one. About 300 KB once it has been used, nothing before.
#[derive(Default)]
pub struct Deflater {
    how: Compression,
    state: Option<Box<CompressorOxide>>,
    scratch: Vec<u8>,
}

/// The bit of a frame that says so.
pub(super) const COMPRESSED: u8 = 0x40;
/// Ends what a compressor has been given so far, and is left away (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// The same and an empty last block: only what stops between two blocks goes on like this to an end.
const END: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];

impl Default for Compression {
    fn default() -> Self {
        Self { bytes_min: COMPRESSED_BYTES_MIN, level: 1 }
    }
}

impl Deflater {
    /// Has compressed nothing.
    pub fn new(how: Compression) -> Self {
        Self { how, ..Self::default() }
    }

    /// A whole unmasked data frame with its message compressed; the same frame if that makes it no shorter.
    pub fn frame(&mut self, frame: &Rc<[u8]>) -> Rc<[u8]> {
        let message = payload(frame);
        if message.len() < self.how.bytes_min {
            return Rc::clone(frame);
        }
        let Some(body) = self.compress(message) else { return Rc::clone(frame) };
        let mut out = Vec::with_capacity(frame.len());
        header(Opcode::Text, body.len(), &mut out);
        out.extend_from_slice(body);
        debug_assert!(out.len() < frame.len());
        out[0] = frame[0] | COMPRESSED;
        if self.scratch.capacity() > DEFLATED_BYTES_KEPT {
            self.scratch = Vec::new();
        }
        Rc::from(out)
    }

    /// The message compressed; `None` if it becomes no shorter.
    fn compress(&mut self, message: &[u8]) -> Option<&[u8]> {
        let level = self.how.level.into();
        let state = self.state.get_or_insert_with(|| {
            Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(level, 0, 0)))
        });
        state.reset();
        self.scratch.clear();
        self.scratch.resize(message.len() + TAIL.len(), 0);
        let (status, read, written) = compress(state, message, &mut self.scratch, TDEFLFlush::Sync);
        // What fills all of this may have more to say.
        let whole = status == TDEFLStatus::Okay && read == message.len() && written < self.scratch.len();
        self.scratch[..written].strip_suffix(&TAIL).filter(|_| whole)
    }
}

/// The message of a compressed body, if it has at most `limit` bytes; not much more than these is ever reserved.
pub(super) fn inflate(body: &[u8], limit: usize) -> Result<Vec<u8>, Violation> {
    let mut state = Box::<DecompressorOxide>::default();
    // One more than may be: a message of just the limit has room for its end.
    let room = limit.saturating_add(1);
    let mut out = vec![0; body.len().saturating_mul(4).max(INFLATED_BYTES_FIRST).min(room)];
    let mut written = 0;
    for (mut input, more) in [(body, TINFL_FLAG_HAS_MORE_INPUT), (&END[..], 0)] {
        loop {
            let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | more;
            let (status, read, wrote) = decompress(&mut state, input, &mut out, written, flags);
            (input, written) = (&input[read..], written + wrote);
            if written > limit {
                return Err(Violation::TooBig);
            }
            match status {
                TINFLStatus::NeedsMoreInput => break,
                TINFLStatus::Done if more == 0 && input.is_empty() => {
                    out.truncate(written);
                    return Ok(out);
                }
                // A sender may say that a block is the last one and yet go on (RFC 7692 §7.2.3.4). Each takes part of the input.
                TINFLStatus::Done => state.init(),
                TINFLStatus::HasMoreOutput if out.len() < room => {
                    out.resize(out.len().saturating_mul(2).min(room), 0);
                }
                TINFLStatus::HasMoreOutput => return Err(Violation::TooBig),
                _ => return Err(Violation::Deflate),
            }
        }
    }
    Err(Violation::Deflate)
}
