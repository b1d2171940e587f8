//! Search: words are taken from messages some time after they were stored, so that storing is not slowed by it.

use std::collections::BTreeSet;

use sqlx::sqlite::SqliteConnection;

use super::Database;
use super::pages::offset;
use crate::model::{Id, Message};
use crate::store::limits::{INDEX_CHANNELS, INDEX_ENTRIES, SEARCH_CHANNELS_AS_WORDS, SEARCH_STEP};
use crate::store::rows::{self, MessageRow, message_columns};
use crate::store::{StoreError, words};

/// A channel with entries that cannot be found yet: its number, and the offsets after which and up to which.
struct Behind {
    channel: i64,
    number: i64,
    after: i64,
    last: i64,
    /// Ids and words; none where the message is deleted.
    words: Vec<(i64, String)>,
}

impl Database {
    pub(super) async fn index_words(&self, limit: usize) -> Result<usize, StoreError> {
        let behind = self.behind(limit.min(INDEX_ENTRIES)).await?;
        if behind.is_empty() {
            return Ok(0);
        }
        let mut done = 0;
        let mut tx = self.begin_light().await?;
        for stream in behind {
            let moved = sqlx::query("UPDATE streams SET findable = $2 WHERE channel = $1 AND findable = $3")
                .bind(stream.channel)
                .bind(stream.last)
                .bind(stream.after)
                .execute(&mut *tx)
                .await?;
            // Or else another node has done the same meanwhile.
            if moved.rows_affected() > 0 {
                done += usize::try_from(stream.last - stream.after).unwrap_or_default();
                for (id, words) in stream.words {
                    sqlx::query("INSERT OR REPLACE INTO found (rowid, words) VALUES ($1, $2)")
                        .bind(id)
                        .bind(words)
                        .execute(&mut *tx)
                        .await?;
                }
            }
        }
        tx.commit().await?;
        Ok(done)
    }

    /// Reads what is to be made findable, before anybody has to wait for it.
    async fn behind(&self, limit: usize) -> Result<Vec<Behind>, StoreError> {
        let mut reader = self.reader().await?;
        let streams: Vec<(i64, i64, i64, i64)> = sqlx::query_as(
            "SELECT channel, number, findable, top FROM streams
             WHERE (top > announced OR top > findable) AND top > findable ORDER BY channel LIMIT $1",
        )
        .bind(rows::rows(limit.min(INDEX_CHANNELS)))
        .fetch_all(&mut *reader)
        .await?;
        let mut left = rows::rows(limit);
        let mut behind = Vec::with_capacity(streams.len());
        for (channel, number, after, top) in streams {
            let last = top.min(after.saturating_add(left));
            if last == after {
                break;
            }
            left -= last - after;
            let mut stream = Behind { channel, number, after, last, words: Vec::new() };
            stream.read(&mut reader).await?;
            behind.push(stream);
        }
        Ok(behind)
    }

    pub(super) async fn search_words(
        &self,
        channels: &[Id],
        text: &str,
        before: Option<Id>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let asked = words::asked(text);
        let allowed: BTreeSet<Id> = channels.iter().copied().collect();
        if asked.is_empty() || allowed.is_empty() {
            return Ok(Vec::new());
        }
        let matches = expression(&asked, &allowed);
        let mut before = before.map_or(i64::MAX, |id| id.0);
        let mut messages = Vec::new();
        while messages.len() < limit {
            let ids: Vec<(i64,)> = sqlx::query_as(
                "SELECT rowid FROM found WHERE found MATCH $1 AND rowid < $2 ORDER BY rowid DESC LIMIT $3",
            )
            .bind(&matches)
            .bind(before)
            .bind(rows::rows(SEARCH_STEP))
            .fetch_all(&mut *self.reader().await?)
            .await?;
            let Some((last,)) = ids.last() else { break };
            before = *last;
            let step = ids.len();
            messages.extend(self.messages(&ids, &allowed).await?);
            if step < SEARCH_STEP {
                break;
            }
        }
        messages.truncate(limit);
        Ok(messages)
    }

    /// Those of these messages that are in one of the channels and not deleted, newest first.
    async fn messages(&self, found: &[(i64,)], allowed: &BTreeSet<Id>) -> Result<Vec<Message>, StoreError> {
        type Row = (i64, i64, i64, i64, String, String, String, i64, i64, i64);
        let found: Vec<Id> = found.iter().map(|(id,)| Id(*id)).collect();
        let rows: Vec<Row> = sqlx::query_as(concat!(
            "SELECT s.channel, ",
            message_columns!(),
            " FROM json_each($1) hit CROSS JOIN messages m ON m.id = hit.value
             JOIN streams s ON s.number = m.stream WHERE m.deleted_at = 0 ORDER BY m.id DESC"
        ))
        .bind(super::ids(&found))
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.into_iter()
            .filter(|row| allowed.contains(&Id(row.0)))
            .map(|(channel, a, b, c, d, e, f, g, h, i)| {
                let row: MessageRow = (a, b, c, d, e, f, g, h, i);
                rows::message(Id(channel), offset(a), row)
            })
            .collect()
    }
}

impl Behind {
    /// What stands in the range, and what was changed in it: each as it is now.
    async fn read(&mut self, reader: &mut SqliteConnection) -> Result<(), StoreError> {
        let messages: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT m.id, m.body, m.deleted_at FROM messages m
                 WHERE m.place > ($1 << 36) + $2 AND m.place <= ($1 << 36) + $3
             UNION SELECT m.id, m.body, m.deleted_at FROM changes c JOIN messages m ON m.place = c.message
                 WHERE c.place > ($1 << 36) + $2 AND c.place <= ($1 << 36) + $3",
        )
        .bind(self.number)
        .bind(self.after)
        .bind(self.last)
        .fetch_all(reader)
        .await?;
        let words = |(id, body, deleted_at): (i64, String, i64)| {
            (id, if deleted_at == 0 { words::text(Id(self.channel), &body) } else { String::new() })
        };
        self.words = messages.into_iter().map(words).collect();
        Ok(())
    }
}

/// All words, in any of the channels. Of many channels the index would look up each: they are left to the reader of what is found.
fn expression(asked: &BTreeSet<String>, channels: &BTreeSet<Id>) -> String {
    let quoted = |word: String| format!("\"{word}\"");
    let mut all: Vec<String> = asked.iter().cloned().map(quoted).collect();
    if channels.len() <= SEARCH_CHANNELS_AS_WORDS {
        let any: Vec<String> = channels.iter().map(|channel| quoted(words::channel(*channel))).collect();
        all.push(format!("({})", any.join(" OR ")));
    }
    all.join(" AND ")
}
