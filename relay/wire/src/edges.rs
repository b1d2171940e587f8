//! Words between the relays of different edges, carried by whatever bus they share.
//!
//! Owns their encoding and version. What is lost on the way is noticed by who waits for an answer.

use serde::{Deserialize, Serialize};

use crate::{
    frame::{self, FrameError},
    link::SESSION_BYTES,
    survey::{Answer, Question},
};

/// The version of these words, the first byte of each. Relays of another version do not hear them.
pub const VERSION: u8 = 1;

/// What one relay says to others.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Word<'a> {
    /// Ask your shards. Answer: `Answer`.
    Survey {
        /// The asker's number for it.
        number: u32,
        /// What.
        question: Box<Question>,
    },
    /// What a relay's shards said.
    Answer {
        /// Of the question.
        number: u32,
        /// What came of it.
        answer: Box<Answer>,
    },
    /// Commands for a session of some relay's gateway. Answer of each relay: `Answer`, with a session if it was one of its own.
    Emulate {
        /// The asker's number for it.
        number: u32,
        /// See [`crate::link::ToRelay::Emulate`].
        gateway: u64,
        /// See [`crate::link::ToRelay::Emulate`].
        shard: u16,
        /// See [`crate::link::ToRelay::Emulate`].
        session: [u8; SESSION_BYTES],
        /// The commands.
        #[serde(borrow, with = "serde_bytes")]
        data: &'a [u8],
    },
}

impl<'a> Word<'a> {
    /// As it is carried.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let mut out = vec![VERSION];
        frame::append(self, &mut out)?;
        let bytes = out.len();
        if bytes > crate::limits::EDGE_WORD_BYTES_MAX { Err(FrameError::TooLarge { bytes }) } else { Ok(out) }
    }

    /// What was carried. `None`: not such a word, or of another version.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (version, body) = bytes.split_first()?;
        if *version != VERSION || bytes.len() > crate::limits::EDGE_WORD_BYTES_MAX {
            return None;
        }
        frame::decode(body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_this_version_is_heard_and_no_other() {
        let word =
            Word::Emulate { number: 7, gateway: 1, shard: 2, session: [3; SESSION_BYTES], data: b"{}" };
        let mut bytes = word.encode().unwrap();
        assert_eq!(Word::decode(&bytes), Some(word));
        bytes[0] += 1;
        assert_eq!(Word::decode(&bytes), None);
        assert_eq!(Word::decode(&[]), None);
        assert_eq!(Word::decode(&[VERSION, 0xff]), None);
    }

    #[test]
    fn a_word_over_the_bound_is_not_made() {
        let data = vec![0; crate::limits::EDGE_WORD_BYTES_MAX];
        let word =
            Word::Emulate { number: 7, gateway: 1, shard: 2, session: [3; SESSION_BYTES], data: &data };
        assert!(word.encode().is_err());
    }
}
