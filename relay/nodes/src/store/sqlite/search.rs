//! Search: words are taken from messages some time after they were stored, so that storing is not slowed by it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Database;
use super::pages::offset;
use crate::model::{Id, Message};
use crate::store::limits::{
    INDEX_CHANNELS, INDEX_ENTRIES, OFFSET_BITS, SEARCH_CHANNELS_AS_WORDS, SEARCH_STEP,
};
use crate::store::rows::{self, MessageRow, message_columns};
use crate::store::{StoreError, words};

/// Entries of a channel that cannot be found yet: its number in this database, the offsets after which and up to which.
struct Behind {
    channel: i64,
    number: i64,
    after: i64,
    last: i64,
}

impl Database {
    pub(super) async fn index_words(&self, limit: usize) -> Result<usize, StoreError> {
        let behind = self.behind(limit.min(INDEX_ENTRIES)).await?;
        if behind.is_empty() {
            return Ok(0);
        }
        // Read before anybody has to wait for it.
        let words = self.words(&behind).await?;
        let mut tx = self.begin_light().await?;
        let row = |stream: &Behind| json!([stream.channel, stream.after, stream.last]);
        let done = sqlx::query(
            "UPDATE streams SET findable = new.value ->> 2 FROM json_each($1) new
             WHERE channel = CAST(new.value ->> 0 AS INTEGER) AND findable = new.value ->> 1",
        )
        .bind(behind.iter().map(row).collect::<Value>().to_string())
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() != behind.len() as u64 {
            // Another node does the same at this moment: it is left to it.
            return Ok(0);
        }
        sqlx::query(
            "INSERT OR REPLACE INTO found (rowid, words)
             SELECT CAST(new.value ->> 0 AS INTEGER), new.value ->> 1 FROM json_each($1) new",
        )
        .bind(words.to_string())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        let count = |stream: Behind| usize::try_from(stream.last - stream.after).unwrap_or_default();
        Ok(behind.into_iter().map(count).sum())
    }

    async fn behind(&self, limit: usize) -> Result<Vec<Behind>, StoreError> {
        let streams: Vec<(i64, i64, i64, i64)> = sqlx::query_as(
            "SELECT channel, number, findable, top FROM streams
             WHERE (top > announced OR top > findable) AND top > findable ORDER BY channel LIMIT $1",
        )
        .bind(rows::rows(limit.min(INDEX_CHANNELS)))
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let mut left = rows::rows(limit);
        let mut behind = Vec::with_capacity(streams.len());
        for (channel, number, after, top) in streams {
            let last = top.min(after.saturating_add(left));
            if last == after {
                break;
            }
            left -= last - after;
            behind.push(Behind { channel, number, after, last });
        }
        Ok(behind)
    }

    /// Ids and words of what stands in the ranges, and of what was changed in them, each as it is now; no words where it is deleted.
    async fn words(&self, behind: &[Behind]) -> Result<Value, StoreError> {
        let range = |Behind { channel, number, after, last }: &Behind| {
            json!([channel, (number << OFFSET_BITS) + after, (number << OFFSET_BITS) + last])
        };
        let messages: Vec<(i64, i64, String, i64)> = sqlx::query_as(
            "SELECT new.value ->> 0, m.id, m.body, m.deleted_at FROM json_each($1) new
                 JOIN messages m ON m.place > (new.value ->> 1) AND m.place <= (new.value ->> 2)
             UNION SELECT new.value ->> 0, m.id, m.body, m.deleted_at FROM json_each($1) new
                 JOIN changes c ON c.place > (new.value ->> 1) AND c.place <= (new.value ->> 2)
                 JOIN messages m ON m.place = c.message",
        )
        .bind(behind.iter().map(range).collect::<Value>().to_string())
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let row = |(channel, id, body, deleted_at): (i64, i64, String, i64)| {
            json!([id, if deleted_at == 0 { words::text(Id(channel), &body) } else { String::new() }])
        };
        Ok(messages.into_iter().map(row).collect())
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
