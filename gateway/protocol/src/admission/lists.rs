//! The operator's lists of prefixes, as ranges that are searched by halving.

use std::net::IpAddr;

use wire::admission::{Admission, Prefix};

/// Who is let in and who is not, whatever the limits say.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    allow: Ranges,
    deny: Ranges,
}

/// What the lists say of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// Nothing.
    Stranger,
    /// It is let in.
    Allowed,
    /// It is turned away.
    Denied,
}

/// Disjoint ranges in order.
#[derive(Clone, Debug, Default)]
struct Ranges(Vec<(u128, u128)>);

impl Lists {
    /// From the relay's settings.
    pub fn new(settings: &Admission) -> Self {
        Self { allow: Ranges::new(&settings.allow), deny: Ranges::new(&settings.deny) }
    }

    /// Who is on both lists is let in.
    pub fn word(&self, address: IpAddr) -> Word {
        let number = match address {
            IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
            IpAddr::V6(v6) => u128::from(v6),
        };
        if self.allow.hold(number) {
            Word::Allowed
        } else if self.deny.hold(number) {
            Word::Denied
        } else {
            Word::Stranger
        }
    }
}

impl Ranges {
    fn new(prefixes: &[Prefix]) -> Self {
        let mut ranges: Vec<_> = prefixes.iter().map(|prefix| prefix.range()).collect();
        ranges.sort_unstable();
        // Of prefixes, one holds another or they have nothing in common.
        ranges.dedup_by(|later, earlier| later.1 <= earlier.1);
        Self(ranges)
    }

    fn hold(&self, number: u128) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        after.checked_sub(1).is_some_and(|index| number <= self.0[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(allow: &[&str], deny: &[&str]) -> Lists {
        let prefixes = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Lists::new(&Admission { allow: prefixes(allow), deny: prefixes(deny), ..Admission::default() })
    }

    #[test]
    fn the_allowed_stand_above_the_denied() {
        let lists = lists(
            &["192.0.2.7", "2001:db8:1::/48"],
            &["192.0.2.0/24", "192.0.2.0/25", "192.0.2.0/32", "2001:db8::/32", "::1", "203.0.113.255"],
        );
        for (address, word) in [
            ("192.0.2.6", Word::Denied),
            ("192.0.2.7", Word::Allowed),
            ("192.0.2.255", Word::Denied),
            ("192.0.3.0", Word::Stranger),
            ("::ffff:192.0.2.1", Word::Denied),
            ("2001:db8::1", Word::Denied),
            ("2001:db8:1::1", Word::Allowed),
            ("2001:db9::1", Word::Stranger),
            ("::1", Word::Denied),
            ("::2", Word::Stranger),
            ("203.0.113.255", Word::Denied),
            ("203.0.114.0", Word::Stranger),
        ] {
            assert_eq!(lists.word(address.parse().unwrap()), word, "{address}");
        }
    }

    #[test]
    fn everybody_can_be_denied() {
        let lists = lists(&["10.0.0.0/8"], &["::/0"]);
        assert_eq!(lists.word("198.51.100.1".parse().unwrap()), Word::Denied);
        assert_eq!(lists.word("10.2.3.4".parse().unwrap()), Word::Allowed);
        assert_eq!(Lists::default().word("10.2.3.4".parse().unwrap()), Word::Stranger);
    }
}
