//! The table of limits. What stops connections comes first, then what slows them, then what only helps.

use crate::limits::{
    CONNECTIONS_PER_BUCKET_MAX, HANDSHAKE_BYTES, HANDSHAKES_AT_ONCE, KERNEL_BYTES_PER_SOCKET, LARGE,
    PAGE_BYTES, THREADS_PER_TABLE, THREADS_RESERVED, TRACKED_PER_BUCKET_MAX, USER_BYTES_PER_CONNECTION,
};
use crate::needs::{Needs, Side, tables_needed};
use crate::render::grouped;
use crate::table::{Mend, Present, Row};
use crate::{Host, Reading, Want, Weight, groups};

use Want::{AtLeast, AtMost};

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "RLIMIT_NOFILE",
        weight: Weight::Stops,
        why: "every connection is a descriptor of its shard's own file table",
        present: Present::Read(|host, _| host.hard_nofile().map(Reading::Number)),
        needed: |needs| Some(AtLeast(needs.per_table())),
        mend: Mend::Words(mend_nofile),
        optional: false,
    },
    Row::sysctl(
        "fs.nr_open",
        Weight::Stops,
        |needs| Some(AtLeast(needs.per_table())),
        "RLIMIT_NOFILE cannot be raised above it",
    ),
    Row::sysctl(
        "fs.file-max",
        Weight::Stops,
        |needs| Some(AtLeast(needs.sockets().saturating_mul(11) / 10)),
        "all open files of the machine count together, and a tenth more is left to the rest",
    ),
    Row::sysctl(
        "fs.epoll.max_user_watches",
        Weight::Stops,
        |needs| Some(AtLeast(needs.sockets().saturating_mul(11) / 10)),
        "every connection is watched by an epoll, and all watches of a user count together",
    ),
    Row {
        name: "MemAvailable",
        weight: Weight::Stops,
        why: "a socket takes about 4 KB of kernel memory at each end that is on this machine, plus the program's record and \
              what handshakes in progress take",
        present: Present::Read(|host, _| host.available_bytes().map(Reading::Number)),
        needed: |needs| Some(AtLeast(memory(needs))),
        mend: Mend::Words(|host, needs, needed| fewer(needs, host.available_bytes().unwrap_or(0), needed)),
        optional: false,
    },
    Row {
        name: "cgroup memory",
        weight: Weight::Stops,
        why: "the kernel's memory of sockets counts towards the control group's limit, beside the program's own",
        present: Present::Read(|host, _| groups::memory_left(host).map(Reading::Number)),
        needed: |needs| Some(AtLeast(memory(needs))),
        mend: Mend::Words(|host, needs, needed| {
            let fewer = fewer(needs, groups::memory_left(host).unwrap_or(0), needed);
            format!("MemoryMax=infinity in the unit file (or a larger limit of the container), or {fewer}")
        }),
        optional: true,
    },
    Row {
        name: "cgroup pids",
        weight: Weight::Stops,
        why: "a shard is a thread with a handshake worker beside it, and all tasks of the control group count together",
        present: Present::Read(|host, _| groups::tasks_left(host).map(Reading::Number)),
        needed: |needs| Some(AtLeast(needs.tables.saturating_mul(THREADS_PER_TABLE) + THREADS_RESERVED)),
        mend: Mend::Words(|_, _, needed| format!("TasksMax={} in the unit file", needed.saturating_mul(2))),
        optional: true,
    },
    Row {
        name: "net.ipv4.ip_local_port_range",
        weight: Weight::Stops,
        why: "a source address has one port per connection to the same destination, and finds only half of them quickly",
        present: Present::Read(|host, needs| {
            let range = host.sysctl("net.ipv4.ip_local_port_range")?;
            let ports = range.get(1)?.checked_sub(*range.first()?)?.saturating_add(1);
            Some(Reading::Number(ports.saturating_mul(needs.sources()?)))
        }),
        needed: |needs| needs.sources().map(|_| AtLeast(needs.connections)),
        mend: Mend::Words(|_, needs, _| {
            let sources = needs.connections.div_ceil(WIDE_PORTS / 2);
            format!(
                "sysctl -w net.ipv4.ip_local_port_range=\"{WIDE_FIRST} 65535\" and {sources} source addresses, or more addresses"
            )
        }),
        optional: false,
    },
    Row {
        name: "net.netfilter.nf_conntrack_max",
        weight: Weight::Stops,
        why: "connection tracking is active, and drops packets of new connections silently when its table is full",
        present: Present::Read(|host, _| tracking(host, "net.netfilter.nf_conntrack_max")),
        needed: |needs| Some(AtLeast(needs.connections.saturating_mul(2))),
        mend: Mend::Words(|_, _, needed| {
            format!(
                "exempt the service's port (nft: notrack in raw), or sysctl -w net.netfilter.nf_conntrack_max={needed}"
            )
        }),
        optional: true,
    },
    Row {
        name: "net.netfilter.nf_conntrack_buckets",
        weight: Weight::Slows,
        why: "connection tracking is active, and each packet walks a bucket of its table",
        present: Present::Read(|host, _| tracking(host, "net.netfilter.nf_conntrack_buckets")),
        needed: |needs| Some(AtLeast(needs.connections.saturating_mul(2) / TRACKED_PER_BUCKET_MAX)),
        mend: Mend::Words(|_, _, needed| {
            format!(
                "exempt the service's port, or echo {needed} > /sys/module/nf_conntrack/parameters/hashsize"
            )
        }),
        optional: true,
    },
    Row::sysctl(
        "net.core.somaxconn",
        Weight::Slows,
        |needs| needs.accepts().then(|| AtLeast(needs.backlog())),
        "it caps every listener's backlog, and a reconnect storm overflows a short one",
    ),
    Row::sysctl(
        "net.ipv4.tcp_max_syn_backlog",
        Weight::Slows,
        |needs| needs.accepts().then(|| AtLeast(needs.backlog())),
        "half-open connections of a storm wait here, per listener",
    ),
    Row::sysctl(
        "net.ipv4.tcp_syncookies",
        Weight::Slows,
        |needs| needs.accepts().then_some(AtLeast(1)),
        "without cookies a flood of SYNs that never finish fills the backlog and shuts everybody else out",
    ),
    Row::sysctl(
        "net.ipv4.tcp_abort_on_overflow",
        Weight::Slows,
        |needs| needs.accepts().then_some(AtMost(0)),
        "a full accept queue should let a burst try again in a second, not reset it",
    ),
    Row::sysctl(
        "net.core.netdev_max_backlog",
        Weight::Slows,
        |needs| Some(AtLeast(needs.packets())),
        "packets of loopback, virtual cards and receive packet steering wait here, per core, and one in sixteen connections may \
         acknowledge a broadcast at the same time",
    ),
    Row {
        name: "net.ipv4.tcp_mem",
        weight: Weight::Slows,
        why: "its third number bounds the pages of all queued bytes, and a broadcast queues one for each connection",
        present: Present::Sysctl(2),
        needed: |needs| Some(AtLeast(needs.sockets())),
        mend: Mend::Sysctl(|pages| format!("{} {} {pages}", pages / 2, pages / 4 * 3)),
        optional: false,
    },
    Row::sysctl(
        "net.ipv4.tcp_max_orphans",
        Weight::Slows,
        |needs| needs.accepts().then_some(AtLeast(needs.connections / 4)),
        "a mass disconnect leaves this many closed sockets with bytes in flight; above it they are reset",
    ),
    Row {
        name: "net.ipv4.tcp_ehash_entries",
        weight: Weight::Slows,
        why: "each packet walks a bucket of established connections, and long buckets cost CPU in a broadcast",
        // The kernel shows a shared table as a negative number.
        present: Present::Read(|host, _| {
            let entries = host.sysctl_text("net.ipv4.tcp_ehash_entries")?;
            let entries: u64 = entries.trim_start_matches('-').parse().ok()?;
            entries.checked_mul(CONNECTIONS_PER_BUCKET_MAX).map(Reading::Number)
        }),
        needed: |needs| Some(AtLeast(needs.sockets())),
        mend: Mend::Words(|_, needs, _| {
            let entries = (needs.sockets() / 2).next_power_of_two();
            format!(
                "boot with thash_entries={entries}, or sysctl -w net.ipv4.tcp_child_ehash_entries={entries} and run in a new network namespace"
            )
        }),
        optional: false,
    },
    Row::sysctl(
        "net.ipv4.tcp_tw_reuse",
        Weight::Slows,
        |needs| needs.sources().map(|_| AtLeast(1)),
        "connections that are opened and closed again leave their ports waiting for a minute",
    ),
    Row {
        name: "transparent hugepages",
        weight: Weight::Slows,
        why: "'always' backs the sparse tables of connections with pages of 2 MB each",
        present: Present::Read(|host, _| {
            let text = host.text("sys/kernel/mm/transparent_hugepage/enabled")?;
            let (_, chosen) = text.split_once('[')?;
            Some(Reading::Word(chosen.split_once(']')?.0.to_owned()))
        }),
        needed: |_| Some(Want::OneOf(&["madvise", "never"])),
        mend: Mend::Words(|_, _, _| {
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled (or boot with transparent_hugepage=madvise)".to_owned()
        }),
        optional: true,
    },
    Row {
        name: "clock source",
        weight: Weight::Slows,
        why: "every turn of a loop asks for the time, and other clocks take a call into the kernel for it",
        present: Present::Read(|host, _| {
            let text = host.text("sys/devices/system/clocksource/clocksource0/current_clocksource")?;
            Some(Reading::Word(text.trim().to_owned()))
        }),
        needed: |_| {
            Some(Want::OneOf(&["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"]))
        },
        mend: Mend::Words(|_, _, _| {
            "boot with clocksource=tsc, unless the kernel's log says that this machine's tsc is unstable"
                .to_owned()
        }),
        optional: true,
    },
    Row {
        name: "net.netfilter.nf_conntrack_tcp_timeout_established",
        weight: Weight::Helps,
        why: "connection tracking is active, and keeps connections that ended without a word for five days",
        present: Present::Read(|host, _| {
            tracking(host, "net.netfilter.nf_conntrack_tcp_timeout_established")
        }),
        needed: |needs| needs.accepts().then_some(AtMost(3_600)),
        mend: Mend::Words(|_, _, needed| {
            format!("sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established={needed}")
        }),
        optional: true,
    },
    Row::sysctl(
        "net.ipv4.tcp_synack_retries",
        Weight::Helps,
        |needs| needs.large().then_some(AtMost(3)),
        "a half-open connection whose peer is gone is given up after 15 s instead of 63",
    ),
    Row::sysctl(
        "net.ipv4.tcp_fin_timeout",
        Weight::Helps,
        |needs| needs.large().then_some(AtMost(30)),
        "half-closed connections whose peer is gone are forgotten earlier",
    ),
    Row {
        name: "net.ipv4.tcp_orphan_retries",
        weight: Weight::Helps,
        why: "closed connections with bytes in flight to a peer that is gone are given up after seconds, not after a minute",
        // 0 stands for the kernel's own 8.
        present: Present::Read(|host, _| {
            let retries = *host.sysctl("net.ipv4.tcp_orphan_retries")?.first()?;
            Some(Reading::Number(if retries == 0 { 8 } else { retries }))
        }),
        needed: |needs| needs.large().then_some(AtMost(3)),
        mend: Mend::Sysctl(|value| value.to_string()),
        optional: false,
    },
    Row::sysctl(
        "net.ipv4.tcp_max_tw_buckets",
        Weight::Helps,
        |needs| needs.large().then_some(AtLeast(needs.connections)),
        "connections that this side has closed, as a drain does, wait here for a minute; above it their ports are free at once",
    ),
    Row {
        name: "net.ipv4.tcp_rmem",
        weight: Weight::Helps,
        why: "its third number is what one peer that sends faster than it is read can make the kernel hold; messages of clients \
              are small",
        present: Present::Sysctl(2),
        needed: |needs| needs.large().then_some(AtMost(262_144)),
        mend: Mend::Sysctl(|most| format!("4096 16384 {most}")),
        optional: false,
    },
    Row {
        name: "net.ipv4.tcp_wmem",
        weight: Weight::Helps,
        why: "its third number is what one slow reader can make the kernel hold",
        present: Present::Sysctl(2),
        needed: |needs| needs.large().then_some(AtMost(1_048_576)),
        mend: Mend::Sysctl(|most| format!("4096 16384 {most}")),
        optional: false,
    },
    Row::sysctl(
        "net.ipv4.tcp_notsent_lowat",
        Weight::Helps,
        |needs| needs.large().then_some(AtMost(16_384)),
        "unsent bytes above it stay with the program, which accounts for them; the gateway sets its own (notsent_lowat of a \
         listener), this is for the other programs of the machine",
    ),
    Row::sysctl(
        "net.ipv4.tcp_slow_start_after_idle",
        Weight::Helps,
        |needs| needs.large().then_some(AtMost(0)),
        "a connection that was idle sends its next burst at the speed it had found before",
    ),
    Row::sysctl(
        "net.ipv4.tcp_timestamps",
        Weight::Helps,
        |_| Some(AtLeast(1)),
        "round trips are measured from every packet, and ports can be used again early",
    ),
    Row::sysctl(
        "net.ipv4.tcp_moderate_rcvbuf",
        Weight::Helps,
        |needs| needs.large().then_some(AtLeast(1)),
        "receive buffers grow only where they are needed",
    ),
    Row::sysctl(
        "net.ipv4.tcp_keepalive_time",
        Weight::Helps,
        |needs| needs.large().then_some(AtMost(600)),
        "the gateway finds dead peers by its own pings and a timeout of 45 s; this is for connections of other programs that ask \
         for keepalive",
    ),
    Row::sysctl(
        "net.ipv4.tcp_keepalive_intvl",
        Weight::Helps,
        |needs| needs.large().then_some(AtMost(30)),
        "as tcp_keepalive_time: the time between two probes",
    ),
    Row::sysctl(
        "net.ipv4.tcp_keepalive_probes",
        Weight::Helps,
        |needs| needs.large().then_some(AtMost(4)),
        "as tcp_keepalive_time: the probes until a peer counts as dead",
    ),
    Row::sysctl(
        "net.core.netdev_budget",
        Weight::Helps,
        |needs| needs.large().then_some(AtLeast(600)),
        "packets that a core takes in one go before programs have their turn; in a reconnect storm the kernel's 300 are few",
    ),
    Row {
        name: "vm.swappiness",
        weight: Weight::Helps,
        why: "an idle connection's record is not read for seconds, and must be in memory when its message comes",
        present: Present::Read(|host, _| {
            host.meminfo("SwapTotal:").filter(|&bytes| bytes > 0)?;
            host.sysctl("vm.swappiness")?.first().copied().map(Reading::Number)
        }),
        needed: |needs| needs.large().then_some(AtMost(10)),
        mend: Mend::Sysctl(|value| value.to_string()),
        optional: true,
    },
    Row {
        name: "net.ipv4.tcp_congestion_control",
        weight: Weight::Helps,
        why: "bbr keeps its speed over lossy mobile networks; measure with your own clients, and leave a private network alone",
        present: Present::SysctlWord,
        needed: |needs| needs.large().then_some(Want::OneOf(&["bbr"])),
        mend: Mend::Words(|_, _, _| {
            "modprobe tcp_bbr && sysctl -w net.ipv4.tcp_congestion_control=bbr net.core.default_qdisc=fq"
                .to_owned()
        }),
        optional: true,
    },
];

/// First port of the wide range: below are services of the machine itself.
const WIDE_FIRST: u64 = 10_000;
const WIDE_PORTS: u64 = 65_536 - WIDE_FIRST;

/// Bytes of a page are the unit of `tcp_mem`; one page per queued packet is what a short message takes.
const _: () = assert!(PAGE_BYTES == KERNEL_BYTES_PER_SOCKET);
/// What is rendered is for an edge that is large.
const _: () = assert!(LARGE <= crate::limits::CONNECTIONS_REFERENCE);

/// Bytes of memory, the kernel's included.
fn memory(needs: &Needs) -> u64 {
    let sockets = needs.sockets().saturating_mul(KERNEL_BYTES_PER_SOCKET + USER_BYTES_PER_CONNECTION);
    sockets.saturating_add(needs.storm().min(HANDSHAKES_AT_ONCE) * HANDSHAKE_BYTES)
}

fn fewer(needs: &Needs, present: u64, needed: u64) -> String {
    let fits = needs.connections.saturating_mul(present / 1024) / (needed / 1024).max(1);
    format!("hold at most {} connections, or add memory", grouped(fits))
}

fn mend_nofile(host: &Host, needs: &Needs, needed: u64) -> String {
    let tables = tables_needed(needs.connections, host.hard_nofile().unwrap_or(needed));
    let threads = match needs.side {
        Side::Edge => "shards (the gateway takes as many by itself unless shards.count says otherwise)",
        Side::Generator { .. } | Side::Both { .. } => "threads with a table each",
    };
    format!("LimitNOFILE={needed} in the unit file (or `ulimit -Hn {needed}` as root), or {tables} {threads}")
}

/// A number of connection tracking, where it tracks: loaded without a rule that uses it, it tracks nothing.
fn tracking(host: &Host, name: &str) -> Option<Reading> {
    let first = |name: &str| host.sysctl(name)?.first().copied();
    first("net.netfilter.nf_conntrack_count").filter(|&count| count > 0)?;
    first(name).map(Reading::Number)
}
