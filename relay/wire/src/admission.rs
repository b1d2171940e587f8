//! What strangers and clients may do how often, as the relay tells it: prefixes let in or turned away, and command rates.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// Replaced whole by each reload.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Admission {
    /// Sources that are let in whatever `deny` and the limits per source say.
    pub allow: Vec<Prefix>,
    /// Sources that are turned away.
    pub deny: Vec<Prefix>,
    /// Commands of one connection.
    pub commands: CommandRates,
}

/// What a rate is kept of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommandKind {
    /// Every command but `connect` and pongs.
    Total,
    /// `subscribe`.
    Subscribe,
    /// `unsubscribe`.
    Unsubscribe,
    /// `publish`.
    Publish,
    /// `history`.
    History,
    /// `presence`.
    Presence,
    /// `presence_stats`.
    PresenceStats,
    /// `refresh` and `sub_refresh`.
    Refresh,
    /// `rpc`.
    Rpc,
    /// `send`.
    Send,
    /// Commands refused by the above; more of them end the connection.
    Refused,
}

impl CommandKind {
    /// How many there are.
    pub const COUNT: usize = Self::Refused as usize + 1;

    /// Its key in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Publish => "publish",
            Self::History => "history",
            Self::Presence => "presence",
            Self::PresenceStats => "presence_stats",
            Self::Refresh => "refresh",
            Self::Rpc => "rpc",
            Self::Send => "send",
            Self::Refused => "refused",
        }
    }
}

/// How often one connection may do what, by [`CommandKind`]; each kind beside the total.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CommandRates(pub [CommandRate; CommandKind::COUNT]);

impl CommandRates {
    /// The same but for one kind.
    #[must_use]
    pub const fn with(mut self, kind: CommandKind, rate: CommandRate) -> Self {
        self.0[kind as usize] = rate;
        self
    }
}

/// So many within a time; they may come all at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CommandRate {
    /// How many; 0 is no limit.
    pub rate: u32,
    /// Within which time.
    pub interval_ms: u32,
}

/// Addresses that begin alike: `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// The one address that nobody comes from.
    pub const NOBODY: Self = Self { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), bits: 128 };

    /// First and last address, IPv4 ones as mapped IPv6 (`::ffff:0:0/96`).
    pub fn range(self) -> (u128, u128) {
        let (address, bits) = match self.address {
            IpAddr::V4(v4) => (u128::from(v4.to_ipv6_mapped()), self.bits + 96),
            IpAddr::V6(v6) => (u128::from(v6), self.bits),
        };
        let rest = if bits == 0 { u128::MAX } else { (1 << (128 - u32::from(bits))) - 1 };
        (address & !rest, address | rest)
    }
}

impl FromStr for Prefix {
    type Err = ();

    /// An address, or an address, a slash and a number of bits. What stands behind these bits must be zero.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(drop)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(drop)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = Self { address, bits: bits.unwrap_or(most) };
        let whole = prefix.bits <= most && {
            let mapped = match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            prefix.range().0 == u128::from(mapped)
        };
        if whole { Ok(prefix) } else { Err(()) }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_as_they_are_written_and_no_bits_are_lost() {
        for text in ["192.0.2.0/24", "0.0.0.0/0", "10.1.2.3/32", "2001:db8::/32", "::/0", "::1/128"] {
            assert_eq!(text.parse::<Prefix>().map(|prefix| prefix.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("192.0.2.7".parse::<Prefix>().unwrap().to_string(), "192.0.2.7/32");
        for text in
            ["", "192.0.2.0/33", "192.0.2.1/24", "2001:db8::/129", "::1/64", "192.0.2.0/-1", "x/8", "1.2.3/8"]
        {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_holds_what_begins_alike() {
        let range = |text: &str| text.parse::<Prefix>().unwrap().range();
        let (first, last) = range("10.0.0.0/8");
        assert_eq!((first, last), (0xffff_0a00_0000, 0xffff_0aff_ffff));
        assert_eq!(range("::/0"), (0, u128::MAX));
        assert_eq!(range("2001:db8::/32").1, 0x2001_0db8_ffff_ffff_ffff_ffff_ffff_ffff);
    }
}
