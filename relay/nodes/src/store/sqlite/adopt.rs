//! Streams that come from another database, and go to one.

use super::write::{place, put_message};
use super::{Database, Tx};
use crate::model::{Entry, EntryKind, Id, Position};
use crate::store::StoreError;
use crate::store::limits::OFFSET_BITS;
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
        "INSERT INTO streams (channel, number, workspace, epoch, top, revised, announced, frozen)
         VALUES ($1, (SELECT COALESCE(MAX(number), 0) + 1 FROM streams), $2, $3, $4, $5, $6, true)
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
    let (number,): (i64,) = sqlx::query_as("SELECT number FROM streams WHERE channel = $1")
        .bind(channel.0)
        .fetch_one(&mut **tx)
        .await?;
    for entry in entries {
        put_message(tx, number, &entry.message).await?;
        if entry.kind == EntryKind::Posted {
            continue;
        }
        sqlx::query("INSERT INTO changes (place, kind, message) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(place(number, entry.offset))
            .bind(if entry.kind == EntryKind::Deleted { DELETED } else { EDITED })
            .bind(place(number, entry.message.offset))
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

impl Database {
    /// Removes so many messages of a stream, or the stream when it has no more.
    pub(super) async fn remove_stream(&self, channel: Id, limit: usize) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let (number,): (i64,) = sqlx::query_as("SELECT number FROM streams WHERE channel = $1")
            .bind(channel.0)
            .fetch_one(&mut *tx)
            .await?;
        let (first, last) = (place(number, 0), place(number, (1 << OFFSET_BITS) - 1));
        let messages: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT place, id FROM messages WHERE place BETWEEN $1 AND $2 ORDER BY place LIMIT $3",
        )
        .bind(first)
        .bind(last)
        .bind(rows::rows(limit))
        .fetch_all(&mut *tx)
        .await?;
        for (place, id) in &messages {
            sqlx::query("DELETE FROM found WHERE rowid = $1").bind(id).execute(&mut *tx).await?;
            sqlx::query("DELETE FROM messages WHERE place = $1").bind(place).execute(&mut *tx).await?;
        }
        if messages.is_empty() {
            let changes = sqlx::query("DELETE FROM changes WHERE place BETWEEN $1 AND $2");
            changes.bind(first).bind(last).execute(&mut *tx).await?;
            sqlx::query("DELETE FROM streams WHERE channel = $1").bind(channel.0).execute(&mut *tx).await?;
        }
        tx.commit().await
    }
}
