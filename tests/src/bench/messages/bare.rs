//! Bare inserts: the rows that a node stores, into the same table with the same durability, and nothing else around them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use nodes::ids::Ids;
use nodes::store;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use super::load::TEXT;
use crate::folder::Folder;
use crate::postgres;
use crate::wait;

/// Rows of one statement in SQLite: what the parameters of one allow.
const ROWS_MAX: usize = 1024;

/// Inserts rows of so many channels for so long, so many in a transaction, over as many connections as a node writes with; rows per second.
pub(super) fn inserts(
    server: Option<&postgres::Server>,
    channels: usize,
    batch: usize,
    time: Duration,
) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let folder = Folder::new()?;
    let url = match server {
        None => format!("sqlite:{}", folder.file("bare.db").display()),
        Some(server) => server.database()?,
    };
    runtime.block_on(async {
        // Makes the tables.
        let lanes = store::open(&url).await?.lanes();
        let rows =
            Rows { ids: Ids::new(901), next: AtomicU64::new(0), channels, batch: batch.clamp(1, ROWS_MAX) };
        let began = wait::now();
        let each = (0..lanes).map(|_| async {
            if server.is_some() { postgres(&url, &rows, time).await } else { sqlite(&url, &rows, time).await }
        });
        let counts = futures_util::future::try_join_all(each).await?;
        Ok(counts.iter().sum::<u64>() as f64 / began.elapsed().as_secs_f64())
    })
}

/// Where rows come from: channels in turn, each with its offsets.
struct Rows {
    ids: Ids,
    next: AtomicU64,
    channels: usize,
    batch: usize,
}

impl Rows {
    /// Channel and offset of the next rows, and their ids.
    fn take(&self) -> Vec<(i64, i64, i64)> {
        let first = self.next.fetch_add(self.batch as u64, Ordering::Relaxed);
        let row = |index: u64| {
            let (channel, offset) = (index % self.channels as u64, index / self.channels as u64);
            (channel as i64 + 1, offset as i64 + 1, self.ids.next(0).0)
        };
        (first..first + self.batch as u64).map(row).collect()
    }
}

fn body() -> String {
    format!("{{\"text\":\"{TEXT}\",\"sent\":123456789}}")
}

async fn sqlite(url: &str, rows: &Rows, time: Duration) -> Result<u64> {
    let mut connection = SqliteConnection::connect(url).await?;
    // As the node has it: a commit is on the disk.
    sqlx::query("PRAGMA synchronous = FULL").execute(&mut connection).await?;
    let values = vec!["(?, ?, ?, ?, ?, ?, '', ?)"; rows.batch].join(",");
    let insert = format!(
        "INSERT INTO messages (place, id, stream, sender, created_at, key, media, body) VALUES {values}"
    );
    let (body, began, mut count) = (body(), wait::now(), 0);
    while began.elapsed() < time {
        let mut tx = connection.begin().await?;
        let mut query = sqlx::query(AssertSqlSafe(insert.as_str()));
        for (channel, offset, id) in rows.take() {
            let place = (channel << 36) + offset;
            query =
                query.bind(place).bind(id).bind(channel).bind(1).bind(id).bind(id.to_string()).bind(&body);
        }
        count += query.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
    }
    Ok(count)
}

async fn postgres(url: &str, rows: &Rows, time: Duration) -> Result<u64> {
    let mut connection = PgConnection::connect(url).await.context("a bare connection")?;
    let insert = "INSERT INTO messages (channel, place, id, sender, created_at, key, media, body) \
                  SELECT channel, place, id, 1, id, id::text, '', $4 \
                  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS new (channel, place, id)";
    let (body, began, mut count) = (body(), wait::now(), 0);
    while began.elapsed() < time {
        let (mut channels, mut offsets, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        for (channel, offset, id) in rows.take() {
            channels.push(channel);
            offsets.push(offset);
            ids.push(id);
        }
        let query = sqlx::query(insert).bind(&channels).bind(&offsets).bind(&ids).bind(&body);
        count += query.execute(&mut connection).await?.rows_affected();
    }
    Ok(count)
}
