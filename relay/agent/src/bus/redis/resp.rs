//! RESP3 as a subscriber connection hears it: what is whole in the bytes that came, borrowed from them.
//!
//! Owns reading; a message costs no allocation. Never keeps anything.

use std::ops::Range;

use super::limits::REPLY_BYTES_MAX;

/// Bytes that are no RESP3, or more of it than we take. The connection cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value<'a> {
    /// A simple, bulk or verbatim string.
    Text(&'a [u8]),
    Error(&'a [u8]),
    Number(i64),
    Null,
    /// An array, a set, or a map with keys and values in turn.
    List(Vec<Self>),
    Push(Vec<Self>),
    /// A number with a fraction, a truth: nobody here asks for them.
    Other,
}

/// A message that is whole: where its topic and its payload are, and where it ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Message {
    pub(super) topic: Range<usize>,
    pub(super) payload: Range<usize>,
    pub(super) end: usize,
}

/// Nested values deeper than this are no reply to anything we ask.
const DEPTH_MAX: usize = 6;

/// The message at `at`; `None` when something else is there, or it is not whole.
pub(super) fn message(bytes: &[u8], at: usize) -> Option<Message> {
    const HEADS: [&[u8]; 2] = [b">3\r\n$7\r\nmessage\r\n", b">3\r\n$8\r\nsmessage\r\n"];
    let rest = bytes.get(at..)?;
    let head = HEADS.iter().find(|head| rest.starts_with(head))?;
    let (topic, after) = bulk(bytes, at + head.len())?;
    let (payload, end) = bulk(bytes, after)?;
    Some(Message { topic, payload, end })
}

/// The bulk string at `at`, whole, and where it ends.
fn bulk(bytes: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    if *bytes.get(at)? != b'$' {
        return None;
    }
    let mut length = 0_usize;
    let mut digits = at + 1;
    loop {
        match *bytes.get(digits)? {
            digit @ b'0'..=b'9' => length = length.checked_mul(10)?.checked_add(usize::from(digit - b'0'))?,
            b'\r' => break,
            _ => return None,
        }
        digits += 1;
    }
    let start = digits + 2;
    let end = start.checked_add(length)?;
    (bytes.len() >= end.checked_add(2)?).then_some((start..end, end + 2))
}

/// The value at the beginning of `bytes` and its length; `None` when it is not whole.
pub(super) fn value(bytes: &[u8]) -> Result<Option<(Value<'_>, usize)>, Malformed> {
    let mut at = 0;
    match read(bytes, &mut at, 0) {
        Ok(value) => Ok(Some((value, at))),
        Err(Stop::Malformed) => Err(Malformed),
        Err(Stop::Partial) if bytes.len() > REPLY_BYTES_MAX => Err(Malformed),
        Err(Stop::Partial) => Ok(None),
    }
}

enum Stop {
    Partial,
    Malformed,
}

fn read<'a>(bytes: &'a [u8], at: &mut usize, depth: usize) -> Result<Value<'a>, Stop> {
    let (kind, line) = line(bytes, at)?;
    match kind {
        b'+' => Ok(Value::Text(line)),
        b'-' => Ok(Value::Error(line)),
        b':' => Ok(Value::Number(number(line)?)),
        b'_' => Ok(Value::Null),
        b',' | b'#' | b'(' => Ok(Value::Other),
        b'$' | b'=' | b'!' => {
            let length = number(line)?;
            let Ok(length) = usize::try_from(length) else { return Ok(Value::Null) };
            if length > REPLY_BYTES_MAX {
                return Err(Stop::Malformed);
            }
            let text = bytes.get(*at..*at + length).ok_or(Stop::Partial)?;
            if bytes.len() < *at + length + 2 {
                return Err(Stop::Partial);
            }
            *at += length + 2;
            Ok(match kind {
                // Verbatim: three letters and a colon say what kind of text it is.
                b'=' => Value::Text(text.get(4..).unwrap_or_default()),
                b'!' => Value::Error(text),
                _ => Value::Text(text),
            })
        }
        b'*' | b'~' | b'>' | b'%' | b'|' => {
            let count = number(line)?;
            let Ok(count) = usize::try_from(count) else { return Ok(Value::Null) };
            let count = if matches!(kind, b'%' | b'|') { count.saturating_mul(2) } else { count };
            if depth >= DEPTH_MAX || count > REPLY_BYTES_MAX {
                return Err(Stop::Malformed);
            }
            // A count is no promise: no more room than what can be there.
            let mut items = Vec::with_capacity(count.min(bytes.len() - *at));
            for _ in 0..count {
                items.push(read(bytes, at, depth + 1)?);
            }
            Ok(match kind {
                b'>' => Value::Push(items),
                // Attributes stand before the value that they are of.
                b'|' => read(bytes, at, depth + 1)?,
                _ => Value::List(items),
            })
        }
        _ => Err(Stop::Malformed),
    }
}

/// The kind of the value at `at` and the rest of its first line; `at` moves behind it.
fn line<'a>(bytes: &'a [u8], at: &mut usize) -> Result<(u8, &'a [u8]), Stop> {
    let rest = &bytes[*at..];
    let (kind, rest) = rest.split_first().ok_or(Stop::Partial)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Stop::Partial)?;
    *at += 1 + end + 2;
    Ok((*kind, &rest[..end]))
}

fn number(line: &[u8]) -> Result<i64, Stop> {
    str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(Stop::Malformed)
}

/// Appends a command.
pub(super) fn command(words: &[&[u8]], out: &mut Vec<u8>) {
    head(words.len(), out);
    words.iter().for_each(|word| argument(word, out));
}

/// Appends the beginning of a command of so many words.
pub(super) fn head(words: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{words}\r\n").as_bytes());
}

/// Appends one word.
pub(super) fn argument(word: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b">3\r\n$7\r\nmessage\r\n$3\r\na:b\r\n$4\r\n\r\n\x00x\r\n";

    #[test]
    fn a_message_is_found_when_it_is_whole() {
        let bytes = [b"+OK\r\n", MESSAGE, MESSAGE].concat();
        let found = message(&bytes, 5).unwrap();
        assert_eq!((&bytes[found.topic], &bytes[found.payload]), (&b"a:b"[..], &b"\r\n\x00x"[..]));
        assert_eq!(message(&bytes, found.end).unwrap().end, bytes.len());
        for cut in 0..MESSAGE.len() {
            assert_eq!(message(&MESSAGE[..cut], 0), None);
            assert_eq!(value(&MESSAGE[..cut]), Ok(None), "{cut}");
        }
        let (read, length) = value(MESSAGE).unwrap().unwrap();
        assert_eq!(length, MESSAGE.len());
        assert_eq!(
            read,
            Value::Push(vec![Value::Text(b"message"), Value::Text(b"a:b"), Value::Text(b"\r\n\x00x")])
        );
    }

    #[test]
    fn every_kind_of_reply_is_read() {
        let read = |bytes: &'static [u8]| value(bytes).unwrap().unwrap().0;
        assert_eq!(read(b"-ERR no\r\n"), Value::Error(b"ERR no"));
        assert_eq!(read(b"%1\r\n+a\r\n:-2\r\n"), Value::List(vec![Value::Text(b"a"), Value::Number(-2)]));
        assert_eq!(read(b"=7\r\ntxt:abc\r\n"), Value::Text(b"abc"));
        assert_eq!(read(b"|1\r\n+k\r\n+v\r\n_\r\n"), Value::Null);
        assert_eq!(read(b"$-1\r\n"), Value::Null);
        assert_eq!(value(b"?x\r\n"), Err(Malformed));
        assert_eq!(value(b"$99999999999\r\n"), Err(Malformed));
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes: Vec<u8>, at in 0..20_usize) {
            let _ = (value(&bytes), message(&bytes, at));
        }
    }
}
