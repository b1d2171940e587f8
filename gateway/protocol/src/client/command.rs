//! What a client asks of a server. Fields that a client left out have their default: empty, zero, false.
//!
//! Strings are borrowed from the message unless it wrote them with escapes. `data` is the payload verbatim: in JSON the text of
//! one value, checked to be one (`null` is one); empty when absent.

use std::borrow::Cow;

use wire::code::{self, Close};

/// One command. The id is echoed in the reply; it is 0 only in [`Request::Send`] and [`Request::Pong`], which have none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command<'a> {
    /// Chosen by the client.
    pub id: u32,
    /// What it asks.
    pub request: Request<'a>,
}

/// The kinds of command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// The answer to a server's ping: the empty command.
    Pong,
    /// Start the session.
    Connect(Connect<'a>),
    /// Obsolete; answered with an error.
    Ping,
    /// Take part in a channel.
    Subscribe(Subscribe<'a>),
    /// Leave one.
    Unsubscribe {
        /// The channel.
        channel: Cow<'a, str>,
    },
    /// Say something in a channel.
    Publish(Publish<'a>),
    /// Who is there.
    Presence {
        /// The channel.
        channel: Cow<'a, str>,
    },
    /// How many are there.
    PresenceStats {
        /// The channel.
        channel: Cow<'a, str>,
    },
    /// What was said.
    History(History<'a>),
    /// Call the backend.
    Rpc(Rpc<'a>),
    /// Tell the backend, no reply.
    Send {
        /// The payload.
        data: &'a [u8],
    },
    /// A new connection token.
    Refresh {
        /// JWT.
        token: Cow<'a, str>,
    },
    /// A new subscription token.
    SubRefresh(SubRefresh<'a>),
}

/// The first command of a session.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Connect<'a> {
    /// JWT; empty for an anonymous connection.
    pub token: Cow<'a, str>,
    /// For the backend.
    pub data: &'a [u8],
    /// Of the SDK.
    pub name: Cow<'a, str>,
    /// Of the SDK.
    pub version: Cow<'a, str>,
    /// Where the client was in channels the *server* subscribed it to.
    pub subs: Vec<Resume<'a>>,
}

/// Where a client was in a channel the server subscribed it to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resume<'a> {
    /// The channel.
    pub channel: Cow<'a, str>,
    /// Whether it wants what it missed.
    pub recover: bool,
    /// Offset of the last publication it has.
    pub offset: u64,
    /// Of the stream it was in.
    pub epoch: Cow<'a, str>,
}

/// Take part in a channel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subscribe<'a> {
    /// The channel.
    pub channel: Cow<'a, str>,
    /// Subscription JWT; empty when none.
    pub token: Cow<'a, str>,
    /// Whether it wants what came after `offset`.
    pub recover: bool,
    /// Of the stream it was in.
    pub epoch: Cow<'a, str>,
    /// Offset of the last publication it has.
    pub offset: u64,
    /// For the backend.
    pub data: &'a [u8],
    /// Asks to be positioned.
    pub positioned: bool,
    /// Asks to be recoverable.
    pub recoverable: bool,
    /// Asks for join and leave pushes.
    pub join_leave: bool,
    /// Delta compression asked for; empty when none.
    pub delta: Cow<'a, str>,
    /// A tags filter in the encoding of the command; empty when none.
    pub filter: &'a [u8],
    /// Bits: 1 channel compaction, 2 reject what cannot be recovered.
    pub flag: i64,
    /// 0 a stream of publications; other kinds are not known here.
    pub kind: i32,
}

impl Subscribe<'_> {
    /// Bit of `flag`: pushes may have a number in place of the channel's name.
    pub const CHANNEL_COMPACTION: i64 = 1;
    /// Bit of `flag`: answer with error 112 rather than `recovered: false`.
    pub const REJECT_UNRECOVERED: i64 = 2;

    /// Whether the channel may be given a number.
    pub const fn takes_number(&self) -> bool {
        self.flag & Self::CHANNEL_COMPACTION != 0
    }

    /// Whether a failed recovery is to be answered with an error.
    pub const fn rejects_unrecovered(&self) -> bool {
        self.flag & Self::REJECT_UNRECOVERED != 0
    }
}

/// Say something in a channel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Publish<'a> {
    /// The channel.
    pub channel: Cow<'a, str>,
    /// What to say.
    pub data: &'a [u8],
}

/// Read a channel's history.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History<'a> {
    /// The channel.
    pub channel: Cow<'a, str>,
    /// 0: only the position. Negative: as many as the server gives.
    pub limit: i32,
    /// Exclusive start.
    pub since: Option<Since<'a>>,
    /// Newest first.
    pub reverse: bool,
}

/// A place in a stream as a client names it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Since<'a> {
    /// Of the last publication the client has.
    pub offset: u64,
    /// Empty when the client does not know.
    pub epoch: Cow<'a, str>,
}

/// Call the backend.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rpc<'a> {
    /// What to call; may be empty.
    pub method: Cow<'a, str>,
    /// The arguments.
    pub data: &'a [u8],
}

/// A new subscription token.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SubRefresh<'a> {
    /// The channel.
    pub channel: Cow<'a, str>,
    /// JWT.
    pub token: Cow<'a, str>,
}

/// Why a message is not a command. Always the client's fault and always the end of the connection, with [`BadRequest::CLOSE`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadRequest {
    /// A WebSocket message with no command in it.
    #[error("message without a command")]
    Empty,
    /// Not a document of the encoding, or a field of the wrong kind.
    #[error("not a command")]
    Malformed,
    /// More than [`super::limits::JSON_DEPTH_MAX`] brackets open at once.
    #[error("nested too deeply")]
    Deep,
    /// An id, but nothing asked that is known here.
    #[error("command without a request")]
    NoRequest,
    /// A request that is to be replied to, but no id to reply with.
    #[error("command without an id")]
    NoId,
}

impl BadRequest {
    /// What the client is told.
    pub const CLOSE: Close = code::CLOSE_BAD_REQUEST;
}
