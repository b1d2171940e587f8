//! Streams as the contract has them, and how pages and entries are read.
//!
//! Compiled once for each kind of database, which is `super`.

use super::Database;
use super::pages::{AFTER, BEFORE, ENTRIES_AFTER, ENTRIES_BEFORE, MESSAGE, OFFSET_MAX, offset};
use crate::model::{Entry, EntryKind, Id, Message, Position};
use crate::store::rows::{self, MessageRow, position_columns, signed};
use crate::store::{Answer, Change, Changed, From, Post, Posted, StoreError, Streams, Unannounced};

impl Streams for Database {
    fn open_stream<'a>(&'a self, workspace: Id, channel: Id, epoch: &'a str) -> Answer<'a, ()> {
        Box::pin(self.insert_stream(workspace, channel, epoch))
    }

    fn post<'a>(&'a self, posts: &'a [Post]) -> Answer<'a, Vec<Result<Posted, StoreError>>> {
        Box::pin(self.insert_posts(posts))
    }

    fn change<'a>(&'a self, change: &'a Change) -> Answer<'a, Changed> {
        Box::pin(self.update_message(change))
    }

    fn position(&self, channel: Id) -> Answer<'_, Option<Position>> {
        Box::pin(async move {
            let query = sqlx::query_as(concat!(
                "SELECT ",
                position_columns!(),
                " FROM streams s WHERE s.channel = $1"
            ));
            Ok(query.bind(channel.0).fetch_optional(&mut *self.reader().await?).await?.map(rows::position))
        })
    }

    fn entries(
        &self,
        channel: Id,
        since: Option<u64>,
        limit: usize,
        reverse: bool,
    ) -> Answer<'_, Option<(Position, Vec<Entry>)>> {
        Box::pin(self.stream_entries(channel, since, limit, reverse))
    }

    fn page(&self, channel: Id, from: From, limit: usize) -> Answer<'_, Option<(Position, Vec<Message>)>> {
        Box::pin(self.message_page(channel, from, limit))
    }

    fn message(&self, channel: Id, message: Id) -> Answer<'_, Option<Message>> {
        Box::pin(async move {
            let query = sqlx::query_as::<_, MessageRow>(MESSAGE);
            let row =
                query.bind(message.0).bind(channel.0).fetch_optional(&mut *self.reader().await?).await?;
            row.map(|row| rows::message(channel, offset(row.0), row)).transpose()
        })
    }

    fn unread<'a>(&'a self, user: Id, marks: &'a [(Id, u64)], most: u32) -> Answer<'a, Vec<u32>> {
        Box::pin(self.count_unread(user, marks, most))
    }

    fn announced<'a>(&'a self, tops: &'a [(Id, u64)]) -> Answer<'a, ()> {
        Box::pin(self.set_announced(tops))
    }

    fn unannounced(&self, limit: usize) -> Answer<'_, Vec<Unannounced>> {
        Box::pin(self.streams_unannounced(limit))
    }

    fn index(&self, limit: usize) -> Answer<'_, usize> {
        Box::pin(self.index_words(limit))
    }

    fn search<'a>(
        &'a self,
        channels: &'a [Id],
        text: &'a str,
        before: Option<Id>,
        limit: usize,
    ) -> Answer<'a, Vec<Message>> {
        Box::pin(self.search_words(channels, text, before, limit))
    }

    fn renew<'a>(&'a self, channel: Id, was: &'a str, epoch: &'a str) -> Answer<'a, ()> {
        Box::pin(self.set_epoch(channel, was, epoch))
    }
}

/// A message beside its stream's position; where the page is empty there is the position alone.
#[derive(sqlx::FromRow)]
struct Placed {
    top: i64,
    epoch: String,
    revised: i64,
    announced: i64,
    at: Option<i64>,
    kind: Option<i64>,
    place: Option<i64>,
    id: Option<i64>,
    sender: Option<i64>,
    key: Option<String>,
    body: Option<String>,
    media: Option<String>,
    created_at: Option<i64>,
    edited_at: Option<i64>,
    deleted_at: Option<i64>,
}

impl Database {
    async fn set_epoch(&self, channel: Id, was: &str, epoch: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let frozen: Option<(bool,)> =
            sqlx::query_as(concat!("SELECT frozen FROM streams WHERE channel = $1", locked!()))
                .bind(channel.0)
                .fetch_optional(&mut *tx)
                .await?;
        match frozen {
            None => return Err(StoreError::Missing),
            Some((true,)) => return Err(StoreError::Moving),
            Some((false,)) => {}
        }
        sqlx::query("UPDATE streams SET epoch = $3 WHERE channel = $1 AND epoch = $2")
            .bind(channel.0)
            .bind(was)
            .bind(epoch)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    async fn message_page(
        &self,
        channel: Id,
        from: From,
        limit: usize,
    ) -> Result<Option<(Position, Vec<Message>)>, StoreError> {
        let (sql, bound) = match from {
            From::End => (BEFORE, u64::MAX),
            From::Before(offset) => (BEFORE, offset),
            From::After(offset) => (AFTER, offset),
        };
        let Some((position, entries)) = self.placed(sql, channel, bound, limit).await? else {
            return Ok(None);
        };
        Ok(Some((position, entries.into_iter().map(|entry| entry.message).collect())))
    }

    async fn stream_entries(
        &self,
        channel: Id,
        since: Option<u64>,
        limit: usize,
        reverse: bool,
    ) -> Result<Option<(Position, Vec<Entry>)>, StoreError> {
        let (sql, bound) = if reverse {
            (ENTRIES_BEFORE, since.unwrap_or(u64::MAX))
        } else {
            (ENTRIES_AFTER, since.unwrap_or_default())
        };
        self.placed(sql, channel, bound, limit).await
    }

    /// One statement, so position and entries are of one moment.
    async fn placed(
        &self,
        sql: &'static str,
        channel: Id,
        bound: u64,
        limit: usize,
    ) -> Result<Option<(Position, Vec<Entry>)>, StoreError> {
        let query = sqlx::query_as::<_, Placed>(sql).bind(channel.0).bind(signed(bound.min(OFFSET_MAX)));
        // Without a row there would be no position either.
        let rows = query.bind(rows::rows(limit.max(1))).fetch_all(&mut *self.reader().await?).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let position = rows::position((first.top, first.epoch.clone(), first.revised, first.announced));
        let entries: Result<Vec<Entry>, StoreError> =
            rows.into_iter().take(limit).filter_map(|row| row.entry(channel).transpose()).collect();
        Ok(Some((position, entries?)))
    }
}

impl Placed {
    fn entry(self, channel: Id) -> Result<Option<Entry>, StoreError> {
        let (Some(at), Some(place), Some(id), Some(sender)) = (self.at, self.place, self.id, self.sender)
        else {
            return Ok(None);
        };
        let row = (
            place,
            id,
            sender,
            self.key.unwrap_or_default(),
            self.body.unwrap_or_default(),
            self.media.unwrap_or_default(),
            self.created_at.unwrap_or_default(),
            self.edited_at.unwrap_or_default(),
            self.deleted_at.unwrap_or_default(),
        );
        let kind = self.kind.map_or(EntryKind::Posted, rows::entry_kind);
        Ok(Some(Entry { offset: offset(at), kind, message: rows::message(channel, offset(place), row)? }))
    }
}
