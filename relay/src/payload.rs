//! What edges publish to each other through a broker such as Redis: a version, a kind, and for publications their place.
//!
//! Owns that layout. A broker's own script may write the place of a publication, so its fields stand at fixed bytes.

use wire::ClientId;
use wire::bus::VERSION;
use wire::frame;
use wire::link::ClientInfo;

use crate::bus::EdgeId;
use crate::stream::Epoch;

/// The kind of a publication with a place.
pub const PLACED: u8 = b'p';
/// The kind of a publication in a channel without history.
pub const UNPLACED: u8 = b'u';
/// The kind of a join.
pub const JOIN: u8 = b'j';
/// The kind of a leave.
pub const LEAVE: u8 = b'l';
/// The kind of words between relays.
pub const WORDS: u8 = b'w';

/// Bytes before a placed publication's body: version, kind, offset (little-endian), epoch.
const PLACED_BYTES: usize = 2 + 8 + 8;

/// What arrived on a topic.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Payload<'a> {
    /// A publication.
    Publication {
        /// 0 without history.
        offset: u64,
        /// Empty without history.
        epoch: &'a str,
        /// See [`wire::bus::body`].
        body: &'a [u8],
    },
    /// Somebody joined or left.
    Presence {
        /// Joined, rather than left.
        joined: bool,
        /// Who.
        info: ClientInfo<'a>,
    },
    /// Words of another relay.
    Words {
        /// Whose.
        from: EdgeId,
        /// The words.
        body: &'a [u8],
    },
}

/// Reads a payload; `None` when it is not one of this version.
pub fn parse(payload: &[u8]) -> Option<Payload<'_>> {
    let (&[VERSION, kind], rest) = payload.split_first_chunk::<2>()? else { return None };
    Some(match kind {
        PLACED => {
            let (offset, rest) = rest.split_first_chunk::<8>()?;
            let (epoch, body) = rest.split_at_checked(PLACED_BYTES - 2 - 8)?;
            let epoch = str::from_utf8(epoch).ok()?;
            Payload::Publication { offset: u64::from_le_bytes(*offset), epoch, body }
        }
        UNPLACED => Payload::Publication { offset: 0, epoch: "", body: rest },
        JOIN | LEAVE => Payload::Presence { joined: kind == JOIN, info: info(rest)? },
        WORDS => {
            let (from, body) = rest.split_first_chunk::<8>()?;
            Payload::Words { from: EdgeId(u64::from_le_bytes(*from)), body }
        }
        _ => return None,
    })
}

/// A placed publication, as the broker's script composes it.
pub fn placed(offset: u64, epoch: Epoch, body: &[u8]) -> Vec<u8> {
    [&[VERSION, PLACED][..], &offset.to_le_bytes(), epoch.as_str().as_bytes(), body].concat()
}

/// A publication in a channel without history.
pub fn unplaced(body: &[u8]) -> Vec<u8> {
    [&[VERSION, UNPLACED], body].concat()
}

/// Words of a relay to others.
pub fn words(from: EdgeId, body: &[u8]) -> Vec<u8> {
    [&[VERSION, WORDS][..], &from.0.to_le_bytes(), body].concat()
}

/// A member as a broker keeps it: under which lease, how it appears, who it is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Held<'a> {
    /// It is there while this lease is renewed. An edge has one, and takes another when it no longer knows what it has entered.
    pub lease: u64,
    /// Presence shows it.
    pub seen: bool,
    /// Others were told that it joined.
    pub announced: bool,
    /// Who.
    pub info: ClientInfo<'a>,
}

/// Bytes of a [`Held`] before the member's info, which a join or a leave carries on as it is.
pub const HELD_HEAD_BYTES: usize = 1 + 8 + 1;

impl<'a> Held<'a> {
    /// As it is kept. `None` when the texts are over the bound of a frame.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.lease.to_le_bytes());
        out.push(u8::from(self.seen) | u8::from(self.announced) << 1);
        frame::encode(&self.info, &mut out).ok()?;
        Some(out)
    }

    /// Reads it; `None` when it is not one of this version.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HELD_HEAD_BYTES>()?;
        let lease = u64::from_le_bytes(*head[1..].first_chunk::<8>()?);
        let flags = head[HELD_HEAD_BYTES - 1];
        (head[0] == VERSION).then_some(())?;
        Some(Self { lease, seen: flags & 1 != 0, announced: flags & 2 != 0, info: info(rest)? })
    }
}

fn info(bytes: &[u8]) -> Option<ClientInfo<'_>> {
    let (body, rest) = frame::split(bytes).ok()??;
    rest.is_empty().then_some(())?;
    frame::decode(body).ok()
}

/// A client's id as it is kept.
pub fn client(bytes: &[u8]) -> Option<ClientId> {
    bytes.try_into().ok().map(ClientId)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Epochs;

    proptest! {
        #[test]
        fn what_is_composed_is_read(offset: u64, body: Vec<u8>, from: u64, seed: u64) {
            let epoch = Epochs::new(seed).draw();
            let placed = placed(offset, epoch, &body);
            prop_assert_eq!(parse(&placed), Some(Payload::Publication { offset, epoch: epoch.as_str(), body: &body }));
            let unplaced = unplaced(&body);
            prop_assert_eq!(parse(&unplaced), Some(Payload::Publication { offset: 0, epoch: "", body: &body }));
            let words = words(EdgeId(from), &body);
            prop_assert_eq!(parse(&words), Some(Payload::Words { from: EdgeId(from), body: &body }));
        }

        #[test]
        fn members_are_kept_whole_and_their_info_is_what_a_join_carries(
            lease: u64, seen: bool, announced: bool, user in "[a-z]{0,9}", conn_info: Vec<u8>, chan_info: Vec<u8>,
        ) {
            let info = ClientInfo { client: ClientId([3; 16]), user: &user, conn_info: &conn_info, chan_info: &chan_info };
            let held = Held { lease, seen, announced, info };
            let kept = held.encode().unwrap();
            prop_assert_eq!(Held::parse(&kept), Some(held));
            let join = [&[VERSION, JOIN], &kept[HELD_HEAD_BYTES..]].concat();
            prop_assert_eq!(parse(&join), Some(Payload::Presence { joined: true, info }));
        }

        #[test]
        fn whatever_arrives_is_read_or_left(bytes: Vec<u8>) {
            let _ = (parse(&bytes), Held::parse(&bytes), client(&bytes));
        }
    }

    #[test]
    fn another_version_is_not_read() {
        let mut payload = unplaced(b"body");
        payload[0] = VERSION + 1;
        assert_eq!(parse(&payload), None);
    }
}
