//! Streams as they are written: messages that are stored, changed, announced.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::{Database, Tx, ids};
use crate::model::{Entry, EntryKind, Id, Message};
use crate::store::batch::{Plan, Stream};
use crate::store::limits::CLOSELY;
use crate::store::rows::{self, DELETED, EDITED, MessageRow, message_columns, signed};
use crate::store::{Change, Changed, Post, Posted, StoreError, Unannounced};

impl Database {
    pub(super) async fn insert_stream(
        &self,
        workspace: Id,
        channel: Id,
        epoch: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_in(workspace).await?;
        sqlx::query(
            "INSERT INTO streams (channel, workspace, epoch) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(channel.0)
        .bind(workspace.0)
        .bind(epoch)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    pub(super) async fn insert_posts(
        &self,
        posts: &[Post],
    ) -> Result<Vec<Result<Posted, StoreError>>, StoreError> {
        if posts.is_empty() {
            return Ok(Vec::new());
        }
        // Where one was not new, the next ones are likely to be retries too.
        let left = self.closely.load(Ordering::Relaxed);
        if left > 0 {
            self.closely.store(left - 1, Ordering::Relaxed);
        } else if let Some(told) = self.insert_new(posts).await? {
            return Ok(told);
        } else {
            self.closely.store(CLOSELY, Ordering::Relaxed);
        }
        self.insert_closely(posts).await
    }

    /// Looks at each post: which streams there are, which keys were used before.
    async fn insert_closely(&self, posts: &[Post]) -> Result<Vec<Result<Posted, StoreError>>, StoreError> {
        let mut tx = self.begin().await?;
        let streams = streams(&mut tx, posts).await?;
        // With the streams locked nobody adds to these channels until the end.
        let used = used(&mut tx, posts, &streams).await?;
        let plan = Plan::new(posts, &streams, &used);
        insert(&mut tx, posts, &plan).await?;
        tx.commit().await?;
        Ok(plan.answers(posts, &streams, &used))
    }

    pub(super) async fn update_message(&self, change: &Change) -> Result<Changed, StoreError> {
        let mut tx = self.begin().await?;
        let stream: Option<(String, i64, bool)> = sqlx::query_as(
            "SELECT epoch, top, frozen FROM streams WHERE channel = $1 AND workspace = $2 FOR UPDATE",
        )
        .bind(change.channel.0)
        .bind(change.workspace.0)
        .fetch_optional(&mut *tx)
        .await?;
        let (epoch, top, frozen) = stream.ok_or(StoreError::Missing)?;
        if frozen {
            return Err(StoreError::Moving);
        }
        let row: Option<MessageRow> = sqlx::query_as(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m WHERE m.id = $1 AND m.channel = $2"
        ))
        .bind(change.message.0)
        .bind(change.channel.0)
        .fetch_optional(&mut *tx)
        .await?;
        let row = row.ok_or(StoreError::Missing)?;
        let mut message = rows::message(change.channel, row.0.cast_unsigned(), row)?;
        if message.sender != change.by {
            return Ok(Changed::Foreign);
        }
        if message.deleted_at != 0 {
            return Ok(Changed::Gone);
        }
        let kind = change.apply(&mut message);
        write_change(&mut tx, top + 1, &message, kind).await?;
        tx.commit().await?;
        let entry = Entry { offset: top.cast_unsigned() + 1, kind, message };
        Ok(Changed::Done(Box::new(entry), epoch))
    }

    pub(super) async fn set_announced(&self, tops: &[(Id, u64)]) -> Result<(), StoreError> {
        let channels: Vec<i64> = tops.iter().map(|(channel, _)| channel.0).collect();
        let tops: Vec<i64> = tops.iter().map(|(_, top)| signed(*top)).collect();
        sqlx::query("SELECT mark_announced($1, $2)")
            .bind(&channels)
            .bind(&tops)
            .execute(&mut *self.reader().await?)
            .await?;
        Ok(())
    }

    pub(super) async fn streams_unannounced(&self, limit: usize) -> Result<Vec<Unannounced>, StoreError> {
        let query = sqlx::query_as(
            "SELECT s.workspace, s.channel, s.announced FROM behind b JOIN streams s ON s.channel = b.channel
             WHERE s.top > s.announced AND NOT s.frozen ORDER BY s.channel LIMIT $1",
        );
        let rows = query.bind(rows::rows(limit)).fetch_all(&mut *self.reader().await?).await?;
        Ok(rows.into_iter().map(rows::unannounced).collect())
    }
}

/// The streams of a batch, locked.
async fn streams(tx: &mut Tx, posts: &[Post]) -> Result<HashMap<Id, Stream>, StoreError> {
    let mut channels: Vec<Id> = posts.iter().map(|post| post.channel).collect();
    channels.sort_unstable();
    channels.dedup();
    let rows: Vec<(i64, String, i64, bool)> = sqlx::query_as(
        "SELECT channel, epoch, top, frozen FROM streams WHERE channel = ANY($1) ORDER BY channel FOR UPDATE",
    )
    .bind(ids(&channels))
    .fetch_all(&mut **tx)
    .await?;
    let stream = |(channel, epoch, top, frozen): (i64, String, i64, bool)| {
        (Id(channel), Stream { epoch, top: top.cast_unsigned(), frozen, number: 0 })
    };
    Ok(rows.into_iter().map(stream).collect())
}

/// The stored messages that have a post's key, by the post's place in the batch.
async fn used(
    tx: &mut Tx,
    posts: &[Post],
    streams: &HashMap<Id, Stream>,
) -> Result<HashMap<usize, Message>, StoreError> {
    type Row = (i64, i64, i64, i64, String, String, String, i64, i64, i64);
    let known: Vec<(usize, &Post)> =
        posts.iter().enumerate().filter(|(_, post)| streams.contains_key(&post.channel)).collect();
    let of = |value: fn(&Post) -> i64| known.iter().map(|(_, post)| value(post)).collect::<Vec<i64>>();
    // LIMIT: one look into the index for each, whatever the planner believes of the tables.
    let rows: Vec<Row> = sqlx::query_as(concat!(
        "SELECT asked.number, ",
        message_columns!(),
        " FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) asked (number, channel, sender, key)
         CROSS JOIN LATERAL (SELECT * FROM messages m WHERE m.channel = asked.channel
             AND m.sender = asked.sender AND m.key = asked.key LIMIT 1) m"
    ))
    .bind(known.iter().map(|(index, _)| rows::rows(*index)).collect::<Vec<i64>>())
    .bind(of(|post| post.channel.0))
    .bind(of(|post| post.sender.0))
    .bind(known.iter().map(|(_, post)| post.key.as_str()).collect::<Vec<&str>>())
    .fetch_all(&mut **tx)
    .await?;
    let mut used = HashMap::with_capacity(rows.len());
    for (index, a, b, c, d, e, f, g, h, i) in rows {
        let index = usize::try_from(index).unwrap_or_default();
        let message = rows::message(posts[index].channel, a.cast_unsigned(), (a, b, c, d, e, f, g, h, i))?;
        used.insert(index, message);
    }
    Ok(used)
}

/// Messages, tops, and that they are owed, in one statement.
async fn insert(tx: &mut Tx, posts: &[Post], plan: &Plan) -> Result<(), StoreError> {
    if plan.stored.is_empty() {
        return Ok(());
    }
    let stored = || plan.stored.iter().map(|(index, _)| &posts[*index]);
    let of = |value: fn(&Post) -> i64| stored().map(value).collect::<Vec<i64>>();
    let text = |value: fn(&Post) -> &str| stored().map(value).collect::<Vec<&str>>();
    sqlx::query(
        "WITH grown AS (
             UPDATE streams s SET top = new.top FROM UNNEST($1::bigint[], $2::bigint[]) new (channel, top)
             WHERE s.channel = new.channel),
         owed AS (INSERT INTO behind SELECT UNNEST($1::bigint[]) ON CONFLICT DO NOTHING)
         INSERT INTO messages (channel, place, id, sender, created_at, key, media, body)
         SELECT * FROM UNNEST($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
             $8::text[], $9::text[], $10::text[])",
    )
    .bind(plan.tops.iter().map(|(channel, _)| channel.0).collect::<Vec<i64>>())
    .bind(plan.tops.iter().map(|(_, top)| signed(*top)).collect::<Vec<i64>>())
    .bind(of(|post| post.channel.0))
    .bind(plan.stored.iter().map(|(_, offset)| signed(*offset)).collect::<Vec<i64>>())
    .bind(of(|post| post.id.0))
    .bind(of(|post| post.sender.0))
    .bind(of(|post| post.at))
    .bind(text(|post| &post.key))
    .bind(text(|post| &post.media))
    .bind(text(|post| post.body.get()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The entry of a change, and the message as it is from now on.
async fn write_change(tx: &mut Tx, at: i64, message: &Message, kind: EntryKind) -> Result<(), StoreError> {
    sqlx::query(
        "WITH grown AS (UPDATE streams SET top = $2, revised = $2 WHERE channel = $1),
         owed AS (INSERT INTO behind VALUES ($1) ON CONFLICT DO NOTHING),
         entry AS (INSERT INTO changes (channel, place, kind, message) VALUES ($1, $2, $3, $4))
         UPDATE messages SET body = $5, media = $6, edited_at = $7, deleted_at = $8
         WHERE channel = $1 AND place = $4",
    )
    .bind(message.channel.0)
    .bind(at)
    .bind(if kind == EntryKind::Deleted { DELETED } else { EDITED })
    .bind(signed(message.offset))
    .bind(message.body.get())
    .bind(&message.media)
    .bind(message.edited_at)
    .bind(message.deleted_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
