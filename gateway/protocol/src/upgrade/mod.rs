//! The HTTP/1.1 exchange that opens a WebSocket (RFC 6455 §4), for both ends.
//!
//! Owns which requests are let in and the complete response to each that is not. Serves nothing else: no file, no health page.
//! [`crate::http`] has the requests that are not about a WebSocket.

pub mod client;
mod extension;
pub(crate) mod fields;
pub mod limits;
mod origin;
mod refusal;
pub(crate) mod request;

#[cfg(test)]
mod tests;

pub use extension::Deflate;
pub use origin::{Origin, OriginError};
pub use refusal::Refusal;
pub(crate) use request::lines;
pub use request::request;

use crate::{http::Transports, ws::Compression};

/// What a listener lets in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// The one path, compared byte by byte.
    pub path: String,
    /// Which browser pages may connect. A request without `Origin` does not come from one and is not asked.
    /// Empty: no browser page may.
    pub origins: Vec<Origin>,
    /// What can be spoken, the preferred first.
    pub encodings: Vec<Encoding>,
    /// What else is served.
    pub transports: Transports,
    /// Clients that offer permessage-deflate may use it; what is for many is then compressed like this.
    pub compression: Option<Compression>,
}

/// One encoding of the protocol above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Encoding {
    /// As offered in `Sec-WebSocket-Protocol`.
    pub subprotocol: &'static str,
    /// As named in the query (`format=`, `cf_protocol=`).
    pub format: &'static str,
    /// Given back in [`Asked::Known`]; means nothing here.
    pub id: u8,
}

/// What a client wants to speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// It did not say.
    Nothing,
    /// [`Encoding::id`].
    Known(u8),
    /// Nothing in [`Rules::encodings`]. It is let in, as the ecosystem's servers do (a browser gives up by itself), so that it
    /// can be told by a close code.
    Unknown,
}

/// How far the bytes of a head got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed<T> {
    /// Nothing wrong so far.
    Incomplete,
    /// The head is complete.
    Complete {
        /// Its length; what follows is WebSocket.
        consumed: usize,
        /// What it says.
        head: T,
    },
}

/// A request that is let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upgrade {
    /// `Sec-WebSocket-Accept`.
    accept: [u8; ACCEPT_BYTES],
    /// Named in the response.
    subprotocol: Option<&'static str>,
    /// What the client wants to speak, by subprotocol or, failing that, by query.
    pub asked: Asked,
    /// `cf_ws_frame_ping_pong=true`: pings as WebSocket frames instead of the protocol's own, for tools that speak only frames.
    pub frame_pings: bool,
    /// The path is that of WebSockets that only listen.
    pub listens: bool,
    /// Messages may be compressed.
    pub deflate: Option<Deflate>,
}

/// Base64 of a SHA-1.
const ACCEPT_BYTES: usize = 28;
/// The endpoint that the ecosystem's SDKs are pointed at.
pub const PATH: &str = "/connection/websocket";
/// JSON: text messages.
pub const JSON: Encoding = Encoding { subprotocol: "centrifuge-json", format: "json", id: 0 };
/// Protobuf: binary messages.
pub const PROTOBUF: Encoding = Encoding { subprotocol: "centrifuge-protobuf", format: "protobuf", id: 1 };

impl Default for Rules {
    fn default() -> Self {
        Self {
            path: PATH.to_owned(),
            origins: Vec::new(),
            encodings: vec![JSON, PROTOBUF],
            transports: Transports::default(),
            compression: None,
        }
    }
}

/// Appends the response that opens the WebSocket.
pub fn response(upgrade: &Upgrade, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(&upgrade.accept);
    if let Some(name) = upgrade.subprotocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(name.as_bytes());
    }
    if let Some(deflate) = upgrade.deflate {
        deflate.answer(out);
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` as it stood in the request.
fn accept(key: &[u8]) -> [u8; ACCEPT_BYTES] {
    let text = tungstenite::handshake::derive_accept_key(key);
    let mut accept = [0; ACCEPT_BYTES];
    debug_assert_eq!(text.len(), ACCEPT_BYTES, "20 bytes of SHA-1 are 28 of base64");
    accept.copy_from_slice(text.as_bytes());
    accept
}
