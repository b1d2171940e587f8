//! What a server says: replies to commands, and pushes. Made of borrowed words of the link, to be encoded at once.
//!
//! Every `data` and `info` must be what the client's encoding carries as such: for JSON clients, valid JSON.

use wire::{
    ClientId,
    backend::Refusal,
    code::{ErrorCode, Unsubscribe},
    link::{ClientInfo, Publication},
};

/// The answer to one command.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Reply<'a> {
    /// It failed.
    Error(ErrorCode),
    /// A backend refused it.
    Refused(&'a Refusal),
    /// To `connect`.
    Connect(Connected<'a>),
    /// To `subscribe`.
    Subscribe(Subscribed<'a>),
    /// To `unsubscribe`.
    Unsubscribe,
    /// To `publish`.
    Publish,
    /// To `presence`.
    Presence(&'a [ClientInfo<'a>]),
    /// To `presence_stats`.
    PresenceStats {
        /// Sessions present.
        clients: u32,
        /// Distinct users present.
        users: u32,
    },
    /// To `history`.
    History {
        /// The page.
        publications: &'a [Publication<'a>],
        /// The stream's incarnation.
        epoch: &'a str,
        /// The stream's top offset.
        offset: u64,
    },
    /// To `rpc`.
    Rpc {
        /// What the backend returned.
        data: &'a [u8],
    },
    /// To `refresh`.
    Refresh {
        /// The session.
        client: ClientId,
        /// Of the server.
        version: &'a str,
        /// When the connection expires.
        expiry: Expiry,
    },
    /// To `sub_refresh`.
    SubRefresh {
        /// When the subscription expires.
        expiry: Expiry,
    },
}

/// When something expires, as clients are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Expiry {
    /// Never.
    #[default]
    Never,
    /// In so many seconds.
    Seconds(u32),
}

/// A session begins.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Connected<'a> {
    /// Its id.
    pub client: ClientId,
    /// Of the server.
    pub version: &'a str,
    /// When the connection expires.
    pub expiry: Expiry,
    /// From the backend; empty when none.
    pub data: &'a [u8],
    /// Channels the server subscribed the client to.
    pub subs: &'a [(&'a str, Subscribed<'a>)],
    /// Seconds between the server's pings; 0 when there are none.
    pub ping_s: u32,
    /// Whether pings must be answered.
    pub pong: bool,
    /// What commands that come by requests of their own name the session by; empty when commands come on the connection.
    pub session: &'a str,
    /// Where such commands are brought to; empty when `session` is.
    pub node: &'a str,
}

/// A subscription begins.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Subscribed<'a> {
    /// When the subscription expires.
    pub expiry: Expiry,
    /// The client may recover.
    pub recoverable: bool,
    /// The stream's incarnation.
    pub epoch: &'a str,
    /// What was missed, in offset order.
    pub publications: &'a [Publication<'a>],
    /// `publications` is all that was missed.
    pub recovered: bool,
    /// The position: of the *request* when recovered (the client advances it over `publications`), else the stream's top.
    pub offset: u64,
    /// The position is watched.
    pub positioned: bool,
    /// From the backend; empty when none.
    pub data: &'a [u8],
    /// Recovery was asked for.
    pub was_recovering: bool,
    /// Publications come as [`Push::Delta`] does.
    pub delta: bool,
    /// With `delta`, each publication's difference to the one before it; `None` or absent: it is given whole.
    pub patches: &'a [Option<Vec<u8>>],
    /// Pushes name the channel by this number; 0 by its name.
    pub number: u32,
}

/// Something a client is told without having asked.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Push<'a> {
    /// A message in a channel.
    Publication(&'a Publication<'a>),
    /// The same for subscribers that negotiated delta: in JSON the payload, or the patch, is in a string.
    Delta {
        /// The message.
        publication: &'a Publication<'a>,
        /// Its difference to the publication before; `None`: it is given whole.
        patch: Option<&'a [u8]>,
    },
    /// Somebody entered.
    Join(&'a ClientInfo<'a>),
    /// Somebody left.
    Leave(&'a ClientInfo<'a>),
    /// The server ended the subscription.
    Unsubscribe(Unsubscribe<'a>),
    /// The server made a subscription.
    Subscribe(Subscribed<'a>),
    /// A message outside channels; its channel is empty.
    Message {
        /// The payload.
        data: &'a [u8],
    },
    /// The connection's expiry changed; its channel is empty.
    Refresh(Expiry),
    /// The connection ends, where no close frame can say so; its channel is empty.
    Disconnect {
        /// As a WebSocket close code.
        code: u16,
        /// The text clients may show.
        reason: &'a str,
    },
}
