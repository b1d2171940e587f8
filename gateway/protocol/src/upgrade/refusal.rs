//! The table of refused requests: what is wrong, which status says so, and the sentence that tells what to do.

use std::io::Write;

/// A request that is not let in. Its [`response`](Refusal::response) is the last thing on the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Not HTTP, or HTTP that two programs could read differently.
    #[error("This is not a well-formed HTTP/1.1 request.")]
    Malformed,
    /// Over [`HEAD_BYTES_MAX`](super::limits::HEAD_BYTES_MAX) or [`HEADERS_MAX`](super::limits::HEADERS_MAX).
    #[error("The request's header is too large: send fewer or smaller fields, such as cookies.")]
    HeadTooLarge,
    /// HTTP/1.0, HTTP/2, ..
    #[error("WebSocket connections to this server are opened with HTTP/1.1.")]
    Version,
    /// Not GET.
    #[error("WebSocket connections are opened with GET.")]
    Method,
    /// Not a method of this endpoint.
    #[error("This endpoint takes the methods {allow}.")]
    NotAllowed {
        /// As listed in `Allow`.
        allow: &'static str,
    },
    /// A body whose end is not announced, or otherwise than by its length.
    #[error("Send the body's length as Content-Length: other codings of a body are not taken.")]
    Length,
    /// Over the endpoint's bound.
    #[error("The body is too large.")]
    BodyTooLarge,
    /// Nothing to do.
    #[error(
        "There is no command: give the connect command in the query parameter cf_connect, or in the body of a POST."
    )]
    Commands,
    /// An encoding that is not served.
    #[error("This encoding is not served: send JSON.")]
    MediaType,
    /// A body, or fields that announce one.
    #[error("A request that opens a WebSocket has no body: leave out Content-Length and Transfer-Encoding.")]
    Body,
    /// None, two, or nothing that names a host.
    #[error("The request must have exactly one valid Host field.")]
    Host,
    /// Another path.
    #[error(
        "There is nothing at this path: connect to the server's WebSocket endpoint, usually /connection/websocket."
    )]
    Path,
    /// An ordinary request.
    #[error(
        "This endpoint speaks WebSocket only: connect with a WebSocket client. A proxy in between must pass on Upgrade and Connection."
    )]
    NoUpgrade,
    /// Not version 13.
    #[error("This server speaks WebSocket version 13 only: send Sec-WebSocket-Version: 13.")]
    WebSocketVersion,
    /// None, two, or not 16 bytes.
    #[error("The request must have exactly one Sec-WebSocket-Key, 16 bytes in base64.")]
    Key,
    /// Not a list of names.
    #[error("Sec-WebSocket-Protocol must be a comma-separated list of names.")]
    Subprotocol,
    /// A page that is not allowed.
    #[error("Pages of this origin may not connect: add it to the server's allowed origins.")]
    Origin,
    /// The deadline passed.
    #[error("The request did not arrive in time.")]
    Late,
    /// No room. Whoever refuses says when to try again.
    #[error("The server is full: try again later.")]
    Overloaded {
        /// At least 1.
        retry_after_seconds: u16,
    },
}

impl Refusal {
    /// The status line's number.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::Body | Self::Host | Self::Key | Self::Subprotocol | Self::Commands => 400,
            Self::Origin => 403,
            Self::Path => 404,
            Self::Method | Self::NotAllowed { .. } => 405,
            Self::Late => 408,
            Self::Length => 411,
            Self::BodyTooLarge => 413,
            Self::MediaType => 415,
            Self::NoUpgrade | Self::WebSocketVersion => 426,
            Self::HeadTooLarge => 431,
            Self::Overloaded { .. } => 503,
            Self::Version => 505,
        }
    }

    /// Appends the whole response, whose end is the end of the connection.
    pub fn response(self, out: &mut Vec<u8>) {
        let (status, phrase) = (self.status(), self.phrase());
        let written = match self {
            Self::Method => write!(out, "HTTP/1.1 {status} {phrase}\r\nAllow: GET\r\nConnection: close\r\n"),
            Self::NotAllowed { allow } => {
                write!(out, "HTTP/1.1 {status} {phrase}\r\nAllow: {allow}\r\nConnection: close\r\n")
            }
            // RFC 9110 §15.5.22 wants Upgrade, §7.8 wants it named in Connection; RFC 6455 §4.4 wants the version.
            Self::NoUpgrade | Self::WebSocketVersion => write!(
                out,
                "HTTP/1.1 {status} {phrase}\r\nUpgrade: websocket\r\nConnection: close, Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\n"
            ),
            Self::Overloaded { retry_after_seconds } => write!(
                out,
                "HTTP/1.1 {status} {phrase}\r\nRetry-After: {retry_after_seconds}\r\nConnection: close\r\n"
            ),
            _ => write!(out, "HTTP/1.1 {status} {phrase}\r\nConnection: close\r\n"),
        };
        debug_assert!(written.is_ok(), "writing to a Vec does not fail");
        let length = self.sentence().len() + 1;
        let written = write!(
            out,
            "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{}\n",
            self.sentence()
        );
        debug_assert!(written.is_ok(), "writing to a Vec does not fail");
    }

    fn sentence(self) -> String {
        self.to_string()
    }

    fn phrase(self) -> &'static str {
        match self.status() {
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            411 => "Length Required",
            413 => "Content Too Large",
            415 => "Unsupported Media Type",
            426 => "Upgrade Required",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            _ => "HTTP Version Not Supported",
        }
    }
}
