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
    fn a_body_over_the_bound_leaves_the_buffer_as_it_was() {
        let mut out = vec![1];
        assert!(publication_frame("a", 1, &vec![0; FRAME_BYTES_MAX], &mut out).is_err());
        assert_eq!(out, [1]);
    }
}
