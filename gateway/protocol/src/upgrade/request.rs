//! The server's side of the opening: one request, judged by RFC 6455 §4.2.1 and the listener's rules.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use httparse::{EMPTY_HEADER, Error, Header, Request, Status};

use super::{
    Asked, Deflate, Parsed, Refusal, Rules, Upgrade, accept,
    fields::{elements, has, is_token, lines_are_strict, single},
    limits::{HEAD_BYTES_MAX, HEADERS_MAX, KEY_BYTES},
    origin::is_authority,
};

/// Some clients leave stray bits after the sixteenth byte; they change nothing.
const KEY_BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Reads a request from all that has arrived. While `Incomplete`, call again with more: the bound on the head bounds how often.
pub fn request(bytes: &[u8], rules: &Rules) -> Result<Parsed<Upgrade>, Refusal> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    let Some(consumed) = head(bytes, &mut request)? else { return Ok(Parsed::Incomplete) };
    let upgrade = judge(&request, rules)?;
    Ok(Parsed::Complete { consumed, head: upgrade })
}

/// Reads a request's head; its length, or `None` while it is incomplete.
pub(crate) fn head<'b>(bytes: &'b [u8], request: &mut Request<'_, 'b>) -> Result<Option<usize>, Refusal> {
    let head = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let consumed = match request.parse(head) {
        Ok(Status::Complete(consumed)) => consumed,
        Ok(Status::Partial) if head.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(Status::Partial) | Err(Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
        Err(Error::Version) => return Err(Refusal::Version),
        Err(_) => return Err(Refusal::Malformed),
    };
    if !lines_are_strict(&head[..consumed]) {
        return Err(Refusal::Malformed);
    }
    if request.version != Some(1) {
        return Err(Refusal::Version);
    }
    Ok(Some(consumed))
}

/// The fields of a request's head that have one of these names (in lower case), each as a line `name: value`.
pub(crate) fn lines(bytes: &[u8], names: &[String]) -> Vec<u8> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    let mut lines = Vec::new();
    if let Ok(Some(_)) = head(bytes, &mut request) {
        for header in &*request.headers {
            if let Some(name) = names.iter().find(|name| header.name.eq_ignore_ascii_case(name)) {
                for part in [name.as_bytes(), b": ", header.value, b"\r\n"] {
                    lines.extend_from_slice(part);
                }
            }
        }
    }
    lines
}

/// The one field that names a host (RFC 9112 §3.2).
pub(crate) fn host(headers: &[Header<'_>]) -> Result<(), Refusal> {
    let host = single(headers, "Host").map_err(|_| Refusal::Host)?.ok_or(Refusal::Host)?;
    if std::str::from_utf8(host).is_ok_and(is_authority) { Ok(()) } else { Err(Refusal::Host) }
}

/// The page that asks, which must be an allowed one; `None` when it is not a page.
pub(crate) fn origin<'a>(headers: &[Header<'a>], rules: &Rules) -> Result<Option<&'a [u8]>, Refusal> {
    let origin = single(headers, "Origin").map_err(|_| Refusal::Malformed)?;
    let allowed = origin.is_none_or(|origin| rules.origins.iter().any(|allowed| allowed.allows(origin)));
    if allowed { Ok(origin) } else { Err(Refusal::Origin) }
}

fn judge(request: &Request<'_, '_>, rules: &Rules) -> Result<Upgrade, Refusal> {
    let headers = &*request.headers;
    if request.method != Some("GET") {
        return Err(Refusal::Method);
    }
    let is_framed = |header: &Header<'_>| {
        header.name.eq_ignore_ascii_case("Content-Length")
            || header.name.eq_ignore_ascii_case("Transfer-Encoding")
    };
    if headers.iter().any(is_framed) {
        return Err(Refusal::Body);
    }
    host(headers)?;
    let (path, query) = target(request.path.unwrap_or_default())?;
    let listens = rules.transports.uni_websocket.as_deref() == Some(path);
    if path != rules.path && !listens {
        return Err(Refusal::Path);
    }
    let accept = websocket(headers)?;
    origin(headers, rules)?;
    let query = Query::read(query);
    // Those who only listen do so in JSON, and need not know of pings.
    let (subprotocol, asked) = if listens { (None, Asked::Nothing) } else { choose(headers, &query, rules)? };
    let deflate = if rules.compression.is_some() && !listens { Deflate::choose(headers)? } else { None };
    Ok(Upgrade { accept, subprotocol, asked, frame_pings: query.frame_pings || listens, listens, deflate })
}

/// The fields of RFC 6455 §4.2.1, 3 to 6; the answer to the key.
fn websocket(headers: &[Header<'_>]) -> Result<[u8; super::ACCEPT_BYTES], Refusal> {
    if !has(headers, "Upgrade", "websocket") || !has(headers, "Connection", "upgrade") {
        return Err(Refusal::NoUpgrade);
    }
    if single(headers, "Sec-WebSocket-Version") != Ok(Some(b"13")) {
        return Err(Refusal::WebSocketVersion);
    }
    let key = single(headers, "Sec-WebSocket-Key").map_err(|_| Refusal::Key)?.ok_or(Refusal::Key)?;
    // Two spare bytes, as the decoder wants room for whole groups.
    let mut nonce = [0; KEY_BYTES + 2];
    match KEY_BASE64.decode_slice(key, &mut nonce) {
        Ok(KEY_BYTES) => Ok(accept(key)),
        Ok(_) | Err(_) => Err(Refusal::Key),
    }
}

/// Path and query of a request target in origin or absolute form (RFC 9112 §3.2); other forms open no WebSocket.
pub(crate) fn target(target: &str) -> Result<(&str, &str), Refusal> {
    let local = if target.starts_with('/') {
        target
    } else {
        let (scheme, rest) = target.split_once("://").ok_or(Refusal::Malformed)?;
        if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(Refusal::Malformed);
        }
        &rest[rest.find(['/', '?']).unwrap_or(rest.len())..]
    };
    Ok(local.split_once('?').unwrap_or((local, "")))
}

/// The query parameters that mean something; others are the application's.
struct Query<'a> {
    format: Option<&'a str>,
    frame_pings: bool,
}

impl<'a> Query<'a> {
    /// The first of each name counts, and `format` before `cf_protocol`.
    fn read(text: &'a str) -> Self {
        let first = |name: &str| {
            text.split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|pair| pair.0 == name)
                .map(|pair| pair.1)
        };
        Self {
            format: first("format").or_else(|| first("cf_protocol")).filter(|format| !format.is_empty()),
            frame_pings: first("cf_ws_frame_ping_pong") == Some("true"),
        }
    }
}

/// The subprotocol to answer with, and what will be spoken. A known subprotocol decides; without one, the query does.
fn choose(
    headers: &[Header<'_>],
    query: &Query<'_>,
    rules: &Rules,
) -> Result<(Option<&'static str>, Asked), Refusal> {
    const NAME: &str = "Sec-WebSocket-Protocol";
    if !elements(headers, NAME).all(is_token) {
        return Err(Refusal::Subprotocol);
    }
    let offered = |name: &str| elements(headers, NAME).any(|element| element == name.as_bytes());
    if let Some(encoding) = rules.encodings.iter().find(|encoding| offered(encoding.subprotocol)) {
        return Ok((Some(encoding.subprotocol), Asked::Known(encoding.id)));
    }
    let asked = match query.format {
        Some(format) => match rules.encodings.iter().find(|encoding| encoding.format == format) {
            Some(encoding) => Asked::Known(encoding.id),
            None => Asked::Unknown,
        },
        None if elements(headers, NAME).next().is_some() => Asked::Unknown,
        None => Asked::Nothing,
    };
    Ok((None, asked))
}
