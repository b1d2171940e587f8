//! A publication as it crosses the bus: everything but its place, which the channel's keeper gives it.
//!
//! Owns that encoding and how it becomes the frame that shards get, without being decoded. Never decides where it goes.

use serde::{Deserialize, Serialize};

use crate::frame::{self, FrameError};
use crate::limits::FRAME_BYTES_MAX;
use crate::link::{ClientInfo, Publication};
use crate::tags::Tags;

/// The version of what is stored and published on a bus, its first byte everywhere. Edges of another version do not read it.
pub const VERSION: u8 = 1;

/// What is stored and published: a [`Publication`] without its offset, field by field the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Body<'a> {
    #[serde(borrow, with = "serde_bytes")]
    data: &'a [u8],
    #[serde(borrow)]
    info: Option<ClientInfo<'a>>,
    #[serde(borrow)]
    tags: Tags<'a>,
    delta: bool,
}

/// A publication's body. The offset is left out.
pub fn body(publication: &Publication<'_>) -> Result<Vec<u8>, FrameError> {
    let Publication { data, info, tags, delta, .. } = *publication;
    let mut out = Vec::with_capacity(data.len() + 64);
    frame::append(&Body { data, info, tags, delta }, &mut out)?;
    Ok(out)
}

/// The publication in a body, at a place.
pub fn publication(offset: u64, body: &[u8]) -> Result<Publication<'_>, FrameError> {
    let Body { data, info, tags, delta } = frame::decode(body)?;
    Ok(Publication { offset, data, info, tags, delta })
}

/// The body that carries a publication whose place is known, where the bus gives it none ([`announced`]).
pub fn announcement(epoch: &str, offset: u64, body: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut data = Vec::with_capacity(body.len() + 24);
    frame::append(&(epoch, offset), &mut data)?;
    data.extend_from_slice(body);
    self::body(&Publication { data: &data, ..Publication::default() })
}

/// Epoch, offset and body of what such a body carries. `None`: it carries nothing.
pub fn announced(body: &[u8]) -> Option<(&str, u64, &[u8])> {
    let Body { data, .. } = frame::decode(body).ok()?;
    let ((epoch, offset), body) = postcard::take_from_bytes::<(&str, u64)>(data).ok()?;
    (offset > 0 && !epoch.is_empty()).then_some((epoch, offset, body))
}

/// Whether two bodies may stand at one place of a stream that is stored: they tell of the same thing, whatever is said of it by now.
pub fn same_entry(one: &[u8], other: &[u8]) -> bool {
    let tags = |body| frame::decode::<Body<'_>>(body).map(|body| body.tags);
    one == other || tags(one).is_ok_and(|one| tags(other) == Ok(one))
}

/// Appends the frame of a publication for shards: the same bytes as [`frame::encode`] makes of [`crate::link::ToShard::Publication`], without a
/// look into the body. Fails, leaving `out` as it was, when it is over the bound.
pub fn publication_frame(
    channel: &str,
    offset: u64,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let head = frame::append(&(PUBLICATION, channel, offset), out);
    out.extend_from_slice(body);
    let bytes = out.len() - start - 4;
    if head.is_err() || bytes > FRAME_BYTES_MAX {
        out.truncate(start);
        return Err(FrameError::TooLarge { bytes });
    }
    // The bound fits four bytes.
    out[start..start + 4].copy_from_slice(&(bytes as u32).to_le_bytes());
    Ok(())
}

/// The number of [`crate::link::ToShard::Publication`] among its siblings, as postcard writes it.
const PUBLICATION: u32 = 9;

/// The body in a publication's frame.
pub fn body_of(frame: &[u8]) -> Option<&[u8]> {
    let (message, _) = frame::split(frame).ok()??;
    parts(message).map(|(_, _, body)| body)
}

/// Channel, offset and body of a message for shards, if it is a publication.
pub fn parts(message: &[u8]) -> Option<(&str, u64, &[u8])> {
    let ((number, channel, offset), body) = postcard::take_from_bytes::<(u32, &str, u64)>(message).ok()?;
    (number == PUBLICATION).then_some((channel, offset, body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ClientId;
    use crate::link::ToShard;
    use crate::tags::TagsBuf;

    proptest! {
        #[test]
        fn a_body_becomes_the_frame_that_encoding_would_make(
            channel in "[a-z:]{1,40}", offset: u64, data: Vec<u8>, user in "[a-z]{0,9}", delta: bool, named: bool,
        ) {
            let tags = TagsBuf::pack([("a", "b")]).unwrap();
            let info = ClientInfo { client: ClientId([7; 16]), user: &user, conn_info: b"{}", chan_info: b"" };
            let publication = Publication { offset, data: &data, info: named.then_some(info), tags: tags.as_tags(), delta };
            let body = body(&publication).unwrap();
            prop_assert_eq!(super::publication(offset, &body).unwrap(), publication);
            let (mut encoded, mut composed) = (Vec::new(), vec![1]);
            frame::encode(&ToShard::Publication { channel: &channel, publication }, &mut encoded).unwrap();
            publication_frame(&channel, offset, &body, &mut composed).unwrap();
            prop_assert_eq!(&composed[1..], &encoded);
            prop_assert_eq!(body_of(&encoded).unwrap(), body);
        }
    }

    #[test]
    fn an_announcement_carries_its_place_and_nothing_else_is_one() {
        let inner = body(&Publication { data: b"x", ..Publication::default() }).unwrap();
        let carried = announcement("abcdefgh", 7, &inner).unwrap();
        assert_eq!(announced(&carried), Some(("abcdefgh", 7, &inner[..])));
        assert_eq!(announced(&inner), None);
        assert_eq!(announced(&announcement("abcdefgh", 0, &inner).unwrap()), None);
        assert_eq!(announced(b""), None);
    }

    #[test]
    fn an_entry_is_known_by_its_tags_whatever_it_says() {
        let told = |data: &[u8], id| {
            let tags = TagsBuf::pack([("id", id), ("kind", "message")]).unwrap();
            body(&Publication { data, tags: tags.as_tags(), ..Publication::default() }).unwrap()
        };
        assert!(same_entry(&told(b"hi", "1"), &told(b"hi!", "1")));
        assert!(!same_entry(&told(b"hi", "1"), &told(b"hi", "2")));
        assert!(!same_entry(&told(b"hi", "1"), b"?"));
    }

    #[test]
    fn a_body_over_the_bound_leaves_the_buffer_as_it_was() {
        let mut out = vec![1];
        assert!(publication_frame("a", 1, &vec![0; FRAME_BYTES_MAX], &mut out).is_err());
        assert_eq!(out, [1]);
    }
}
