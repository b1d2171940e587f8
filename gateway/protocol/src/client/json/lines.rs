//! Splits a message into documents and bounds their nesting.

use crate::client::limits::JSON_DEPTH_MAX;

/// The documents of a message: its lines without surrounding white space, empty ones left out. A trailing newline is allowed.
#[derive(Clone, Debug)]
pub(super) struct Lines<'a>(&'a str);

impl<'a> Lines<'a> {
    /// `None` when the message is not UTF-8.
    pub(super) fn new(message: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(message).ok().map(Self)
    }

    /// What has not been read, without surrounding white space.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0.as_bytes().trim_ascii()
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        while !self.0.is_empty() {
            let (line, rest) = self.0.split_once('\n').unwrap_or((self.0, ""));
            self.0 = rest;
            let line = line.trim_ascii();
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    }
}

/// Whether more brackets are open at once than [`JSON_DEPTH_MAX`]. Exact for valid JSON.
pub(super) fn deep(document: &str) -> bool {
    let brackets = document.bytes().filter(|b| matches!(b, b'{' | b'[')).count();
    brackets > JSON_DEPTH_MAX && depth(document.as_bytes()) > JSON_DEPTH_MAX
}

fn depth(document: &[u8]) -> usize {
    let (mut open, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for &byte in document {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' if !quoted => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(message: &str) -> Vec<&str> {
        Lines::new(message.as_bytes()).unwrap().collect()
    }

    #[test]
    fn each_line_is_a_document_and_empty_lines_are_none() {
        assert_eq!(lines("{}\n[]"), ["{}", "[]"]);
        assert_eq!(lines("\n\r\n {} \r\n\n"), ["{}"]);
        assert_eq!(lines(" \n\t"), [""; 0]);
        assert!(Lines::new(b"\xff").is_none());
    }

    #[test]
    fn depth_counts_open_brackets_outside_strings() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(!deep(&nested(JSON_DEPTH_MAX)));
        assert!(deep(&nested(JSON_DEPTH_MAX + 1)));
        assert!(!deep(&format!("[{}1]", "[],".repeat(1000))));
        assert!(!deep(&format!(r#"["\"{}\\"]"#, "[".repeat(1000))));
        assert!(deep(&"[".repeat(JSON_DEPTH_MAX + 1)));
    }
}
