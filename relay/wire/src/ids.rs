//! Identifiers that cross links.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One session's id: a random UUID (version 4), made by the edge that holds the connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct ClientId(pub [u8; 16]);

impl ClientId {
    /// Sets the version and variant bits of RFC 9562 §5.4 on 16 random bytes.
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    /// What it prints as, read back; digits may be of either case.
    pub fn parse(text: &str) -> Option<Self> {
        let hyphen = |at: usize| matches!(at, 8 | 13 | 18 | 23);
        let shaped =
            |(at, byte): (usize, u8)| if hyphen(at) { byte == b'-' } else { byte.is_ascii_hexdigit() };
        if text.len() != Self::TEXT_BYTES || !text.bytes().enumerate().all(shaped) {
            return None;
        }
        let digits: String = text.split('-').collect();
        u128::from_str_radix(&digits, 16).ok().map(|number| Self(number.to_be_bytes()))
    }

    /// As it prints, in ASCII.
    pub fn text(self) -> [u8; Self::TEXT_BYTES] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; Self::TEXT_BYTES];
        let places = text.iter_mut().enumerate().filter(|(at, _)| !matches!(at, 8 | 13 | 18 | 23));
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        for ((_, place), digit) in places.zip(digits) {
            *place = DIGITS[usize::from(digit)];
        }
        text
    }

    /// Bytes of [`ClientId::text`].
    pub const TEXT_BYTES: usize = 36;
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_a_version_4_uuid() {
        let id = ClientId::from_random([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let id = ClientId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xf0]);
        assert_eq!(id.to_string(), "00010203-0405-0607-0809-0a0b0c0d0ef0");
        assert_eq!(ClientId::parse(&id.to_string()), Some(id));
    }

    #[test]
    fn what_is_no_id_is_not_read() {
        let good = "00010203-0405-0607-0809-0a0b0c0d0ef0";
        for bad in [
            "",
            &good[1..],
            "0001020304050607-0809-0a0b-0c0d0ef000",
            &good.replace('f', "g"),
            "+0010203-0405-0607-0809-0a0b0c0d0ef0",
        ] {
            assert_eq!(ClientId::parse(bad), None, "{bad}");
        }
    }
}
