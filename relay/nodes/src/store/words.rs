//! Words: what a message is found by. Both databases get the same ones, so that both find the same.

use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::value::RawValue;

use super::limits::{WORD_BYTES_MAX, WORDS_ASKED_MAX};
use crate::model::Id;

/// The words of every string in a body, each once: runs of letters and digits in lower case.
fn of(body: &RawValue) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    // A body was valid JSON when it came; nested beyond what the parser follows, it has no words.
    let mut rest: Vec<Value> = serde_json::from_str(body.get()).into_iter().collect();
    while let Some(value) = rest.pop() {
        match value {
            Value::String(text) => words.extend(split(&text)),
            Value::Array(values) => rest.extend(values),
            Value::Object(members) => rest.extend(members.into_iter().map(|(_, value)| value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    words
}

/// What stands in the index for a message: its channel, and its words, with spaces between.
pub(super) fn text(channel: Id, body: &str) -> String {
    let mut text = self::channel(channel);
    let body: Option<&RawValue> = serde_json::from_str(body).ok();
    for word in body.map(of).unwrap_or_default() {
        text.push(' ');
        text.push_str(&word);
    }
    text
}

/// The words that are looked for.
pub(super) fn asked(text: &str) -> BTreeSet<String> {
    split(text).take(WORDS_ASKED_MAX).collect()
}

/// The channel as a word: no text has it, since it begins with neither letter nor digit.
pub(super) fn channel(id: Id) -> String {
    format!("\u{a7}{id}")
}

fn split(text: &str) -> impl Iterator<Item = String> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).map(|word| {
        let mut lower = word.to_lowercase();
        // Lower case may bring marks that are neither letter nor digit.
        lower.retain(char::is_alphanumeric);
        lower.truncate(lower.floor_char_boundary(WORD_BYTES_MAX));
        lower
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(body: &str) -> Vec<String> {
        of(&RawValue::from_string(body.to_owned()).unwrap()).into_iter().collect()
    }

    #[test]
    fn a_body_is_found_by_the_words_of_all_its_strings_and_not_by_its_keys() {
        let body = r#"{"text":"Grüße, WORLD-wide 2nd","n":5,"more":[{"note":"x_y"},"world"]}"#;
        assert_eq!(words(body), ["2nd", "grüße", "wide", "world", "x", "y"]);
    }

    #[test]
    fn no_text_has_the_word_of_a_channel() {
        let word = channel(Id(12));
        assert!(!asked(&word).contains(&word));
        assert_eq!(asked(&word).into_iter().collect::<Vec<_>>(), ["12"]);
    }

    #[test]
    fn a_long_word_is_cut_at_a_letter() {
        let word = "ß".repeat(WORD_BYTES_MAX);
        let cut = asked(&word).pop_first().unwrap();
        assert!(cut.len() <= WORD_BYTES_MAX && word.starts_with(&cut) && !cut.is_empty());
    }
}
