//! Tells JSON from other bytes: what stands beside every publication on its way to JSON clients, so it is quick and keeps nothing.

use crate::client::limits::JSON_DEPTH_MAX;

/// Whether these bytes are one JSON value (RFC 8259) in UTF-8 with at most [`JSON_DEPTH_MAX`] brackets open at once: what may stand
/// in a document as it is. Numbers may be of any size, escapes of any code unit.
pub(in crate::client) fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() && Scan { bytes, at: 0 }.document().is_some()
}

/// A place in the bytes. Its steps are `None` where the grammar ends.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn document(&mut self) -> Option<()> {
        let mut open = Open::default();
        self.space();
        loop {
            match self.next()? {
                b'{' => {
                    open.push(true)?;
                    self.space();
                    if !self.take(b'}') {
                        self.key()?;
                        continue;
                    }
                    open.depth -= 1;
                }
                b'[' => {
                    open.push(false)?;
                    self.space();
                    if !self.take(b']') {
                        continue;
                    }
                    open.depth -= 1;
                }
                b'"' => self.string()?,
                b't' => self.word(b"rue")?,
                b'f' => self.word(b"alse")?,
                b'n' => self.word(b"ull")?,
                first => self.number(first)?,
            }
            if self.value_ends(&mut open)? {
                return Some(());
            }
        }
    }

    /// What follows a value, up to where the next begins; true at the end of all.
    fn value_ends(&mut self, open: &mut Open) -> Option<bool> {
        loop {
            self.space();
            if open.depth == 0 {
                return (self.at == self.bytes.len()).then_some(true);
            }
            match (self.next()?, open.is_object()) {
                (b',', object) => {
                    self.space();
                    if object {
                        self.key()?;
                    }
                    return Some(false);
                }
                (b'}', true) | (b']', false) => open.depth -= 1,
                _ => return None,
            }
        }
    }

    fn key(&mut self) -> Option<()> {
        self.expect(b'"')?;
        self.string()?;
        self.space();
        self.expect(b':')?;
        self.space();
        Some(())
    }

    /// From behind the opening quote to behind the closing one.
    fn string(&mut self) -> Option<()> {
        loop {
            self.skip_plain();
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'u' => {
                        let digits = self.bytes.get(self.at..self.at + 4)?;
                        digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                        self.at += 4;
                    }
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    _ => return None,
                },
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    /// Goes to the next quote, backslash or control character, eight bytes at a time, or to less than eight from the end.
    fn skip_plain(&mut self) {
        while let Some(chunk) = self.bytes[self.at..].first_chunk::<8>() {
            let word = u64::from_le_bytes(*chunk);
            // The lowest bit set in each is right; those above it need not be.
            let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
            let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
            let found = zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5c)) | control;
            if found != 0 {
                self.at += found.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
    }

    fn number(&mut self, first: u8) -> Option<()> {
        let digit = if first == b'-' { self.next()? } else { first };
        match digit {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.take(b'.') {
            self.next()?.is_ascii_digit().then_some(())?;
            self.digits();
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.next()?.is_ascii_digit().then_some(())?;
            self.digits();
        }
        Some(())
    }

    fn digits(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(rest).then(|| self.at += rest.len())
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(there);
        there
    }

    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }
}

/// The brackets that are open: a bit each, set for an object.
#[derive(Default)]
struct Open {
    depth: usize,
    objects: u128,
}

const _: () = assert!(JSON_DEPTH_MAX <= u128::BITS as usize);
const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = ONES * 0x80;

impl Open {
    fn push(&mut self, object: bool) -> Option<()> {
        if self.depth == JSON_DEPTH_MAX {
            return None;
        }
        let bit = 1 << self.depth;
        self.objects = if object { self.objects | bit } else { self.objects & !bit };
        self.depth += 1;
        Some(())
    }

    const fn is_object(&self) -> bool {
        self.objects >> (self.depth - 1) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use serde::de::IgnoredAny;

    use super::*;

    /// By the reference, for what is not deep.
    fn by_serde(bytes: &[u8]) -> bool {
        std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
    }

    proptest! {
        #[test]
        fn tokens_in_any_order_are_json_when_the_reference_says_so(
            tokens in vec(prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u12aF", "\\u12", "\\n", "\n", " ", "0", "01", "12", "-", ".", ".5",
                "e", "E+3", "1e999", "true", "false", "null", "nul", "\"a\"", "\"key\":", "\u{e9}", "\u{1f}", "0123456789abcdef",
            ]), 0..14),
        ) {
            let text = tokens.concat();
            prop_assert_eq!(is_json(text.as_bytes()), by_serde(text.as_bytes()), "{}", text);
        }

        #[test]
        fn documents_with_a_byte_changed_are_json_when_the_reference_says_so(
            texts in vec(any::<String>(), 0..4), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut bytes = serde_json::json!({ "texts": texts, "n": [1, -2.5e3, null, true, {}] }).to_string().into_bytes();
            prop_assert!(is_json(&bytes));
            let at = at.index(bytes.len());
            bytes[at] = byte;
            prop_assert_eq!(is_json(&bytes), by_serde(&bytes));
            prop_assert!(!is_json(&bytes[..at]) || by_serde(&bytes[..at]));
        }

        #[test]
        fn any_bytes_are_json_when_the_reference_says_so(bytes in vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(is_json(&bytes), by_serde(&bytes));
        }
    }

    #[test]
    fn depth_is_bounded() {
        for (bracket, end) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |n: usize| format!("{}1{}", bracket.repeat(n), end.repeat(n));
            assert!(is_json(nested(JSON_DEPTH_MAX).as_bytes()));
            assert!(!is_json(nested(JSON_DEPTH_MAX + 1).as_bytes()));
        }
        assert!(!is_json(&[b'['; 100_000]));
        assert!(is_json(format!("[{}[]]", "[],{\"a\":[]},".repeat(1000)).as_bytes()));
    }
}
