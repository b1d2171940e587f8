//! What clients without WebSocket write, and what they make of the responses: heads, chunks, lines, events. Strict: whatever a server
//! may not say is an error that names it.

use std::collections::VecDeque;

use protocol::{
    client::encoding::Encoding,
    http::{EMULATION_PATH, HTTP_STREAM_PATH, POLL_PATH, SSE_PATH},
};
use serde_json::json;

use super::{random::Random, wire::Word};

/// The page that some clients are.
pub(super) const ORIGIN: &str = "https://app.sim.invalid";

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Service {
    /// A session over a stream.
    Stream,
    /// The same over events.
    Sse,
    /// A session that ends with its first news.
    Poll,
    /// Commands for a session elsewhere.
    Emulation,
    /// A page's question whether it may.
    Preflight,
}

/// The responses of one connection.
#[derive(Debug, Default)]
pub(super) struct Responses {
    /// To requests that have no whole response yet, with what must be allowed.
    owed: VecDeque<Expected>,
    state: State,
    body: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Expected {
    service: Service,
    encoding: Encoding,
    page: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Head,
    /// Bytes that the response still has.
    Length(usize),
    /// Chunks follow.
    Chunks,
}

impl Responses {
    /// Appends a request, whose response is expected after those to the ones before.
    pub(super) fn request(
        &mut self,
        service: Service,
        encoding: Encoding,
        body: &[u8],
        random: &mut Random,
        out: &mut Vec<u8>,
    ) {
        let path = match service {
            Service::Stream => HTTP_STREAM_PATH,
            Service::Sse => SSE_PATH,
            Service::Poll => POLL_PATH,
            Service::Emulation | Service::Preflight => EMULATION_PATH,
        };
        let page = service == Service::Preflight || random.chance(500);
        self.owed.push_back(Expected { service, encoding, page });
        let method = match service {
            Service::Preflight => format!("OPTIONS {path}"),
            Service::Sse if random.chance(600) => format!("GET {path}?cf_connect={}", escaped(body)),
            _ => format!("POST {path}"),
        };
        let mut head = format!("{method} HTTP/1.1\r\nHost: sim.invalid\r\n");
        if page {
            head += &format!("Origin: {ORIGIN}\r\n");
        }
        if service == Service::Preflight {
            head += "Access-Control-Request-Method: POST\r\n";
        }
        let posts = method.starts_with("POST");
        if posts {
            let kind =
                if encoding == Encoding::Json { "application/json" } else { "application/octet-stream" };
            head += &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        }
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(b"\r\n");
        if posts {
            out.extend_from_slice(body);
        }
    }

    /// Takes what is whole of the front of `plain`.
    pub(super) fn read(&mut self, plain: &mut Vec<u8>, words: &mut Vec<Word>) -> Result<(), String> {
        let mut at = 0;
        while let Some(taken) = self.part(&plain[at..], words)? {
            at += taken;
        }
        plain.drain(..at);
        Ok(())
    }

    /// The length of the next part, if it is there.
    fn part(&mut self, bytes: &[u8], words: &mut Vec<Word>) -> Result<Option<usize>, String> {
        match self.state {
            State::Head if bytes.is_empty() => Ok(None),
            State::Head => {
                let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
                let text = str::from_utf8(&bytes[..end + 2]).map_err(|_| "a head that is no text")?;
                self.head(text, words).map_err(|crime| format!("a response: {crime} in {text:?}"))?;
                Ok(Some(end + 4))
            }
            State::Length(length) if bytes.len() < length => Ok(None),
            State::Length(length) => {
                self.end(words)?;
                Ok(Some(length))
            }
            State::Chunks => {
                let Some(line) = find(bytes, b"\r\n") else { return Ok(None) };
                let digits = str::from_utf8(&bytes[..line]).unwrap_or_default();
                let length = usize::from_str_radix(digits, 16).map_err(|_| "a chunk without a length")?;
                let end = line + 2 + length;
                let Some(behind) = bytes.get(end..end + 2) else { return Ok(None) };
                if behind != b"\r\n" {
                    return Err("a chunk that is longer than it says".to_owned());
                }
                self.body.extend_from_slice(&bytes[line + 2..end]);
                self.messages(words)?;
                if length == 0 {
                    self.end(words)?;
                }
                Ok(Some(end + 2))
            }
        }
    }

    fn head(&mut self, text: &str, words: &mut Vec<Word>) -> Result<(), String> {
        let expected = *self.owed.front().ok_or("nobody asked")?;
        let mut lines = text.split("\r\n");
        let status =
            lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse::<u16>().ok());
        let status = status.ok_or("no status")?;
        let field = |name: &str| {
            text.split("\r\n").skip(1).find_map(|line| {
                let (known, value) = line.split_once(": ")?;
                known.eq_ignore_ascii_case(name).then_some(value)
            })
        };
        if expected.page
            && matches!(status, 200 | 204)
            && field("Access-Control-Allow-Origin") != Some(ORIGIN)
        {
            return Err("a page may not read it".to_owned());
        }
        let length = field("Content-Length").map(str::parse::<usize>);
        self.state = match (field("Transfer-Encoding"), length) {
            (Some("chunked"), None) => State::Chunks,
            (None, Some(Ok(length))) => State::Length(length),
            (None, None) if status == 204 => State::Length(0),
            _ => return Err("no length".to_owned()),
        };
        let wanted = match (expected.service, expected.encoding) {
            (Service::Sse, _) => "text/event-stream; charset=utf-8",
            (_, Encoding::Json) => "application/json",
            (_, Encoding::Protobuf) => "application/octet-stream",
        };
        if status == 200 && (field("Content-Type") != Some(wanted) || self.state != State::Chunks) {
            return Err(format!("not {wanted}"));
        }
        words.push(Word::Head { status, last: field("Connection") == Some("close") });
        Ok(())
    }

    fn end(&mut self, words: &mut Vec<Word>) -> Result<(), String> {
        self.state = State::Head;
        self.owed.pop_front();
        words.push(Word::Last);
        if self.body.is_empty() { Ok(()) } else { Err("a response ends inside a message".to_owned()) }
    }

    /// Gives out the messages of the body that are whole.
    fn messages(&mut self, words: &mut Vec<Word>) -> Result<(), String> {
        let Some(Expected { service, encoding, .. }) = self.owed.front().copied() else { return Ok(()) };
        let whole = match (service, encoding) {
            (Service::Sse, _) => {
                while let Some(end) = find(&self.body, b"\n\n") {
                    let event: Vec<u8> = self.body.drain(..end + 2).collect();
                    words.push(Word::Message(data(&event[..end])?));
                }
                return Ok(());
            }
            (_, Encoding::Json) => self.body.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1),
            (_, Encoding::Protobuf) => delimited(&self.body),
        };
        if whole > 0 {
            words.push(Word::Message(self.body.drain(..whole).collect()));
        }
        Ok(())
    }
}

/// A body of [`Service::Emulation`].
pub(super) fn emulation(encoding: Encoding, node: &str, session: &str, commands: &[u8]) -> Vec<u8> {
    if encoding == Encoding::Json {
        let data = String::from_utf8_lossy(commands);
        return json!({ "session": session, "node": node, "data": data }).to_string().into_bytes();
    }
    let mut body = Vec::new();
    for (number, field) in [(1, node.as_bytes()), (2, session.as_bytes()), (3, commands)] {
        body.push(number << 3 | 2);
        let mut length = field.len();
        while length >= 0x80 {
            body.push(length as u8 | 0x80);
            length >>= 7;
        }
        body.push(length as u8);
        body.extend_from_slice(field);
    }
    body
}

/// What an event says (the rules of `EventSource`, without what this server has no use for).
fn data(event: &[u8]) -> Result<Vec<u8>, String> {
    let lines = event.split(|byte| *byte == b'\n').map(|line| line.strip_prefix(b"data: "));
    let lines: Option<Vec<&[u8]>> = lines.collect();
    lines.map(|lines| lines.join(&b'\n')).ok_or_else(|| format!("an event like {}", event.escape_ascii()))
}

/// Bytes of the messages behind their lengths that are whole.
fn delimited(body: &[u8]) -> usize {
    let mut whole = 0;
    loop {
        let mut length = 0_usize;
        let mut digits = 0;
        for byte in &body[whole..] {
            length |= usize::from(byte & 0x7f) << (7 * digits).min(56);
            digits += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let complete = digits > 0 && body[whole + digits - 1] & 0x80 == 0;
        match whole.checked_add(digits).and_then(|start| start.checked_add(length)) {
            Some(end) if complete && end <= body.len() => whole = end,
            _ => return whole,
        }
    }
}

/// As forms are encoded.
fn escaped(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(*byte).to_string(),
            b' ' => "+".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
