//! One HTTP/1.1 request with its body, judged by the listener's rules.

use std::borrow::Cow;

use httparse::{EMPTY_HEADER, Header, Request as Head};

use super::Service;
use crate::upgrade::{
    Refusal, Rules,
    fields::{elements, has, is_token, single},
    limits::{HEAD_BYTES_MAX, HEADERS_MAX},
    request::{head, host, origin, target},
};

/// How far the bytes of a request got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read<'a> {
    /// Nothing wrong so far.
    Incomplete {
        /// Bytes there must be before it is worth while to look again.
        needed: usize,
        /// The client waits for a word before it sends the body (RFC 9110 §10.1.1).
        expects: bool,
    },
    /// All of it.
    Complete(Request<'a>),
}

/// A request that is served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// Its length; what follows is another request.
    pub consumed: usize,
    /// What it is about.
    pub service: Service,
    /// What it asks.
    pub asked: Asked<'a>,
    /// The page it comes from, which may read the response.
    pub origin: Option<&'a [u8]>,
    /// The client sends no other request on this connection.
    pub last: bool,
}

/// See [`Request::asked`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked<'a> {
    /// A browser's question whether a page may ask.
    Preflight {
        /// Names of the fields the page would send; empty when none.
        fields: &'a [u8],
    },
    /// Commands, or what carries them.
    Message {
        /// From the body, or from the query.
        bytes: Cow<'a, [u8]>,
        /// Protobuf, by its media type.
        binary: bool,
    },
}

/// The service that the first line of a request asks for; `None` while it is not complete, or when it asks for none of them.
pub fn service(bytes: &[u8], rules: &Rules) -> Option<Service> {
    let (path, _) = first_line(bytes)?;
    rules.transports.at(path).map(|(service, _)| service)
}

/// The `connect` request in the query of the first line.
pub fn connect_of(bytes: &[u8]) -> Option<Vec<u8>> {
    connect_in(first_line(bytes)?.1)
}

/// Reads a request for a service from all that has arrived.
pub fn request<'a>(bytes: &'a [u8], rules: &Rules) -> Result<Read<'a>, Refusal> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = Head::new(&mut headers);
    let Some(body) = head(bytes, &mut parsed)? else {
        return Ok(Read::Incomplete { needed: bytes.len() + 1, expects: false });
    };
    let headers = &*parsed.headers;
    host(headers)?;
    let (path, query) = target(parsed.path.unwrap_or_default())?;
    let (service, endpoint) = rules.transports.at(path).ok_or(Refusal::Path)?;
    let origin = origin(headers, rules)?;
    let length = length(headers)?;
    if length.is_some_and(|length| length > endpoint.body_bytes_max as u64) {
        return Err(Refusal::BodyTooLarge);
    }
    let last = has(headers, "Connection", "close");
    // Fits: bounded above by the endpoint.
    let end = body + length.unwrap_or(0) as usize;
    let complete = |asked| Ok(Read::Complete(Request { consumed: end, service, asked, origin, last }));
    match parsed.method.unwrap_or_default() {
        "OPTIONS" if end == body => complete(Asked::Preflight { fields: wanted_fields(headers)? }),
        "GET" if service == Service::Sse && end == body => {
            let bytes = connect_in(query).ok_or(Refusal::Commands)?;
            complete(Asked::Message { bytes: Cow::Owned(bytes), binary: false })
        }
        "POST" if length.is_none() => Err(Refusal::Length),
        "POST" if bytes.len() < end => {
            Ok(Read::Incomplete { needed: end, expects: has(headers, "Expect", "100-continue") })
        }
        "POST" => {
            let binary = is_binary(headers) && service != Service::Sse;
            complete(Asked::Message { bytes: Cow::Borrowed(&bytes[body..end]), binary })
        }
        "OPTIONS" | "GET" if end > body => Err(Refusal::Malformed),
        _ => Err(Refusal::NotAllowed { allow: service.methods() }),
    }
}

/// Path and query of the first line, if that is complete.
fn first_line(bytes: &[u8]) -> Option<(&str, &str)> {
    let bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let end = bytes.iter().position(|byte| *byte == b'\r')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    target(line.split(' ').nth(1)?).ok()
}

/// The body's length (RFC 9112 §6.3), strict: one field of digits, and no other coding of the body, which a program in between
/// could read as another end of the request.
fn length(headers: &[Header<'_>]) -> Result<Option<u64>, Refusal> {
    let coded = single(headers, "Transfer-Encoding") != Ok(None);
    let length = single(headers, "Content-Length").map_err(|_| Refusal::Malformed)?;
    match length {
        None if coded => Err(Refusal::Length),
        None => Ok(None),
        Some(_) if coded => Err(Refusal::Malformed),
        Some(digits) if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) => {
            Err(Refusal::Malformed)
        }
        Some(digits) => {
            let text = std::str::from_utf8(digits).map_err(|_| Refusal::Malformed)?;
            text.parse().map(Some).map_err(|_| Refusal::BodyTooLarge)
        }
    }
}

fn is_binary(headers: &[Header<'_>]) -> bool {
    let kind = single(headers, "Content-Type").ok().flatten().unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"application/octet-stream")
}

/// What a page would send, to be allowed as it was asked.
fn wanted_fields<'a>(headers: &[Header<'a>]) -> Result<&'a [u8], Refusal> {
    const NAME: &str = "Access-Control-Request-Headers";
    let wanted = single(headers, NAME).map_err(|_| Refusal::Malformed)?.unwrap_or_default();
    if elements(headers, NAME).all(is_token) { Ok(wanted) } else { Err(Refusal::Malformed) }
}

/// The value of `cf_connect`, as forms are encoded; `None` when there is none, or it is broken or empty.
fn connect_in(query: &str) -> Option<Vec<u8>> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("cf_connect="))?;
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                (high << 4 | low) as u8
            }
            byte => byte,
        });
    }
    (!decoded.is_empty()).then_some(decoded)
}
