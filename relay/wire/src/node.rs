//! What relays and nodes say to each other: JSON over HTTP on the private network.
//!
//! A relay asks a node (`POST /relay/v1/...`, `Authorization: Bearer` and the key that both have); a node tells any one relay of a system
//! through the server API (`announce`, `publish`, `subscribe`, `unsubscribe`). Owns these words; never how they are carried.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ClientId;
use crate::frame::FrameError;
use crate::link;
use crate::tags::TagsBuf;

/// Where relays ask.
pub const PREFIX: &str = "/relay/v1/";

/// Publications that one [`Read`] asks for at most: a page that has fewer than were asked for has all there are.
pub const READ_MAX: usize = 1024;

/// Stores a message of a client and has it delivered: `publish`. Answer: [`Published`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Publish {
    /// Its name on the bus.
    pub channel: String,
    /// Who; never empty.
    pub user: String,
    /// [`Message`].
    pub data: Box<RawValue>,
    /// Idempotency key; empty when none.
    #[serde(default)]
    pub key: String,
}

/// What a client publishes, and what it posts by REST.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Any JSON.
    pub body: Box<RawValue>,
    /// The address of a file that belongs to it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media: String,
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The message.
    pub id: String,
    /// Its place; 0 where it is stored later (`fast`).
    pub offset: u64,
    /// The stream's incarnation: eight letters, digits, `-` or `_`; empty with offset 0.
    pub epoch: String,
    /// The key was used before: this is the first one's.
    pub duplicate: bool,
}

/// Reads a stream: `read`. Answer: [`Page`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Read {
    /// Its name on the bus.
    pub channel: String,
    /// Exclusive; from the end that `reverse` says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Publications at most; 0 asks for the position.
    pub limit: usize,
    /// Newest first.
    #[serde(default)]
    pub reverse: bool,
}

/// A part of a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page {
    /// The top.
    pub offset: u64,
    /// The stream's incarnation: eight letters, digits, `-` or `_`.
    pub epoch: String,
    /// In the asked order.
    pub publications: Vec<Publication>,
}

/// A message, or a change of one, as clients get it. What stands at an offset of an epoch may be told with another `data` later
/// (the message was edited); its `id` and `kind` never change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Publication {
    /// Its place.
    pub offset: u64,
    /// What clients get.
    pub data: Box<RawValue>,
    /// The message.
    pub id: String,
    /// `message`, `edited` or `deleted`.
    pub kind: String,
    /// Who sent the message, as the bus calls users.
    pub user: String,
}

impl Publication {
    /// As it crosses the bus. Its tags are what stays of it, so that clients can filter by them and relays know it again.
    pub fn body(&self) -> Result<Vec<u8>, FrameError> {
        let tags = TagsBuf::pack([("id", self.id.as_str()), ("kind", self.kind.as_str())]);
        let tags = tags.ok_or(FrameError::TooLarge { bytes: self.id.len() + self.kind.len() })?;
        let client = ClientId::default();
        let info = link::ClientInfo { client, user: &self.user, conn_info: b"", chan_info: b"" };
        crate::bus::body(&link::Publication {
            offset: self.offset,
            data: self.data.get().as_bytes(),
            info: Some(info),
            tags: tags.as_tags(),
            delta: false,
        })
    }
}

/// Begins the stream anew, unless its epoch is no longer this one: `renew`. Answer: nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Renew {
    /// Its name on the bus.
    pub channel: String,
    /// The epoch that has forked.
    pub epoch: String,
}

/// Whether a user may be in a channel: `rights`. Answer: [`Rights`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AskRights {
    /// Its name on the bus.
    pub channel: String,
    /// Who.
    pub user: String,
}

/// What a user may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rights {
    /// Get what is published.
    pub subscribe: bool,
    /// Publish.
    pub publish: bool,
}

/// Every channel that a user's connection is to be subscribed to: `channels`. Answer: [`Channels`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AskChannels {
    /// Who.
    pub user: String,
}

/// Names on the bus.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Channels {
    /// Those with the latest messages first, where there are more than fit one connection.
    pub channels: Vec<String>,
}

/// A publication that has its place already, on its way to whoever subscribes: the method `announce` of the server API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Announce {
    /// Its name on the bus.
    pub channel: String,
    /// The stream's incarnation.
    pub epoch: String,
    /// What is announced.
    pub publication: Publication,
}
