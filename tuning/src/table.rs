//! The table of limits: one row per limit, with how to read it, how much is needed, why, and what lifts it.

use crate::limits::{
    BACKLOG, CONNECTIONS_PER_BUCKET_MAX, DESCRIPTORS_RESERVED, KERNEL_BYTES_PER_SOCKET, PAGE_BYTES,
    USER_BYTES_PER_CONNECTION,
};
use crate::{Host, Limit, Needs, Weight, tables_needed};

/// One limit, before a machine and needs are known.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) weight: Weight,
    pub(crate) why: &'static str,
    /// What is set on the machine, in the unit of `needed`; `None` when the limit does not exist there.
    pub(crate) present: fn(&Host, &Needs) -> Option<u64>,
    /// `None` when the limit does not matter for these needs.
    pub(crate) needed: fn(&Needs) -> Option<u64>,
    pub(crate) lift: Lift,
}

/// What lifts a limit.
pub(crate) enum Lift {
    /// Writing this value to the sysctl of the row's name.
    Sysctl(fn(u64) -> String),
    /// Something that takes words.
    Words(fn(&Host, &Needs, u64) -> String),
}

impl Row {
    pub(crate) fn limit(&self, host: &Host, needs: &Needs) -> Option<Limit> {
        let needed = (self.needed)(needs)?;
        let present = (self.present)(host, needs)?;
        let fix = match self.lift {
            Lift::Sysctl(value) => format!("sysctl -w {}=\"{}\"", self.name, value(needed)),
            Lift::Words(words) => words(host, needs, needed),
        };
        Some(Limit { name: self.name, present, needed, weight: self.weight, why: self.why, fix })
    }
}

pub(crate) const TABLE: &[Row] = &[
    Row {
        name: "RLIMIT_NOFILE",
        weight: Weight::Stops,
        why: "every connection is a descriptor of its thread's file table",
        present: |host, _| host.hard_nofile(),
        needed: |needs| Some(per_table(needs)),
        lift: Lift::Words(lift_nofile),
    },
    Row {
        name: "fs.nr_open",
        weight: Weight::Stops,
        why: "RLIMIT_NOFILE cannot be raised above it",
        present: |host, _| first(host, "fs.nr_open"),
        needed: |needs| Some(per_table(needs)),
        lift: Lift::Sysctl(number),
    },
    Row {
        name: "fs.file-max",
        weight: Weight::Stops,
        why: "all open files of the machine count together, and a tenth more is left to the rest",
        present: |host, _| first(host, "fs.file-max"),
        needed: |needs| Some(needs.sockets().saturating_mul(11) / 10),
        lift: Lift::Sysctl(number),
    },
    Row {
        name: "MemAvailable",
        weight: Weight::Stops,
        why: "a socket takes about 4 KB of kernel memory at each end that is on this machine, plus the program's record",
        present: |host, _| host.available_bytes(),
        needed: |needs| {
            Some(needs.sockets().saturating_mul(KERNEL_BYTES_PER_SOCKET + USER_BYTES_PER_CONNECTION))
        },
        lift: Lift::Words(|host, needs, needed| {
            let present = host.available_bytes().unwrap_or(0);
            let fits = needs.connections.saturating_mul(present / 1024) / (needed / 1024).max(1);
            format!("hold at most {} connections, or add memory", crate::grouped(fits))
        }),
    },
    Row {
        name: "net.ipv4.ip_local_port_range",
        weight: Weight::Stops,
        why: "a source address has one port per connection to the same destination, and finds only half of them quickly",
        present: |host, needs| {
            let range = host.sysctl("net.ipv4.ip_local_port_range")?;
            let ports = range.get(1)?.checked_sub(*range.first()?)?.saturating_add(1);
            Some(ports.saturating_mul(needs.sources()?))
        },
        needed: |needs| needs.sources().map(|_| needs.connections),
        lift: Lift::Words(|_, needs, _| {
            let sources = needs.connections.div_ceil(WIDE_PORTS / 2);
            format!(
                "sysctl -w net.ipv4.ip_local_port_range=\"{WIDE_FIRST} 65535\" and {sources} source addresses, or more addresses"
            )
        }),
    },
    Row {
        name: "net.netfilter.nf_conntrack_max",
        weight: Weight::Stops,
        why: "connection tracking is active, and drops packets of new connections silently when its table is full",
        // Loaded without a rule that uses it, it tracks nothing.
        present: |host, _| {
            first(host, "net.netfilter.nf_conntrack_count").filter(|&count| count > 0)?;
            first(host, "net.netfilter.nf_conntrack_max")
        },
        needed: |needs| Some(needs.connections.saturating_mul(2)),
        lift: Lift::Words(|_, _, needed| {
            format!(
                "exempt the service's port (nft: notrack in raw), or sysctl -w net.netfilter.nf_conntrack_max={needed}"
            )
        }),
    },
    Row {
        name: "net.core.somaxconn",
        weight: Weight::Slows,
        why: "it caps every listener's backlog, and a reconnect storm overflows a short one",
        present: |host, _| first(host, "net.core.somaxconn"),
        needed: |needs| needs.accepts().then_some(needs.connections.min(BACKLOG)),
        lift: Lift::Sysctl(number),
    },
    Row {
        name: "net.ipv4.tcp_max_syn_backlog",
        weight: Weight::Slows,
        why: "half-open connections of a storm wait here, per listener",
        present: |host, _| first(host, "net.ipv4.tcp_max_syn_backlog"),
        needed: |needs| needs.accepts().then_some(needs.connections.min(BACKLOG)),
        lift: Lift::Sysctl(number),
    },
    Row {
        name: "net.ipv4.tcp_mem",
        weight: Weight::Slows,
        why: "its third number bounds the pages of all queued bytes, and a broadcast queues one for each connection",
        present: |host, _| host.sysctl("net.ipv4.tcp_mem")?.get(2).copied(),
        needed: |needs| Some(needs.sockets()),
        lift: Lift::Sysctl(|pages| format!("{} {} {pages}", pages / 2, pages / 4 * 3)),
    },
    Row {
        name: "net.ipv4.tcp_max_orphans",
        weight: Weight::Slows,
        why: "a mass disconnect leaves this many closed sockets with bytes in flight; above it they are reset",
        present: |host, _| first(host, "net.ipv4.tcp_max_orphans"),
        needed: |needs| needs.accepts().then_some(needs.connections / 4),
        lift: Lift::Sysctl(number),
    },
    Row {
        name: "net.ipv4.tcp_ehash_entries",
        weight: Weight::Slows,
        why: "each packet walks a bucket of established connections, and long buckets cost CPU in a broadcast",
        // The kernel shows a shared table as a negative number.
        present: |host, _| {
            host.sysctl("net.ipv4.tcp_ehash_entries")?.first()?.checked_mul(CONNECTIONS_PER_BUCKET_MAX)
        },
        needed: |needs| Some(needs.sockets()),
        lift: Lift::Words(|_, needs, _| {
            let entries = (needs.sockets() / 2).next_power_of_two();
            format!(
                "boot with thash_entries={entries}, or sysctl -w net.ipv4.tcp_child_ehash_entries={entries} and run in a new network namespace"
            )
        }),
    },
];

/// First port of the wide range: below are services of the machine itself.
const WIDE_FIRST: u64 = 10_000;
const WIDE_PORTS: u64 = 65_536 - WIDE_FIRST;

/// Bytes of a page are the unit of `tcp_mem`; one page per queued packet is what a short message takes.
const _: () = assert!(PAGE_BYTES == KERNEL_BYTES_PER_SOCKET);

fn per_table(needs: &Needs) -> u64 {
    needs.connections.div_ceil(needs.tables.max(1)).saturating_add(DESCRIPTORS_RESERVED)
}

fn lift_nofile(host: &Host, needs: &Needs, needed: u64) -> String {
    let tables = tables_needed(needs.connections, host.hard_nofile().unwrap_or(needed));
    format!(
        "LimitNOFILE={needed} in the unit file (or `ulimit -Hn {needed}` as root), or {tables} threads with a table each"
    )
}

fn first(host: &Host, name: &str) -> Option<u64> {
    host.sysctl(name)?.first().copied()
}

fn number(value: u64) -> String {
    value.to_string()
}
