//! A shard's counters as they cross the link: cumulative since the shard's start, so a lost report loses nothing.

use std::ops::Add;

use serde::{Deserialize, Serialize};

/// Upper bounds of the turn-time histogram's buckets in microseconds; one more bucket counts what is above.
pub const TURN_BUCKETS_US: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000];

/// Transports and encodings that sessions are spoken in, in the order of [`ShardStats::transports`].
pub const TRANSPORTS: [(&str, &str); 8] = [
    ("websocket", "json"),
    ("websocket", "protobuf"),
    ("uni_websocket", "json"),
    ("http_stream", "json"),
    ("http_stream", "protobuf"),
    ("sse", "json"),
    ("poll", "json"),
    ("poll", "protobuf"),
];

/// What is counted for each transport and encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TransportStats {
    /// Authenticated sessions now.
    pub sessions: u64,
    /// Sessions begun.
    pub opened: u64,
    /// Commands received.
    pub commands: u64,
    /// Publications and other pushes of channels handed to connections.
    pub deliveries: u64,
}

impl Add for TransportStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sessions: self.sessions + other.sessions,
            opened: self.opened + other.opened,
            commands: self.commands + other.commands,
            deliveries: self.deliveries + other.deliveries,
        }
    }
}

/// One shard's counters and levels.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ShardStats {
    /// Connections now in their TLS handshake.
    pub handshaking: u64,
    /// Connections now waiting for the HTTP upgrade, or between two other HTTP requests.
    pub upgrading: u64,
    /// Upgraded connections that have not yet connected (client protocol).
    pub connecting: u64,
    /// Authenticated sessions.
    pub established: u64,
    /// Connections that are closing.
    pub closing: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused at the door, by cause: total cap, source cap, handshake backlog, out of descriptors, denied prefix, rate of
    /// all, rate of a source, handshakes that wait.
    pub refused: [u64; 8],
    /// TLS handshakes completed.
    pub handshakes: u64,
    /// Of these, resumed from a ticket.
    pub handshakes_resumed: u64,
    /// TLS handshakes failed, by cause: peer's fault, no shared parameters, signer unavailable, deadline, peer left.
    pub handshake_failures: [u64; 5],
    /// HTTP requests refused before the upgrade.
    pub upgrade_failures: u64,
    /// Closes by close code (0: no close frame was exchanged).
    pub closes: Vec<(u16, u64)>,
    /// Sessions and their messages by transport and encoding; see [`TRANSPORTS`].
    pub transports: [TransportStats; TRANSPORTS.len()],
    /// Error replies by code.
    pub errors: Vec<(u16, u64)>,
    /// Publications received from the relay.
    pub publications: u64,
    /// TLS records or plain writes sent.
    pub sends: u64,
    /// Bytes received from sockets.
    pub bytes_in: u64,
    /// Bytes sent to sockets.
    pub bytes_out: u64,
    /// Subscriptions held.
    pub subscriptions: u64,
    /// Channels with at least one subscriber.
    pub channels: u64,
    /// Bytes waiting for slow readers.
    pub backlog_bytes: u64,
    /// Bytes of publications waiting in fan-out jobs.
    pub fanout_bytes: u64,
    /// Turns of the loop by duration; see [`TURN_BUCKETS_US`].
    pub turns: [u64; TURN_BUCKETS_US.len() + 1],
    /// Sum of turn durations in microseconds.
    pub turn_us: u64,
    /// Private memory of the whole gateway process in bytes (each shard reports the same).
    pub process_private_bytes: u64,
    /// CPU time of the whole gateway process in microseconds.
    pub process_cpu_us: u64,
}
