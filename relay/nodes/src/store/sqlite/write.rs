//! Streams: messages that are stored, changed, announced.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use sqlx::AssertSqlSafe;

use super::pages::offset;
use super::{Database, Tx, ids};
use crate::model::{Entry, EntryKind, Id, Message};
use crate::store::batch::{Plan, Stream};
use crate::store::limits::{BATCH_MAX, OFFSET_BITS};
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
            "INSERT INTO streams (channel, number, workspace, epoch)
             VALUES ($1, (SELECT COALESCE(MAX(number), 0) + 1 FROM streams), $2, $3) ON CONFLICT (channel) DO NOTHING",
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
        let mut tx = self.begin().await?;
        let streams = streams(&mut tx, posts).await?;
        let used = used(&mut tx, posts, &streams).await?;
        let plan = Plan::new(posts, &streams, &used);
        insert(&mut tx, posts, &streams, &plan.stored).await?;
        if !plan.tops.is_empty() {
            sqlx::query(
                "UPDATE streams SET top = new.value FROM json_each($1) new
                 WHERE channel = CAST(new.key AS INTEGER)",
            )
            .bind(object(&plan.tops))
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(plan.answers(posts, &streams, &used))
    }

    pub(super) async fn update_message(&self, change: &Change) -> Result<Changed, StoreError> {
        let mut tx = self.begin().await?;
        let stream: Option<(i64, String, i64, bool)> = sqlx::query_as(
            "SELECT number, epoch, top, frozen FROM streams WHERE channel = $1 AND workspace = $2",
        )
        .bind(change.channel.0)
        .bind(change.workspace.0)
        .fetch_optional(&mut *tx)
        .await?;
        let (number, epoch, top, frozen) = stream.ok_or(StoreError::Missing)?;
        if frozen {
            return Err(StoreError::Moving);
        }
        let row: Option<MessageRow> = sqlx::query_as(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m WHERE m.id = $1 AND m.stream = $2"
        ))
        .bind(change.message.0)
        .bind(number)
        .fetch_optional(&mut *tx)
        .await?;
        let row = row.ok_or(StoreError::Missing)?;
        let message_place = row.0;
        let mut message = rows::message(change.channel, offset(message_place), row)?;
        if message.sender != change.by {
            return Ok(Changed::Foreign);
        }
        if message.deleted_at != 0 {
            return Ok(Changed::Gone);
        }
        let kind = change.apply(&mut message);
        write_change(&mut tx, change.channel, place(number, top.cast_unsigned() + 1), message_place, kind)
            .await?;
        write_message(&mut tx, message_place, &message).await?;
        tx.commit().await?;
        let entry = Entry { offset: top.cast_unsigned() + 1, kind, message };
        Ok(Changed::Done(Box::new(entry), epoch))
    }

    pub(super) async fn set_announced(&self, tops: &[(Id, u64)]) -> Result<(), StoreError> {
        let mut tx = self.begin_light().await?;
        sqlx::query(
            "UPDATE streams SET announced = MAX(announced, MIN(top, new.value)) FROM json_each($1) new
             WHERE channel = CAST(new.key AS INTEGER)",
        )
        .bind(object(tops))
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    pub(super) async fn streams_unannounced(&self, limit: usize) -> Result<Vec<Unannounced>, StoreError> {
        let query = sqlx::query_as(
            "SELECT workspace, channel, announced FROM streams
             WHERE (top > announced OR top > findable) AND top > announced AND NOT frozen ORDER BY channel LIMIT $1",
        );
        let rows = query.bind(rows::rows(limit)).fetch_all(&mut *self.reader().await?).await?;
        Ok(rows.into_iter().map(rows::unannounced).collect())
    }
}

/// The streams of a batch.
async fn streams(tx: &mut Tx, posts: &[Post]) -> Result<HashMap<Id, Stream>, StoreError> {
    let mut channels: Vec<Id> = posts.iter().map(|post| post.channel).collect();
    channels.sort_unstable();
    channels.dedup();
    let rows: Vec<(i64, i64, String, i64, bool)> = sqlx::query_as(concat!(
        "SELECT channel, number, epoch, top, frozen FROM streams WHERE channel ",
        list!("$1")
    ))
    .bind(ids(&channels))
    .fetch_all(&mut **tx)
    .await?;
    let stream = |(channel, number, epoch, top, frozen): (i64, i64, String, i64, bool)| {
        (Id(channel), Stream { epoch, top: top.cast_unsigned(), frozen, number })
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
    let known: Vec<(usize, i64)> = posts
        .iter()
        .enumerate()
        .filter_map(|(index, post)| Some((index, streams.get(&post.channel)?.number)))
        .collect();
    let mut used = HashMap::new();
    for (part, sql) in parts(&known, &USED) {
        let mut query = sqlx::query_as::<_, Row>(AssertSqlSafe(sql.text.as_str()));
        for &(index, number) in part {
            let post = &posts[index];
            query = query.bind(rows::rows(index)).bind(number).bind(post.sender.0).bind(post.key.as_str());
        }
        for (index, a, b, c, d, e, f, g, h, i) in query.fetch_all(&mut **tx).await? {
            let index = usize::try_from(index).unwrap_or_default();
            let message = rows::message(posts[index].channel, offset(a), (a, b, c, d, e, f, g, h, i))?;
            used.insert(index, message);
        }
    }
    Ok(used)
}

async fn insert(
    tx: &mut Tx,
    posts: &[Post],
    streams: &HashMap<Id, Stream>,
    stored: &[(usize, u64)],
) -> Result<(), StoreError> {
    for (part, sql) in parts(stored, &INSERT) {
        let mut query = sqlx::query(AssertSqlSafe(sql.text.as_str()));
        for &(index, offset) in part {
            let post = &posts[index];
            let number = streams.get(&post.channel).map_or(0, |stream| stream.number);
            query = query
                .bind(place(number, offset))
                .bind(post.id.0)
                .bind(number)
                .bind(post.sender.0)
                .bind(post.at)
                .bind(post.key.as_str())
                .bind(post.media.as_str())
                .bind(post.body.get());
        }
        query.execute(&mut **tx).await?;
    }
    Ok(())
}

async fn write_change(
    tx: &mut Tx,
    channel: Id,
    at: i64,
    message_place: i64,
    kind: EntryKind,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE streams SET top = top + 1, revised = top + 1 WHERE channel = $1")
        .bind(channel.0)
        .execute(&mut **tx)
        .await?;
    sqlx::query("INSERT INTO changes (place, kind, message) VALUES ($1, $2, $3)")
        .bind(at)
        .bind(if kind == EntryKind::Deleted { DELETED } else { EDITED })
        .bind(message_place)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn write_message(tx: &mut Tx, place: i64, message: &Message) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE messages SET body = $2, media = $3, edited_at = $4, deleted_at = $5 WHERE place = $1",
    )
    .bind(place)
    .bind(message.body.get())
    .bind(&message.media)
    .bind(message.edited_at)
    .bind(message.deleted_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes a message as it is, whether or not it is there.
pub(super) async fn put_message(tx: &mut Tx, number: i64, message: &Message) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO messages
             (place, id, stream, sender, created_at, edited_at, deleted_at, key, media, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (place) DO UPDATE SET edited_at = $6, deleted_at = $7, media = $9, body = $10",
    )
    .bind(place(number, message.offset))
    .bind(message.id.0)
    .bind(number)
    .bind(message.sender.0)
    .bind(message.created_at)
    .bind(message.edited_at)
    .bind(message.deleted_at)
    .bind(&message.key)
    .bind(&message.media)
    .bind(message.body.get())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Where an entry stands in this database.
pub(super) fn place(number: i64, offset: u64) -> i64 {
    debug_assert!(offset < 1 << OFFSET_BITS, "a channel's offsets end");
    (number << OFFSET_BITS) + signed(offset)
}

/// `{"channel":number,..}`, for `json_each`.
fn object(numbers: &[(Id, u64)]) -> String {
    let mut text = String::with_capacity(2 + numbers.len() * 32);
    for (index, (channel, number)) in numbers.iter().enumerate() {
        let comma = if index == 0 { '{' } else { ',' };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}\"{channel}\":{}", signed(*number));
    }
    text.push_str(if numbers.is_empty() { "{}" } else { "}" });
    text
}

/// A statement for rows of up to a power of two; what is not bound is NULL, and no row.
#[derive(Debug)]
struct Statement {
    rows: usize,
    text: String,
}

/// One for each power of two up to the largest batch.
type Statements = LazyLock<Vec<Statement>>;

static USED: Statements = LazyLock::new(|| {
    statements(4, |values| {
        let columns = message_columns!();
        format!(
            "WITH asked (place, stream, sender, key) AS (VALUES {values}) SELECT asked.place, {columns} FROM asked
             CROSS JOIN messages m ON m.stream = asked.stream AND m.sender = asked.sender AND m.key = asked.key"
        )
    })
});

static INSERT: Statements = LazyLock::new(|| {
    statements(8, |values| {
        format!(
            "INSERT INTO messages (place, id, stream, sender, created_at, key, media, body)
             SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL"
        )
    })
});

fn statements(columns: usize, text: impl Fn(&str) -> String) -> Vec<Statement> {
    let row = format!("({})", vec!["?"; columns].join(","));
    let powers = (0..=BATCH_MAX.ilog2()).map(|power| 1 << power);
    powers.map(|rows| Statement { rows, text: text(&vec![row.as_str(); rows].join(",")) }).collect()
}

/// Cuts rows into parts, each with the smallest statement that has room for it.
fn parts<'a, T>(
    rows: &'a [T],
    statements: &'static Statements,
) -> impl Iterator<Item = (&'a [T], &'static Statement)> {
    rows.chunks(BATCH_MAX).map(|part| {
        let fits = statements.iter().find(|statement| part.len() <= statement.rows);
        (part, fits.expect("invariant: the last statement has room for the largest part"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_number_are_cut_into_few_statements_that_have_room() {
        for count in [0, 1, 3, 300, 512, 1_025] {
            let rows: Vec<usize> = (0..count).collect();
            let parts: Vec<_> = parts(&rows, &INSERT).collect();
            assert_eq!(parts.iter().flat_map(|(part, _)| *part).copied().collect::<Vec<_>>(), rows);
            assert_eq!(parts.len(), count.div_ceil(BATCH_MAX));
            for (part, statement) in parts {
                assert_eq!(statement.text.matches("(?").count(), statement.rows);
                assert!((part.len()..2 * part.len()).contains(&statement.rows));
            }
        }
    }

    #[test]
    fn numbers_by_channel_are_a_json_object() {
        assert_eq!(object(&[]), "{}");
        assert_eq!(object(&[(Id(3), 4), (Id(5), 6)]), r#"{"3":4,"5":6}"#);
    }
}
