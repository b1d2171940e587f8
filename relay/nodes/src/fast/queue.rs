//! A queue on this node's own disk: messages that have been accepted and are to be stored.
//!
//! Owns one SQLite file. What it has taken outlives this program, not a power failure (WAL without a sync for each commit: waiting for
//! the disk is what `fast` is there to avoid). Bounded in messages and bytes. Never talks to a store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::limits::{BATCH_MAX, REMEMBERED, WAITING_MAX};
use crate::model::{Id, UnixMs};
use crate::store::{Post, StoreError};

/// Why a message was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The bound is reached: the store has been away for long, or is too slow.
    #[error("the queue of messages to be stored is full")]
    Full,
    /// The disk, or the file.
    #[error("the queue of messages to be stored cannot be written: {0}")]
    Broken(StoreError),
}

/// What the queue may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Messages.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// A message in the queue.
#[derive(Clone, Debug)]
pub struct Queued {
    /// Its place.
    pub number: i64,
    /// What is to be stored.
    pub post: Post,
}

/// The queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue {
    pool: SqlitePool,
    asks: mpsc::Sender<Asked>,
    levels: std::sync::Arc<Levels>,
}

#[derive(Debug, Default)]
struct Levels {
    messages: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Asked {
    id: Id,
    channel: Id,
    sender: Id,
    key: String,
    at: UnixMs,
    /// All of it, as the file has it.
    text: String,
    /// What counts towards the bound.
    bytes: u64,
    answer: oneshot::Sender<Result<Taken, Refusal>>,
}

/// A message that is in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Its id: that of the first one with the key.
    pub id: Id,
    /// The key was used before, within the time that keys are remembered here.
    pub duplicate: bool,
}

/// A post as the file has it.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    workspace: Id,
    channel: Id,
    sender: Id,
    key: std::borrow::Cow<'a, str>,
    body: std::borrow::Cow<'a, serde_json::value::RawValue>,
    media: std::borrow::Cow<'a, str>,
    at: UnixMs,
}

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS queue (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    channel INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    key TEXT NOT NULL,
    id INTEGER NOT NULL,
    post TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    at INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    UNIQUE (channel, sender, key)
) STRICT;
CREATE INDEX IF NOT EXISTS waiting ON queue (number) WHERE done = 0;
CREATE INDEX IF NOT EXISTS remembered ON queue (at) WHERE done = 1;
";

impl Queue {
    /// Opens or makes the file and starts the task that writes. `Broken`.
    pub async fn open(file: &Path, bounds: Bounds) -> Result<Self, Refusal> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(5));
        // One to write, one to read beside it.
        let pool = SqlitePoolOptions::new().max_connections(2).connect_with(options).await.map_err(broken)?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await.map_err(broken)?;
        let row = sqlx::query("SELECT count(*), coalesce(sum(bytes), 0) FROM queue WHERE done = 0")
            .fetch_one(&pool)
            .await
            .map_err(broken)?;
        let levels = std::sync::Arc::new(Levels {
            messages: AtomicU64::new(row.get::<i64, _>(0).unsigned_abs()),
            bytes: AtomicU64::new(row.get::<i64, _>(1).unsigned_abs()),
        });
        let (asks, asked) = mpsc::channel(WAITING_MAX);
        let queue = Self { pool, asks, levels };
        tokio::spawn(writes(queue.pool.clone(), std::sync::Arc::clone(&queue.levels), bounds, asked));
        Ok(queue)
    }

    /// Puts a message in; it is there when this answers.
    pub async fn put(&self, post: &Post) -> Result<Taken, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.asks.try_send(Asked::new(post, answer)?).map_err(|_| Refusal::Full)?;
        answered.await.unwrap_or_else(|_| Err(unreadable("its task has ended")))
    }

    /// The oldest ones; they stay.
    pub async fn oldest(&self, limit: usize) -> Result<Vec<Queued>, Refusal> {
        let rows = sqlx::query("SELECT number, id, post FROM queue WHERE done = 0 ORDER BY number LIMIT ?")
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(broken)?;
        rows.iter()
            .map(|row| {
                let stored: Stored<'_> = serde_json::from_str(row.get(2)).map_err(unreadable)?;
                let post = Post {
                    id: Id(row.get(1)),
                    workspace: stored.workspace,
                    channel: stored.channel,
                    sender: stored.sender,
                    key: stored.key.into_owned(),
                    body: stored.body.into_owned(),
                    media: stored.media.into_owned(),
                    at: stored.at,
                };
                Ok(Queued { number: row.get(0), post })
            })
            .collect()
    }

    /// These are dealt with. Their keys are remembered for a while; those that were dealt with before that are forgotten.
    pub async fn done(&self, numbers: &[i64], now: UnixMs) -> Result<(), Refusal> {
        let list = serde_json::to_string(numbers).map_err(unreadable)?;
        let mut work = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(broken)?;
        let rows = sqlx::query(
            "UPDATE queue SET done = 1, at = ?, post = '' \
             WHERE done = 0 AND number IN (SELECT value FROM json_each(?)) RETURNING bytes",
        )
        .bind(now)
        .bind(list)
        .fetch_all(&mut *work)
        .await
        .map_err(broken)?;
        let remembered = i64::try_from(REMEMBERED.as_millis()).unwrap_or(i64::MAX);
        sqlx::query("DELETE FROM queue WHERE done = 1 AND at < ?")
            .bind(now.saturating_sub(remembered))
            .execute(&mut *work)
            .await
            .map_err(broken)?;
        work.commit().await.map_err(broken)?;
        let bytes: u64 = rows.iter().map(|row| row.get::<i64, _>(0).unsigned_abs()).sum();
        self.levels.messages.fetch_sub(rows.len() as u64, Ordering::Relaxed);
        self.levels.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Messages and bytes that wait.
    pub fn levels(&self) -> (u64, u64) {
        (self.levels.messages.load(Ordering::Relaxed), self.levels.bytes.load(Ordering::Relaxed))
    }
}

impl Asked {
    fn new(post: &Post, answer: oneshot::Sender<Result<Taken, Refusal>>) -> Result<Self, Refusal> {
        let Post { id, workspace, channel, sender, at, .. } = *post;
        let (key, media) = (post.key.as_str().into(), post.media.as_str().into());
        let body = std::borrow::Cow::Borrowed(&*post.body);
        let stored = Stored { workspace, channel, sender, key, body, media, at };
        let text = serde_json::to_string(&stored).map_err(unreadable)?;
        let bytes = (post.body.get().len() + post.media.len() + post.key.len()) as u64;
        Ok(Self { id, channel, sender, key: post.key.clone(), at, text, bytes, answer })
    }
}

/// Writes what was asked for, all that waits in one transaction.
async fn writes(
    pool: SqlitePool,
    levels: std::sync::Arc<Levels>,
    bounds: Bounds,
    mut asked: mpsc::Receiver<Asked>,
) {
    let mut batch = Vec::new();
    while asked.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let mut room = (
            bounds.messages.saturating_sub(levels.messages.load(Ordering::Relaxed)),
            bounds.bytes.saturating_sub(levels.bytes.load(Ordering::Relaxed)),
        );
        let outcome = write(&pool, &batch, &mut room).await;
        let mut answers = match outcome {
            Ok(answers) => answers.into_iter(),
            Err(error) => vec![Err(error); batch.len()].into_iter(),
        };
        for (asked, answer) in batch.drain(..).zip(&mut answers) {
            if answer.as_ref().is_ok_and(|taken| !taken.duplicate) {
                levels.messages.fetch_add(1, Ordering::Relaxed);
                levels.bytes.fetch_add(asked.bytes, Ordering::Relaxed);
            }
            // Who does not wait any more will find it by the key.
            let _ = asked.answer.send(answer);
        }
    }
}

async fn write(
    pool: &SqlitePool,
    batch: &[Asked],
    room: &mut (u64, u64),
) -> Result<Vec<Result<Taken, Refusal>>, Refusal> {
    let mut work = pool.begin_with("BEGIN IMMEDIATE").await.map_err(broken)?;
    let mut answers = Vec::with_capacity(batch.len());
    // Within a batch a key may come twice, too: each looks at what those before it have written.
    let mut seen = BTreeMap::new();
    for asked in batch {
        let place = (asked.channel, asked.sender, asked.key.as_str());
        let known = match seen.get(&place) {
            Some(id) => Some(*id),
            None => find(&mut work, place).await?,
        };
        answers.push(match known {
            Some(id) => Ok(Taken { id, duplicate: true }),
            None if room.0 == 0 || room.1 < asked.bytes => Err(Refusal::Full),
            None => {
                *room = (room.0 - 1, room.1 - asked.bytes);
                insert(&mut work, asked).await?;
                seen.insert(place, asked.id);
                Ok(Taken { id: asked.id, duplicate: false })
            }
        });
    }
    work.commit().await.map_err(broken)?;
    Ok(answers)
}

async fn find(
    work: &mut SqliteConnection,
    (channel, sender, key): (Id, Id, &str),
) -> Result<Option<Id>, Refusal> {
    let row = sqlx::query("SELECT id FROM queue WHERE channel = ? AND sender = ? AND key = ?")
        .bind(channel.0)
        .bind(sender.0)
        .bind(key)
        .fetch_optional(work)
        .await
        .map_err(broken)?;
    Ok(row.map(|row| Id(row.get(0))))
}

async fn insert(work: &mut SqliteConnection, asked: &Asked) -> Result<(), Refusal> {
    sqlx::query("INSERT INTO queue (channel, sender, key, id, post, bytes, at) VALUES (?, ?, ?, ?, ?, ?, ?)")
        .bind(asked.channel.0)
        .bind(asked.sender.0)
        .bind(&asked.key)
        .bind(asked.id.0)
        .bind(&asked.text)
        .bind(i64::try_from(asked.bytes).unwrap_or(i64::MAX))
        .bind(asked.at)
        .execute(work)
        .await
        .map(drop)
        .map_err(broken)
}

fn broken(error: sqlx::Error) -> Refusal {
    Refusal::Broken(error.into())
}

fn unreadable(error: impl std::fmt::Display) -> Refusal {
    Refusal::Broken(StoreError::Refused(error.to_string()))
}
