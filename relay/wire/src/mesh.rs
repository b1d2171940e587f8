//! What the relays of a mesh say to each other: the words of a shard's link, and a few of their own beside them.
//!
//! An edge asks the one that owns a channel in a shard's words ([`crate::link::ToRelay`]) and is answered in a relay's
//! ([`crate::link::ToShard`]); both ways on one connection, so each frame says whose words it has. Never decides who owns what.

use serde::{Deserialize, Serialize};
pub use serde_bytes::Bytes;

use crate::frame::{self, FrameError};
use crate::limits::FRAME_BYTES_MAX;

/// The version of these words and of how owners are chosen, and, as questions and answers are a shard's link's, the version of those.
/// Relays of another version do not work together.
pub const VERSION: u16 = (2 << 8) + frame::VERSION;
/// The first bytes of either side of a connection.
pub const MAGIC: [u8; 4] = *b"HDLM";
/// Bytes of an encoded [`Hello`].
pub const HELLO_BYTES: usize = 16 + 2 * NAME_FIELD + PROOF_BYTES;
/// Bytes of an edge's name, at most: those of a label in a certificate.
pub const NAME_BYTES_MAX: usize = 63;
/// Bytes of the proof of a shared key.
pub const PROOF_BYTES: usize = 32;

/// A length and the name.
const NAME_FIELD: usize = 1 + NAME_BYTES_MAX;

/// The first bytes of either side. Their layout is the same in every version, so that a refusal can name the version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello<'a> {
    /// The speaker's.
    pub version: u16,
    /// The speaker's random number of this run.
    pub run: u64,
    /// The speaker's name in the list of edges.
    pub name: &'a str,
    /// Whom it takes the other side for; empty when it waits to be told.
    pub to: &'a str,
    /// That it knows the shared key; zeros where certificates say who is who.
    pub proof: [u8; PROOF_BYTES],
}

impl<'a> Hello<'a> {
    /// Magic, version, two zeros, run, two names each with its length, proof. Little-endian.
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut out = [0; HELLO_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&self.version.to_le_bytes());
        out[8..16].copy_from_slice(&self.run.to_le_bytes());
        for (field, name) in out[16..].chunks_exact_mut(NAME_FIELD).zip([self.name, self.to]) {
            debug_assert!(name.len() <= NAME_BYTES_MAX, "names are checked where they are configured");
            let length = name.len().min(NAME_BYTES_MAX);
            field[0] = length as u8;
            field[1..=length].copy_from_slice(&name.as_bytes()[..length]);
        }
        out[HELLO_BYTES - PROOF_BYTES..].copy_from_slice(&self.proof);
        out
    }

    /// Only the layout is checked.
    pub fn decode(bytes: &'a [u8; HELLO_BYTES]) -> Result<Self, FrameError> {
        if bytes[..4] != MAGIC {
            return Err(FrameError::NotALink);
        }
        let name = |index: usize| {
            let field = &bytes[16 + index * NAME_FIELD..][..NAME_FIELD];
            let text = field.get(1..=usize::from(field[0])).ok_or(FrameError::NotALink)?;
            str::from_utf8(text).map_err(|_| FrameError::NotALink)
        };
        let mut run = [0; 8];
        run.copy_from_slice(&bytes[8..16]);
        let mut proof = [0; PROOF_BYTES];
        proof.copy_from_slice(&bytes[HELLO_BYTES - PROOF_BYTES..]);
        Ok(Self {
            version: u16::from_le_bytes([bytes[4], bytes[5]]),
            run: u64::from_le_bytes(run),
            name: name(0)?,
            to: name(1)?,
            proof,
        })
    }
}

/// Whose words a frame has. It is the highest byte of the frame's length, which is 0 in every frame of a shard's link: what is
/// framed for shards is framed for other edges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// [`crate::link::ToShard`]: an owner's answers and publications.
    Answer = 0,
    /// [`crate::link::ToRelay`]: questions to an owner.
    Question = 1,
    /// [`Word`].
    Word = 2,
}

/// What has no word on a shard's link.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Word<'a> {
    /// The speaker's list of edges, by its digest. Only while both have the same is anything asked or answered.
    List {
        /// See there.
        digest: u64,
        /// The [`Stream::number`] of the last whole stream that came from this run of the listener; 0 before the first.
        heard: u64,
    },
    /// What the speaker wants of the channels that the listener owns: the next version of a table. Answer: `Placed` or `Again`.
    Table {
        /// One more than that of the one before.
        version: u64,
        /// What was told before is forgotten; a snapshot begins.
        anew: bool,
        /// No longer, before those that are.
        #[serde(borrow)]
        unwanted: Vec<&'a str>,
        /// From now on.
        #[serde(borrow)]
        wanted: Vec<&'a str>,
    },
    /// The table has that version. Stands between the publications before and those after it.
    Placed {
        /// Of the table.
        version: u64,
        /// What became of its wanted channels, in their order.
        #[serde(borrow)]
        places: Vec<Place<'a>>,
    },
    /// The version was not the next one: a snapshot is needed.
    Again {
        /// The version the listener last had.
        version: u64,
    },
    /// Whoever has nothing to say says so.
    Alive,
    /// Words of the speaker's relay for the listener's.
    Message {
        /// The words.
        #[serde(borrow, with = "serde_bytes")]
        body: &'a [u8],
    },
    /// Forget a channel's publications. Answer: `Removed`, or [`crate::link::ToShard::Failed`].
    Remove {
        /// Echoed in the answer.
        request: u32,
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
    },
    /// Answer to `Remove`.
    Removed {
        /// Of the question.
        request: u32,
    },
    /// Begin a stream anew. No answer.
    Renew {
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
        /// Unless its epoch is no longer this one.
        #[serde(borrow)]
        epoch: &'a str,
    },
    /// A stream whose channel the listener owns by now, or a part of it. Answer, to the last part and whether both have the same list or
    /// not: `Taken` or `Left`.
    Stream(#[serde(borrow)] Stream<'a>),
    /// The listener has what it was given of the channel: the speaker of the stream forgets it.
    Taken {
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
    },
    /// The listener has another list and did not take it: the speaker of the stream keeps it.
    Left {
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
    },
    /// The speaker has no further streams for the listener, as both their lists are now, and the listener has taken those that it had.
    Settled,
}

/// What became of a wanted channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Place<'a> {
    /// Everything published from here on will come.
    At {
        /// The stream's incarnation; empty in channels that keep no history.
        #[serde(borrow)]
        epoch: &'a str,
    },
    /// It is not to be had.
    Refused {
        /// One of [`crate::code`].
        code: u16,
    },
}

/// A stream that moves, in parts: the bodies and keys of all parts together are the stream's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Stream<'a> {
    /// Counts the streams that a run of the speaker has said, to whomever, from 1.
    pub number: u64,
    /// The channel.
    #[serde(borrow)]
    pub channel: &'a str,
    /// Its incarnation.
    #[serde(borrow)]
    pub epoch: &'a str,
    /// Offset of its last publication.
    pub top: u64,
    /// How long its publications are to be kept from now.
    pub ttl_ms: u64,
    /// How long its position is.
    pub meta_ms: u64,
    /// The next of the kept publications, see [`crate::bus::body`]; the last of all is at the top.
    #[serde(borrow)]
    pub bodies: Vec<&'a Bytes>,
    /// The next of the idempotency keys: key, offset, and for how long it is to be remembered.
    #[serde(borrow)]
    pub keys: Vec<(&'a str, u64, u64)>,
    /// That is all of it.
    pub last: bool,
}

/// Appends one frame. Fails, leaving `out` as it was, if the message is over the bound of frames.
pub fn encode<T: Serialize>(class: Class, message: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    frame::encode(message, out)?;
    out[start + 3] = class as u8;
    Ok(())
}

/// A frame's class and body, and what follows it.
pub type Split<'a> = (Class, &'a [u8], &'a [u8]);

/// The first frame in `bytes` and what remains, or `None` when it is not all there yet.
pub fn split(bytes: &[u8]) -> Result<Option<Split<'_>>, FrameError> {
    let Some((&[a, b, c, class], rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let class = match class {
        0 => Class::Answer,
        1 => Class::Question,
        2 => Class::Word,
        _ => return Err(FrameError::Malformed),
    };
    let length = u32::from_le_bytes([a, b, c, 0]) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge { bytes: length });
    }
    Ok(rest.split_at_checked(length).map(|(body, rest)| (class, body, rest)))
}

// The highest byte of a frame's length is free.
const _: () = assert!(FRAME_BYTES_MAX < 1 << 24);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::ToShard;

    #[test]
    fn a_hello_survives_and_a_strangers_bytes_do_not() {
        let hello = Hello { version: 9, run: 7, name: "edge-1", to: "", proof: [3; PROOF_BYTES] };
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        assert_eq!(Hello::decode(&[b'H'; HELLO_BYTES]), Err(FrameError::NotALink));
        let mut bytes = hello.encode();
        bytes[16] = 64;
        assert_eq!(Hello::decode(&bytes), Err(FrameError::NotALink));
    }

    #[test]
    fn what_is_framed_for_shards_is_an_answer_here() {
        let mut bytes = Vec::new();
        frame::encode(&ToShard::Insufficient { channel: "a" }, &mut bytes).unwrap();
        let (class, body, rest) = split(&bytes).unwrap().unwrap();
        assert_eq!((class, rest), (Class::Answer, &[][..]));
        assert_eq!(frame::decode::<ToShard<'_>>(body), Ok(ToShard::Insufficient { channel: "a" }));
    }

    #[test]
    fn words_come_back_whole_with_their_class() {
        let stream = Stream {
            number: 7,
            channel: "a",
            epoch: "abcdefgh",
            top: 9,
            ttl_ms: 1,
            meta_ms: 2,
            bodies: vec![Bytes::new(b"x"), Bytes::new(b"")],
            keys: vec![("k", 9, 5)],
            last: true,
        };
        let words = [
            Word::List { digest: 1 << 60, heard: 3 },
            Word::Table { version: 3, anew: true, unwanted: vec!["a"], wanted: vec!["b", "c"] },
            Word::Placed { version: 3, places: vec![Place::At { epoch: "" }, Place::Refused { code: 100 }] },
            Word::Stream(stream),
            Word::Left { channel: "a" },
            Word::Alive,
        ];
        let mut bytes = Vec::new();
        words.iter().for_each(|word| encode(Class::Word, word, &mut bytes).unwrap());
        let mut rest = &bytes[..];
        for word in &words {
            let (class, body, after) = split(rest).unwrap().unwrap();
            assert_eq!((class, &frame::decode::<Word<'_>>(body).unwrap()), (Class::Word, word));
            rest = after;
        }
        assert!(rest.is_empty());
        assert_eq!(split(&bytes[..3]), Ok(None));
        assert_eq!(split(&[1, 0, 0, 9, 0]), Err(FrameError::Malformed));
    }
}
