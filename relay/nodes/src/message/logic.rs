//! Cursors, what a page says of itself, and what a message may be. Pure.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::http::check;
use crate::limits::{MESSAGE_BYTES_MAX, MESSAGE_DEPTH_MAX};
use crate::model::{Message, Position};
use crate::problem::{Kind, Problem};
use crate::store::From;

/// A place in a channel, as of the channel's last change: `OFFSET.REVISED`. Without the second part nothing is said of changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// The place.
    pub offset: u64,
    /// The offset of the last change when the cursor was made.
    pub revised: Option<u64>,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revised {
            Some(revised) => write!(f, "{}.{revised}", self.offset),
            None => self.offset.fmt(f),
        }
    }
}

impl FromStr for Cursor {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let (offset, revised) = match text.split_once('.') {
            Some((offset, revised)) => (number(offset), number(revised).map(Some)),
            None => (number(text), Some(None)),
        };
        match (offset, revised) {
            (Some(offset), Some(revised)) => Ok(Self { offset, revised }),
            _ => Err(Problem::invalid("a cursor is OFFSET or OFFSET.REVISED")),
        }
    }
}

/// Databases count to 2^63.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && i64::try_from(*number).is_ok())
}

/// A part of a channel's messages.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page {
    /// Newest first; oldest first after a cursor. Deleted ones have no body and no media.
    pub messages: Vec<Message>,
    /// The end of the channel's stream.
    pub offset: u64,
    /// The incarnation of the offsets.
    pub epoch: String,
    /// The `before` of what is older; null when there is nothing.
    pub older: Option<String>,
    /// The `after` of what is newer; null when there is nothing yet.
    pub newer: Option<String>,
    /// It is as it was read last: the database is away. Left out otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub cached: bool,
}

/// Where a page stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Nothing can come between its messages any more, other than a change of one.
    pub closed: bool,
    /// The channel's last change when it was read.
    pub revised: u64,
}

/// Makes a page of what a store answered.
pub fn page(from: From, limit: usize, position: &Position, messages: Vec<Message>) -> (Page, Standing) {
    debug_assert!(messages.len() <= limit);
    let full = messages.len() >= limit;
    let cursor = |offset: u64| Some(Cursor { offset, revised: Some(position.revised) }.to_string());
    let first = messages.first().map(|message| message.offset);
    let last = messages.last().map(|message| message.offset);
    let (oldest, newest) = if matches!(from, From::After(_)) { (first, last) } else { (last, first) };
    let (older, newer) = match from {
        From::End => (oldest.filter(|_| full).and_then(cursor), None),
        From::Before(_) => (oldest.filter(|_| full).and_then(cursor), newest.and_then(cursor)),
        From::After(0) => (None, newest.filter(|_| full).and_then(cursor)),
        From::After(_) => (oldest.and_then(cursor), newest.filter(|_| full).and_then(cursor)),
    };
    // What is posted from now on has a greater offset than the top.
    let closed = full
        && match from {
            From::End => false,
            From::Before(offset) => offset <= position.top.saturating_add(1),
            From::After(_) => true,
        };
    let (offset, epoch) = (position.top, position.epoch.clone());
    let page = Page { messages, offset, epoch, older, newer, cached: false };
    (page, Standing { closed, revised: position.revised })
}

/// Whether a body is one that every client can take.
pub fn check_body(body: &RawValue) -> Result<(), Problem> {
    if body.get().len() > MESSAGE_BYTES_MAX {
        return Err(Problem::new(
            Kind::TooLarge,
            format!("a message's body has at most {MESSAGE_BYTES_MAX} bytes"),
        ));
    }
    if depth(body.get()) > MESSAGE_DEPTH_MAX {
        return Err(Problem::invalid(format!(
            "a message's body has at most {MESSAGE_DEPTH_MAX} arrays and objects in each other"
        )));
    }
    Ok(())
}

/// What is posted.
pub fn check_message(message: &wire::node::Message, key: &str) -> Result<(), Problem> {
    check_body(&message.body)?;
    check::media(&message.media)?;
    if key.is_empty() { Ok(()) } else { check::key(key) }
}

/// How deep arrays and objects are in each other. The text is JSON already.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut text, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if text => escaped = true,
            b'"' => text = !text,
            b'[' | b'{' if !text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Id;

    fn message(offset: u64) -> Message {
        Message {
            id: Id(offset as i64),
            channel: Id(1),
            offset,
            sender: Id(2),
            key: "k".to_owned(),
            body: RawValue::from_string("null".to_owned()).unwrap(),
            media: String::new(),
            created_at: 0,
            edited_at: 0,
            deleted_at: 0,
        }
    }

    /// A store: messages at these offsets, the top, the last change.
    struct Model {
        offsets: Vec<u64>,
        position: Position,
    }

    impl Model {
        fn ask(&self, from: From, limit: usize) -> (Page, Standing) {
            let messages: Vec<Message> = match from {
                From::End => self.offsets.iter().rev().copied().take(limit).map(message).collect(),
                From::Before(offset) => self
                    .offsets
                    .iter()
                    .rev()
                    .copied()
                    .filter(|o| *o < offset)
                    .take(limit)
                    .map(message)
                    .collect(),
                From::After(offset) => {
                    self.offsets.iter().copied().filter(|o| *o > offset).take(limit).map(message).collect()
                }
            };
            page(from, limit, &self.position, messages)
        }

        /// A message (`true`) or a change takes the next offset.
        fn step(&mut self, message: bool) {
            self.position.top += 1;
            if message {
                self.offsets.push(self.position.top);
            } else {
                self.position.revised = self.position.top;
            }
        }
    }

    fn model(steps: &[bool]) -> Model {
        let mut model = Model { offsets: Vec::new(), position: Position::default() };
        steps.iter().for_each(|step| model.step(*step));
        model
    }

    fn offsets(page: &Page) -> Vec<u64> {
        page.messages.iter().map(|message| message.offset).collect()
    }

    proptest! {
        #[test]
        fn scrolling_up_while_others_write_misses_and_repeats_nothing(
            before in proptest::collection::vec(any::<bool>(), 0..60),
            meanwhile in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 0..5), 0..60),
            limit in 1_usize..8,
        ) {
            let mut model = model(&before);
            let there = model.offsets.clone();
            let (mut page, _) = model.ask(From::End, limit);
            let mut seen = offsets(&page);
            let mut meanwhile = meanwhile.into_iter();
            while let Some(older) = &page.older {
                meanwhile.next().unwrap_or_default().into_iter().for_each(|step| model.step(step));
                let cursor: Cursor = older.parse().unwrap();
                page = model.ask(From::Before(cursor.offset), limit).0;
                seen.extend(offsets(&page));
            }
            seen.reverse();
            prop_assert_eq!(seen, there);
        }

        #[test]
        fn scrolling_down_while_others_write_misses_and_repeats_nothing(
            before in proptest::collection::vec(any::<bool>(), 0..60),
            meanwhile in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 0..5), 0..20),
            limit in 1_usize..8,
        ) {
            let mut model = model(&before);
            let (mut page, _) = model.ask(From::After(0), limit);
            let mut seen = offsets(&page);
            let mut meanwhile = meanwhile.into_iter();
            while let Some(newer) = &page.newer {
                meanwhile.next().unwrap_or_default().into_iter().for_each(|step| model.step(step));
                let cursor: Cursor = newer.parse().unwrap();
                page = model.ask(From::After(cursor.offset), limit).0;
                seen.extend(offsets(&page));
            }
            prop_assert_eq!(seen, model.offsets);
        }

        #[test]
        fn a_closed_page_stays_as_it_is_until_something_is_changed(
            before in proptest::collection::vec(any::<bool>(), 0..40),
            posts in 0_usize..10,
            offset in 0_u64..60,
            after in any::<bool>(),
            limit in 1_usize..8,
        ) {
            let mut model = model(&before);
            let from = if after { From::After(offset) } else { From::Before(offset) };
            let (first, standing) = model.ask(from, limit);
            (0..posts).for_each(|_| model.step(true));
            let (second, later) = model.ask(from, limit);
            if standing.closed {
                prop_assert_eq!(standing, later);
                prop_assert_eq!(offsets(&first), offsets(&second));
                prop_assert_eq!((&first.older, &first.newer), (&second.older, &second.newer));
            }
        }
    }

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        for text in ["0", "17", "17.0", "17.16", "9223372036854775807.1"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        for text in
            ["", ".", "1.", ".1", "-1", "+1", "1.2.3", "a", "9223372036854775808", "1.9223372036854775808"]
        {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }

    #[test]
    fn depth_counts_brackets_outside_of_texts() {
        for (json, expected) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a": [1, {"b": 2}], "c": []}"#, 3),
            (r#""[[[""#, 0),
            (r#"["\"[["]"#, 1),
        ] {
            assert_eq!(depth(json), expected, "{json}");
        }
        let deep = |depth: usize| RawValue::from_string("[".repeat(depth) + &"]".repeat(depth)).unwrap();
        assert!(check_body(&deep(MESSAGE_DEPTH_MAX)).is_ok());
        assert_eq!(check_body(&deep(MESSAGE_DEPTH_MAX + 1)).unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn a_body_has_a_bound() {
        let body = |bytes: usize| RawValue::from_string(format!("\"{}\"", "x".repeat(bytes - 2))).unwrap();
        assert!(check_body(&body(MESSAGE_BYTES_MAX)).is_ok());
        assert_eq!(check_body(&body(MESSAGE_BYTES_MAX + 1)).unwrap_err().kind(), Kind::TooLarge);
    }
}
