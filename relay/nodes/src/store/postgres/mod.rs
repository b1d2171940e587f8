//! PostgreSQL as a store: a pool of connections, statements planned once on each.
//!
//! Owns the connections, how transactions begin and end, and what is known of a server that does not answer. Locks on streams are
//! always taken in the order of channels, so that no two transactions wait for each other.

/// A comparison with any of a list; the list is bound by [`ids`].
macro_rules! list {
    ($place:literal) => {
        concat!("= ANY(", $place, ")")
    };
}

/// Rows that are read to be written.
macro_rules! locked {
    () => {
        " FOR UPDATE"
    };
}

mod adopt;
mod batch;
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
use std::str::FromStr;
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, PoisonError};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Postgres, Transaction};
use tokio::time::Instant;

use super::limits::{
    ACQUIRE_WITHIN, AWAY_FOR, IDLE_UNTESTED, POSTGRES_CONNECTIONS, POSTGRES_LANES, STATEMENTS_KEPT,
};
use super::{Answer, Store, StoreError, migrated};
use crate::model::Id;

use adopt::sync_stream;
use latest::put_latest;
use sqlx::Postgres as Kind;
use sqlx::postgres::{PgArguments as Arguments, PgRow as Row};

/// A PostgreSQL database.
pub struct Database {
    name: String,
    pool: PgPool,
    /// It did not answer; until then nobody else waits for it.
    away: Mutex<Option<Instant>>,
    /// Batches that are looked at closely before it is believed again that all messages are new.
    closely: AtomicU32,
}

impl Database {
    /// Connects, and brings the database to this program's version.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)?
            .application_name("headland-node")
            .statement_cache_capacity(STATEMENTS_KEPT)
            .options(SETTINGS)
            .disable_statement_logging();
        let name = format!(
            "{}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_default()
        );
        let connect = tokio::time::timeout(ACQUIRE_WITHIN, options.connect()).await;
        let mut first = connect.map_err(|_| StoreError::Away(format!("{name} does not answer")))??;
        // What brings it to this version may take its time.
        for setting in ["SET lock_timeout = 0", "SET statement_timeout = 0"] {
            sqlx::query(setting).execute(&mut first).await?;
        }
        // Not `run`, whose future cannot be sent to another thread. Nodes that start at once wait for each other.
        migrated(sqlx::migrate!("migrations/postgres").run_direct(None, &mut first, false).await)?;
        first.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(ACQUIRE_WITHIN)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    // One that was used a moment ago is well, or tells by failing.
                    if meta.idle_for > IDLE_UNTESTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Ok(Self { name, pool, away: Mutex::default(), closely: AtomicU32::new(0) })
    }

    async fn reader(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        if self
            .away
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|until| Instant::now() < until)
        {
            return Err(StoreError::Away(format!("{} does not answer", self.name)));
        }
        let acquired = self.pool.acquire().await.map_err(StoreError::from);
        if let Err(StoreError::Away(_)) = &acquired {
            let until = Instant::now() + AWAY_FOR;
            *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        }
        acquired
    }

    /// Begins a transaction that writes.
    async fn begin(&self) -> Result<Tx, StoreError> {
        let connection = self.reader().await?;
        Ok(Tx(Transaction::begin(connection, None).await?))
    }

    /// The same, where what was last committed may be lost in a crash because it is done again then: nobody waits for the disk.
    async fn begin_light(&self) -> Result<Tx, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *tx).await?;
        Ok(tx)
    }

    /// The same, alone among those which begin so.
    async fn begin_alone(&self) -> Result<Tx, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(ALONE).execute(&mut *tx).await?;
        Ok(tx)
    }

    /// Begins to freeze or thaw a workspace, once nobody writes to its home any more.
    async fn begin_freezing(&self, workspace: Id) -> Result<Tx, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(workspace.0).execute(&mut *tx).await?;
        Ok(tx)
    }

    /// Begins to write to a workspace's home, unless it is frozen. Whoever freezes it waits for those which have begun.
    async fn begin_in(&self, workspace: Id) -> Result<Tx, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock_shared($1)").bind(workspace.0).execute(&mut *tx).await?;
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
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
        POSTGRES_LANES
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres").field(&self.name).finish()
    }
}

/// A transaction; rolled back unless it is committed.
struct Tx(Transaction<'static, Postgres>);

impl Tx {
    /// Once this answers, what was written is on the disk.
    async fn commit(self) -> Result<(), StoreError> {
        Ok(self.0.commit().await?)
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

/// Ids as a list that a statement takes as one argument.
fn ids(ids: &[Id]) -> Vec<i64> {
    ids.iter().map(|id| id.0).collect()
}

/// Each statement here reads ranges of indexes. Planned once it is as good as planned for its arguments, and never reads a whole table
/// because that was small when it was planned. A node that hangs keeps its locks for a bounded time.
const SETTINGS: [(&str, &str); 6] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("jit", "off"),
    ("statement_timeout", "30s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "10s"),
];

/// Not a workspace's id, which the same kind of lock is taken for.
const ALONE: i64 = -1;
