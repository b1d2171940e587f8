//! What the broker of an edge asks of a bus that others share, and what that bus tells it.
//!
//! A bus may lose publications, never reorder those of a channel; it keeps history and presence, or knows who does. The broker
//! sees what is missing by offsets and reads it again. Owns these words; never how they are carried.

use std::sync::Arc;

use wire::ClientId;
use wire::code::ErrorCode;
use wire::link::ClientInfo;

use crate::Appearance;
use crate::stream::{Epoch, Kept};

/// A question's number; the broker never uses one again. Each question is answered once, whatever becomes of the bus: an adapter that
/// cannot answer says [`Tell::Failed`]. The broker forgets those that stay unanswered for too long.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// One run of another edge's relay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EdgeId(pub u64);

/// What the broker wants done, in order. Nothing here waits for an answer to something before it.
#[derive(Clone, PartialEq, Debug)]
pub enum Ask {
    /// Publications and events of the channel, from now until `Unwant`, also after the bus was away. The bus says `Joined` each time
    /// that from then on nothing is lost knowingly, and `Parted` when that ends by itself.
    Want {
        /// The channel.
        channel: Arc<str>,
    },
    /// No more of the channel.
    Unwant {
        /// The channel.
        channel: Arc<str>,
    },
    /// Give the publication its place, store it and send it to every edge that wants the channel, this one too: in this order, or
    /// none of it. Answer: `Published`.
    Publish {
        /// Of this question.
        ticket: Ticket,
        /// The channel.
        channel: Arc<str>,
        /// See [`wire::bus::body`].
        body: Vec<u8>,
        /// Idempotency key; empty when none. Remembered for five minutes.
        key: Box<str>,
        /// What history keeps; `None`: nothing is stored and the offset is 0.
        kept: Option<Kept>,
    },
    /// Read history. Answer: `Page`.
    Read {
        /// Of this question.
        ticket: Ticket,
        /// The channel.
        channel: Arc<str>,
        /// Exclusive: from after this offset (or, reversed, before it). From the end that `reverse` says when absent. An offset past
        /// the top is no error: the page is empty.
        since: Option<u64>,
        /// Publications at most; 0 asks for the position only.
        limit: usize,
        /// Newest first.
        reverse: bool,
        /// How long its position lives on: reading is use. The stream is begun if need be.
        kept: Kept,
    },
    /// Forget the channel's publications; its position stays. Answer: `Done`.
    Remove {
        /// Of this question.
        ticket: Ticket,
        /// The channel.
        channel: Arc<str>,
    },
    /// Two publications had one place: history has gone back (a failover without its last writes). Begin the stream anew, with another
    /// epoch and empty, unless its epoch is no longer this one. No answer.
    Renew {
        /// The channel.
        channel: Arc<str>,
        /// The epoch that has forked.
        epoch: Epoch,
    },
    /// A client is in the channel (idempotent by client). No answer.
    Enter {
        /// The channel.
        channel: Arc<str>,
        /// Who.
        member: Member,
        /// Whether it is seen, and announced to others if it is new.
        appearance: Appearance,
    },
    /// It is no more. Those to whom it was announced are told. No answer.
    Leave {
        /// The channel.
        channel: Arc<str>,
        /// Who.
        member: Member,
        /// As it entered.
        appearance: Appearance,
    },
    /// Who is in the channel, on all edges. Answer: `Members`.
    Presence {
        /// Of this question.
        ticket: Ticket,
        /// The channel.
        channel: Arc<str>,
    },
    /// How many. Answer: `Count`.
    PresenceStats {
        /// Of this question.
        ticket: Ticket,
        /// The channel.
        channel: Arc<str>,
    },
    /// Words between relays. At most once, in order for each receiver. No answer.
    Send {
        /// To whom; `None`: to every other edge.
        to: Option<EdgeId>,
        /// The words.
        body: Vec<u8>,
    },
}

/// A client in a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// The session.
    pub client: ClientId,
    /// See [`ClientInfo`].
    pub user: Box<str>,
    /// See [`ClientInfo`].
    pub conn_info: Box<[u8]>,
    /// See [`ClientInfo`].
    pub chan_info: Box<[u8]>,
}

impl Member {
    /// A copy.
    pub fn of(info: &ClientInfo<'_>) -> Self {
        Self {
            client: info.client,
            user: info.user.into(),
            conn_info: info.conn_info.into(),
            chan_info: info.chan_info.into(),
        }
    }

    /// As messages have it.
    pub fn info(&self) -> ClientInfo<'_> {
        ClientInfo {
            client: self.client,
            user: &self.user,
            conn_info: &self.conn_info,
            chan_info: &self.chan_info,
        }
    }
}

/// What a bus says.
#[derive(Clone, PartialEq, Debug)]
pub enum Tell<'a> {
    /// Everything published to the channel from now on will come, as far as the bus knows.
    Joined {
        /// The channel.
        channel: &'a str,
    },
    /// That is over; the bus will say `Joined` again when it can. Publications may have been lost.
    Parted {
        /// The channel.
        channel: &'a str,
    },
    /// The same for all channels.
    PartedAll,
    /// A publication of a wanted channel.
    Publication {
        /// The channel.
        channel: &'a str,
        /// Its place; 0 in channels without history.
        offset: u64,
        /// The stream's incarnation; empty in channels without history.
        epoch: &'a str,
        /// See [`wire::bus::body`].
        body: &'a [u8],
    },
    /// Somebody joined or left a wanted channel. At most once.
    Presence {
        /// The channel.
        channel: &'a str,
        /// Joined, rather than left.
        joined: bool,
        /// Who.
        info: ClientInfo<'a>,
    },
    /// The bus has lost who is in the channels: the broker enters its members again, some with each tick.
    MembersForgotten,
    /// Answer to [`Ask::Publish`].
    Published {
        /// Of the question.
        ticket: Ticket,
        /// 0 in channels without history.
        offset: u64,
        /// The stream's incarnation.
        epoch: &'a str,
        /// A publication with that key was made before: its place is the one given.
        duplicate: bool,
    },
    /// Answer to [`Ask::Read`].
    Page {
        /// Of the question.
        ticket: Ticket,
        /// The stream's top.
        offset: u64,
        /// The stream's incarnation.
        epoch: &'a str,
        /// Offsets and bodies, in the asked order.
        publications: Vec<(u64, &'a [u8])>,
    },
    /// Answer to [`Ask::Presence`].
    Members {
        /// Of the question.
        ticket: Ticket,
        /// Everyone seen.
        members: Vec<ClientInfo<'a>>,
    },
    /// Answer to [`Ask::PresenceStats`].
    Count {
        /// Of the question.
        ticket: Ticket,
        /// Sessions seen.
        clients: u32,
        /// Distinct users.
        users: u32,
    },
    /// Answer to [`Ask::Remove`].
    Done {
        /// Of the question.
        ticket: Ticket,
    },
    /// Answer to any question that could not be answered, or whose outcome is not known.
    Failed {
        /// Of the question.
        ticket: Ticket,
        /// Why.
        code: ErrorCode,
    },
    /// The other edges, now.
    Edges(&'a [EdgeId]),
    /// Words of another relay.
    Message {
        /// Whose.
        from: EdgeId,
        /// The words.
        body: &'a [u8],
    },
}
