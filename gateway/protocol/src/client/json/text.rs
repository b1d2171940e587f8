//! Writes JSON straight into a buffer. What is empty, zero or false is left out unless said otherwise.

use base64::{Engine, engine::general_purpose::STANDARD};
use wire::ClientId;

use super::check::is_json;

/// A member name as it stands in a document, colon included.
macro_rules! key {
    ($name:literal) => {
        concat!("\"", $name, "\":")
    };
}
pub(super) use key;

/// An open object. Each member leaves a comma behind, which the closing bracket replaces.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
}

/// Appends one document.
pub(super) fn document(out: &mut Vec<u8>, write: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    write(&mut Object { out });
    close(out, b'}');
}

impl Object<'_> {
    pub(super) fn object(&mut self, key: &str, write: impl FnOnce(&mut Object<'_>)) {
        self.name(key);
        document(self.out, write);
        self.out.push(b',');
    }

    /// A member whose name is data.
    pub(super) fn entry(&mut self, name: &str, write: impl FnOnce(&mut Object<'_>)) {
        string(self.out, name);
        self.object(":", write);
    }

    /// A member whose name is a session's id.
    pub(super) fn client_entry(&mut self, client: ClientId, write: impl FnOnce(&mut Object<'_>)) {
        self.out.push(b'"');
        self.out.extend_from_slice(&client.text());
        self.object("\":", write);
    }

    pub(super) fn list<T>(&mut self, key: &str, items: &[T], mut write: impl FnMut(&mut Object<'_>, &T)) {
        if items.is_empty() {
            return;
        }
        self.name(key);
        self.out.push(b'[');
        for item in items {
            document(self.out, |object| write(object, item));
            self.out.push(b',');
        }
        close(self.out, b']');
        self.out.push(b',');
    }

    /// A member whose name and value are data.
    pub(super) fn pair(&mut self, name: &str, value: &str) {
        string(self.out, name);
        self.text_always(":", value);
    }

    pub(super) fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.text_always(key, text);
        }
    }

    pub(super) fn text_always(&mut self, key: &str, text: &str) {
        self.name(key);
        string(self.out, text);
        self.out.push(b',');
    }

    pub(super) fn client(&mut self, key: &str, client: ClientId) {
        self.name(key);
        self.out.push(b'"');
        self.out.extend_from_slice(&client.text());
        self.out.extend_from_slice(b"\",");
    }

    /// A value that is JSON already. Newlines, which in JSON can only stand between tokens, are dropped: in this encoding a
    /// newline ends the document.
    pub(super) fn raw(&mut self, key: &str, json: &[u8]) {
        if json.is_empty() {
            return;
        }
        self.name(key);
        if json.contains(&b'\n') {
            self.out.extend(json.iter().filter(|&&byte| byte != b'\n'));
        } else {
            self.out.extend_from_slice(json);
        }
        self.out.push(b',');
    }

    /// What somebody published, who may not have written JSON: then it goes into a string as base64 (RFC 4648 §4).
    pub(super) fn payload(&mut self, key: &str, bytes: &[u8]) {
        if bytes.is_empty() || is_json(bytes) {
            self.raw(key, bytes);
        } else {
            self.text_always(key, &STANDARD.encode(bytes));
        }
    }

    /// The same document in a string: what is not JSON is a string in it.
    pub(super) fn quoted_payload(&mut self, key: &str, bytes: &[u8]) {
        if bytes.is_empty() || is_json(bytes) {
            self.quoted(key, bytes);
        } else {
            self.text_always(key, &format!("\"{}\"", STANDARD.encode(bytes)));
        }
    }

    /// A value that is not JSON, in a string: at best UTF-8.
    pub(super) fn quoted(&mut self, key: &str, bytes: &[u8]) {
        self.text_always(key, &String::from_utf8_lossy(bytes));
    }

    pub(super) fn number(&mut self, key: &str, value: u64) {
        if value != 0 {
            self.name(key);
            number(self.out, value);
            self.out.push(b',');
        }
    }

    pub(super) fn signed(&mut self, key: &str, value: i64) {
        if value != 0 {
            self.name(key);
            if value < 0 {
                self.out.push(b'-');
            }
            number(self.out, value.unsigned_abs());
            self.out.push(b',');
        }
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.name(key);
            self.out.extend_from_slice(b"true,");
        }
    }

    fn name(&mut self, key: &str) {
        self.out.extend_from_slice(key.as_bytes());
    }
}

fn close(out: &mut Vec<u8>, bracket: u8) {
    match out.last_mut() {
        Some(last) if *last == b',' => *last = bracket,
        _ => out.push(bracket),
    }
}

/// RFC 8259 §7: only quotes, backslashes and control characters have to be escaped.
fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\') {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte if byte < 0x20 => {
                out.extend_from_slice(b"\\u00");
                hex(out, byte);
            }
            byte => out.extend_from_slice(&[b'\\', byte]),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn hex(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]);
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    // u64::MAX has 20 digits.
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_come_back_as_they_were() {
        let all: String = (0..0x80).map(char::from).chain("größe 🦀 \u{2028}".chars()).collect();
        for text in ["", "plain", "\"", "\\", "a\nb", &all] {
            let json = written(|out| string(out, text));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            assert!(!json.contains('\n'));
        }
    }

    #[test]
    fn numbers_have_all_their_digits() {
        for value in [0, 9, 10, 15, 1 << 53, u64::MAX] {
            assert_eq!(written(|out| number(out, value)), value.to_string());
        }
        for value in [i64::MIN, -1, 7] {
            let json = written(|out| document(out, |o| o.signed(key!("n"), value)));
            assert_eq!(json, format!(r#"{{"n":{value}}}"#));
        }
    }

    #[test]
    fn raw_values_lose_their_newlines_and_nothing_else() {
        let json = written(|out| document(out, |o| o.raw(key!("d"), b"{\n \"a\" : \"b\\n\"\r\n}")));
        assert_eq!(json, "{\"d\":{ \"a\" : \"b\\n\"\r}}");
    }

    #[test]
    fn payloads_that_are_not_json_go_as_base64() {
        let too_deep = "[".repeat(200) + &"]".repeat(200);
        for bytes in [&b"\x00\x01"[..], b"{\"a\":}", b"{}{}", b"\"\xff\"", b"nul", b" ", too_deep.as_bytes()]
        {
            let json = written(|out| document(out, |o| o.payload(key!("d"), bytes)));
            assert_eq!(json, format!(r#"{{"d":"{}"}}"#, STANDARD.encode(bytes)));
        }
        for text in ["null", "1e999", " {\"a\":[\"\\ud800\"]} ", "\"\""] {
            let json = written(|out| document(out, |o| o.payload(key!("d"), text.as_bytes())));
            assert_eq!(json, format!(r#"{{"d":{text}}}"#));
        }
        assert_eq!(written(|out| document(out, |o| o.payload(key!("d"), b""))), "{}");
    }

    #[test]
    fn empty_members_are_left_out() {
        let json = written(|out| {
            document(out, |o| {
                o.text(key!("a"), "");
                o.raw(key!("b"), b"");
                o.number(key!("c"), 0);
                o.flag(key!("d"), false);
                o.list(key!("e"), &[0_u8; 0], |_, _| {});
                o.text_always(key!("f"), "");
                o.object(key!("g"), |_| {});
            });
        });
        assert_eq!(json, r#"{"f":"","g":{}}"#);
    }
}
