//! What clients do that a backend decides on, on its way there, and what it has decided.
//!
//! The gateway hands over what happens, the relay asks and reads the answer. Owns these words; never how a backend is reached.

use serde::{Deserialize, Serialize};

use crate::{ClientId, tags::Tags, token::Claims};

/// Something that a client does, or that is due for it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event<'a> {
    /// The session.
    pub client: ClientId,
    /// Empty when anonymous, or not known yet.
    #[serde(borrow)]
    pub user: &'a str,
    /// How the client is connected.
    pub transport: Transport,
    /// It speaks Protobuf.
    pub binary: bool,
    /// JSON that the backend gave the session to keep; empty when there is none.
    #[serde(borrow, with = "serde_bytes")]
    pub meta: &'a [u8],
    /// What happens.
    #[serde(borrow)]
    pub act: Act<'a>,
}

/// How a client is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Transport {
    /// WebSocket.
    #[default]
    WebSocket,
    /// WebSocket that only listens.
    UniWebSocket,
    /// A streamed HTTP response.
    HttpStream,
    /// Server-sent events.
    Sse,
    /// Long polling.
    Poll,
}

impl Transport {
    /// As backends are told.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::UniWebSocket => "uni_websocket",
            Self::HttpStream => "http_stream",
            Self::Sse => "sse",
            Self::Poll => "poll",
        }
    }
}

/// What happens.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Act<'a> {
    /// A connection without a token. Answer: `Granted` with user, times, channels and meta, or `Nothing`.
    Connect {
        /// Of the SDK.
        #[serde(borrow)]
        name: &'a str,
        /// Of the SDK.
        #[serde(borrow)]
        version: &'a str,
        /// From the client; empty when none.
        #[serde(borrow, with = "serde_bytes")]
        data: &'a [u8],
        /// Channels that the client expects to be subscribed to.
        #[serde(borrow)]
        channels: Vec<&'a str>,
        /// Fields of the HTTP request that the connection began with, those that the settings name: lines as HTTP has them.
        #[serde(borrow, with = "serde_bytes")]
        headers: &'a [u8],
    },
    /// The session's time is over. Answer: `Granted` with the next one, or `Expired`.
    Refresh,
    /// Answer: `Granted` with one subscription.
    Subscribe {
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
        /// From the client; empty when none.
        #[serde(borrow, with = "serde_bytes")]
        data: &'a [u8],
    },
    /// The backend may change what is published, and then it is. Answer: `ToShard::Published`.
    Publish {
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
        /// The payload.
        #[serde(borrow, with = "serde_bytes")]
        data: &'a [u8],
        /// See [`crate::link::ClientInfo`].
        #[serde(borrow, with = "serde_bytes")]
        conn_info: &'a [u8],
        /// See [`crate::link::ClientInfo`].
        #[serde(borrow, with = "serde_bytes")]
        chan_info: &'a [u8],
        /// What subscribers may filter by.
        #[serde(borrow)]
        tags: Tags<'a>,
        /// Idempotency key; empty when none.
        #[serde(borrow)]
        key: &'a str,
    },
    /// A subscription's time is over. Answer: `Granted` with the next one, or `Expired`.
    SubRefresh {
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
    },
    /// Answer: `Returned`.
    Call {
        /// What to call; may be empty.
        #[serde(borrow)]
        method: &'a str,
        /// The arguments.
        #[serde(borrow, with = "serde_bytes")]
        data: &'a [u8],
    },
}

/// What the backend has decided.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// It may be.
    Granted(Box<Given>),
    /// The backend knows nothing of it: what is done without a backend decides.
    Nothing,
    /// No further time.
    Expired,
    /// The result of a call.
    Returned(#[serde(with = "serde_bytes")] Vec<u8>),
    /// An error for the client.
    Refused(Refusal),
    /// The connection is to end.
    Disconnect {
        /// WebSocket close code, 3000 to 4999.
        code: u16,
        /// At most [`crate::limits::REASON_BYTES_MAX`] bytes.
        reason: String,
    },
}

/// What a backend gives with its consent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Given {
    /// As a token would say it; of a subscription, `subs` has the one it is for.
    pub claims: Claims,
    /// For the client; empty when none.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// An error that a backend made.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Refusal {
    /// The number clients match on.
    pub code: u32,
    /// The text clients may show.
    pub message: String,
    /// Whether the same command may succeed later.
    pub temporary: bool,
}
