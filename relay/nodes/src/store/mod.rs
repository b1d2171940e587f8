//! The contract of a store: what every database that holds a part of the system does. SQLite and PostgreSQL fulfil it, one suite of
//! tests holds both to it.
//!
//! A system has one *control* database (routes, keys, numbers of nodes). A *cluster* is one or more databases: the first is the
//! *home* of its workspaces (users, channels, members, conversations), and all are *shards* that hold channels' streams. Every database
//! has every table, so all can be one. Owns the words between the roles and SQL; never decides who may do what.

mod batch;
mod error;
pub mod limits;
pub mod moving;
pub mod postgres;
pub mod route;
mod rows;
pub mod sqlite;
pub mod table;
mod words;
pub mod write;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::value::RawValue;
use sqlx::migrate::MigrateError;

use self::table::{Cell, Table};
use crate::model::{
    Channel, Entry, EntryKind, Id, Member, Message, Notify, Position, UnixMs, User, Workspace,
};

/// What a store answers, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why a store did not do what was asked. Nothing was changed, except where it says so.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// Something with that name exists.
    #[error("exists already")]
    Exists,
    /// What it is about does not exist.
    #[error("does not exist")]
    Missing,
    /// The workspace is on its way to another cluster: ask the route again, soon.
    #[error("is on its way to another cluster")]
    Moving,
    /// More waits to be written than there is room for: again, later.
    #[error("too much waits to be written")]
    Busy,
    /// The database cannot be reached, or ends its work. Whether what was asked was done is not known: an idempotency key tells.
    #[error("the database is away: {0}")]
    Away(String),
    /// The disk is full.
    #[error("the disk of the database is full: free some space on it")]
    Full,
    /// The database takes no writes.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// Anything else that a database refuses; a fault of this program or of its set-up.
    #[error("the database refuses: {0}")]
    Refused(String),
}

/// Where a workspace is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The tenant.
    pub workspace: Workspace,
    /// The cluster's name in the configuration.
    pub cluster: String,
    /// Where it is going, while it is moved.
    pub moving_to: Option<String>,
}

/// A key that signs tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The `kid` of tokens.
    pub id: String,
    /// PKCS#8.
    pub private: Vec<u8>,
    /// From when on it signs; it is published before.
    pub signs_from: UnixMs,
    /// When it is published no more; tokens that it signed are over by then.
    pub ends_at: UnixMs,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// One per system.
pub trait Control: Send + Sync {
    /// Makes a workspace. `Exists`: the name is taken.
    fn add_route<'a>(&'a self, route: &'a Route) -> Answer<'a, ()>;
    /// Where a workspace is.
    fn route(&self, workspace: Id) -> Answer<'_, Option<Route>>;
    /// The same by name.
    fn route_by_name<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Route>>;
    /// Every workspace after this one, by id.
    fn routes(&self, after: Id, limit: usize) -> Answer<'_, Vec<Route>>;
    /// Changes where a workspace is. `Missing`.
    fn set_route<'a>(&'a self, workspace: Id, cluster: &'a str, moving_to: Option<&'a str>)
    -> Answer<'a, ()>;
    /// Remembers how many databases a cluster has, the first time; says how many it has. Their number decides where a channel's stream is.
    fn shards<'a>(&'a self, cluster: &'a str, shards: u32) -> Answer<'a, u32>;
    /// Every key that has not ended before `now`, by `signs_from`.
    fn keys(&self, now: UnixMs) -> Answer<'_, Vec<SigningKey>>;
    /// Adds a key, unless one that signs from after `unless_after` exists (two nodes rotate at once: one of them does). Says whether it did.
    fn add_key<'a>(&'a self, key: &'a SigningKey, unless_after: UnixMs) -> Answer<'a, bool>;
    /// Forgets keys that ended before `now`.
    fn drop_keys(&self, now: UnixMs) -> Answer<'_, ()>;
    /// The lowest number below `count` that is nobody's, or was not renewed in time, or is this instance's already; `None` when all are taken.
    fn lease_number<'a>(
        &'a self,
        instance: &'a str,
        now: UnixMs,
        until: UnixMs,
        count: u16,
    ) -> Answer<'a, Option<u16>>;
}

/// A new user's or session's secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// SHA-256 of the refresh token.
    pub hash: [u8; 32],
    /// Whose.
    pub user: Id,
    /// Until when.
    pub ends_at: UnixMs,
}

/// What a member may change of a membership; `None` leaves it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Preferences {
    /// See [`Member`].
    pub muted: Option<bool>,
    /// See [`Member`].
    pub starred: Option<bool>,
    /// See [`Member`].
    pub notify: Option<Notify>,
}

/// How a user stands to a channel, as rights need it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The channel.
    pub channel: Channel,
    /// Whether the user is in it.
    pub member: bool,
}

/// A channel in a user's list.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// The channel.
    pub channel: Channel,
    /// The user in it.
    pub member: Member,
    /// When it last had a message, or was made: the list's order, latest first.
    pub latest_at: UnixMs,
    /// Its last message, if one is left.
    pub last: Option<Message>,
    /// The other one of a direct message.
    pub peer: Option<Id>,
}

/// What the dispatcher tells the list of conversations of a channel; of two the later message stays,
/// of one message its state as of the higher `top`.
#[derive(Clone, Debug)]
pub struct Latest {
    /// The channel's stream is here.
    pub top: u64,
    /// Its last message as it is now.
    pub message: Message,
}

/// A change of membership that relays have to hear of. Written in the transaction that makes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Their order.
    pub number: u64,
    /// The channel.
    pub channel: Id,
    /// Its workspace.
    pub workspace: Id,
    /// Whose membership. Whether the user is a member is to be asked when the notice is dealt with.
    pub user: Id,
    /// When it was written.
    pub at: UnixMs,
}

/// The workspaces of a cluster: users, channels, members.
pub trait Home: Send + Sync {
    /// Makes the workspace here (idempotent).
    fn add_workspace<'a>(&'a self, workspace: &'a Workspace) -> Answer<'a, ()>;
    /// `Exists`: the name is taken in the workspace. `hash` is argon2id's text.
    fn add_user<'a>(&'a self, user: &'a User, hash: &'a str) -> Answer<'a, ()>;
    /// A user.
    fn user(&self, workspace: Id, user: Id) -> Answer<'_, Option<User>>;
    /// Whoever signs in, with the hash.
    fn user_by_name<'a>(&'a self, workspace: Id, name: &'a str) -> Answer<'a, Option<(User, String)>>;
    /// Users after this id, by id.
    fn users(&self, workspace: Id, after: Id, limit: usize) -> Answer<'_, Vec<User>>;
    /// Changes what others see. `Missing`.
    fn rename_user<'a>(&'a self, workspace: Id, user: Id, display_name: &'a str) -> Answer<'a, ()>;
    /// Remembers a refresh token.
    fn add_session<'a>(&'a self, workspace: Id, session: &'a Session) -> Answer<'a, ()>;
    /// Takes a refresh token that has not ended, once: `None` the second time.
    fn take_session<'a>(&'a self, workspace: Id, hash: &'a [u8; 32], now: UnixMs) -> Answer<'a, Option<Id>>;

    /// Makes a group with its first members (each with a notice); the creator is one of them.
    fn add_group<'a>(&'a self, channel: &'a Channel, members: &'a [Id]) -> Answer<'a, ()>;
    /// The direct message of two users (or of one with herself): the one that exists, or this one. Says whether it was made.
    fn open_dm<'a>(&'a self, channel: &'a Channel, other: Id) -> Answer<'a, (Channel, bool)>;
    /// A channel.
    fn channel(&self, workspace: Id, channel: Id) -> Answer<'_, Option<Channel>>;
    /// `Missing`.
    fn rename_channel<'a>(&'a self, workspace: Id, channel: Id, name: &'a str) -> Answer<'a, ()>;
    /// How a user stands to a channel; `None`: there is no such channel in the workspace.
    fn standing(&self, workspace: Id, channel: Id, user: Id) -> Answer<'_, Option<Standing>>;
    /// Makes a user a member, with the read mark at `top`, and a notice. Says whether that is new. `Missing`: no such channel or user.
    fn add_member(&self, workspace: Id, channel: Id, user: Id, now: UnixMs, top: u64) -> Answer<'_, bool>;
    /// Ends a membership, with a notice. Says whether there was one.
    fn remove_member(&self, workspace: Id, channel: Id, user: Id, now: UnixMs) -> Answer<'_, bool>;
    /// A membership.
    fn member(&self, workspace: Id, channel: Id, user: Id) -> Answer<'_, Option<Member>>;
    /// Members after this user, by user.
    fn members(&self, workspace: Id, channel: Id, after: Id, limit: usize) -> Answer<'_, Vec<Member>>;
    /// A user's channels after this one, by channel.
    fn memberships(
        &self,
        workspace: Id,
        user: Id,
        after: Id,
        limit: usize,
    ) -> Answer<'_, Vec<(Channel, Member)>>;
    /// Changes what is `Some`. `Missing`: not a member.
    fn set_preferences<'a>(
        &'a self,
        workspace: Id,
        channel: Id,
        user: Id,
        wanted: Preferences,
    ) -> Answer<'a, Member>;
    /// Moves the marks forward, never back. `Missing`: not a member.
    fn mark(&self, workspace: Id, channel: Id, user: Id, read: u64, delivered: u64) -> Answer<'_, Member>;
    /// A user's channels, latest first, those before this place (`latest_at`, channel).
    fn conversations(
        &self,
        workspace: Id,
        user: Id,
        before: Option<(UnixMs, Id)>,
        limit: usize,
    ) -> Answer<'_, Vec<Conversation>>;
    /// Tells the list of conversations.
    fn set_latest<'a>(&'a self, workspace: Id, latest: &'a [Latest]) -> Answer<'a, ()>;
    /// Notices that were written before, oldest first; they stay.
    fn notices(&self, before: UnixMs, limit: usize) -> Answer<'_, Vec<Notice>>;
    /// The notices of one channel and user that are dealt with, up to this one.
    fn drop_notices<'a>(&'a self, numbers: &'a [u64]) -> Answer<'a, ()>;
}

/// A message to be stored.
#[derive(Clone, Debug)]
pub struct Post {
    /// Its id, if it is new.
    pub id: Id,
    /// The tenant.
    pub workspace: Id,
    /// Where.
    pub channel: Id,
    /// Who.
    pub sender: Id,
    /// Unique among the sender's messages of the channel; never empty (the id's text, where the sender gave none).
    pub key: String,
    /// JSON.
    pub body: Box<RawValue>,
    /// See [`Message`].
    pub media: String,
    /// When.
    pub at: UnixMs,
}

/// A stored message.
#[derive(Clone, Debug)]
pub struct Posted {
    /// As it is stored: that of the first one, if the key was used before.
    pub message: Message,
    /// Of the stream.
    pub epoch: String,
    /// The key was used before.
    pub duplicate: bool,
}

/// A change of a message.
#[derive(Clone, Debug)]
pub struct Change {
    /// The tenant.
    pub workspace: Id,
    /// Where.
    pub channel: Id,
    /// Which.
    pub message: Id,
    /// Only a message of this sender is changed.
    pub by: Id,
    /// What it says from now on; `None` deletes it.
    pub body: Option<Box<RawValue>>,
    /// When.
    pub at: UnixMs,
}

/// What became of a change.
#[derive(Clone, Debug)]
pub enum Changed {
    /// Done: the entry, and the stream's epoch.
    Done(Box<Entry>, String),
    /// It was deleted before: nothing is changed.
    Gone,
    /// Somebody else's message.
    Foreign,
}

/// Where a page begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// The newest messages.
    End,
    /// Messages before this offset, newest first.
    Before(u64),
    /// Messages after this offset, oldest first.
    After(u64),
}

/// A channel with entries that the bus has not had yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unannounced {
    /// The tenant.
    pub workspace: Id,
    /// The channel.
    pub channel: Id,
    /// Entries after this one.
    pub since: u64,
}

/// Streams of channels.
pub trait Streams: Send + Sync {
    /// Begins the stream (idempotent): the epoch of the one that exists stays.
    fn open_stream<'a>(&'a self, workspace: Id, channel: Id, epoch: &'a str) -> Answer<'a, ()>;
    /// Stores messages, all in one transaction and in this order; a message and its offset are there together, or neither is. Offsets of a
    /// channel have no gaps. The outer error: nothing was stored (or that is not known: `Away`). An inner one: that message was not,
    /// and the others were: `Missing` (no such stream), `Moving`.
    fn post<'a>(&'a self, posts: &'a [Post]) -> Answer<'a, Vec<Result<Posted, StoreError>>>;
    /// Edits or deletes. `Missing`.
    fn change<'a>(&'a self, change: &'a Change) -> Answer<'a, Changed>;
    /// Where the stream is. `None`: there is none.
    fn position(&self, channel: Id) -> Answer<'_, Option<Position>>;
    /// Entries after `since` (or, reversed, before it), from the end that `reverse` says when absent; position and entries are of one moment.
    fn entries(
        &self,
        channel: Id,
        since: Option<u64>,
        limit: usize,
        reverse: bool,
    ) -> Answer<'_, Option<(Position, Vec<Entry>)>>;
    /// Messages, deleted ones too; position and messages are of one moment.
    fn page(&self, channel: Id, from: From, limit: usize) -> Answer<'_, Option<(Position, Vec<Message>)>>;
    /// One message.
    fn message(&self, channel: Id, message: Id) -> Answer<'_, Option<Message>>;
    /// For each channel how many messages after this offset others than the user have sent that are not deleted, counted up to `most`.
    fn unread<'a>(&'a self, user: Id, marks: &'a [(Id, u64)], most: u32) -> Answer<'a, Vec<u32>>;
    /// Entries up to these offsets have reached the bus; never goes back.
    fn announced<'a>(&'a self, tops: &'a [(Id, u64)]) -> Answer<'a, ()>;
    /// Channels with entries that the bus has not had; this is the outbox, written by the transactions that store.
    fn unannounced(&self, limit: usize) -> Answer<'_, Vec<Unannounced>>;
    /// Makes the next messages and changes findable; says how many it was. Fewer than `limit`: all are.
    fn index(&self, limit: usize) -> Answer<'_, usize>;
    /// Messages of these channels that have all words of the text, newest first (by id), those before this id.
    fn search<'a>(
        &'a self,
        channels: &'a [Id],
        text: &'a str,
        before: Option<Id>,
        limit: usize,
    ) -> Answer<'a, Vec<Message>>;
    /// Begins another incarnation of the offsets, unless the epoch is no longer this one. What is stored stays.
    fn renew<'a>(&'a self, channel: Id, was: &'a str, epoch: &'a str) -> Answer<'a, ()>;
}

/// What moving a workspace needs; see [`moving`].
pub trait Moves: Send + Sync {
    /// A name that no other database has; a copy has it too.
    fn identity(&self) -> Answer<'_, String>;
    /// Takes no writes of a workspace from now on: `Moving`. What had begun before is done when this answers. Idempotent.
    fn freeze(&self, workspace: Id) -> Answer<'_, ()>;
    /// Ends that.
    fn thaw(&self, workspace: Id) -> Answer<'_, ()>;
    /// Rows of a workspace by key, after this key.
    fn rows<'a>(
        &'a self,
        workspace: Id,
        table: &'static Table,
        after: Option<&'a [Cell]>,
        limit: usize,
    ) -> Answer<'a, Vec<Vec<Cell>>>;
    /// Writes rows, and deletes those of these keys, frozen or not.
    fn load<'a>(
        &'a self,
        table: &'static Table,
        changed: &'a [Vec<Cell>],
        gone: &'a [Vec<Cell>],
    ) -> Answer<'a, ()>;
    /// A workspace's streams here, after this channel, by channel.
    fn streams(&self, workspace: Id, after: Id, limit: usize) -> Answer<'_, Vec<(Id, Position)>>;
    /// Writes the next entries of a stream and its position after them, frozen or not; a stream that is new here is frozen.
    fn adopt<'a>(
        &'a self,
        workspace: Id,
        channel: Id,
        position: &'a Position,
        entries: &'a [Entry],
    ) -> Answer<'a, ()>;
    /// Removes some of what is here of a workspace, about so many rows; says whether there was something. That it is frozen stays, and so
    /// do notices, until they are dealt with.
    fn remove(&self, workspace: Id, limit: usize) -> Answer<'_, bool>;
}

/// A database.
pub trait Store: Control + Home + Streams + Moves + fmt::Debug + 'static {
    /// Whether it answers and takes writes, now: `Away`, `Full`, `ReadOnly`.
    fn health(&self) -> Answer<'_, ()>;
    /// How many transactions that store messages are worth running side by side.
    fn lanes(&self) -> usize;
}

/// Opens a database, and brings it to this program's version: `sqlite:PATH` or `postgres://...`.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        return Ok(Arc::new(sqlite::Database::open(path).await?));
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Arc::new(postgres::Database::open(url).await?));
    }
    Err(StoreError::Refused("a database is named by `sqlite:PATH` or `postgres://...`".to_owned()))
}

/// What became of bringing a database to this program's version.
fn migrated(done: Result<(), MigrateError>) -> Result<(), StoreError> {
    done.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
            StoreError::Refused(format!("it is of version {version}, which is newer than this program"))
        }
        other => StoreError::Refused(other.to_string()),
    })
}

impl Change {
    /// Changes a message that it is about; says what that is.
    fn apply(&self, message: &mut Message) -> EntryKind {
        match &self.body {
            Some(body) => {
                message.body.clone_from(body);
                message.edited_at = self.at;
                EntryKind::Edited
            }
            None => {
                message.body = RawValue::NULL.to_owned();
                message.media = String::new();
                message.deleted_at = self.at;
                EntryKind::Deleted
            }
        }
    }
}

impl EntryKind {
    /// As clients are told.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Posted => "message",
            Self::Edited => "edited",
            Self::Deleted => "deleted",
        }
    }
}
