//! Why connections failed or ended, counted, and which came first. Owns the sentences that say what to do about each.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::limits::CODES_MAX;

/// How far a connection got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Waiting for TCP.
    Connecting,
    /// In the TLS handshake.
    Securing,
    /// Waiting for the answer to the HTTP upgrade.
    Upgrading,
    /// Waiting for the answers to `connect` and `subscribe`.
    Greeting,
    /// As the mode wants it.
    Open,
}

/// Why a connection failed to open, or ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// No descriptor left.
    Descriptors,
    /// No port left on the source address, or no such address here.
    Ports,
    /// The kernel has no memory for it.
    Memory,
    /// Nobody listens, or the backlog refused it.
    Refused,
    /// No route.
    Unreachable,
    /// RST.
    Reset(Stage),
    /// The stream ended without a close frame.
    Ended(Stage),
    /// Nothing happened for too long.
    Timeout(Stage),
    /// TLS went wrong, in these words.
    Tls(String),
    /// The server answered the upgrade with this status.
    Status(u16),
    /// What arrived is not what the protocol says, in these words.
    Garbled(String),
    /// An error reply to `connect` or `subscribe`.
    Error(u32),
    /// A close frame with this code; 1005 when it had none.
    Closed(u16),
    /// The server ended the subscription with this code.
    Unsubscribed(u32),
    /// The server does not read: what is to be sent to it has passed its bound.
    Backlog,
    /// Another error of the system, by number.
    System(i32),
}

impl Cause {
    /// What a system call's error means in `stage`.
    pub fn of(error: &io::Error, stage: Stage) -> Self {
        match error.kind() {
            io::ErrorKind::AddrNotAvailable => Self::Ports,
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset(stage),
            io::ErrorKind::TimedOut => Self::Timeout(stage),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            io::ErrorKind::OutOfMemory => Self::Memory,
            _ => Self::of_number(error.raw_os_error().unwrap_or(0)),
        }
    }

    fn of_number(number: i32) -> Self {
        // Their numbers on Linux: ENFILE, EMFILE, ENOBUFS.
        match number {
            23 | 24 => Self::Descriptors,
            105 => Self::Memory,
            other => Self::System(other),
        }
    }

    /// Whether opening more connections from here cannot succeed either.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Descriptors | Self::Ports | Self::Memory)
    }

    /// What to do about it, as a sentence.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Descriptors => {
                "Raise RLIMIT_NOFILE (ulimit -n), or use more threads: each has a file table of its own (--threads)."
            }
            Self::Ports => {
                "Give more source addresses that this machine has (--sources), or widen net.ipv4.ip_local_port_range."
            }
            Self::Memory => {
                "Free memory, or raise net.ipv4.tcp_mem: every socket takes about 4 KB of kernel memory."
            }
            Self::Refused => {
                "Start the server, check the address, or raise its backlog (net.core.somaxconn) if only some were refused."
            }
            Self::Unreachable => "Check the route to the server and the source addresses.",
            Self::Reset(Stage::Open) | Self::Ended(_) | Self::Reset(_) => {
                "The server or something in between dropped it: look at the server's log and its caps per source and in total."
            }
            Self::Timeout(Stage::Connecting) => {
                "The server's backlog overflows: lower --rate, or raise net.core.somaxconn and the listener's backlog."
            }
            Self::Timeout(_) => "The server does not keep up: lower --rate or --opening.",
            Self::Tls(_) => {
                "Check the certificate against --ca and --server-name, or use --insecure for a test server."
            }
            Self::Status(401 | 403) => {
                "The server refuses this client: check --token, --origin and its access rules."
            }
            Self::Status(404) => "Check the path of --url; the usual one is /connection/websocket.",
            Self::Status(429 | 503) => {
                "The server is at a cap: lower --rate or --connections, or raise its caps."
            }
            Self::Status(_) => "The endpoint does not speak WebSocket as asked: check --url.",
            Self::Garbled(_) => {
                "The endpoint does not speak the client protocol as asked: check --url, and --protobuf."
            }
            Self::Error(101 | 109 | 110) | Self::Closed(3500) => {
                "Give a valid token (--token, --token-hmac-secret), or let the server accept anonymous clients."
            }
            Self::Error(102 | 103) => {
                "Choose a channel that the server lets this user use, or change its namespace options."
            }
            Self::Error(_) => "The server's error code says why; its log says more.",
            Self::Closed(3008) => "This client read too slowly: use more threads or a lower message rate.",
            Self::Closed(3012) => "This client answered pings too late: it is overloaded; use more threads.",
            Self::Closed(_) | Self::Unsubscribed(_) => "The server's code says why; its log says more.",
            Self::Backlog => "The server does not read its commands: lower --in-flight.",
            Self::System(_) => "See the error number in errno(3).",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Connecting => "while connecting",
            Self::Securing => "in the TLS handshake",
            Self::Upgrading => "during the upgrade",
            Self::Greeting => "waiting for the replies to connect and subscribe",
            Self::Open => "while open",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptors => out.write_str("out of descriptors (EMFILE)"),
            Self::Ports => out.write_str("no port left on a source address (EADDRNOTAVAIL)"),
            Self::Memory => out.write_str("the kernel is out of socket memory"),
            Self::Refused => out.write_str("connection refused"),
            Self::Unreachable => out.write_str("no route to the server"),
            Self::Reset(stage) => write!(out, "reset {stage}"),
            Self::Ended(stage) => write!(out, "ended by the server {stage}, without a close frame"),
            Self::Timeout(stage) => write!(out, "timed out {stage}"),
            Self::Tls(words) => write!(out, "{words}"),
            Self::Status(status) => write!(out, "upgrade answered with HTTP status {status}"),
            Self::Garbled(words) => write!(out, "{words}"),
            Self::Error(code) => write!(out, "error reply {code}"),
            Self::Closed(1005) => out.write_str("closed without a code"),
            Self::Closed(code) => write!(out, "closed with code {code}"),
            Self::Unsubscribed(code) => write!(out, "unsubscribed with code {code}"),
            Self::Backlog => out.write_str("the server did not read its commands"),
            Self::System(number) => {
                write!(out, "system error {}", io::Error::from_raw_os_error(*number))
            }
        }
    }
}

/// The first thing that broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct First {
    /// Since the run began.
    pub at: Duration,
    /// Connections that were open then, on the thread that saw it.
    pub open: u64,
    /// What it was.
    pub cause: Cause,
}

/// Counts by cause.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<Cause, u64>,
    first: Option<First>,
    /// Causes beyond [`CODES_MAX`] different ones.
    others: u64,
}

impl Tally {
    /// Counts one.
    pub fn add(&mut self, cause: Cause, at: Duration, open: u64) {
        if self.first.is_none() {
            self.first = Some(First { at, open, cause: cause.clone() });
        }
        self.count(cause, 1);
    }

    /// Adds what another thread counted.
    pub fn merge(&mut self, other: Self) {
        for (cause, count) in other.counts {
            self.count(cause, count);
        }
        self.others += other.others;
        let earlier = match (&self.first, &other.first) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(ours), Some(theirs)) => theirs.at < ours.at,
        };
        if earlier {
            self.first = other.first;
        }
    }

    /// Everything counted.
    pub fn total(&self) -> u64 {
        self.counts.values().sum::<u64>() + self.others
    }

    /// Each cause with its count, the most frequent first.
    pub fn rows(&self) -> Vec<(String, u64)> {
        let mut rows: Vec<(String, u64)> =
            self.counts.iter().map(|(cause, &count)| (cause.to_string(), count)).collect();
        if self.others > 0 {
            rows.push(("other causes".to_owned(), self.others));
        }
        rows.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        rows
    }

    /// What broke first and what to do about it; `None` when nothing did.
    pub fn broke_first(&self) -> Option<String> {
        let First { at, open, cause } = self.first.as_ref()?;
        let seconds = at.as_secs_f64();
        Some(format!(
            "First to break, after {seconds:.1} s with {} connections open on that thread: {cause}. {}",
            tuning::grouped(*open),
            cause.fix()
        ))
    }

    fn count(&mut self, cause: Cause, more: u64) {
        if let Some(count) = self.counts.get_mut(&cause) {
            *count += more;
        } else if self.counts.len() < CODES_MAX {
            self.counts.insert(cause, more);
        } else {
            self.others += more;
        }
    }
}
