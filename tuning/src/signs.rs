//! What the kernel has counted since it started because a limit was too low.

use crate::Host;
use crate::limits::SQUEEZED_NORMAL;

/// A counter that is not zero and should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    /// As the kernel calls it.
    pub name: &'static str,
    /// How often, since the kernel started.
    pub count: u64,
    /// What it means.
    pub meaning: &'static str,
}

/// In `/proc/net/netstat`, group `TcpExt`.
const COUNTERS: &[(&str, &str)] = &[
    (
        "ListenOverflows",
        "a listener's accept queue was full: net.core.somaxconn, or a shard that was too busy to accept",
    ),
    (
        "TCPReqQFullDoCookies",
        "more half-open connections than net.ipv4.tcp_max_syn_backlog: cookies were sent",
    ),
    ("TCPReqQFullDrop", "more half-open connections than net.ipv4.tcp_max_syn_backlog: they were dropped"),
    ("TCPAbortOnMemory", "connections were reset for net.ipv4.tcp_mem or net.ipv4.tcp_max_orphans"),
    ("TCPMemoryPressures", "queued bytes came over the second number of net.ipv4.tcp_mem"),
    ("TCPTimeWaitOverflow", "more closed connections waited than net.ipv4.tcp_max_tw_buckets"),
    ("PruneCalled", "received bytes were squeezed together for lack of memory"),
    ("TCPBacklogDrop", "a socket that its program was using got more than its buffer holds"),
];

/// Every sign there is.
pub fn signs(host: &Host) -> Vec<Sign> {
    let netstat = host.text("proc/net/netstat").unwrap_or_default();
    let counters = COUNTERS.iter().map(|&(name, meaning)| (name, extended(&netstat, name), meaning));
    let softnet = host.text("proc/net/softnet_stat").unwrap_or_default();
    let squeezed = Some(column(&softnet, 2)).filter(|&count| count >= SQUEEZED_NORMAL).unwrap_or(0);
    let packets = [
        (
            "softnet dropped",
            column(&softnet, 1),
            "a core's packet queue was full: net.core.netdev_max_backlog",
        ),
        ("softnet squeezed", squeezed, "a core had more packets than net.core.netdev_budget in one go"),
    ];
    let all = counters.chain(packets).filter(|&(_, count, _)| count > 0);
    all.map(|(name, count, meaning)| Sign { name, count, meaning }).collect()
}

/// A counter of `TcpExt`: a line of names, then a line of numbers.
fn extended(netstat: &str, name: &str) -> u64 {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (Some(names), Some(numbers)) = (lines.next(), lines.next()) else { return 0 };
    let mut pairs = names.split_whitespace().zip(numbers.split_whitespace());
    pairs.find(|pair| pair.0 == name).and_then(|pair| pair.1.parse().ok()).unwrap_or(0)
}

/// The sum over all cores of one hexadecimal column.
fn column(softnet: &str, place: usize) -> u64 {
    let numbers = softnet.lines().filter_map(|line| line.split_whitespace().nth(place));
    numbers.filter_map(|number| u64::from_str_radix(number, 16).ok()).sum()
}
