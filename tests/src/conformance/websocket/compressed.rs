//! Groups 12 and 13: messages compressed by permessage-deflate (RFC 7692), of several kinds, sizes and fragments, after several offers.
//!
//! Autobahn cuts its messages from files; these are cut from data of the same five kinds and about the same lengths, made here. It
//! sends a thousand messages in each case, so that the longest take gigabytes; here a case ends after some megabytes.

use std::rc::Rc;

use super::{Case, End, Step};

/// Messages of each case, unless [`BYTES_MAX`] is less.
const MESSAGES: usize = 1000;
/// Bytes of all messages of a case.
const BYTES_MAX: usize = 4 << 20;

/// Length of a message, and of the frames that it is sent in; 0 for all in one.
const SIZES: [(usize, usize); 18] = [
    (16, 0),
    (64, 0),
    (256, 0),
    (1024, 0),
    (4096, 0),
    (8192, 0),
    (16_384, 0),
    (32_768, 0),
    (65_536, 0),
    (131_072, 0),
    (8192, 256),
    (16_384, 256),
    (32_768, 256),
    (65_536, 256),
    (131_072, 256),
    (131_072, 1024),
    (131_072, 4096),
    (131_072, 32_768),
];

/// What Autobahn's client offers unless told otherwise.
const OFFER: &str = "permessage-deflate; client_no_context_takeover; client_max_window_bits";
/// What it adds in the cases of group 13, where several offers are separated by `|`.
const OFFERS: [&str; 7] = [
    "",
    "; server_no_context_takeover",
    "; server_max_window_bits=8",
    "; server_max_window_bits=15",
    "; server_no_context_takeover; server_max_window_bits=8",
    "; server_no_context_takeover; server_max_window_bits=15",
    "; server_no_context_takeover; server_max_window_bits=8|; server_no_context_takeover|",
];

/// What messages are cut from.
enum Source {
    /// Cut between characters.
    Text(Vec<char>),
    Binary(Vec<u8>),
}

/// Messages, one after the other from a source that is a circle.
#[derive(Clone)]
pub(super) struct Messages {
    source: Rc<Source>,
    length: usize,
    /// Payload bytes of each frame; 0 for any number.
    pub(super) fragment: usize,
    pub(super) count: usize,
}

impl Messages {
    /// One of them, and whether it is text.
    pub(super) fn message(&self, number: usize) -> (bool, Vec<u8>) {
        let cut = |total: usize| {
            let from = number * self.length % total;
            let end = from + self.length;
            (from..end.min(total), 0..end.saturating_sub(total))
        };
        match &*self.source {
            Source::Text(all) => {
                let (one, two) = cut(all.len());
                (true, all[one].iter().chain(&all[two]).collect::<String>().into_bytes())
            }
            Source::Binary(all) => {
                let (one, two) = cut(all.len());
                (false, [&all[one], &all[two]].concat())
            }
        }
    }
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} messages of {} in frames of {}", self.count, self.length, self.fragment)
    }
}

/// Every case of both groups.
pub(super) fn cases() -> Vec<Case> {
    let json = Rc::new(Source::Text(json().chars().collect()));
    let sources = [
        Rc::clone(&json),
        Rc::new(Source::Binary(image())),
        Rc::new(Source::Binary(prose().into_bytes())),
        Rc::new(Source::Text(page().chars().collect())),
        Rc::new(Source::Binary(document())),
    ];
    let mut cases = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        cases.extend(sizes(&format!("12.{}", index + 1), OFFER, source));
    }
    for (index, more) in OFFERS.iter().enumerate() {
        let offers: Vec<String> = more.split('|').map(|more| format!("{OFFER}{more}")).collect();
        cases.extend(sizes(&format!("13.{}", index + 1), &offers.join(", "), &json));
    }
    cases
}

fn sizes(group: &str, offer: &str, source: &Rc<Source>) -> Vec<Case> {
    let case = |(index, (length, fragment)): (usize, (usize, usize))| {
        let count = MESSAGES.min(BYTES_MAX / length);
        let messages = Messages { source: Rc::clone(source), length, fragment, count };
        Case {
            name: format!("{group}.{}", index + 1),
            offer: Some(offer.to_owned()),
            steps: vec![Step::Exchange(messages)],
            strict: Vec::new(),
            lenient: None,
            end: End::ByClient,
            informational: false,
        }
    };
    SIZES.into_iter().enumerate().map(case).collect()
}

/// Numbers that look drawn, the same every time.
fn draws() -> impl FnMut(usize) -> usize {
    let mut state = 1u64;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}

fn json() -> String {
    let mut draw = draws();
    let row = |id| {
        let (a, b) = (draw(1_000_000), draw(1000));
        format!(
            "{{\"id\":{id},\"value\":{a}.{b},\"name\":\"Zoë {a:x}\",\"tags\":[\"κόσμε\",\"{b}\"],\"on\":{}}}",
            b > 500
        )
    };
    let rows: Vec<String> = (0..2200).map(row).collect();
    format!("[{}]", rows.join(","))
}

/// 512 by 512 shades of grey, near ones alike.
fn image() -> Vec<u8> {
    let mut draw = draws();
    let mut shade = |at: usize| ((at / 512 + at % 512) / 5 + draw(5)) as u8;
    (0..512 * 512).map(&mut shade).collect()
}

fn prose() -> String {
    const WORDS: &str =
        "ach und was ihr nicht begreift das fehlt euch ganz und gar verweile doch du bist so schön";
    let words: Vec<&str> = WORDS.split(' ').collect();
    let mut draw = draws();
    let line = |_| (0..8).map(|_| words[draw(words.len())]).collect::<Vec<_>>().join(" ");
    (0..5600).map(line).collect::<Vec<_>>().join(",\r\n")
}

fn page() -> String {
    let item = |line: (usize, &str)| {
        format!("<li class=\"line\"><a href=\"#n{0}\">{0}</a> {1}</li>\n", line.0, line.1)
    };
    let items: String = prose().lines().enumerate().take(3000).map(item).collect();
    format!("<!doctype html><title>‘Verses’</title><ul>{items}</ul>")
}

/// Some text, and much that cannot be made shorter.
fn document() -> Vec<u8> {
    let mut draw = draws();
    let mut out = Vec::new();
    for number in 0..250 {
        out.extend(format!("{number} 0 obj\n<< /Length 4000 /Filter /FlateDecode >>\nstream\n").bytes());
        out.extend((0..4000).map(|_| draw(256) as u8));
        out.extend(b"\nendstream\nendobj\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_round_their_source_and_keep_their_length() {
        let source = Rc::new(Source::Text("aβc".chars().collect()));
        let messages = Messages { source, length: 2, fragment: 0, count: 3 };
        let all: Vec<_> = (0..3).map(|number| messages.message(number).1).collect();
        assert_eq!(all, ["aβ", "ca", "βc"].map(|text| text.as_bytes().to_vec()));
    }

    #[test]
    fn there_are_eighteen_cases_for_each_kind_and_offer() {
        let cases = cases();
        assert_eq!(cases.len(), 18 * (5 + 7));
        for case in &cases {
            let [Step::Exchange(messages)] = &case.steps[..] else { panic!("{case:?}") };
            let longest = match &*messages.source {
                Source::Text(all) => all.len(),
                Source::Binary(all) => all.len(),
            };
            assert!(longest > 131_072, "{}: {longest}", case.name);
        }
    }
}
