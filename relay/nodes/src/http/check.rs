//! What texts of requests may be. The description of the REST API says the same.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::limits::{KEY_MAX, MEDIA_MAX, NAME_MAX, PAGE, PAGE_MAX, PASSWORD, QUERY_MAX, TITLE_MAX};
use crate::problem::Problem;

/// What a name that is signed in with looks like, for the description.
pub const NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._@+-]*$";
/// A text on one line.
pub const LINE_PATTERN: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$";

/// A name that is signed in with, in lower case: case makes no difference.
pub fn name(text: &str) -> Result<String, Problem> {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte));
    if first && rest && text.len() <= NAME_MAX {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Problem::invalid(format!(
        "a name has 1 to {NAME_MAX} letters, digits or . _ @ + - and begins with a letter or digit"
    )))
}

/// What people call a channel or a user.
pub fn title(text: &str) -> Result<(), Problem> {
    line(text, "name", 1, TITLE_MAX)
}

/// A password.
pub fn password(text: &str) -> Result<(), Problem> {
    let length = text.chars().count();
    if (PASSWORD.0..=PASSWORD.1).contains(&length) {
        return Ok(());
    }
    Err(Problem::invalid(format!("a password has {} to {} characters", PASSWORD.0, PASSWORD.1)))
}

/// An idempotency key.
pub fn key(text: &str) -> Result<(), Problem> {
    line(text, "key", 1, KEY_MAX)
}

/// Where a file is.
pub fn media(text: &str) -> Result<(), Problem> {
    line(text, "media", 0, MEDIA_MAX)
}

/// What is searched for.
pub fn query(text: &str) -> Result<(), Problem> {
    line(text, "q", 1, QUERY_MAX)
}

/// How many items a list may have.
pub fn limit(wanted: Option<usize>) -> Result<usize, Problem> {
    let limit = wanted.unwrap_or(PAGE);
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::invalid(format!("limit is 1 to {PAGE_MAX}")))
}

/// A place in a stream. JSON's whole numbers may be written as `3.0`; databases count to 2^63.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let exact = number.as_u64().filter(|number| i64::try_from(*number).is_ok());
    let written = number.as_f64().filter(|number| number.fract() == 0.0 && (0.0..EXACT).contains(number));
    exact
        .or_else(|| written.map(|number| number as u64))
        .ok_or_else(|| Error::custom("expected a whole number"))
}

/// Below it every whole number is exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn line(text: &str, what: &str, least: usize, most: usize) -> Result<(), Problem> {
    if text.chars().any(char::is_control) {
        return Err(Problem::invalid(format!("{what} has a control character")));
    }
    if !(least..=most).contains(&text.chars().count()) {
        return Err(Problem::invalid(format!("{what} has {least} to {most} characters")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_by_more_than_case() {
        assert_eq!(name("Ann.Lee@example.com").unwrap(), "ann.lee@example.com");
        for bad in ["", ".ann", "ann lee", "änn", "a\u{0}", &"a".repeat(NAME_MAX + 1)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn whole_numbers_are_whole_however_they_are_written() {
        let whole = |json: &str| whole(&mut serde_json::Deserializer::from_str(json)).ok();
        assert_eq!((whole("3"), whole("3.0"), whole("1e3")), (Some(3), Some(3), Some(1000)));
        assert_eq!(whole("9223372036854775807"), Some(i64::MAX.cast_unsigned()));
        for json in ["3.5", "-1", "-1.0", "1e300", "9223372036854775808", "\"3\"", "null"] {
            assert_eq!(whole(json), None, "{json}");
        }
    }

    #[test]
    fn lengths_count_characters() {
        assert!(title(&"ä".repeat(TITLE_MAX)).is_ok());
        assert!(title(&"ä".repeat(TITLE_MAX + 1)).is_err());
        assert!(password("1234567").is_err());
        assert!(password("\u{0}\n345678").is_ok());
        assert!(key("a\nb").is_err());
        assert!(limit(Some(0)).is_err() && limit(Some(PAGE_MAX + 1)).is_err());
        assert_eq!(limit(None).unwrap(), PAGE);
    }
}
