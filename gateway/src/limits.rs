//! Bounds of a turn of the loop and of what surrounds it.

use std::time::Duration;

/// The rate of an IPv6 /48 is that of so many of its /64.
pub const SITE_TIMES: u32 = 16;
/// Connections accepted per listener and turn: new ones have the lower priority.
pub const ACCEPTS_PER_TURN: usize = 64;
/// The same while established connections have work, or had some lately.
pub const ACCEPTS_PER_BUSY_TURN: usize = 4;
/// While established connections have work, one part in this many of a shard's time is for accepting and for handshakes.
pub const NEWCOMERS_SHARE: u32 = 5;
/// The most of that which is saved up.
pub const NEWCOMERS_CREDIT: Duration = Duration::from_millis(1);
/// How long after a delivery new connections get the smaller budgets: a stream's next publication finds a short turn.
pub const PRESSED_FOR: Duration = Duration::from_millis(250);
/// Bytes read from one connection before others have their turn.
pub const READ_PER_CONNECTION_BYTES: usize = 128 * 1024;
/// Reads per turn over all connections.
pub const READS_PER_TURN: usize = 512;
/// Bytes read from the link per turn.
pub const LINK_READ_PER_TURN_BYTES: usize = 1024 * 1024;
/// Bytes of one such read.
pub const LINK_READ_BYTES: usize = 64 * 1024;
/// The buffer that all connections of a shard are read through; holds a largest TLS record several times.
pub const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Sends to one connection in one turn before others have theirs.
pub const SENDS_PER_CONNECTION: usize = 16;
/// Connections whose bytes are sealed in a row before they are sent.
pub const FLUSHES_TOGETHER: usize = 16;
/// After running out of descriptors, accepting is tried again at the next close or after this time.
pub const STARVED: Duration = Duration::from_millis(100);
/// First and last wait before the link is tried again; doubled in between, with jitter.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(50);
/// See [`RECONNECT_FIRST`].
pub const RECONNECT_LAST: Duration = Duration::from_secs(1);
/// How long the relay may take to greet.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// How often counters go to the relay.
pub const STATS_EVERY: Duration = Duration::from_secs(1);
/// Handshake flights worked on per turn, some 60 µs each: new connections have the lower priority.
pub const FLIGHTS_PER_TURN: usize = 16;
/// The same while established connections have work, or had some lately.
pub const FLIGHTS_PER_BUSY_TURN: usize = 1;
/// Flights of a shard that wait for the relay's signature; further ones are not begun.
pub const FLIGHTS_ASKED_MAX: usize = 1024;
/// What one read of a signing connection takes at most: the answers of a turn, most are 75 bytes.
pub const ANSWERS_READ_BYTES: usize = 2048;
/// How long a signature may take before its handshake fails.
pub const SIGN_TIMEOUT: Duration = Duration::from_secs(3);
/// After this many connections of a shard have come or gone, freed memory is given back to the system at the next quiet moment:
/// handshakes leave holes of some kilobytes each.
pub const TRIM_AFTER: u64 = 5_000;
/// Shards that one process may run.
pub const SHARDS_MAX: usize = 256;
/// Listeners that one configuration may have.
pub const LISTENERS_MAX: usize = 64;
/// Descriptors of a shard that are not connections: epoll, waker, link, listeners, standard streams, and some air.
pub const DESCRIPTORS_RESERVED: u64 = 64;
/// How often the main thread looks at its signals.
pub const SIGNAL_POLL: Duration = Duration::from_millis(200);

/// Looks at the signals between two measurements of the process.
pub const POLLS_PER_MEASURE: u64 = 5;

const _: () = assert!(FLIGHTS_PER_BUSY_TURN > 0 && FLIGHTS_PER_TURN <= FLIGHTS_ASKED_MAX);
const _: () = assert!(READ_BUFFER_BYTES <= READ_PER_CONNECTION_BYTES);
