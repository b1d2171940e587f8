//! Streams that come from another database, and go to one.

use std::collections::BTreeMap;

use super::{Database, Tx};
use crate::model::{Entry, EntryKind, Id, Message, Position};
use crate::store::StoreError;
use crate::store::rows::{self, DELETED, EDITED, signed};

/// Writes the next entries of a stream, and where it is then. What is there stays as it is.
pub(super) async fn sync_stream(
    tx: &mut Tx,
    workspace: Id,
    channel: Id,
    position: &Position,
    entries: &[Entry],
) -> Result<(), StoreError> {
    sqlx::query(
        "WITH owed AS (INSERT INTO behind VALUES ($1) ON CONFLICT DO NOTHING)
         INSERT INTO streams (channel, workspace, epoch, top, revised, announced, frozen)
         VALUES ($1, $2, $3, $4, $5, $6, true)
         ON CONFLICT (channel) DO UPDATE SET epoch = $3, top = $4, revised = $5, announced = $6",
    )
    .bind(channel.0)
    .bind(workspace.0)
    .bind(&position.epoch)
    .bind(signed(position.top))
    .bind(signed(position.revised))
    .bind(signed(position.announced.min(position.top)))
    .execute(&mut **tx)
    .await?;
    put_messages(tx, channel, entries).await?;
    let changes = || entries.iter().filter(|entry| entry.kind != EntryKind::Posted);
    let kind = |entry: &Entry| if entry.kind == EntryKind::Deleted { DELETED } else { EDITED };
    sqlx::query(
        "INSERT INTO changes (channel, place, kind, message)
         SELECT $1, * FROM UNNEST($2::bigint[], $3::bigint[], $4::bigint[]) ON CONFLICT DO NOTHING",
    )
    .bind(channel.0)
    .bind(changes().map(|entry| signed(entry.offset)).collect::<Vec<i64>>())
    .bind(changes().map(kind).collect::<Vec<i64>>())
    .bind(changes().map(|entry| signed(entry.message.offset)).collect::<Vec<i64>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes messages as they are, whether or not they are there.
async fn put_messages(tx: &mut Tx, channel: Id, entries: &[Entry]) -> Result<(), StoreError> {
    // Each once: a message and its changes may be among the same entries.
    let messages: BTreeMap<u64, &Message> =
        entries.iter().map(|entry| (entry.message.offset, &entry.message)).collect();
    let of = |value: fn(&Message) -> i64| messages.values().map(|m| value(m)).collect::<Vec<i64>>();
    let text = |value: fn(&Message) -> &str| messages.values().map(|m| value(m)).collect::<Vec<&str>>();
    sqlx::query(
        "INSERT INTO messages
             (channel, place, id, sender, created_at, edited_at, deleted_at, key, media, body)
         SELECT $1, * FROM UNNEST($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
             $7::bigint[], $8::text[], $9::text[], $10::text[])
         ON CONFLICT (channel, place) DO UPDATE SET edited_at = excluded.edited_at,
             deleted_at = excluded.deleted_at, media = excluded.media, body = excluded.body",
    )
    .bind(channel.0)
    .bind(of(|message| signed(message.offset)))
    .bind(of(|message| message.id.0))
    .bind(of(|message| message.sender.0))
    .bind(of(|message| message.created_at))
    .bind(of(|message| message.edited_at))
    .bind(of(|message| message.deleted_at))
    .bind(text(|message| &message.key))
    .bind(text(|message| &message.media))
    .bind(text(|message| message.body.get()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

impl Database {
    /// Removes so many messages of a stream, or the stream when it has no more.
    pub(super) async fn remove_stream(&self, channel: Id, limit: usize) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let messages: Vec<(i64, i64)> =
            sqlx::query_as("SELECT place, id FROM messages WHERE channel = $1 ORDER BY place LIMIT $2")
                .bind(channel.0)
                .bind(rows::rows(limit))
                .fetch_all(&mut *tx)
                .await?;
        if let Some((last, _)) = messages.last() {
            sqlx::query("DELETE FROM messages WHERE channel = $1 AND place <= $2")
                .bind(channel.0)
                .bind(last)
                .execute(&mut *tx)
                .await?;
            sqlx::query("DELETE FROM found WHERE id = ANY($1)")
                .bind(messages.iter().map(|(_, id)| *id).collect::<Vec<i64>>())
                .execute(&mut *tx)
                .await?;
        } else {
            sqlx::query("DELETE FROM changes WHERE channel = $1").bind(channel.0).execute(&mut *tx).await?;
            sqlx::query("DELETE FROM behind WHERE channel = $1").bind(channel.0).execute(&mut *tx).await?;
            sqlx::query("DELETE FROM streams WHERE channel = $1").bind(channel.0).execute(&mut *tx).await?;
        }
        tx.commit().await
    }
}
