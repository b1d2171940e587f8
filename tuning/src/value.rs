//! What is read from a machine and what is wanted of it.

use std::fmt;

use crate::render::grouped;

/// What is set now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// A number; `u64::MAX` is no limit.
    Number(u64),
    /// A word out of several.
    Word(String),
}

/// What should be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// This number or more.
    AtLeast(u64),
    /// This number or less.
    AtMost(u64),
    /// One of these words; the first is the one to set.
    OneOf(&'static [&'static str]),
}

impl Want {
    /// Whether a reading is as wanted. A number is never a word.
    pub fn met(&self, reading: &Reading) -> bool {
        match (self, reading) {
            (Self::AtLeast(least), Reading::Number(number)) => number >= least,
            (Self::AtMost(most), Reading::Number(number)) => number <= most,
            (Self::OneOf(words), Reading::Word(word)) => words.contains(&word.as_str()),
            _ => false,
        }
    }

    /// The number that is to be set; 0 for words.
    pub(crate) fn number(&self) -> u64 {
        match *self {
            Self::AtLeast(number) | Self::AtMost(number) => number,
            Self::OneOf(_) => 0,
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(u64::MAX) => out.pad("unlimited"),
            Self::Number(number) => out.pad(&grouped(*number)),
            Self::Word(word) => out.pad(word),
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::AtLeast(number) => out.pad(&format!("at least {}", grouped(number))),
            Self::AtMost(0) => out.pad("0"),
            Self::AtMost(number) => out.pad(&format!("at most {}", grouped(number))),
            Self::OneOf(words) => out.pad(&words.join(" or ")),
        }
    }
}
