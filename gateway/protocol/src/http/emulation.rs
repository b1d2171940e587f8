//! The body of a request that carries commands of a session elsewhere, and how such sessions are named.

use std::borrow::Cow;

use serde::Deserialize;
use wire::link::SESSION_BYTES;

use crate::protobuf::Fields;

/// A body, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Emulation<'a> {
    /// [`node`].
    pub node: Cow<'a, str>,
    /// [`session`].
    pub session: Cow<'a, str>,
    /// Commands in the session's encoding.
    pub data: Cow<'a, [u8]>,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    node: Cow<'a, str>,
    #[serde(borrow)]
    session: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
}

impl<'a> Emulation<'a> {
    /// From JSON, where the commands are a string. `None` when it is something else.
    pub fn json(body: &'a [u8]) -> Option<Self> {
        let Document { node, session, data } = serde_json::from_slice(body).ok()?;
        let data = match data {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Some(Self { node, session, data })
    }

    /// From Protobuf: `node` = 1, `session` = 2, `data` = 3. Other fields are skipped.
    pub fn protobuf(body: &'a [u8]) -> Option<Self> {
        let mut emulation = Self { node: "".into(), session: "".into(), data: Cow::Borrowed(&[]) };
        for field in Fields::new(body) {
            let (number, value) = field.ok()?;
            match number {
                1 => emulation.node = value.text().ok()?,
                2 => emulation.session = value.text().ok()?,
                3 => emulation.data = Cow::Borrowed(value.bytes().ok()?),
                _ => {}
            }
        }
        Some(emulation)
    }
}

/// What clients name a shard by.
pub fn node(gateway: u64, shard: u16) -> String {
    format!("{gateway:016x}{shard:04x}")
}

/// The shard of a [`node`].
pub fn shard_of(node: &str) -> Option<(u64, u16)> {
    let (gateway, shard) = node.split_at_checked(16)?;
    (shard.len() == 4 && node.bytes().all(is_digit)).then_some(())?;
    Some((u64::from_str_radix(gateway, 16).ok()?, u16::from_str_radix(shard, 16).ok()?))
}

/// What clients name a session by.
pub fn session(bytes: &[u8; SESSION_BYTES]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a [`session`].
pub fn session_of(text: &str) -> Option<[u8; SESSION_BYTES]> {
    (text.len() == 2 * SESSION_BYTES && text.bytes().all(is_digit)).then_some(())?;
    let mut bytes = [0; SESSION_BYTES];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}
