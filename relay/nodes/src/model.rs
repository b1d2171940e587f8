//! What a node stores: workspaces, users, channels, members, messages. Plain data in the words of the REST API.
//!
//! Owns these types and how ids are written. Never reads a clock and never asks a store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// A Snowflake: unique over all nodes of a system, greater than those before it, except within the clock difference of two nodes.
/// JSON has it as a decimal string, since JavaScript's numbers end at 2^53.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id(pub i64);

/// Milliseconds since 1970.
pub type UnixMs = i64;

/// A tenant: nothing of one is seen from another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Workspace {
    /// Its id.
    pub id: Id,
    /// Unique in the whole system.
    pub name: String,
    /// When.
    pub created_at: UnixMs,
}

/// A person, or a program that acts as one, in one workspace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// Its id; the `sub` of tokens.
    pub id: Id,
    /// The tenant.
    pub workspace: Id,
    /// Unique in the workspace; what is signed in with.
    pub name: String,
    /// What others see.
    pub display_name: String,
    /// When.
    pub created_at: UnixMs,
}

/// What a channel is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// Two members for good; one for each pair of users.
    Dm,
    /// Any members.
    Group,
}

/// When a message of the channel is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// Before it is delivered and acknowledged.
    #[default]
    Persist,
    /// At about the same time, by a queue.
    Fast,
}

/// A channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Channel {
    /// Its id.
    pub id: Id,
    /// The tenant.
    pub workspace: Id,
    /// What it is.
    pub kind: ChannelKind,
    /// Empty for a direct message.
    pub name: String,
    /// When messages are stored.
    pub delivery: Delivery,
    /// Who made it.
    pub created_by: Id,
    /// When.
    pub created_at: UnixMs,
}

/// What a member is told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Notify {
    /// Every message.
    #[default]
    All,
    /// Those that name the member.
    Mentions,
    /// None.
    None,
}

/// A user in a channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The channel.
    pub channel: Id,
    /// The user.
    pub user: Id,
    /// When.
    pub joined_at: UnixMs,
    /// No notifications at all.
    pub muted: bool,
    /// A favourite of the user.
    pub starred: bool,
    /// What the user is told of.
    pub notify: Notify,
    /// Everything up to this offset was read. Never goes back.
    pub last_read: u64,
    /// Everything up to this offset has reached a device of the user. Never goes back, never below `last_read`.
    pub delivered: u64,
}

/// A message as it is now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Its id.
    pub id: Id,
    /// Where.
    pub channel: Id,
    /// Its place in the channel's stream.
    pub offset: u64,
    /// Who.
    pub sender: Id,
    /// The sender's own id of it: the same one makes no second message.
    pub key: String,
    /// Any JSON, at most 32 KiB; `null` once deleted.
    #[schema(value_type = serde_json::Value)]
    pub body: Box<RawValue>,
    /// Where a file belongs to it: its address. Empty when none.
    pub media: String,
    /// When.
    pub created_at: UnixMs,
    /// When it was changed last; 0 when never.
    pub edited_at: UnixMs,
    /// When it was deleted; 0 when it was not.
    pub deleted_at: UnixMs,
}

/// One place of a channel's stream: a message, or that one was changed. Each takes an offset, so that whoever was away learns of both.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Of the stream.
    pub offset: u64,
    /// What happened.
    pub kind: EntryKind,
    /// The message it happened to, as it is now; its own `offset` is that of its post.
    pub message: Message,
}

/// What an entry says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// The message was posted.
    Posted,
    /// It has another body.
    Edited,
    /// It is gone.
    Deleted,
}

/// Where a channel's stream is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// The last entry's offset; 0 when there is none.
    pub top: u64,
    /// The incarnation of the offsets.
    pub epoch: String,
    /// The offset of the last edit or deletion: pages that were closed before are what they were.
    pub revised: u64,
    /// Everything up to this offset has reached the bus.
    pub announced: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Id {
    type Err = ();

    /// Decimal digits without sign or leading zero; above zero.
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        if !digits {
            return Err(());
        }
        text.parse().ok().filter(|id| *id > 0).map(Self).ok_or(())
    }
}

impl PartialSchema for Id {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).description(Some("A decimal number."));
        RefOr::T(text.pattern(Some("^[1-9][0-9]{0,17}$")).build().into())
    }
}

impl ToSchema for Id {}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("an id is a decimal number in a string"))
    }
}
