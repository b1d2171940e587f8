//! Rows of either database as plain tuples, and what they mean. Owns the order of columns; the macros that name them stand beside.

use serde_json::value::RawValue;

use super::{StoreError, Unannounced};
use crate::model::{Channel, ChannelKind, Delivery, EntryKind, Id, Member, Message, Notify, Position, User};

/// Columns of `channels c`, as in [`ChannelRow`].
macro_rules! channel_columns {
    () => {
        "c.id, c.workspace, c.kind, c.name, c.delivery, c.created_by, c.created_at"
    };
}
/// Columns of `members m` without channel and user, as in [`MemberRow`].
macro_rules! member_columns {
    () => {
        "m.joined_at, m.muted, m.starred, m.notify, m.last_read, m.delivered"
    };
}
/// Columns of `users u`, as in [`UserRow`].
macro_rules! user_columns {
    () => {
        "u.id, u.workspace, u.name, u.display_name, u.created_at"
    };
}
/// Columns of `messages m`, as in [`MessageRow`].
macro_rules! message_columns {
    () => {
        "m.place, m.id, m.sender, m.key, m.body, m.media, m.created_at, m.edited_at, m.deleted_at"
    };
}
/// Columns of `streams s`, as in [`PositionRow`].
macro_rules! position_columns {
    () => {
        "s.top, s.epoch, s.revised, s.announced"
    };
}
pub(super) use {channel_columns, member_columns, message_columns, position_columns, user_columns};

pub(super) type ChannelRow = (i64, i64, String, String, String, i64, i64);
pub(super) type MemberRow = (i64, bool, bool, String, i64, i64);
pub(super) type UserRow = (i64, i64, String, String, i64);
pub(super) type MessageRow = (i64, i64, i64, String, String, String, i64, i64, i64);
pub(super) type PositionRow = (i64, String, i64, i64);

pub(super) fn channel(row: ChannelRow) -> Result<Channel, StoreError> {
    let (id, workspace, kind, name, delivery, created_by, created_at) = row;
    Ok(Channel {
        id: Id(id),
        workspace: Id(workspace),
        kind: word(&kind)?,
        name,
        delivery: word(&delivery)?,
        created_by: Id(created_by),
        created_at,
    })
}

pub(super) fn member(channel: Id, user: Id, row: MemberRow) -> Result<Member, StoreError> {
    let (joined_at, muted, starred, notify, last_read, delivered) = row;
    Ok(Member {
        channel,
        user,
        joined_at,
        muted,
        starred,
        notify: word(&notify)?,
        last_read: last_read.cast_unsigned(),
        delivered: delivered.cast_unsigned(),
    })
}

pub(super) fn user(row: UserRow) -> User {
    let (id, workspace, name, display_name, created_at) = row;
    User { id: Id(id), workspace: Id(workspace), name, display_name, created_at }
}

/// A message; `place` in the row is what the database has, the caller knows what offset it stands for.
pub(super) fn message(channel: Id, offset: u64, row: MessageRow) -> Result<Message, StoreError> {
    let (_, id, sender, key, body, media, created_at, edited_at, deleted_at) = row;
    let body = RawValue::from_string(body).map_err(|error| StoreError::Refused(error.to_string()))?;
    Ok(Message {
        id: Id(id),
        channel,
        offset,
        sender: Id(sender),
        key,
        body,
        media,
        created_at,
        edited_at,
        deleted_at,
    })
}

pub(super) fn unannounced((workspace, channel, since): (i64, i64, i64)) -> Unannounced {
    Unannounced { workspace: Id(workspace), channel: Id(channel), since: since.cast_unsigned() }
}

pub(super) fn position(row: PositionRow) -> Position {
    let (top, epoch, revised, announced) = row;
    Position {
        top: top.cast_unsigned(),
        epoch,
        revised: revised.cast_unsigned(),
        announced: announced.cast_unsigned(),
    }
}

/// What stands in a `kind` column of `changes`.
pub(super) fn entry_kind(number: i64) -> EntryKind {
    match number {
        EDITED => EntryKind::Edited,
        DELETED => EntryKind::Deleted,
        _ => EntryKind::Posted,
    }
}

/// A number that is below 2^63 because a database gave it, or an offset of a request: beyond that there is nothing.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A limit as databases have it.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A word of a text column.
pub(super) trait Word: Sized + Copy + 'static {
    const ALL: &'static [(&'static str, Self)];
}

impl Word for ChannelKind {
    const ALL: &'static [(&'static str, Self)] = &[("dm", Self::Dm), ("group", Self::Group)];
}

impl Word for Delivery {
    const ALL: &'static [(&'static str, Self)] = &[("persist", Self::Persist), ("fast", Self::Fast)];
}

impl Word for Notify {
    const ALL: &'static [(&'static str, Self)] =
        &[("all", Self::All), ("mentions", Self::Mentions), ("none", Self::None)];
}

/// How a value stands in its column.
pub(super) fn text<W: Word + PartialEq>(value: W) -> &'static str {
    W::ALL.iter().find(|(_, word)| *word == value).map_or("", |(name, _)| name)
}

fn word<W: Word>(name: &str) -> Result<W, StoreError> {
    let known = W::ALL.iter().find(|(word, _)| *word == name).map(|(_, value)| *value);
    known.ok_or_else(|| StoreError::Refused(format!("`{name}` stands where this program knows no such word")))
}

pub(super) const EDITED: i64 = 1;
pub(super) const DELETED: i64 = 2;
