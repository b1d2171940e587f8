//! Frames of every private link: a greeting of fixed layout, then bodies with a four-byte length.
//!
//! Owns framing and its bound; never what a body means.

use serde::{Deserialize, Serialize};

use crate::limits::FRAME_BYTES_MAX;

/// The version of the gateway↔relay link. Both sides must have the same: a box upgrades both programs together.
pub const VERSION: u16 = 8;
/// The first bytes of every link connection.
pub const MAGIC: [u8; 4] = *b"HDLD";
/// Length of an encoded [`Greeting`] and of an encoded [`Welcome`].
pub const GREETING_BYTES: usize = 20;

/// What a link connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// One per gateway process: settings come, nothing but the greeting goes.
    Control = 0,
    /// One per shard: commands and publications.
    Shard = 1,
    /// One per shard: signatures.
    Sign = 2,
}

/// The gateway's first bytes on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Greeting {
    /// Link version of the gateway.
    pub version: u16,
    /// What this connection is for.
    pub purpose: Purpose,
    /// Random number of the gateway process, so that its connections are known to belong together.
    pub gateway: u64,
    /// Which shard.
    pub shard: u16,
}

/// The relay's first bytes on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// Link version of the relay. When it differs from the greeting's, the relay closes after this.
    pub version: u16,
}

/// What is wrong with bytes from the other side of a link. The connection cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The first bytes are not a greeting: something else connected.
    #[error("the first bytes are not a Headland link greeting")]
    NotALink,
    /// Another link version.
    #[error(
        "the other side speaks link version {theirs}, this one {VERSION}: run gateway and relay of one release"
    )]
    Version {
        /// The version the other side named.
        theirs: u16,
    },
    /// A frame larger than the bound.
    #[error("a frame of {bytes} bytes is over the bound of {FRAME_BYTES_MAX}")]
    TooLarge {
        /// The announced length.
        bytes: usize,
    },
    /// A body that does not decode.
    #[error("a frame's body does not decode")]
    Malformed,
}

impl Greeting {
    /// The fixed layout: magic, version, purpose, zero, gateway, shard, zero. Little-endian.
    pub fn encode(&self) -> [u8; GREETING_BYTES] {
        let mut out = [0; GREETING_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&self.version.to_le_bytes());
        out[6] = self.purpose as u8;
        out[8..16].copy_from_slice(&self.gateway.to_le_bytes());
        out[16..18].copy_from_slice(&self.shard.to_le_bytes());
        out
    }

    /// Reads a greeting of any version; only the layout is checked, so that a refusal can name the version.
    pub fn decode(bytes: &[u8; GREETING_BYTES]) -> Result<Self, FrameError> {
        if bytes[..4] != MAGIC {
            return Err(FrameError::NotALink);
        }
        let purpose = match bytes[6] {
            0 => Purpose::Control,
            1 => Purpose::Shard,
            2 => Purpose::Sign,
            _ => return Err(FrameError::NotALink),
        };
        Ok(Self {
            version: u16::from_le_bytes([bytes[4], bytes[5]]),
            purpose,
            gateway: u64::from_le_bytes(bytes[8..16].try_into().map_err(|_| FrameError::NotALink)?),
            shard: u16::from_le_bytes([bytes[16], bytes[17]]),
        })
    }
}

impl Welcome {
    /// The fixed layout: magic, version, zeros.
    pub fn encode(&self) -> [u8; GREETING_BYTES] {
        let mut out = [0; GREETING_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&self.version.to_le_bytes());
        out
    }

    /// Reads a welcome and refuses another version.
    pub fn decode(bytes: &[u8; GREETING_BYTES]) -> Result<Self, FrameError> {
        if bytes[..4] != MAGIC {
            return Err(FrameError::NotALink);
        }
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        if version == VERSION { Ok(Self { version }) } else { Err(FrameError::Version { theirs: version }) }
    }
}

/// Appends one frame with `message` as its body. Fails, leaving `out` as it was, if the body is over the bound.
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let written = append(message, out);
    let bytes = out.len() - start - 4;
    if written.is_err() || bytes > FRAME_BYTES_MAX {
        out.truncate(start);
        return Err(if written.is_err() { FrameError::Malformed } else { FrameError::TooLarge { bytes } });
    }
    // The bound fits four bytes: checked above against FRAME_BYTES_MAX.
    out[start..start + 4].copy_from_slice(&(bytes as u32).to_le_bytes());
    Ok(())
}

/// Appends a message without a frame around it, unbounded. After a failure `out` holds a part of it.
pub(crate) fn append<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    struct Appender<'a>(&'a mut Vec<u8>);
    impl postcard::ser_flavors::Flavor for Appender<'_> {
        type Output = ();
        fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
            self.0.push(byte);
            Ok(())
        }
        fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn finalize(self) -> postcard::Result<()> {
            Ok(())
        }
    }
    postcard::serialize_with_flavor(message, Appender(out)).map_err(|_| FrameError::Malformed)
}

/// A frame's body and what follows it.
pub type Split<'a> = (&'a [u8], &'a [u8]);

/// The body of the first frame in `bytes` and what remains, or `None` when it is not all there yet.
pub fn split(bytes: &[u8]) -> Result<Option<Split<'_>>, FrameError> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge { bytes: length });
    }
    Ok(rest.split_at_checked(length))
}

/// Decodes a body. Trailing bytes are refused: both sides have one version.
pub fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(FrameError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_whole_and_only_when_complete() {
        let mut bytes = Vec::new();
        encode(&("channel", 7u32), &mut bytes).unwrap();
        encode(&("next", 8u32), &mut bytes).unwrap();
        for cut in 0..4 + 9 {
            assert_eq!(split(&bytes[..cut]).unwrap(), None);
        }
        let (body, rest) = split(&bytes).unwrap().unwrap();
        assert_eq!(decode::<(&str, u32)>(body).unwrap(), ("channel", 7));
        let (body, rest) = split(rest).unwrap().unwrap();
        assert_eq!(decode::<(&str, u32)>(body).unwrap(), ("next", 8));
        assert!(rest.is_empty());
    }

    #[test]
    fn an_oversized_length_is_refused_before_any_body_is_awaited() {
        let bytes = u32::MAX.to_le_bytes();
        assert_eq!(split(&bytes), Err(FrameError::TooLarge { bytes: u32::MAX as usize }));
    }

    #[test]
    fn an_oversized_body_leaves_the_buffer_as_it_was() {
        let mut bytes = vec![1, 2, 3];
        let body = vec![0u8; FRAME_BYTES_MAX + 1];
        assert!(encode(&serde_bytes::Bytes::new(&body), &mut bytes).is_err());
        assert_eq!(bytes, [1, 2, 3]);
    }

    #[test]
    fn greetings_survive_and_versions_are_named() {
        let greeting = Greeting { version: 9, purpose: Purpose::Sign, gateway: 0xfeed, shard: 3 };
        assert_eq!(Greeting::decode(&greeting.encode()), Ok(greeting));
        assert_eq!(Welcome::decode(&Welcome { version: 9 }.encode()), Err(FrameError::Version { theirs: 9 }));
        assert_eq!(Greeting::decode(&[b'G'; GREETING_BYTES]), Err(FrameError::NotALink));
    }
}
