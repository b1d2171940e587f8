//! SQLite as a store: one connection writes, a few read.
//!
//! WAL with `synchronous = FULL`: a commit is on the disk when it is answered, as PostgreSQL's is. Owns the connections and how
//! transactions begin and end; what is said to the database is in the modules.

/// A comparison with any of a list; the list is bound by [`ids`].
macro_rules! list {
    ($place:literal) => {
        concat!("IN (SELECT value FROM json_each(", $place, "))")
    };
}

/// Rows that are read to be written: here nobody else writes meanwhile anyway.
macro_rules! locked {
    () => {
        ""
    };
}

mod adopt;
#[path = "../sql/channels.rs"]
mod channels;
#[path = "../sql/control.rs"]
mod control;
#[path = "../sql/conversations.rs"]
mod conversations;
#[path = "../sql/home.rs"]
mod home;
mod latest;
#[path = "../sql/members.rs"]
mod members;
#[path = "../sql/moving.rs"]
mod moving;
mod pages;
mod search;
#[path = "../sql/streams.rs"]
mod streams;
#[path = "../sql/users.rs"]
mod users;
mod write;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Sqlite};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::limits::{
    ACQUIRE_WITHIN, BUSY_WITHIN, CHECKPOINT_EVERY, MIGRATE_PAUSE, MIGRATE_TRIES, SQLITE_CACHE_KIB,
    SQLITE_READERS, SQLITE_WAL_PAGES, STATEMENTS_KEPT,
};
use super::{Answer, Store, StoreError, migrated};
use crate::model::Id;

use adopt::sync_stream;
use latest::put_latest;
use sqlx::Sqlite as Kind;
use sqlx::sqlite::{SqliteArguments as Arguments, SqliteRow as Row};

/// A SQLite database.
pub struct Database {
    path: String,
    writer: Arc<Mutex<Writer>>,
    readers: SqlitePool,
    _checkpoints: JoinSet<()>,
}

impl Database {
    /// Opens a database, makes it if there is none, and brings it to this program's version.
    pub async fn open(path: &str) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_WITHIN)
            .pragma("cache_size", format!("-{SQLITE_CACHE_KIB}"))
            .pragma("wal_autocheckpoint", SQLITE_WAL_PAGES.to_string())
            .statement_cache_capacity(STATEMENTS_KEPT)
            .disable_statement_logging();
        let mut tries = MIGRATE_TRIES;
        let connection = loop {
            match prepared(&options).await {
                Ok(connection) => break connection,
                // Another node may be at it: SQLite lets only one, and there is no lock for all of it.
                Err(_) if tries > 1 => tries -= 1,
                Err(error) => return Err(error),
            }
            sleep(MIGRATE_PAUSE).await;
        };
        let mut checkpoints = JoinSet::new();
        checkpoints.spawn(checkpoint(options.clone().create_if_missing(false).connect().await?));
        let readers = SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS)
            .acquire_timeout(ACQUIRE_WITHIN)
            .test_before_acquire(false)
            .connect_with(options.create_if_missing(false).pragma("query_only", "1"))
            .await?;
        let writer = Writer { connection, durable: true };
        Ok(Self {
            path: path.to_owned(),
            writer: Arc::new(Mutex::new(writer)),
            readers,
            _checkpoints: checkpoints,
        })
    }

    /// A connection that reads; it sees everything that was committed before.
    async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    /// Begins to write: nobody else does until the end.
    async fn begin(&self) -> Result<Tx, StoreError> {
        self.begin_with(true).await
    }

    /// The same, where what was last committed may be lost in a crash because it is done again then: nobody waits for the disk.
    async fn begin_light(&self) -> Result<Tx, StoreError> {
        self.begin_with(false).await
    }

    async fn begin_with(&self, durable: bool) -> Result<Tx, StoreError> {
        let turn = timeout(ACQUIRE_WITHIN, Arc::clone(&self.writer).lock_owned()).await;
        let mut writer = turn.map_err(|_| StoreError::Away("others write for too long".to_owned()))?;
        if writer.durable != durable {
            // Durable only once it is: whoever is dropped on the way leaves it to the next.
            writer.durable = false;
            let level = if durable { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
            sqlx::query(level).execute(&mut writer.connection).await?;
            writer.durable = durable;
        }
        let mut tx = Tx { writer: Some(writer) };
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *tx).await?;
        Ok(tx)
    }

    /// The same: there is only one writer.
    async fn begin_alone(&self) -> Result<Tx, StoreError> {
        self.begin().await
    }

    /// Begins to freeze or thaw a workspace.
    async fn begin_freezing(&self, _workspace: Id) -> Result<Tx, StoreError> {
        self.begin().await
    }

    /// Begins to write to a workspace's home, unless it is frozen.
    async fn begin_in(&self, workspace: Id) -> Result<Tx, StoreError> {
        let mut tx = self.begin().await?;
        let frozen: Option<(i64,)> = sqlx::query_as("SELECT workspace FROM frozen WHERE workspace = $1")
            .bind(workspace.0)
            .fetch_optional(&mut *tx)
            .await?;
        if frozen.is_some() {
            return Err(StoreError::Moving);
        }
        Ok(tx)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE probe SET count = count + 1").execute(&mut *tx).await?;
        tx.commit().await
    }
}

impl Store for Database {
    fn health(&self) -> Answer<'_, ()> {
        Box::pin(self.probe())
    }

    fn lanes(&self) -> usize {
        1
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sqlite").field(&self.path).finish()
    }
}

/// A transaction that writes; rolled back unless it is committed. Not the library's own: SQLite rolls back by itself when a disk is
/// full, and the library would count a transaction that is gone.
struct Tx {
    writer: Option<OwnedMutexGuard<Writer>>,
}

/// The connection that writes.
struct Writer {
    connection: SqliteConnection,
    /// Whether its commits wait for the disk. In WAL mode one that does brings those before it to the disk too.
    durable: bool,
}

impl Tx {
    /// Once this answers, what was written is on the disk (unless it is light).
    async fn commit(mut self) -> Result<(), StoreError> {
        sqlx::query("COMMIT").execute(&mut *self).await?;
        self.writer = None;
        Ok(())
    }
}

impl Deref for Tx {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        let writer = self.writer.as_ref();
        &writer.expect("invariant: only `commit`, which takes the transaction, and `drop` end it").connection
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        let writer = self.writer.as_mut();
        &mut writer
            .expect("invariant: only `commit`, which takes the transaction, and `drop` end it")
            .connection
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(mut writer) = self.writer.take() else { return };
        // The next writer waits for the lock, which this task has until it is rolled back.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // An error says that SQLite has rolled back by itself.
                let _ = sqlx::query("ROLLBACK").execute(&mut writer.connection).await;
            });
        }
    }
}

/// Moves what the log holds to its place now and then: the writer, which has to where the log is full, then finds little to move, and
/// messages do not wait for that.
async fn checkpoint(mut connection: SqliteConnection) {
    loop {
        sleep(CHECKPOINT_EVERY).await;
        // What cannot be moved now is moved later.
        let _ = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut connection).await;
    }
}

/// A connection to a database of this program's version.
async fn prepared(options: &SqliteConnectOptions) -> Result<SqliteConnection, StoreError> {
    let mut connection = options.connect().await?;
    // Not `run`, whose future cannot be sent to another thread.
    migrated(sqlx::migrate!("migrations/sqlite").run_direct(None, &mut connection, false).await)?;
    Ok(connection)
}

/// Ids as a list that a statement takes as one argument.
fn ids(ids: &[Id]) -> String {
    let mut text = String::with_capacity(2 + ids.len() * 20);
    text.push('[');
    for (index, id) in ids.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&id.to_string());
    }
    text.push(']');
    text
}
