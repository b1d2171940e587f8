//! Search: words are taken from messages some time after they were stored, so that storing is not slowed by it.

use std::collections::BTreeSet;

use super::{Database, Tx, ids};
use crate::model::{Id, Message};
use crate::store::limits::{INDEX_CHANNELS, INDEX_ENTRIES, SEARCH_CHANNELS_AS_WORDS};
use crate::store::rows::{self, message_columns};
use crate::store::{StoreError, words};

/// Entries that cannot be found yet: channels, the offsets after which and up to which.
#[derive(Default)]
struct Behind {
    channels: Vec<i64>,
    after: Vec<i64>,
    last: Vec<i64>,
    count: usize,
}

impl Database {
    pub(super) async fn index_words(&self, limit: usize) -> Result<usize, StoreError> {
        let behind = self.behind(limit.min(INDEX_ENTRIES)).await?;
        if behind.count == 0 {
            return Ok(0);
        }
        // What stands in the ranges, and what was changed in them: each as it is now.
        let messages: Vec<(i64, i64, String, i64)> = sqlx::query_as(
            "SELECT m.channel, m.id, m.body, m.deleted_at
             FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[]) new (channel, after, last)
             CROSS JOIN LATERAL (
                 SELECT a.channel, a.id, a.body, a.deleted_at FROM messages a
                     WHERE a.channel = new.channel AND a.place > new.after AND a.place <= new.last
                 UNION SELECT b.channel, b.id, b.body, b.deleted_at FROM changes c
                     JOIN messages b ON b.channel = c.channel AND b.place = c.message
                     WHERE c.channel = new.channel AND c.place > new.after AND c.place <= new.last) m",
        )
        .bind(&behind.channels)
        .bind(&behind.after)
        .bind(&behind.last)
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let mut tx = self.begin_light().await?;
        remember(&mut tx, &messages).await?;
        let (marked,): (bool,) = sqlx::query_as("SELECT mark_findable($1, $2, $3)")
            .bind(&behind.channels)
            .bind(&behind.after)
            .bind(&behind.last)
            .fetch_one(&mut *tx)
            .await?;
        if !marked {
            // Another node does the same at this moment: it is left to it.
            return Ok(0);
        }
        tx.commit().await?;
        Ok(behind.count)
    }

    async fn behind(&self, limit: usize) -> Result<Behind, StoreError> {
        let streams: Vec<(i64, i64, i64)> = sqlx::query_as(
            "SELECT s.channel, s.findable, s.top FROM behind b JOIN streams s ON s.channel = b.channel
             WHERE s.top > s.findable ORDER BY s.channel LIMIT $1",
        )
        .bind(rows::rows(limit.min(INDEX_CHANNELS)))
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let mut behind = Behind::default();
        for (channel, findable, top) in streams {
            let last = top.min(findable.saturating_add(rows::rows(limit - behind.count)));
            if last > findable {
                behind.channels.push(channel);
                behind.after.push(findable);
                behind.last.push(last);
                behind.count += usize::try_from(last - findable).unwrap_or_default();
            }
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
        type Row = (i64, i64, i64, i64, String, String, String, i64, i64, i64);
        let asked = words::asked(text);
        let channels: Vec<Id> = channels.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        if asked.is_empty() || channels.is_empty() {
            return Ok(Vec::new());
        }
        // MATERIALIZED: by the index of words, whatever the planner believes of the order by id.
        let rows: Vec<Row> = sqlx::query_as(concat!(
            "WITH hit AS MATERIALIZED (SELECT id, channel FROM found WHERE words @@ $1::tsquery)
             SELECT hit.channel, ",
            message_columns!(),
            " FROM hit JOIN messages m ON m.channel = hit.channel AND m.id = hit.id
             WHERE hit.id < $2 AND hit.channel = ANY($3) AND m.deleted_at = 0 ORDER BY hit.id DESC LIMIT $4"
        ))
        .bind(expression(&asked, &channels))
        .bind(before.map_or(i64::MAX, |id| id.0))
        .bind(ids(&channels))
        .bind(rows::rows(limit))
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.into_iter()
            .map(|(channel, a, b, c, d, e, f, g, h, i)| {
                rows::message(Id(channel), a.cast_unsigned(), (a, b, c, d, e, f, g, h, i))
            })
            .collect()
    }
}

/// Puts the words of these messages into the index; those that are deleted leave it.
async fn remember(tx: &mut Tx, messages: &[(i64, i64, String, i64)]) -> Result<(), StoreError> {
    let deleted: Vec<i64> =
        messages.iter().filter(|(.., deleted_at)| *deleted_at != 0).map(|(_, id, ..)| *id).collect();
    if !deleted.is_empty() {
        sqlx::query("DELETE FROM found WHERE id = ANY($1)").bind(&deleted).execute(&mut **tx).await?;
    }
    let there = || messages.iter().filter(|(.., deleted_at)| *deleted_at == 0);
    sqlx::query(
        "INSERT INTO found (id, channel, words)
         SELECT id, channel, array_to_tsvector(string_to_array(words, ' '))
         FROM UNNEST($1::bigint[], $2::bigint[], $3::text[]) new (id, channel, words) ORDER BY id
         ON CONFLICT (id) DO UPDATE SET words = excluded.words",
    )
    .bind(there().map(|(_, id, ..)| *id).collect::<Vec<i64>>())
    .bind(there().map(|(channel, ..)| *channel).collect::<Vec<i64>>())
    .bind(there().map(|(channel, _, body, _)| words::text(Id(*channel), body)).collect::<Vec<String>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// All words, in any of the channels. Of many channels the index would look up each: they are left to the statement.
fn expression(asked: &BTreeSet<String>, channels: &[Id]) -> String {
    let quoted = |word: String| format!("'{word}'");
    let mut all: Vec<String> = asked.iter().cloned().map(quoted).collect();
    if channels.len() <= SEARCH_CHANNELS_AS_WORDS {
        let any: Vec<String> = channels.iter().map(|channel| quoted(words::channel(*channel))).collect();
        all.push(format!("({})", any.join(" | ")));
    }
    all.join(" & ")
}
