//! Bounds of the load generator. Nothing here grows past what is named here and what the options ask for.

use std::time::Duration;

/// Connections in one run.
pub const CONNECTIONS_MAX: u32 = 4_000_000;
/// Threads in one run.
pub const THREADS_MAX: usize = 1024;
/// Source addresses in a pool.
pub const SOURCES_MAX: usize = 65_536;
/// Connections per source address when the pool is chosen here: half of a default port range is found quickly, less a margin.
pub const CONNECTIONS_PER_SOURCE: u32 = 12_000;
/// Connections that are being opened at once, per thread, unless told: enough to keep a server's accept loop fed.
pub const OPENING_DEFAULT: u32 = 256;
/// The same where opening is what is measured: more would wait for this program rather than for the server.
pub const OPENING_HANDSHAKE_DEFAULT: u32 = 32;
/// Seconds for a connection to become usable, from `connect` to the last reply, unless told.
pub const OPENING_TIMEOUT_S_DEFAULT: f64 = 30.0;
/// Failures to open without one success between, after which a thread stops trying.
pub const FAILURES_IN_A_ROW_MAX: u32 = 1_000;
/// Silence in the ramp, beyond the time a connection may take, after which the run goes on with what it has.
pub const RAMP_SILENCE_MAX: Duration = Duration::from_secs(15);
/// Length of a ramp.
pub const RAMP_MAX: Duration = Duration::from_secs(6 * 3600);
/// Time a worker may take to answer the coordinator.
pub const WORKER_ANSWER_MAX: Duration = Duration::from_secs(60);
/// Time after which a publication that has not reached everybody counts as incomplete.
pub const PUBLICATION_TIMEOUT: Duration = Duration::from_secs(15);
/// Publications in flight.
pub const IN_FLIGHT_MAX: usize = 1024;
/// Bytes of a publication's payload; servers take 64 KiB by default.
pub const PAYLOAD_BYTES_MAX: usize = 60 * 1024;
/// Bytes of a publication's payload: room for its number.
pub const PAYLOAD_BYTES_MIN: usize = 32;
/// Bytes taken by one `receive`, per thread.
pub const RECEIVE_BYTES: usize = 256 * 1024;
/// Bytes received from one connection in one turn before the others have theirs.
pub const TURN_BYTES_MAX: usize = 1024 * 1024;
/// Message a server may send, as far as this client listens.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of commands kept for a connection whose server does not read.
pub const BACKLOG_BYTES_MAX: usize = 1024 * 1024;
/// Longest wait of a loop without anything to do.
pub const WAIT_MAX: Duration = Duration::from_millis(50);
/// How often the coordinator looks at the counters.
pub const GLANCE: Duration = Duration::from_millis(100);
/// Share of the time a thread may have used or wanted a core before its wall-clock figures are doubted.
pub const OWN_LOAD_MAX: f64 = 0.9;
/// 99th percentile of a turn's length above which latencies say more about this program than about the server.
pub const OWN_TURN_P99_MAX: Duration = Duration::from_millis(50);
/// Highest latency told apart; more counts as this much.
pub const LATENCY_MAX: Duration = Duration::from_secs(120);
/// Commands in flight on the publisher's connection when it tells every channel once.
pub const BROADCAST_WINDOW: usize = 64;
/// Grace beyond the announced ping interval before a connection counts as silent.
pub const PING_GRACE: Duration = Duration::from_secs(10);
/// Bytes of a certificate file.
pub const CA_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Different close codes and reply codes told apart in one run.
pub const CODES_MAX: usize = 64;
