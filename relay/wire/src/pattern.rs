//! A regular expression of the configuration: checked when it is read, compiled where it is used.
//!
//! Matching takes time linear in the text and bounded memory, whatever an operator wrote and a client sent.

use std::fmt;

use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::limits::{PATTERN_BYTES_MAX, PATTERN_COMPILED_BYTES_MAX};

/// A compiled regular expression. Crosses links as its text. Not anchored: `^` and `$` are the writer's.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Regex);

/// Why a text is not a pattern; says where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is not a regular expression: {0}")]
pub struct NotAPattern(String);

impl Pattern {
    /// Compiles a text.
    pub fn new(text: &str) -> Result<Self, NotAPattern> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(NotAPattern(format!("over {PATTERN_BYTES_MAX} bytes")));
        }
        RegexBuilder::new(text)
            .size_limit(PATTERN_COMPILED_BYTES_MAX)
            .build()
            .map(Self)
            .map_err(|error| NotAPattern(error.to_string()))
    }

    /// A pattern for whole texts, written as file names are: `*` for anything, `?` for one character, `[a-z]` and `[!a-z]`, `{one,other}`,
    /// `\\` before a character that means itself.
    pub fn glob(text: &str) -> Result<Self, NotAPattern> {
        let mut regex = String::from("(?s)^");
        let mut alternatives = 0_usize;
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '*' => regex.push_str(".*"),
                '?' => regex.push('.'),
                '{' => {
                    alternatives += 1;
                    regex.push_str("(?:");
                }
                '}' if alternatives > 0 => {
                    alternatives -= 1;
                    regex.push(')');
                }
                ',' if alternatives > 0 => regex.push('|'),
                '[' => {
                    let (class, _) = characters.as_str().split_once(']').ok_or_else(|| unfinished("["))?;
                    characters.by_ref().take(class.chars().count() + 1).for_each(drop);
                    let (not, class) = class.strip_prefix('!').map_or(("", class), |class| ("^", class));
                    regex.push('[');
                    regex.push_str(not);
                    class.chars().for_each(|member| {
                        if matches!(member, '\\' | '^' | '[' | '&' | '~') {
                            regex.push('\\');
                        }
                        regex.push(member);
                    });
                    regex.push(']');
                }
                '\\' => literal(characters.next().ok_or_else(|| unfinished("\\"))?, &mut regex),
                other => literal(other, &mut regex),
            }
        }
        if alternatives > 0 {
            return Err(unfinished("{"));
        }
        regex.push('$');
        Self::new(&regex)
    }

    /// Whether it is found in `text`.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        self.0.as_str()
    }
}

fn unfinished(what: &str) -> NotAPattern {
    NotAPattern(format!("{what} is not finished"))
}

fn literal(character: char, regex: &mut String) {
    if character.is_ascii_punctuation() {
        regex.push('\\');
    }
    regex.push(character);
}

impl TryFrom<String> for Pattern {
    type Error = NotAPattern;

    fn try_from(text: String) -> Result<Self, NotAPattern> {
        Self::new(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text().to_owned()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_anywhere_unless_it_is_anchored() {
        assert!(Pattern::new("[0-9]+").unwrap().matches("room-42-b"));
        let whole = Pattern::new("^[0-9]+$").unwrap();
        assert!(whole.matches("42"));
        assert!(!whole.matches("42b"));
    }

    #[test]
    fn what_is_no_pattern_or_would_grow_beyond_bounds_is_refused() {
        for text in ["(", "[a-", "a{2000}{2000}", &"a".repeat(5000)] {
            assert!(Pattern::new(text).is_err(), "{text:.20}");
        }
    }

    #[test]
    fn a_glob_is_for_whole_texts() {
        let matched = |glob: &str, texts: &[&str]| {
            let pattern = Pattern::glob(glob).unwrap();
            texts.iter().map(|text| u8::from(pattern.matches(text)).to_string()).collect::<String>()
        };
        assert_eq!(matched("chat:*", &["chat:1", "chat:", "xchat:1", "news"]), "1100");
        assert_eq!(matched("*", &["", "a", "a\nb"]), "111");
        assert_eq!(matched("a.b", &["a.b", "axb"]), "10");
        assert_eq!(matched("?", &["a", "", "ab", "ß"]), "1001");
        assert_eq!(matched("[a-c]1", &["a1", "d1", "-1"]), "100");
        assert_eq!(matched("[!a-c]1", &["a1", "d1"]), "01");
        assert_eq!(matched("{one,t*o}:x", &["one:x", "two:x", "three:x", "one"]), "1100");
        assert_eq!(matched("a,b}\\*", &["a,b}*", "a,b}x"]), "10");
        for bad in ["[a", "{a", "a\\", "[z-a]"] {
            assert!(Pattern::glob(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_crosses_a_link_as_its_text() {
        let pattern = Pattern::new("^a.*z$").unwrap();
        let bytes = postcard::to_allocvec(&pattern).unwrap();
        assert_eq!(postcard::from_bytes::<Pattern>(&bytes), Ok(pattern));
        let broken = postcard::to_allocvec("(").unwrap();
        assert!(postcard::from_bytes::<Pattern>(&broken).is_err());
    }
}
