//! What a machine is asked for: connections, how fast they come, how they are spread, and which end is here.

use crate::limits::{BACKLOG, DESCRIPTORS_RESERVED, LARGE, PACKETS_AT_ONCE, PACKETS_MAX, PACKETS_MIN};

/// Which end of the connections a machine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It accepts them.
    Edge,
    /// It opens them, from `sources` addresses to one address and port.
    Generator {
        /// Source addresses the connections are spread over.
        sources: u64,
    },
    /// It does both, over loopback.
    Both {
        /// Source addresses the connections are spread over.
        sources: u64,
    },
}

/// What the limits are measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Connections at once.
    pub connections: u64,
    /// New connections per second. 0 is unknown: after a loss of the network all of them may come at once.
    pub rate: u64,
    /// File tables they are spread over: one per shard or thread that has unshared its own. At least 1.
    pub tables: u64,
    /// The end that is held here.
    pub side: Side,
}

impl Needs {
    /// The needs of an edge with `connections` spread over `tables` shards.
    pub fn edge(connections: u64, tables: u64) -> Self {
        Self { connections, rate: 0, tables: tables.max(1), side: Side::Edge }
    }

    /// Source addresses, when connections are opened here.
    pub(crate) fn sources(&self) -> Option<u64> {
        match self.side {
            Side::Edge => None,
            Side::Generator { sources } | Side::Both { sources } => Some(sources.max(1)),
        }
    }

    /// Whether connections are accepted here.
    pub(crate) fn accepts(&self) -> bool {
        !matches!(self.side, Side::Generator { .. })
    }

    /// Whether this is an edge large enough for the small settings to matter.
    pub(crate) fn large(&self) -> bool {
        self.accepts() && self.connections >= LARGE
    }

    /// Sockets on this machine.
    pub(crate) fn sockets(&self) -> u64 {
        match self.side {
            Side::Both { .. } => self.connections.saturating_mul(2),
            _ => self.connections,
        }
    }

    /// Descriptors of one table.
    pub(crate) fn per_table(&self) -> u64 {
        self.connections.div_ceil(self.tables.max(1)).saturating_add(DESCRIPTORS_RESERVED)
    }

    /// Connections that may arrive within a second.
    pub(crate) fn storm(&self) -> u64 {
        if self.rate == 0 { self.connections } else { self.rate }
    }

    /// What a listener's queues should hold: a second of arrivals, as far as that is reasonable.
    pub(crate) fn backlog(&self) -> u64 {
        self.storm().min(BACKLOG)
    }

    /// Packets that may wait for one core.
    pub(crate) fn packets(&self) -> u64 {
        (self.sockets() / PACKETS_AT_ONCE).clamp(PACKETS_MIN, PACKETS_MAX)
    }
}

/// File tables that `connections` take when each may hold `nofile` descriptors.
pub fn tables_needed(connections: u64, nofile: u64) -> u64 {
    let each = nofile.saturating_sub(DESCRIPTORS_RESERVED).max(1);
    connections.div_ceil(each).max(1)
}
