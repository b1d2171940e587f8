//! Bounds of the stores.

use std::time::Duration;

/// How long a caller waits for a connection, or for its turn at SQLite's one writer, before the database counts as away.
pub const ACQUIRE_WITHIN: Duration = Duration::from_secs(3);
/// How long SQLite waits for a lock that another process has.
pub const BUSY_WITHIN: Duration = Duration::from_secs(2);
/// How often a SQLite database is tried to be brought to this program's version, while another node does the same.
pub const MIGRATE_TRIES: usize = 10;
/// Between two of these.
pub const MIGRATE_PAUSE: Duration = Duration::from_millis(100);
/// Connections that read one SQLite database at once.
pub const SQLITE_READERS: u32 = 4;
/// What one connection to a SQLite database keeps of it in memory.
pub const SQLITE_CACHE_KIB: u32 = 32 * 1024;
/// Pages of 4 KiB that SQLite's log holds before they go to their places: each page once, however often it was written meanwhile.
pub const SQLITE_WAL_PAGES: u32 = 16 * 1024;
/// How often what the log holds goes to its place before that, beside the messages.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// Connections to one PostgreSQL database.
pub const POSTGRES_CONNECTIONS: u32 = 16;
/// Transactions side by side that store messages in one PostgreSQL database, each with channels of its own.
pub const POSTGRES_LANES: usize = 4;
/// Batches that are looked at closely after one in which not all messages were new.
pub const CLOSELY: u32 = 8;
/// A connection that was used within this is not asked first whether it still is one.
pub const IDLE_UNTESTED: Duration = Duration::from_secs(1);
/// Once a server did not answer, nobody waits for it during this.
pub const AWAY_FOR: Duration = Duration::from_millis(500);
/// SQL texts that a connection keeps prepared.
pub const STATEMENTS_KEPT: usize = 256;
/// Messages that are stored by one transaction.
pub const BATCH_MAX: usize = 512;
/// Refresh tokens of one user; those that end first go when there are more.
pub const SESSIONS_PER_USER_MAX: i64 = 64;
/// A word of a message is found by its beginning of so many bytes.
pub const WORD_BYTES_MAX: usize = 64;
/// Words that are looked for at once.
pub const WORDS_ASKED_MAX: usize = 16;
/// Channels whose messages are made findable in one round.
pub const INDEX_CHANNELS: usize = 256;
/// Entries that are made findable by one transaction.
pub const INDEX_ENTRIES: usize = 512;
/// Up to so many channels the index itself looks only into them.
pub const SEARCH_CHANNELS_AS_WORDS: usize = 256;
/// Messages that the index is asked for at once.
pub const SEARCH_STEP: usize = 128;
/// Offsets of one channel in SQLite, where an entry's place is one number.
pub const OFFSET_BITS: u32 = 36;
/// What a channel is hashed to; databases of a cluster share these among them.
pub const BUCKETS: u32 = 256;
/// A route is asked again after this; a move waits for longer before it removes what it has copied.
pub const ROUTE_AGE: Duration = Duration::from_secs(2);
/// The same while the workspace moves.
pub const MOVING_ROUTE_AGE: Duration = Duration::from_millis(20);
/// Rows that a move compares at once.
pub const MOVE_ROWS: usize = 500;
/// Entries of a stream that a move copies at once.
pub const MOVE_ENTRIES: usize = 500;
/// Rows that are removed by one transaction, once they have moved.
pub const MOVE_REMOVED: usize = 1_000;
/// A move freezes the workspace once a round has found so little to copy, or after so many rounds.
pub const MOVE_LEFT: u64 = 1_000;
/// See [`MOVE_LEFT`].
pub const MOVE_ROUNDS: usize = 20;
/// Routes that are remembered.
pub const ROUTES_KEPT: usize = 10_000;
/// Messages that wait for one writer.
pub const QUEUE_MAX: usize = 4_096;
/// Bytes that wait for one database.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;
/// How long a post waits for a workspace that is frozen for its move.
pub const MOVING_PATIENCE: Duration = Duration::from_secs(5);
/// How soon it asks again.
pub const MOVING_PAUSE: Duration = Duration::from_millis(50);
/// Between two probes of a database that is away: the first, and the longest.
pub const PROBE_FIRST: Duration = Duration::from_millis(100);
/// See [`PROBE_FIRST`].
pub const PROBE_LAST: Duration = Duration::from_secs(5);

const _: () = assert!(BATCH_MAX.is_power_of_two() && BATCH_MAX <= QUEUE_MAX);
