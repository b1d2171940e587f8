//! `tuning`: which limits of the machine stand between it and N connections, and what lifts each of them.
//!
//! Owns the table of limits, reading them from `/proc`, and the words that explain them. Never changes anything by itself.
#![forbid(unsafe_code)]

mod host;
mod limits;
mod render;
mod table;

#[cfg(test)]
mod tests;

use std::fmt;

pub use host::Host;
pub use limits::{
    CONNECTIONS_REFERENCE, DESCRIPTORS_RESERVED, KERNEL_BYTES_PER_SOCKET, TABLE_CONNECTIONS_DEFAULT,
};
pub use render::{grouped, sysctl, table};

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
    /// File tables they are spread over: one per shard or thread that has unshared its own. At least 1.
    pub tables: u64,
    /// The end that is held here.
    pub side: Side,
}

/// How much an unmet limit matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Connections beyond it fail.
    Stops,
    /// They work, but slower, or drop in a burst.
    Slows,
}

/// One limit as found on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// As the kernel calls it.
    pub name: &'static str,
    /// What is set now.
    pub present: u64,
    /// What the needs ask for.
    pub needed: u64,
    /// How much it matters when it is short.
    pub weight: Weight,
    /// Why that much, as a clause.
    pub why: &'static str,
    /// The command or setting that lifts it.
    pub fix: String,
}

/// A limit that is too low. Displayed, it is a sentence or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding(pub Limit);

impl Needs {
    /// The needs of an edge with `connections` spread over `tables` shards.
    pub fn edge(connections: u64, tables: u64) -> Self {
        Self { connections, tables: tables.max(1), side: Side::Edge }
    }

    /// Source addresses, when connections are opened here.
    fn sources(&self) -> Option<u64> {
        match self.side {
            Side::Edge => None,
            Side::Generator { sources } | Side::Both { sources } => Some(sources.max(1)),
        }
    }

    /// Whether connections are accepted here.
    fn accepts(&self) -> bool {
        !matches!(self.side, Side::Generator { .. })
    }

    /// Sockets on this machine.
    fn sockets(&self) -> u64 {
        match self.side {
            Side::Both { .. } => self.connections.saturating_mul(2),
            _ => self.connections,
        }
    }
}

impl Limit {
    /// Whether it is high enough.
    pub fn met(&self) -> bool {
        self.present >= self.needed
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit { name, present, needed, why, fix, .. } = &self.0;
        let (present, needed) = (grouped(*present), grouped(*needed));
        write!(out, "{name} is {present} and should be at least {needed}: {why}. To fix it: {fix}")
    }
}

/// Every limit that applies to `needs` and can be read, met or not.
pub fn limits(host: &Host, needs: &Needs) -> Vec<Limit> {
    table::TABLE.iter().filter_map(|row| row.limit(host, needs)).collect()
}

/// The limits of this machine that are too low for `needs`, those that stop connections first.
pub fn check(needs: &Needs) -> Vec<Finding> {
    findings(&Host::default(), needs)
}

/// [`check`] against a machine whose `/proc` is elsewhere.
pub fn findings(host: &Host, needs: &Needs) -> Vec<Finding> {
    let mut short: Vec<Limit> = limits(host, needs).into_iter().filter(|limit| !limit.met()).collect();
    short.sort_by_key(|limit| limit.weight != Weight::Stops);
    short.into_iter().map(Finding).collect()
}

/// File tables that `connections` take when each may hold `nofile` descriptors.
pub fn tables_needed(connections: u64, nofile: u64) -> u64 {
    let each = nofile.saturating_sub(DESCRIPTORS_RESERVED).max(1);
    connections.div_ceil(each).max(1)
}
