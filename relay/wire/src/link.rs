//! Messages between a shard of the gateway and the relay of its box.
//!
//! Order matters and is part of the contract: on one connection the relay sends every publication of a channel in offset
//! order, and [`ToShard::Subscribed`] stands exactly between the publications its position includes and those after it.
//! `request` numbers are the shard's; each request that carries one is answered exactly once, on the same connection.

use serde::{Deserialize, Serialize};

use crate::{
    ClientId,
    backend::{Event, Outcome},
    stats::ShardStats,
    survey::{Answer, Question},
    tags::Tags,
    token::{Claims, Kind},
};

/// What names a session to its shard: where it is, and 128 bits that only it and its client know.
pub const SESSION_BYTES: usize = 24;

/// A place in a channel's stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Position<'a> {
    /// Offset of the last publication that is included; 0 before the first.
    pub offset: u64,
    /// The stream's incarnation; empty when the client named none.
    #[serde(borrow)]
    pub epoch: &'a str,
}

/// Who did something, as presence, join, leave and publications show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClientInfo<'a> {
    /// The session.
    pub client: ClientId,
    /// The user; empty when anonymous.
    #[serde(borrow)]
    pub user: &'a str,
    /// JSON from the connection token's `info`; empty when there is none.
    #[serde(borrow, with = "serde_bytes")]
    pub conn_info: &'a [u8],
    /// JSON from a subscription's `info`; empty when there is none.
    #[serde(borrow, with = "serde_bytes")]
    pub chan_info: &'a [u8],
}

/// One message of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Publication<'a> {
    /// Its place in the stream, from 1; 0 in channels that keep no history.
    pub offset: u64,
    /// The payload as the publisher gave it. JSON clients get it verbatim.
    #[serde(borrow, with = "serde_bytes")]
    pub data: &'a [u8],
    /// The publisher, when a client published.
    #[serde(borrow)]
    pub info: Option<ClientInfo<'a>>,
    /// What subscribers may filter by.
    #[serde(borrow)]
    pub tags: Tags<'a>,
    /// Subscribers that negotiated it may get this as the difference to the publication before.
    pub delta: bool,
}

/// What a shard says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ToRelay<'a> {
    /// Verify a token that is signed with a shared secret. Answer: `Verified` or `Failed`.
    Verify {
        /// Echoed in the answer.
        request: u32,
        /// What it is to be for.
        kind: Kind,
        /// The token as the client sent it.
        #[serde(borrow)]
        token: &'a str,
    },
    /// This shard wants the channel's publications from now on (idempotent), and the channel's position. With `recover`, also what
    /// came after that position. Answer: `Subscribed` or `Failed`.
    Subscribe {
        /// Echoed in the answer.
        request: u32,
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
        /// Where the client (or, after a lost link, the shard) was.
        #[serde(borrow)]
        recover: Option<Position<'a>>,
        /// With `recover`: the last publication is enough, unless that is where the client was.
        latest: bool,
    },
    /// The shard's last subscriber of the channel has left. No answer; publications may still be on the way.
    Unsubscribe {
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
    },
    /// A token came whose public key is not in the set that the relay fetches: it may want to fetch it again. No answer.
    UnknownKey {
        /// What the token is for.
        kind: Kind,
    },
    /// A session begins whose user may have only so many. Answer: `Admitted` or `Failed`.
    Arrive {
        /// Echoed in the answer. `None`: the session was admitted before the link was lost; no answer.
        request: Option<u32>,
        /// The shard's number for it.
        session: u64,
        /// Not empty.
        #[serde(borrow)]
        user: &'a str,
    },
    /// An admitted session is over. No answer.
    Depart {
        /// The shard's number for it.
        session: u64,
    },
    /// A client entered a channel (idempotent by client). No answer.
    Enter {
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
        /// It is seen in the channel's presence.
        presence: bool,
        /// Others are told that it joined, and will be told when it leaves.
        announced: bool,
        /// Who.
        #[serde(borrow)]
        info: ClientInfo<'a>,
    },
    /// That client left. No answer.
    Leave {
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
        /// Who.
        client: ClientId,
    },
    /// Publish. Answer: `Published` once the publication is in history (if the channel has one) and on its way, or `Failed`.
    Publish {
        /// Echoed in the answer.
        request: u32,
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
        /// The payload.
        #[serde(borrow, with = "serde_bytes")]
        data: &'a [u8],
        /// The publisher.
        #[serde(borrow)]
        info: Option<ClientInfo<'a>>,
        /// What subscribers may filter by.
        #[serde(borrow)]
        tags: Tags<'a>,
        /// Idempotency key: of several publications with the same one in a channel, only the first is made. Empty when none.
        #[serde(borrow)]
        key: &'a str,
        /// History does not keep it, and it has no place in the stream.
        skip_history: bool,
        /// Subscribers that negotiated it may get it as a difference, whatever the namespace says.
        delta: bool,
    },
    /// Read history. Answer: `History` or `Failed`.
    History {
        /// Echoed in the answer.
        request: u32,
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
        /// Exclusive start; from the beginning (or the end, reversed) when absent.
        #[serde(borrow)]
        since: Option<Position<'a>>,
        /// 0: only the position. Negative: as many as the relay allows.
        limit: i32,
        /// Newest first.
        reverse: bool,
    },
    /// Who is in the channel. Answer: `Presence` or `Failed`.
    Presence {
        /// Echoed in the answer.
        request: u32,
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
    },
    /// How many are in the channel. Answer: `PresenceStats` or `Failed`.
    PresenceStats {
        /// Echoed in the answer.
        request: u32,
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
    },
    /// The shard's counters, about once a second. No answer.
    Stats(Box<ShardStats>),
    /// Commands for another shard's session that came by a request of their own. Answer: `Emulated` once that shard has taken them,
    /// or `Failed` when it is not connected or too far behind.
    Emulate {
        /// Echoed in the answer.
        request: u32,
        /// Number of that shard's gateway process.
        gateway: u64,
        /// That shard.
        shard: u16,
        /// Which session, by a secret of that shard.
        session: [u8; SESSION_BYTES],
        /// The commands.
        #[serde(borrow, with = "serde_bytes")]
        data: &'a [u8],
    },
    /// Answer to [`ToShard::Emulate`].
    Emulated {
        /// Of that message.
        asker: u32,
        /// Of that message.
        request: u32,
        /// The session is there and has taken the commands.
        found: bool,
    },
    /// A backend is to decide. Answer: `Proxied`, or `Published` to a publication that it let pass; `Failed` when it did not answer.
    Proxy {
        /// Echoed in the answer.
        request: u32,
        /// What about.
        #[serde(borrow)]
        event: Event<'a>,
    },
    /// Forget a channel's publications; its position stays. Answer: `Done` or `Failed`.
    Remove {
        /// Echoed in the answer.
        request: u32,
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
    },
    /// Ask every shard of every edge. Answer: `Surveyed`, within about a second, or `Failed`.
    Survey {
        /// Echoed in the answer.
        request: u32,
        /// What.
        question: Box<Question>,
    },
    /// Answer to [`ToShard::Survey`].
    Surveyed {
        /// Of that message.
        number: u32,
        /// What came of it.
        answer: Box<Answer>,
    },
    /// Which channels does a connection of this user begin with? Answer: `Proxied` with a grant that has them, or `Failed`.
    Channels {
        /// Echoed in the answer.
        request: u32,
        /// From the connection's token; not empty.
        #[serde(borrow)]
        user: &'a str,
    },
    /// A publication that a node has stored is on its way to whoever wants the channel. Answer: `Published` once the bus has taken it, or
    /// `Failed`.
    Announce {
        /// Echoed in the answer.
        request: u32,
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
        /// Its place; never 0.
        offset: u64,
        /// The stream's incarnation.
        #[serde(borrow)]
        epoch: &'a str,
        /// See [`crate::bus::body`].
        #[serde(borrow, with = "serde_bytes")]
        body: &'a [u8],
    },
}

/// What the relay says to a shard.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ToShard<'a> {
    /// Answer to `Verify`: the token is genuine. Expiry is for the receiver to check.
    Verified {
        /// Of the question.
        request: u32,
        /// What the token says.
        claims: Claims,
    },
    /// Answer to `Arrive`: the session may begin.
    Admitted {
        /// Of the question.
        request: u32,
    },
    /// A session must end. It is counted no more.
    Disconnect {
        /// The shard's number for it.
        session: u64,
        /// One of [`crate::code::CLOSES`].
        code: u16,
    },
    /// Answer to `Subscribe`.
    Subscribed {
        /// Of the question.
        request: u32,
        /// The channel's top offset, recovered or not; 0 in channels that keep no history. (Clients whose recovery succeeded
        /// are shown the offset they asked with and advance it themselves: the session's business.)
        offset: u64,
        /// The stream's incarnation; empty in channels that keep no history.
        #[serde(borrow)]
        epoch: &'a str,
        /// All that came after the asked position is in `publications`.
        recovered: bool,
        /// In offset order; empty unless recovered.
        #[serde(borrow)]
        publications: Vec<Publication<'a>>,
    },
    /// Answer to `Publish`.
    Published {
        /// Of the question.
        request: u32,
        /// The publication's offset; 0 in channels that keep no history.
        offset: u64,
        /// The stream's incarnation.
        #[serde(borrow)]
        epoch: &'a str,
        /// A publication with the same idempotency key was made before: its position is the one given.
        duplicate: bool,
    },
    /// Answer to `History`.
    History {
        /// Of the question.
        request: u32,
        /// The channel's top offset.
        offset: u64,
        /// The stream's incarnation.
        #[serde(borrow)]
        epoch: &'a str,
        /// In the asked order.
        #[serde(borrow)]
        publications: Vec<Publication<'a>>,
    },
    /// Answer to `Presence`.
    Presence {
        /// Of the question.
        request: u32,
        /// Everyone present.
        #[serde(borrow)]
        members: Vec<ClientInfo<'a>>,
    },
    /// Answer to `PresenceStats`.
    PresenceStats {
        /// Of the question.
        request: u32,
        /// Sessions present.
        clients: u32,
        /// Distinct users present.
        users: u32,
    },
    /// Answer to any question that has none of its own.
    Failed {
        /// Of the question.
        request: u32,
        /// One of [`crate::code`].
        code: u16,
    },
    /// A publication in a channel this shard wants.
    Publication {
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
        /// The message.
        #[serde(borrow)]
        publication: Publication<'a>,
    },
    /// Somebody entered (channels with join/leave).
    Join {
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
        /// Who.
        #[serde(borrow)]
        info: ClientInfo<'a>,
    },
    /// Somebody left (channels with join/leave).
    Leave {
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
        /// Who.
        #[serde(borrow)]
        info: ClientInfo<'a>,
    },
    /// Commands for a session of this shard that came to another one. Answer: [`ToRelay::Emulated`].
    Emulate {
        /// Echoed in the answer: who asked.
        asker: u32,
        /// Echoed in the answer: its question.
        request: u32,
        /// Which session.
        session: [u8; SESSION_BYTES],
        /// The commands.
        #[serde(borrow, with = "serde_bytes")]
        data: &'a [u8],
    },
    /// Answer to [`ToRelay::Emulate`].
    Emulated {
        /// Of the question.
        request: u32,
        /// The session is there and has taken the commands.
        found: bool,
    },
    /// Answer to [`ToRelay::Proxy`].
    Proxied {
        /// Of the question.
        request: u32,
        /// What the backend has decided.
        outcome: Outcome,
    },
    /// Publications of this channel were lost for this shard and history cannot give them back: subscribers must be told.
    Insufficient {
        /// The channel.
        #[serde(borrow)]
        channel: &'a str,
    },
    /// Answer to `Remove`.
    Done {
        /// Of the question.
        request: u32,
    },
    /// A question about this shard's sessions and channels. Answer: [`ToRelay::Surveyed`].
    Survey {
        /// Echoed in the answer.
        number: u32,
        /// What.
        question: Box<Question>,
    },
    /// Answer to [`ToRelay::Survey`].
    Surveyed {
        /// Of the question.
        request: u32,
        /// What came of it.
        answer: Box<Answer>,
    },
}
