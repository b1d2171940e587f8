//! Compares decimal numbers as they are written, without rounding.

use std::cmp::Ordering;

/// `[+-]digits[.digits]`. The parts have no zeros that mean nothing.
struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
}

/// Which of two numbers is larger; `None` when one is none.
pub(super) fn compare(one: &str, other: &str) -> Option<Ordering> {
    let (one, other) = (Decimal::read(one)?, Decimal::read(other)?);
    Some(match (one.negative, other.negative) {
        (false, false) => one.size(&other),
        (true, true) => other.size(&one),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    })
}

impl<'a> Decimal<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (negative, digits) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            all => (false, all),
        };
        let point = digits.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = point.map_or((digits, None), |at| (&digits[..at], Some(&digits[at + 1..])));
        let number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        if !number(whole) || !fraction.is_none_or(number) {
            return None;
        }
        let first = whole.iter().position(|digit| *digit != b'0').unwrap_or(whole.len());
        let fraction = fraction.unwrap_or_default();
        let last = fraction.iter().rposition(|digit| *digit != b'0').map_or(0, |at| at + 1);
        let (whole, fraction) = (&whole[first..], &fraction[..last]);
        // Nothing is less than nothing.
        let negative = negative && !(whole.is_empty() && fraction.is_empty());
        Some(Self { negative, whole, fraction })
    }

    fn size(&self, other: &Self) -> Ordering {
        let whole = self.whole.len().cmp(&other.whole.len()).then_with(|| self.whole.cmp(other.whole));
        whole.then_with(|| self.fraction.cmp(other.fraction))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_compare_by_value_and_texts_do_not() {
        for (one, other, expected) in [
            ("1", "1.0", Ordering::Equal),
            ("-0", "0.00", Ordering::Equal),
            ("007", "+7", Ordering::Equal),
            ("0.1", "0.09", Ordering::Greater),
            ("10", "9", Ordering::Greater),
            ("-10", "-9", Ordering::Less),
            ("-1", "1", Ordering::Less),
            ("123456789012345678901234567890.1", "123456789012345678901234567890.2", Ordering::Less),
        ] {
            assert_eq!(compare(one, other), Some(expected), "{one} {other}");
            assert_eq!(compare(other, one), Some(expected.reverse()), "{other} {one}");
        }
        for text in ["", "-", ".", "1.", ".5", "1e3", "0x1", "1,0", " 1", "1.2.3", "NaN"] {
            assert_eq!(compare(text, "1"), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn thousandths_compare_like_whole_numbers(one in -99_999i64..99_999, other in -99_999i64..99_999) {
            let text = |n: i64| {
                let sign = if n < 0 { "-" } else { "" };
                format!("{sign}{}.{:03}", n.abs() / 1000, n.abs() % 1000)
            };
            prop_assert_eq!(compare(&text(one), &text(other)), Some(one.cmp(&other)));
        }
    }
}
