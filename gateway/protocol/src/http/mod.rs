//! Sessions and commands by plain HTTP/1.1 requests, for networks that break WebSocket: streams, server-sent events, long polling,
//! and the requests that carry commands of such sessions.
//!
//! Owns which requests are served and every byte of the responses around the protocol's messages. Strict: what two programs could read
//! differently is refused, and the connection ends with the refusal.

mod emulation;
mod request;
mod respond;
#[cfg(test)]
mod tests;

pub use emulation::{Emulation, node, session, session_of, shard_of};
pub use request::{Asked, Read, Request, connect_of, request, service};
pub use respond::{CONTINUE, preflight, respond, start};

/// What is served beside WebSocket, and where. Nothing, unless set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transports {
    /// Sessions whose messages are a streamed response.
    pub http_stream: Option<Endpoint>,
    /// Sessions whose messages are server-sent events.
    pub sse: Option<Endpoint>,
    /// Sessions that end with their first news.
    pub poll: Option<Endpoint>,
    /// Commands of [`Transports::http_stream`] and [`Transports::sse`] sessions.
    pub emulation: Option<Endpoint>,
    /// Path of WebSockets that only listen.
    pub uni_websocket: Option<String>,
    /// Such WebSockets get no `disconnect` push before their close frame.
    pub without_disconnect_push: bool,
    /// The longest a poll waits for news.
    pub poll_timeout_ms: u32,
    /// How long a connection may be between two requests.
    pub keep_alive_ms: u32,
}

/// Where a service is, and what it takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The path, compared byte by byte.
    pub path: String,
    /// A request's body.
    pub body_bytes_max: usize,
}

/// What a path stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// [`Transports::http_stream`].
    Stream,
    /// [`Transports::sse`].
    Sse,
    /// [`Transports::poll`].
    Poll,
    /// [`Transports::emulation`].
    Emulation,
}

/// The path of [`Transports::http_stream`] unless told otherwise.
pub const HTTP_STREAM_PATH: &str = "/connection/http_stream";
/// The same of [`Transports::sse`].
pub const SSE_PATH: &str = "/connection/sse";
/// The same of [`Transports::poll`].
pub const POLL_PATH: &str = "/connection/poll";
/// The same of [`Transports::emulation`].
pub const EMULATION_PATH: &str = "/emulation";
/// The same of [`Transports::uni_websocket`].
pub const UNI_WEBSOCKET_PATH: &str = "/connection/uni_websocket";

impl Transports {
    /// Everything at its usual path, with bodies of at most this size and no time to wait.
    pub fn everywhere(body_bytes_max: usize) -> Self {
        let endpoint = |path: &str| Some(Endpoint { path: path.to_owned(), body_bytes_max });
        Self {
            http_stream: endpoint(HTTP_STREAM_PATH),
            sse: endpoint(SSE_PATH),
            poll: endpoint(POLL_PATH),
            emulation: endpoint(EMULATION_PATH),
            uni_websocket: Some(UNI_WEBSOCKET_PATH.to_owned()),
            ..Self::default()
        }
    }

    /// The service at a path, and its endpoint.
    pub fn at(&self, path: &str) -> Option<(Service, &Endpoint)> {
        let all = [
            (Service::Stream, &self.http_stream),
            (Service::Sse, &self.sse),
            (Service::Poll, &self.poll),
            (Service::Emulation, &self.emulation),
        ];
        all.into_iter().find_map(|(service, endpoint)| {
            endpoint.as_ref().filter(|endpoint| endpoint.path == path).map(|endpoint| (service, endpoint))
        })
    }
}

impl Service {
    /// Methods, as `Allow` and `Access-Control-Allow-Methods` list them.
    pub const fn methods(self) -> &'static str {
        match self {
            Self::Sse => "GET, POST, OPTIONS",
            Self::Stream | Self::Poll | Self::Emulation => "POST, OPTIONS",
        }
    }
}
