//! Who may come in: the operator's lists, caps on connections in total, per source and in their handshake, and how many may come
//! per second, from one source and in all.
//!
//! Owns the counts. Caps and rates are this shard's share of the gateway's: `SO_REUSEPORT` spreads a source's connections evenly.

mod buckets;
mod lists;
mod queue;
mod rate;

use std::{collections::HashMap, net::IpAddr, time::Duration};

pub use buckets::{Buckets, Taken};
pub use lists::{Lists, Word};
pub use queue::Queue;
pub use rate::{Bucket, Rate};

use crate::limits::{SOURCES_MAX, SOURCES_SWEPT_PER_TURN};

/// The caps of one shard; 0 is no cap, except for `total`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Caps {
    /// Connections of all kinds.
    pub total: u32,
    /// Connections from one IPv4 address or one IPv6 /64.
    pub per_source: u32,
    /// Connections that have not finished their TLS handshake and HTTP upgrade.
    pub handshaking: u32,
    /// Connections that come from everywhere.
    pub rate: Rate,
    /// Those from one IPv4 address or one IPv6 /64.
    pub source_rate: Rate,
    /// Those from one IPv6 /48: who has one has 65,536 of the above.
    pub site_rate: Rate,
    /// How long a handshake may wait for its turn; what would wait longer is turned away before it costs anything.
    pub handshake_wait: Duration,
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
    /// The operator's list names the source.
    Denied = 4,
    /// Too many come at once, from everywhere.
    Rate = 5,
    /// Too many come at once from this source, or from more sources than are kept count of.
    SourceRate = 6,
    /// Handshakes wait for their turn already, as many as will have it in time.
    Busy = 7,
}

/// A source as connections count by: an IPv4 address, or the first 64 bits of an IPv6 one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Source(u64);

/// The counts of one shard.
#[derive(Debug)]
pub struct Admission {
    caps: Caps,
    lists: Lists,
    total: u32,
    handshaking: u32,
    sources: HashMap<Source, u32>,
    all: Bucket,
    source_buckets: Buckets<Source>,
    site_buckets: Buckets<Source>,
    queue: Queue,
}

impl Source {
    /// IPv4 addresses stand where no global IPv6 prefix does (`::/32` is not assigned); a mapped one is the IPv4 address itself.
    pub fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(u64::from(u32::from(v4))),
            IpAddr::V6(v6) => Self((u128::from(v6) >> 64) as u64 | 1 << 63),
        }
    }

    /// The first 48 bits of an IPv6 address; an IPv4 one has nothing above it.
    fn site(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(Self((u128::from(v6) >> 80) as u64)),
        }
    }
}

impl Admission {
    /// Nobody is in yet.
    pub fn new(caps: Caps, lists: Lists) -> Self {
        Self {
            caps,
            lists,
            total: 0,
            handshaking: 0,
            sources: HashMap::new(),
            all: Bucket::default(),
            source_buckets: Buckets::new(SOURCES_MAX),
            site_buckets: Buckets::new(SOURCES_MAX),
            queue: Queue::new(caps.handshake_wait),
        }
    }

    /// One more connection, in its handshake. Gives the source to count it by.
    pub fn enter(&mut self, at: Duration, address: IpAddr) -> Result<Source, Refused> {
        let source = Source::new(address);
        let word = self.lists.word(address);
        if word == Word::Denied {
            return Err(Refused::Denied);
        }
        if self.total >= self.caps.total {
            return Err(Refused::Total);
        }
        if self.caps.handshaking > 0 && self.handshaking >= self.caps.handshaking {
            return Err(Refused::Handshakes);
        }
        let held = self.sources.get(&source).copied().unwrap_or(0);
        let stranger = word == Word::Stranger;
        if stranger && self.caps.per_source > 0 && held >= self.caps.per_source {
            return Err(Refused::Source);
        }
        if !self.all.has(at, self.caps.rate) {
            return Err(Refused::Rate);
        }
        if stranger {
            self.charge(at, source, Source::site(address))?;
        }
        self.all.take(at, self.caps.rate);
        self.sources.insert(source, held + 1);
        self.total += 1;
        self.handshaking += 1;
        Ok(source)
    }

    /// One token of the source's bucket and one of its site's, or none.
    fn charge(&mut self, at: Duration, source: Source, site: Option<Source>) -> Result<(), Refused> {
        if site.is_some_and(|site| !self.site_buckets.has(site, at, self.caps.site_rate)) {
            return Err(Refused::SourceRate);
        }
        if self.source_buckets.take(source, at, self.caps.source_rate) != Taken::Token {
            return Err(Refused::SourceRate);
        }
        match site.map(|site| self.site_buckets.take(site, at, self.caps.site_rate)) {
            None | Some(Taken::Token) => Ok(()),
            Some(_) => Err(Refused::SourceRate),
        }
    }

    /// Whether a handshake whose first flight is there may wait for its turn behind so many.
    pub fn flight(&self, waiting: usize) -> Result<(), Refused> {
        if self.queue.has_room(waiting) { Ok(()) } else { Err(Refused::Busy) }
    }

    /// A flight has been worked on.
    pub const fn flown(&mut self) {
        self.queue.done();
    }

    /// Feeds time, with how many flights wait.
    pub fn expire(&mut self, at: Duration, waiting: usize) {
        self.queue.expire(at, waiting);
        self.source_buckets.sweep(at, SOURCES_SWEPT_PER_TURN);
        self.site_buckets.sweep(at, SOURCES_SWEPT_PER_TURN);
    }

    /// New lists, for those who come from now on.
    pub fn list(&mut self, lists: Lists) {
        self.lists = lists;
    }

    /// Sources whose rate is kept count of.
    pub const fn counted(&self) -> usize {
        self.source_buckets.len() + self.site_buckets.len()
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

    /// Connections inside.
    pub const fn total(&self) -> u32 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn source(text: &str) -> Source {
        Source::new(text.parse().unwrap())
    }

    fn door(caps: Caps) -> Admission {
        Admission::new(caps, Lists::default())
    }

    /// Comes in at a second of the clock.
    fn enter(door: &mut Admission, second: u64, address: &str) -> Result<Source, Refused> {
        door.enter(SECOND * second as u32, address.parse().unwrap())
    }

    #[test]
    fn caps_hold_and_places_come_free() {
        let mut door = door(Caps { total: 3, per_source: 2, handshaking: 2, ..Caps::default() });
        let (a, b) = ("192.0.2.1", "192.0.2.2");
        assert!(enter(&mut door, 0, a).is_ok());
        assert!(enter(&mut door, 0, a).is_ok());
        assert_eq!(enter(&mut door, 0, b), Err(Refused::Handshakes));
        door.upgraded();
        door.upgraded();
        assert_eq!(enter(&mut door, 0, a), Err(Refused::Source));
        assert!(enter(&mut door, 0, b).is_ok());
        assert_eq!(enter(&mut door, 0, b), Err(Refused::Total));
        door.leave(source(a), false);
        assert!(enter(&mut door, 0, a).is_ok());
        assert_eq!(door.total(), 3);
    }

    #[test]
    fn an_ipv6_source_is_its_64_bit_prefix() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("::1"), source("0.0.0.0"));
    }

    #[test]
    fn each_source_has_its_bucket_and_a_site_of_many_sources_has_one_too() {
        let caps = Caps {
            total: 1000,
            source_rate: Rate::new(1, SECOND, 2),
            site_rate: Rate::new(4, SECOND, 4),
            ..Caps::default()
        };
        let mut door = door(caps);
        for address in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
            assert!(enter(&mut door, 9, address).is_ok());
            assert!(enter(&mut door, 9, address).is_ok());
            assert_eq!(enter(&mut door, 9, address), Err(Refused::SourceRate), "{address}");
        }
        // Two of the site's four are left, for whichever of its networks; a refusal costs nothing.
        assert!(enter(&mut door, 9, "2001:db8:0:1::1").is_ok());
        assert!(enter(&mut door, 9, "2001:db8:0:2::1").is_ok());
        assert_eq!(enter(&mut door, 9, "2001:db8:0:3::1"), Err(Refused::SourceRate));
        assert!(enter(&mut door, 9, "2001:db8:1::1").is_ok(), "another site");
        assert!(enter(&mut door, 10, "2001:db8:0:3::1").is_ok());
        for _ in 0..100 {
            door.expire(SECOND * 60, 0);
        }
        assert_eq!(door.counted(), 0, "who was here a minute ago is forgotten");
    }

    #[test]
    fn the_denied_stay_out_and_the_allowed_have_no_limits_of_their_own() {
        let lists = wire::admission::Admission {
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            deny: vec!["192.0.2.0/24".parse().unwrap()],
            ..<_>::default()
        };
        let caps = Caps { total: 10, per_source: 1, source_rate: Rate::new(1, SECOND, 1), ..Caps::default() };
        let mut door = Admission::new(caps, Lists::new(&lists));
        assert_eq!(enter(&mut door, 0, "192.0.2.9"), Err(Refused::Denied));
        assert!((0..9).all(|_| enter(&mut door, 0, "10.1.1.1").is_ok()));
        assert!(enter(&mut door, 0, "198.51.100.1").is_ok());
        assert_eq!(enter(&mut door, 0, "10.1.1.1"), Err(Refused::Total), "the whole is for all");
        door.list(Lists::default());
        door.leave(source("10.1.1.1"), true);
        assert!(enter(&mut door, 1, "192.0.2.9").is_ok());
    }

    #[test]
    fn all_together_have_a_rate() {
        let mut door = door(Caps { total: 100, rate: Rate::new(3, SECOND, 3), ..Caps::default() });
        assert!((1..=3).all(|last| enter(&mut door, 5, &format!("192.0.2.{last}")).is_ok()));
        assert_eq!(enter(&mut door, 5, "192.0.2.4"), Err(Refused::Rate));
        assert!(enter(&mut door, 6, "192.0.2.4").is_ok());
    }
}
