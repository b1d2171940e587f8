//! Who may come in: caps on connections in total, per source and in their handshake. Token buckets and budgets join here.
//!
//! Owns the counts. Caps are this shard's share of the gateway's: `SO_REUSEPORT` spreads a source's connections evenly.

use std::{collections::HashMap, net::IpAddr};

/// The caps of one shard; 0 is no cap, except for `total`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Connections of all kinds.
    pub total: u32,
    /// Connections from one IPv4 address or one IPv6 /64.
    pub per_source: u32,
    /// Connections that have not finished their TLS handshake and HTTP upgrade.
    pub handshaking: u32,
}

/// Why a connection was refused at the door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The shard holds all the connections it may.
    Total = 0,
    /// This source holds all the connections it may.
    Source = 1,
    /// Too many handshakes are under way.
    Handshakes = 2,
    /// No descriptors are left.
    Descriptors = 3,
}

/// A source as connections count by: an IPv4 address, or the first 64 bits of an IPv6 one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Source(u64);

/// The counts of one shard.
#[derive(Debug)]
pub struct Admission {
    caps: Caps,
    total: u32,
    handshaking: u32,
    sources: HashMap<Source, u32>,
}

impl Source {
    /// IPv4 addresses stand where no global IPv6 prefix does (`::/32` is not assigned); a mapped one is the IPv4 address itself.
    pub fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(u64::from(u32::from(v4))),
            IpAddr::V6(v6) => Self((u128::from(v6) >> 64) as u64 | 1 << 63),
        }
    }
}

impl Admission {
    /// Nobody is in yet.
    pub fn new(caps: Caps) -> Self {
        Self { caps, total: 0, handshaking: 0, sources: HashMap::new() }
    }

    /// One more connection, in its handshake.
    pub fn enter(&mut self, source: Source) -> Result<(), Refused> {
        if self.total >= self.caps.total {
            return Err(Refused::Total);
        }
        if self.caps.handshaking > 0 && self.handshaking >= self.caps.handshaking {
            return Err(Refused::Handshakes);
        }
        let held = self.sources.entry(source).or_insert(0);
        if self.caps.per_source > 0 && *held >= self.caps.per_source {
            return Err(Refused::Source);
        }
        *held += 1;
        self.total += 1;
        self.handshaking += 1;
        Ok(())
    }

    /// A connection has finished its handshake and upgrade.
    pub fn upgraded(&mut self) {
        debug_assert!(self.handshaking > 0);
        self.handshaking -= 1;
    }

    /// A connection has gone.
    pub fn leave(&mut self, source: Source, was_handshaking: bool) {
        debug_assert!(self.total > 0);
        self.total -= 1;
        if was_handshaking {
            self.upgraded();
        }
        if let Some(held) = self.sources.get_mut(&source) {
            *held -= 1;
            if *held == 0 {
                self.sources.remove(&source);
                // A storm from many sources must not keep its table.
                if self.sources.capacity() > 1024 && self.sources.len() < self.sources.capacity() / 8 {
                    self.sources.shrink_to(self.sources.len() * 2);
                }
            }
        }
    }

    /// New caps; those inside stay.
    pub fn set(&mut self, caps: Caps) {
        self.caps = caps;
    }

    /// Connections inside.
    pub const fn total(&self) -> u32 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new(text.parse().unwrap())
    }

    #[test]
    fn caps_hold_and_places_come_free() {
        let mut door = Admission::new(Caps { total: 3, per_source: 2, handshaking: 2 });
        let (a, b) = (source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(door.enter(a), Ok(()));
        assert_eq!(door.enter(a), Ok(()));
        assert_eq!(door.enter(b), Err(Refused::Handshakes));
        door.upgraded();
        door.upgraded();
        assert_eq!(door.enter(a), Err(Refused::Source));
        assert_eq!(door.enter(b), Ok(()));
        assert_eq!(door.enter(b), Err(Refused::Total));
        door.leave(a, false);
        assert_eq!(door.enter(a), Ok(()));
        assert_eq!(door.total(), 3);
    }

    #[test]
    fn an_ipv6_source_is_its_64_bit_prefix() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("::1"), source("0.0.0.0"));
    }
}
