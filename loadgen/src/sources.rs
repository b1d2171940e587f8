//! The pool of source addresses: one address has one port per connection to the same destination, so many connections take
//! many addresses. Over loopback any address of 127.0.0.0/8 will do.

use std::net::{IpAddr, Ipv4Addr};

use crate::limits::{CONNECTIONS_PER_SOURCE, SOURCES_MAX};
use crate::target::Target;

/// Addresses to connect from, used in turn. Empty: the system chooses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources(Vec<IpAddr>);

impl Sources {
    /// Addresses separated by commas, each alone, as `FIRST-LAST` or as `NETWORK/BITS` (all but its first and last address).
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pool = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if let Some((first, last)) = part.split_once('-') {
                extend(&mut pool, v4(first)?, v4(last)?)?;
            } else if let Some((network, bits)) = part.split_once('/') {
                let (first, last) = network_hosts(v4(network)?, bits)?;
                extend(&mut pool, first, last)?;
            } else {
                let one = part.parse().map_err(|_| format!("{part:?} is not an address"))?;
                room(&pool, 1)?;
                pool.push(one);
            }
        }
        if pool.is_empty() { Err("no source address given".to_owned()) } else { Ok(Self(pool)) }
    }

    /// Enough of 127.1.0.0/16 for `connections` when the target is on this machine; otherwise the system's choice.
    pub fn suited_to(target: &Target, connections: u32) -> Self {
        if !target.is_local() || target.addr.is_ipv6() {
            return Self::default();
        }
        let count = connections.div_ceil(CONNECTIONS_PER_SOURCE).max(1);
        let address = |n: u32| IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + n));
        Self((0..count).map(address).collect())
    }

    /// The address for connection `number`; `None` leaves it to the system.
    pub fn of(&self, number: u32) -> Option<IpAddr> {
        (!self.0.is_empty()).then(|| self.0[number as usize % self.0.len()])
    }

    /// Different addresses; 1 when the system chooses.
    pub fn count(&self) -> usize {
        self.0.len().max(1)
    }

    /// Whether every address can connect to one of the target's family.
    pub fn fits(&self, target: &Target) -> bool {
        self.0.iter().all(|ip| ip.is_ipv4() == target.addr.is_ipv4())
    }
}

fn v4(text: &str) -> Result<Ipv4Addr, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is not an IPv4 address"))
}

fn network_hosts(network: Ipv4Addr, bits: &str) -> Result<(Ipv4Addr, Ipv4Addr), String> {
    let bits: u32 = bits
        .parse()
        .ok()
        .filter(|bits| (8..=30).contains(bits))
        .ok_or_else(|| format!("/{bits} is not a network size: it is between /8 and /30"))?;
    let mask = u32::MAX << (32 - bits);
    let first = u32::from(network) & mask;
    Ok((Ipv4Addr::from(first + 1), Ipv4Addr::from((first | !mask) - 1)))
}

fn extend(pool: &mut Vec<IpAddr>, first: Ipv4Addr, last: Ipv4Addr) -> Result<(), String> {
    let (from, to) = (u32::from(first), u32::from(last));
    if from > to {
        return Err(format!("{first}-{last} ends before it begins"));
    }
    room(pool, (to - from) as usize + 1)?;
    pool.extend((from..=to).map(|ip| IpAddr::V4(Ipv4Addr::from(ip))));
    Ok(())
}

fn room(pool: &[IpAddr], more: usize) -> Result<(), String> {
    if pool.len() + more > SOURCES_MAX {
        return Err(format!("more than {SOURCES_MAX} source addresses"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Target {
        Target::parse("ws://127.0.0.1:80").unwrap()
    }

    #[test]
    fn a_pool_is_written_as_addresses_ranges_and_networks() {
        let pool = Sources::parse("10.0.0.9, 127.1.0.1-127.1.0.3,192.168.7.0/30").unwrap();
        let all: Vec<String> = (0..6).map(|n| pool.of(n).unwrap().to_string()).collect();
        let wanted = ["10.0.0.9", "127.1.0.1", "127.1.0.2", "127.1.0.3", "192.168.7.1", "192.168.7.2"];
        assert_eq!(all, wanted);
        assert_eq!(pool.of(6), pool.of(0), "used in turn");
        assert_eq!(Sources::parse("::1").unwrap().of(0).unwrap().to_string(), "::1");
    }

    #[test]
    fn a_bad_pool_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "no source"),
            ("10.0.0", "is not an address"),
            ("10.0.0.5-10.0.0.4", "ends before"),
            ("10.0.0.0/33", "network size"),
            ("10.0.0.0/8", "more than"),
            ("::1-::2", "is not an IPv4"),
        ] {
            let error = Sources::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_local_target_gets_enough_addresses_for_every_port_to_be_found_quickly() {
        assert_eq!(Sources::suited_to(&local(), 1).count(), 1);
        assert_eq!(Sources::suited_to(&local(), 200_000).count(), 17);
        let last = Sources::suited_to(&local(), 4_000_000);
        assert_eq!(last.of(333).unwrap().to_string(), "127.1.1.78");
    }

    #[test]
    fn a_target_elsewhere_is_reached_from_whatever_the_system_chooses() {
        let far = Target::parse("ws://192.0.2.1:80").unwrap();
        assert_eq!(Sources::suited_to(&far, 100_000).of(5), None);
        assert_eq!(Sources::suited_to(&far, 100_000).count(), 1);
    }

    #[test]
    fn families_must_agree() {
        assert!(Sources::parse("127.0.0.2").unwrap().fits(&local()));
        assert!(!Sources::parse("::1").unwrap().fits(&local()));
        assert!(Sources::default().fits(&local()));
    }
}
