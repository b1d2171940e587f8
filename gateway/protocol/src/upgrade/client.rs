//! The client's side of the opening, for the load generator and for tests.

use base64::{Engine, engine::general_purpose::STANDARD};
use httparse::{EMPTY_HEADER, Error, Response, Status};

use super::{
    Parsed, accept,
    extension::{self, EXTENSIONS},
    fields::{elements, has, lines_are_strict, single},
    limits::{HEAD_BYTES_MAX, HEADERS_MAX, KEY_BYTES},
};

/// What a client asks for. Text that contains line breaks makes a broken request: it is the caller's own configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer<'a> {
    /// With the port, if it is not the scheme's default.
    pub host: &'a str,
    /// With the query, if there is one.
    pub path: &'a str,
    /// Drawn anew for each connection.
    pub key: [u8; KEY_BYTES],
    /// The only subprotocol offered.
    pub subprotocol: Option<&'a str>,
    /// To look like a page.
    pub origin: Option<&'a str>,
    /// Offers permessage-deflate without context takeover.
    pub deflate: bool,
}

/// What a server agreed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The offered subprotocol was taken.
    pub subprotocol: bool,
    /// The offered compression was taken.
    pub deflate: bool,
}

/// Why there is no WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejected {
    /// The server answers something else; the connection is of no use.
    #[error("the server answered with HTTP status {status}")]
    Status {
        /// Of its response.
        status: u16,
    },
    /// Not an HTTP/1.1 response, or one over the bounds.
    #[error("the server's answer is not an HTTP/1.1 response of acceptable size")]
    Malformed,
    /// 101 without the fields that make it a WebSocket, or with the answer to another key.
    #[error("the server's answer does not open the WebSocket that was asked for")]
    Mismatch,
}

impl Offer<'_> {
    /// Appends the request.
    pub fn request(&self, out: &mut Vec<u8>) {
        let field = |out: &mut Vec<u8>, name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        for part in ["GET ", self.path, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        field(out, "Host", self.host);
        field(out, "Upgrade", "websocket");
        field(out, "Connection", "Upgrade");
        field(out, "Sec-WebSocket-Version", "13");
        field(out, "Sec-WebSocket-Key", &STANDARD.encode(self.key));
        if let Some(origin) = self.origin {
            field(out, "Origin", origin);
        }
        if let Some(subprotocol) = self.subprotocol {
            field(out, "Sec-WebSocket-Protocol", subprotocol);
        }
        if self.deflate {
            field(out, EXTENSIONS, extension::OFFER);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Reads the response from all that has arrived (RFC 6455 §4.1).
    pub fn response(&self, bytes: &[u8]) -> Result<Parsed<Accepted>, Rejected> {
        let head = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut response = Response::new(&mut headers);
        let consumed = match response.parse(head) {
            Ok(Status::Complete(consumed)) => consumed,
            Ok(Status::Partial) if head.len() < HEAD_BYTES_MAX => return Ok(Parsed::Incomplete),
            Ok(Status::Partial) | Err(Error::TooManyHeaders) => return Err(Rejected::Malformed),
            Err(_) => return Err(Rejected::Malformed),
        };
        let status = response.code.unwrap_or_default();
        if status != 101 {
            return Err(Rejected::Status { status });
        }
        if response.version != Some(1) || !lines_are_strict(&head[..consumed]) {
            return Err(Rejected::Malformed);
        }
        let headers = &*response.headers;
        let expected = accept(STANDARD.encode(self.key).as_bytes());
        let answered = single(headers, "Sec-WebSocket-Accept") == Ok(Some(&expected));
        let upgraded = has(headers, "Upgrade", "websocket") && has(headers, "Connection", "upgrade");
        // What was not offered may not be in use.
        let deflate = elements(headers, EXTENSIONS).next().is_some();
        if !answered || !upgraded || deflate && !(self.deflate && extension::is_answer(headers)) {
            return Err(Rejected::Mismatch);
        }
        let subprotocol = single(headers, "Sec-WebSocket-Protocol").map_err(|_| Rejected::Mismatch)?;
        let offered = self.subprotocol.map(str::as_bytes);
        if subprotocol.is_some() && subprotocol != offered {
            return Err(Rejected::Mismatch);
        }
        let accepted = Accepted { subprotocol: subprotocol.is_some(), deflate };
        Ok(Parsed::Complete { consumed, head: accepted })
    }
}
