//! What a client hears from a server, for the client side (load generator, tests): any server that speaks the protocol.
//!
//! Strings are borrowed unless the server escaped them; `data` and `info` are raw values of the encoding, empty when absent.

use std::borrow::Cow;

/// A message from a server as it lies in either encoding: what is set decides what it is.
#[derive(Default)]
pub(super) struct Envelope<'a> {
    pub(super) id: u32,
    pub(super) push: Option<Pushed<'a>>,
    pub(super) answer: Option<Answer<'a>>,
}

/// The same of a push.
#[derive(Default)]
pub(super) struct Pushed<'a> {
    pub(super) channel: Cow<'a, str>,
    pub(super) number: u32,
    pub(super) event: Option<Event<'a>>,
}

impl<'a> From<Envelope<'a>> for Received<'a> {
    fn from(envelope: Envelope<'a>) -> Self {
        match (envelope.id, envelope.push, envelope.answer) {
            (0, Some(push), _) => {
                let event = push.event.unwrap_or(Event::Other);
                Self::Push { channel: push.channel, number: push.number, event }
            }
            (0, None, None) => Self::Ping,
            (id, _, answer) => Self::Reply { id, answer: answer.unwrap_or(Answer::Other) },
        }
    }
}

/// One message from a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received<'a> {
    /// To be answered with `Request::Pong` if the connect reply said so.
    Ping,
    /// Something nobody asked for.
    Push {
        /// Empty when it concerns the connection, or when the server gave the channel a number.
        channel: Cow<'a, str>,
        /// The channel's number, where the subscription was given one; else 0.
        number: u32,
        /// What happened.
        event: Event<'a>,
    },
    /// The answer to a command.
    Reply {
        /// Of the command.
        id: u32,
        /// What came of it.
        answer: Answer<'a>,
    },
}

/// The kinds of push.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A message in the channel.
    Publication(Message<'a>),
    /// Somebody entered.
    Join(Info<'a>),
    /// Somebody left.
    Leave(Info<'a>),
    /// The server ended the subscription.
    Unsubscribe(Ended<'a>),
    /// The server made a subscription.
    Subscribe(Subscription<'a>),
    /// A message outside channels.
    Message {
        /// The payload.
        data: &'a [u8],
    },
    /// The connection's expiry changed.
    Refresh(Refreshed<'a>),
    /// The server ends the connection, with a close code. Where there are close frames, only to those that only listen.
    Disconnect(Ended<'a>),
    /// A kind that is not known here.
    Other,
}

/// The kinds of answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer<'a> {
    /// The command failed.
    Error(Failure<'a>),
    /// To `connect`.
    Connect(Session<'a>),
    /// To `subscribe`.
    Subscribe(Subscription<'a>),
    /// To `unsubscribe`.
    Unsubscribe,
    /// To `publish`.
    Publish,
    /// To `presence`.
    Presence(Vec<Info<'a>>),
    /// To `presence_stats`.
    PresenceStats(Counts),
    /// To `history`.
    History(Page<'a>),
    /// To `rpc`.
    Rpc {
        /// What the backend returned.
        data: &'a [u8],
    },
    /// To `refresh`.
    Refresh(Refreshed<'a>),
    /// To `sub_refresh`.
    SubRefresh(Refreshed<'a>),
    /// None that is known here.
    Other,
}

/// A message of a channel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Message<'a> {
    /// The payload.
    pub data: &'a [u8],
    /// Its place in the stream; 0 when the channel keeps none.
    pub offset: u64,
    /// The publisher, when a client published.
    pub info: Option<Info<'a>>,
    /// Names and values to filter by.
    pub tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// `data` is the difference to the publication before.
    pub delta: bool,
}

/// Who did something.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Info<'a> {
    /// Empty when anonymous.
    pub user: Cow<'a, str>,
    /// The session.
    pub client: Cow<'a, str>,
    /// Of the connection.
    pub conn_info: &'a [u8],
    /// Of the subscription.
    pub chan_info: &'a [u8],
}

/// Why a subscription or a connection ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ended<'a> {
    /// From 2500 the client should subscribe again.
    pub code: u32,
    /// For people.
    pub reason: Cow<'a, str>,
}

/// Why a command failed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Failure<'a> {
    /// What clients match on.
    pub code: u32,
    /// For people.
    pub message: Cow<'a, str>,
    /// It may succeed later.
    pub temporary: bool,
}

/// A session began.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Session<'a> {
    /// Its id.
    pub client: Cow<'a, str>,
    /// Of the server.
    pub version: Cow<'a, str>,
    /// Whether the connection expires, in `ttl_s`.
    pub expires: bool,
    /// Seconds.
    pub ttl_s: u32,
    /// From the backend.
    pub data: &'a [u8],
    /// Channels the server subscribed the client to, each with its name.
    pub subs: Vec<Subscription<'a>>,
    /// Seconds between pings; 0 when there are none.
    pub ping_s: u32,
    /// Whether pings must be answered.
    pub pong: bool,
    /// What further commands name the session by, where they come by requests of their own.
    pub session: Cow<'a, str>,
    /// The same of where it is.
    pub node: Cow<'a, str>,
}

/// A subscription began.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subscription<'a> {
    /// Its name in a list of several ([`Session::subs`]); empty where the message says elsewhere which channel it is about.
    pub channel: Cow<'a, str>,
    /// Whether it expires, in `ttl_s`.
    pub expires: bool,
    /// Seconds.
    pub ttl_s: u32,
    /// The client may recover.
    pub recoverable: bool,
    /// The stream's incarnation.
    pub epoch: Cow<'a, str>,
    /// What was missed.
    pub publications: Vec<Message<'a>>,
    /// `publications` is all of it.
    pub recovered: bool,
    /// Where the client stands before `publications`.
    pub offset: u64,
    /// The position is watched.
    pub positioned: bool,
    /// From the backend.
    pub data: &'a [u8],
    /// Recovery was asked for.
    pub was_recovering: bool,
    /// Publications may come as differences; in JSON their `data` is always a string.
    pub delta: bool,
    /// Pushes name the channel by this number; 0 by its name.
    pub number: u32,
}

/// How many are in a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Sessions.
    pub clients: u32,
    /// Distinct users.
    pub users: u32,
}

/// A page of history.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page<'a> {
    /// In the asked order.
    pub publications: Vec<Message<'a>>,
    /// The stream's incarnation.
    pub epoch: Cow<'a, str>,
    /// The stream's top.
    pub offset: u64,
}

/// A new expiry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Refreshed<'a> {
    /// The session, when the server says.
    pub client: Cow<'a, str>,
    /// Of the server.
    pub version: Cow<'a, str>,
    /// Whether there is an expiry, in `ttl_s`.
    pub expires: bool,
    /// Seconds.
    pub ttl_s: u32,
}

/// A server's message that is not one. The connection is of no use after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a message of the client protocol")]
pub struct Garbled;
