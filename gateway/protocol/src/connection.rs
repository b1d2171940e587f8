//! One client's connection as the shard keeps it: a small record, and a boxed "hot" part only while something is under way.
//!
//! Owns the layout and its size; the shard owns what happens. An idle connection has no buffer.

use wire::{ClientId, token::Claims};

use crate::{
    admission::Source,
    client::encoding::Encoding,
    framing::Framing,
    opening::Opening,
    outbox::Outbox,
    places::Places,
    shard::Exchange,
    time::Tick,
    tls::{Handshake, Traffic},
    ws::Reader,
};

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// TLS handshake.
    Handshake,
    /// Waiting for the HTTP request.
    Upgrade,
    /// WebSocket, before the client protocol's `connect`.
    Fresh,
    /// `connect` waits for the relay: its word on the token, then the channels that the server subscribes the session to.
    Connecting,
    /// An authenticated session.
    Ready,
    /// `connect` was refused with an error: any further command is one too many.
    Unusable,
    /// A close frame (or a last HTTP answer) has been queued.
    Closing,
    /// Has had an HTTP request and may have more; one may be waiting for its answer.
    Http,
}

/// A connection's record. Plain data but for the boxes, so that it can be handed to another process.
pub struct Connection {
    /// The descriptor, for the shell.
    pub handle: i32,
    /// Tells this connection from others at the same index.
    pub generation: u32,
    /// Whose count it is in.
    pub(crate) source: Source,
    /// The session's id.
    pub(crate) client: ClientId,
    /// User and connection info.
    pub(crate) identity: Identity,
    /// Subscriptions.
    pub(crate) places: Places,
    /// Keys of an established TLS connection; `None` before, and on plain listeners.
    pub(crate) traffic: Option<Traffic>,
    /// What is under way.
    pub(crate) hot: Option<Box<Hot>>,
    /// WebSocket reading state.
    pub(crate) reader: Reader,
    /// Unix seconds at which the session expires; 0 never.
    pub(crate) expire_at: u32,
    /// The next ping, or with [`Flags::PONG_OWED`] the end of the pong's time.
    pub(crate) ping: Tick,
    /// Requests that wait for the relay.
    pub(crate) asked: u16,
    /// How far it has come.
    pub(crate) phase: Phase,
    /// One encoding for the whole session.
    pub(crate) encoding: Encoding,
    /// How messages stand on the wire.
    pub(crate) framing: Framing,
    /// See [`Flags`].
    pub(crate) flags: Flags,
}

/// Bits of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(u16);

/// What only a connection with something under way has.
#[derive(Default)]
pub struct Hot {
    /// Received bytes that are not a whole record (or, on plain listeners, not a whole request).
    pub(crate) input: Vec<u8>,
    /// Decrypted bytes that are not a whole frame or request, or that wait for the session.
    pub(crate) plain: Vec<u8>,
    /// The commands of a message that wait for the relay.
    pub(crate) waiting: Vec<u8>,
    /// The command that made them wait is to be run again, for it needs the answer.
    pub(crate) again: bool,
    /// What the relay said to the command that is run again.
    pub(crate) word: Option<Box<Word>>,
    /// What the token of the `connect` says that waits for its user's channels.
    pub(crate) claims: Option<Box<Claims>>,
    /// Fields of the connection's HTTP request for a backend, as lines, until the session begins.
    pub(crate) headers: Vec<u8>,
    /// The session begins with channels that it waits for.
    pub(crate) opening: Option<Box<Opening>>,
    /// What is owed.
    pub(crate) outbox: Outbox,
    /// Bytes as they go to the socket, of which `sent` are there already.
    pub(crate) sealed: Vec<u8>,
    pub(crate) sent: usize,
    /// The handshake, unless it is out in a job.
    pub(crate) handshake: Option<Box<Handshake>>,
    /// The HTTP request under way.
    pub(crate) exchange: Option<Box<Exchange>>,
    /// The backlog has been above the soft bound since then.
    pub(crate) slow_since: Option<Tick>,
    /// Bytes of this part in the shard's account.
    pub(crate) counted: usize,
}

/// The relay's word on a command.
pub(crate) enum Word {
    /// On its token.
    Token(Verified),
    /// A backend's.
    Backend(Decided),
}

/// The relay's word on a token.
pub(crate) type Verified = Result<Claims, wire::code::ErrorCode>;

/// What a backend has decided, or why it has not.
pub(crate) type Decided = Result<wire::backend::Outcome, wire::code::ErrorCode>;

/// User id, connection info and what is kept for backends in one allocation: two length bytes, the user, the info. Where something is kept,
/// the first length has a bit more, and four length bytes of the info and then the rest follow. Empty for anonymous sessions without info.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Identity(Box<[u8]>);

impl Flags {
    /// In the shard's list of connections with something to flush.
    pub const DIRTY: Self = Self(1);
    /// Input waits until the relay has answered.
    pub const PAUSED: Self = Self(2);
    /// A ping is unanswered.
    pub const PONG_OWED: Self = Self(4);
    /// Pings are WebSocket pings.
    pub const FRAME_PING: Self = Self(8);
    /// The socket took less than it was offered.
    pub const BLOCKED: Self = Self(16);
    /// To be closed as soon as everything is sent.
    pub const LAST: Self = Self(32);
    /// The close_notify is sealed.
    pub const NOTIFIED: Self = Self(64);
    /// The handshake is out in a job.
    pub const WORKING: Self = Self(128);
    /// What is owed waits behind the answer to `connect`, and so does [`Flags::BLOCKED`].
    pub const DAMMED: Self = Self(256);
    /// The relay counts the session for its user.
    pub const COUNTED: Self = Self(512);
    /// No client protocol is spoken: messages go back as they came.
    pub const ECHO: Self = Self(1024);
    /// A backend has been asked whether the session may go on.
    pub const REFRESHING: Self = Self(2048);
    /// An [`Flags::ECHO`] connection that is not read from until it has read.
    pub const ECHO_PAUSED: Self = Self(Self::ECHO.0 | Self::PAUSED.0);

    /// Whether all bits of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Sets bits.
    pub const fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Clears bits.
    pub const fn clear(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

impl Connection {
    /// The hot part, made if need be from a pooled one.
    #[expect(clippy::vec_box, reason = "the boxes themselves are what the pool keeps")]
    pub(crate) fn hot(&mut self, pool: &mut Vec<Box<Hot>>) -> &mut Hot {
        let framing = self.framing;
        self.hot.get_or_insert_with(|| {
            let mut hot = pool.pop().unwrap_or_default();
            hot.outbox.set_framing(framing);
            hot
        })
    }

    /// From now on messages stand on the wire like this. After [`Outbox::end_batch`] only.
    pub(crate) fn set_framing(&mut self, framing: Framing) {
        self.framing = framing;
        if let Some(hot) = &mut self.hot {
            hot.outbox.set_framing(framing);
        }
    }

    /// Still before the end of the upgrade: counts as handshaking at the door.
    pub(crate) const fn at_the_door(&self) -> bool {
        matches!(self.phase, Phase::Handshake | Phase::Upgrade)
    }

    /// WebSocket frames may be sent.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Connecting | Phase::Ready | Phase::Unusable)
    }
}

impl Hot {
    /// Bytes held.
    pub(crate) fn held(&self) -> usize {
        let read = self.input.len() + self.plain.len() + self.waiting.len() + self.headers.len();
        read + self.outbox.bytes() + self.sealed.len() - self.sent
    }

    /// Bytes that wait for the reader.
    pub(crate) const fn backlog(&self) -> usize {
        self.outbox.bytes() + self.sealed.len() - self.sent
    }

    /// Nothing is under way.
    pub(crate) const fn is_idle(&self) -> bool {
        self.input.is_empty()
            && self.plain.is_empty()
            && self.waiting.is_empty()
            && self.headers.is_empty()
            && self.outbox.is_empty()
            && self.sealed.len() == self.sent
            && self.handshake.is_none()
            && self.opening.is_none()
            && self.exchange.is_none()
    }

    /// Ready for another connection: nothing of this one is left. Buffers go, as most uses (a publication, a ping) need none.
    pub(crate) fn recycle(&mut self) {
        for buffer in [&mut self.input, &mut self.plain, &mut self.sealed] {
            *buffer = Vec::new();
        }
        self.waiting = <_>::default();
        self.again = false;
        self.word = None;
        self.claims = None;
        self.headers = <_>::default();
        self.opening = None;
        self.outbox.clear();
        self.sent = 0;
        self.handshake = None;
        self.exchange = None;
        self.slow_since = None;
        self.counted = 0;
    }
}

impl Identity {
    /// Longest user id in bytes.
    pub const USER_BYTES_MAX: usize = (u16::MAX >> 1) as usize;
    /// Set in the first length when there is something for backends.
    const META: u16 = 1 << 15;

    /// `None` when the user id is longer than [`Identity::USER_BYTES_MAX`].
    pub fn new(user: &str, info: &[u8], meta: &[u8]) -> Option<Self> {
        if user.is_empty() && info.is_empty() && meta.is_empty() {
            return Some(Self::default());
        }
        let length = u16::try_from(user.len()).ok().filter(|length| length & Self::META == 0)?;
        if meta.is_empty() {
            return Some(Self([&length.to_le_bytes()[..], user.as_bytes(), info].concat().into()));
        }
        let length = (length | Self::META).to_le_bytes();
        let info_length = u32::try_from(info.len()).ok()?.to_le_bytes();
        Some(Self([&length[..], user.as_bytes(), &info_length, info, meta].concat().into()))
    }

    /// The user id; empty when anonymous.
    pub fn user(&self) -> &str {
        std::str::from_utf8(self.parts()[0]).unwrap_or_default()
    }

    /// JSON from the token; empty when there is none.
    pub fn info(&self) -> &[u8] {
        self.parts()[1]
    }

    /// JSON for backends; empty when there is none.
    pub fn meta(&self) -> &[u8] {
        self.parts()[2]
    }

    fn parts(&self) -> [&[u8]; 3] {
        let Some((length, rest)) = self.0.split_first_chunk() else { return [&[]; 3] };
        let length = u16::from_le_bytes(*length);
        let (user, rest) = rest.split_at(usize::from(length & !Self::META));
        if length & Self::META == 0 {
            return [user, rest, &[]];
        }
        let Some((length, rest)) = rest.split_first_chunk() else { return [user, &[], &[]] };
        let (info, meta) = rest.split_at(u32::from_le_bytes(*length) as usize);
        [user, info, meta]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_keeps_its_size() {
        assert_eq!(size_of::<Identity>(), 16);
        assert!(size_of::<Connection>() <= 128, "{}", size_of::<Connection>());
    }

    #[test]
    fn identity_keeps_both_parts() {
        let identity = Identity::new("user-1", br#"{"name":"A"}"#, b"").unwrap();
        assert_eq!((identity.user(), identity.info()), ("user-1", &br#"{"name":"A"}"#[..]));
        assert_eq!(
            (identity.0.len(), identity.meta()),
            (2 + 6 + 12, &b""[..]),
            "nothing for what is not there"
        );
        let anonymous = Identity::default();
        assert_eq!((anonymous.user(), anonymous.info()), ("", &[][..]));
        assert!(Identity::new(&"u".repeat(Identity::USER_BYTES_MAX), b"", b"").is_some());
        assert!(Identity::new(&"u".repeat(Identity::USER_BYTES_MAX + 1), b"", b"").is_none());
    }

    #[test]
    fn identity_keeps_what_is_for_backends_apart() {
        for (user, info) in [("user-1", &b"{}"[..]), ("", b""), ("u", b""), ("", b"1")] {
            let identity = Identity::new(user, info, b"{\"plan\":1}").unwrap();
            assert_eq!((identity.user(), identity.info()), (user, info));
            assert_eq!(identity.meta(), b"{\"plan\":1}");
        }
    }
}
