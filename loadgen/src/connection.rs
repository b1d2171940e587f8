//! One connection of the client's side, from TCP to subscribed, as a record of a few dozen bytes. Bytes in, bytes out: the
//! socket is the thread's.

#[cfg(test)]
mod tests;

use protocol::client::command::{Command, Connect, Request, Subscribe};
use protocol::client::encoding::{Encoding, Messages};
use protocol::client::received::{Answer, Event, Received};
use protocol::tls::{Handshake, Opened, Progress, Traffic};
use protocol::upgrade::Parsed;
use protocol::upgrade::client::Rejected;
use protocol::upgrade::limits::KEY_BYTES;
use protocol::ws::{self, Item, Opcode, Reader, Role};
use sys::Handle;

use crate::cause::{Cause, Stage};
use crate::frames::Frames;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::manner::{Goal, Manner};

/// Who a connection is, asked for when it is about to say so.
pub trait Identity {
    /// Its token, empty for none.
    fn token(&mut self, number: u32) -> Result<String, Cause>;
    /// The channel it subscribes to at once; `None` for none.
    fn channel(&mut self, number: u32) -> Option<String>;
    /// Where it was in its channel, if it comes back to it.
    fn recovers_from(&self) -> Option<u64>;
    /// It came back: everything after that is there, so many publications, or it is not.
    fn recovered(&mut self, number: u32, publications: Option<usize>);
    /// The server will ping every so many seconds; 0 when it does not.
    fn announced(&mut self, ping_s: u32);
}

/// What a connection heard once it is open. Calls come in the order of the wire.
pub trait Listener {
    /// A publication in one of its channels.
    fn publication(&mut self, line: &mut Line<'_>, data: &[u8]);
    /// The answer to a command that the listener sent.
    fn answer(&mut self, line: &mut Line<'_>, id: u32, answer: &Answer<'_>);
}

/// An open connection, as a listener sees it.
#[derive(Debug)]
pub struct Line<'a> {
    /// Place in its thread's table; stays while it is open.
    pub index: u32,
    /// Which client it is.
    pub number: u32,
    /// What is to be sent on it.
    pub frames: &'a mut Frames,
    /// For the listener to note one thing about it.
    pub marked: &'a mut bool,
}

/// Ids of the two commands that open a session; a listener's start after them.
pub const FIRST_FREE_ID: u32 = 3;
const CONNECT_ID: u32 = 1;
const SUBSCRIBE_ID: u32 = 2;

/// One connection. What only a busy one needs is boxed.
#[derive(Debug)]
pub struct Connection {
    /// The socket; negative in a free slot.
    pub handle: Handle,
    /// Tells this tenant of the slot from those before.
    pub generation: u32,
    /// Which client it is.
    pub number: u32,
    /// Second of the run in which bytes last came.
    pub heard_s: u32,
    stage: Stage,
    pong: bool,
    marked: bool,
    traffic: Option<Traffic>,
    reader: Reader,
    hot: Option<Box<Hot>>,
}

/// Parts of messages, and what exists only until the connection is open.
#[derive(Debug, Default)]
struct Hot {
    handshake: Option<Handshake>,
    upgrade_key: [u8; KEY_BYTES],
    /// Received and not yet opened.
    cipher: Vec<u8>,
    /// Opened and not yet read.
    plain: Vec<u8>,
    /// To be sent.
    owed: Vec<u8>,
}

const _: () = assert!(size_of::<Connection>() <= 64, "a million of them fit a small machine");

/// Buffers of a thread for whichever connection is being served.
#[derive(Debug, Default)]
pub struct Scratch {
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

/// Nothing more from this connection for now, and whether it reached its goal in this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It goes on.
    No,
    /// Just now.
    Goal,
}

impl Connection {
    /// An empty slot.
    pub fn vacant() -> Self {
        Self {
            handle: -1,
            generation: 0,
            number: 0,
            heard_s: 0,
            stage: Stage::Connecting,
            pong: false,
            marked: false,
            traffic: None,
            reader: Reader::new(),
            hot: None,
        }
    }

    /// Client `number` moves in with a socket that is connecting.
    pub fn occupy(&mut self, handle: Handle, number: u32, now_s: u32) {
        let generation = self.generation;
        *self = Self { handle, generation, number, heard_s: now_s, ..Self::vacant() };
    }

    /// Moves out; returns the socket, which is the caller's to close. What was allocated is freed and erased.
    pub fn vacate(&mut self) -> Handle {
        let handle = self.handle;
        *self = Self { generation: self.generation.wrapping_add(1), ..Self::vacant() };
        handle
    }

    /// How far it got.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether the slot is taken.
    pub fn is_taken(&self) -> bool {
        self.handle >= 0
    }

    /// A view of it for a listener.
    pub fn line<'a>(&'a mut self, index: u32, frames: &'a mut Frames) -> Line<'a> {
        Line { index, number: self.number, frames, marked: &mut self.marked }
    }

    /// TCP is there: says the first thing. What is to be sent is owed afterwards.
    pub fn begin(&mut self, manner: &Manner, frames: &mut Frames) -> Result<Reached, Cause> {
        debug_assert_eq!(self.stage, Stage::Connecting);
        let Some((config, name)) = &manner.tls else { return self.secured(manner, frames) };
        let mut handshake =
            Handshake::client(config, name.clone()).map_err(|error| Cause::Tls(error.to_string()))?;
        let hot = self.hot.get_or_insert_default();
        handshake
            .receive(&mut hot.cipher, &mut hot.owed)
            .map_err(|failure| Cause::Tls(failure.to_string()))?;
        hot.handshake = Some(handshake);
        self.stage = Stage::Securing;
        Ok(Reached::No)
    }

    /// Feeds what the socket gave. `frames` collects what is to be sent in answer.
    pub fn receive<E: Identity + Listener>(
        &mut self,
        index: u32,
        bytes: &mut [u8],
        manner: &Manner,
        scratch: &mut Scratch,
        frames: &mut Frames,
        ear: &mut E,
    ) -> Result<Reached, Cause> {
        scratch.plain.clear();
        let mut reached = Reached::No;
        if self.stage == Stage::Securing {
            reached = self.secure(bytes, manner, frames)?;
            if self.stage == Stage::Securing || reached == Reached::Goal {
                return Ok(reached);
            }
            let mut rest = self.hot.as_mut().map(|hot| std::mem::take(&mut hot.cipher)).unwrap_or_default();
            self.open(&mut rest, scratch)?;
        } else {
            self.open(bytes, scratch)?;
        }
        if self.stage == Stage::Upgrading {
            reached = self.upgrade(manner, scratch, frames, ear)?;
            if reached == Reached::Goal {
                return Ok(reached);
            }
        }
        if self.stage >= Stage::Greeting {
            let heard = self.listen(index, manner, scratch, frames, ear)?;
            if heard == Reached::Goal {
                reached = heard;
            }
        }
        Ok(reached)
    }

    /// The bytes to send now: what was owed, then what `frames` holds, which is emptied. Say afterwards how many were
    /// [sent](Self::sent).
    pub fn transmit<'a>(
        &'a mut self,
        scratch: &'a mut Scratch,
        frames: &mut Frames,
    ) -> Result<&'a [u8], Cause> {
        let fresh = frames.finished();
        let out = match &mut self.hot {
            Some(hot) if !hot.owed.is_empty() => &mut hot.owed,
            _ => {
                scratch.sealed.clear();
                &mut scratch.sealed
            }
        };
        if !fresh.is_empty() {
            match &mut self.traffic {
                Some(traffic) => traffic.seal(fresh, out).map_err(|error| Cause::Tls(error.to_string()))?,
                None => out.extend_from_slice(fresh),
            }
        }
        frames.clear();
        Ok(out)
    }

    /// `count` bytes of the last [`Self::transmit`] went out; the rest is kept. Returns how much that is.
    pub fn sent(&mut self, count: usize, scratch: &mut Scratch) -> usize {
        if let Some(hot) = &mut self.hot
            && !hot.owed.is_empty()
        {
            hot.owed.drain(..count);
            let left = hot.owed.len();
            self.cool();
            return left;
        }
        let left = scratch.sealed.len() - count;
        if left > 0 {
            self.hot.get_or_insert_default().owed.extend_from_slice(&scratch.sealed[count..]);
        }
        left
    }

    /// Whether something is to be sent.
    pub fn owes(&self) -> bool {
        self.hot.as_ref().is_some_and(|hot| !hot.owed.is_empty())
    }

    /// Heap bytes beside the record.
    pub fn heap_bytes(&self) -> usize {
        let hot = self.hot.as_ref().map_or(0, |hot| {
            size_of::<Hot>() + hot.cipher.capacity() + hot.plain.capacity() + hot.owed.capacity()
        });
        self.traffic.as_ref().map_or(0, Traffic::heap_bytes) + self.reader.held_bytes() + hot
    }

    /// Goes on with the TLS handshake.
    fn secure(&mut self, bytes: &[u8], manner: &Manner, frames: &mut Frames) -> Result<Reached, Cause> {
        let hot = self.hot.get_or_insert_default();
        hot.cipher.extend_from_slice(bytes);
        let Some(handshake) = &mut hot.handshake else {
            return Err(Cause::Tls("the handshake is over".to_owned()));
        };
        match handshake.receive(&mut hot.cipher, &mut hot.owed) {
            Err(failure) => Err(Cause::Tls(failure.to_string())),
            Ok(Progress::More) => Ok(Reached::No),
            Ok(Progress::Done(done)) => {
                hot.handshake = None;
                self.traffic = Some(done.traffic);
                self.secured(manner, frames)
            }
        }
    }

    /// What goes over the connection is protected as far as it will be: asks for the WebSocket.
    fn secured(&mut self, manner: &Manner, frames: &mut Frames) -> Result<Reached, Cause> {
        if manner.goal == Goal::Secured {
            self.stage = Stage::Open;
            return Ok(Reached::Goal);
        }
        let hot = self.hot.get_or_insert_default();
        let (one, two) = hot.upgrade_key.split_at_mut(KEY_BYTES / 2);
        one.copy_from_slice(&frames.dice().roll());
        two.copy_from_slice(&frames.dice().roll());
        manner.offer(hot.upgrade_key).request(frames.raw());
        self.stage = Stage::Upgrading;
        Ok(Reached::No)
    }

    /// Opens records of `bytes`, after what was left of the last one, into the scratch; keeps what is left.
    fn open(&mut self, bytes: &mut [u8], scratch: &mut Scratch) -> Result<(), Cause> {
        if let Some(hot) = &mut self.hot {
            scratch.plain.append(&mut hot.plain);
        }
        let Some(traffic) = &mut self.traffic else {
            scratch.plain.extend_from_slice(bytes);
            return Ok(());
        };
        let mut carried = self.hot.as_mut().map(|hot| std::mem::take(&mut hot.cipher)).unwrap_or_default();
        let input = if carried.is_empty() {
            bytes
        } else {
            carried.extend_from_slice(bytes);
            carried.as_mut_slice()
        };
        let mut at = 0;
        loop {
            let (used, opened) =
                traffic.open(&mut input[at..]).map_err(|fault| Cause::Tls(fault.to_string()))?;
            at += used;
            match opened {
                Opened::Data(data) => scratch.plain.extend_from_slice(data),
                Opened::Nothing => {}
                Opened::Incomplete { .. } | Opened::Closed => break,
            }
        }
        if at < input.len() {
            let rest = input[at..].to_vec();
            self.hot.get_or_insert_default().cipher = rest;
        }
        Ok(())
    }

    /// Reads the answer to the upgrade and, if the goal lies beyond it, introduces itself.
    fn upgrade<E: Identity>(
        &mut self,
        manner: &Manner,
        scratch: &mut Scratch,
        frames: &mut Frames,
        ear: &mut E,
    ) -> Result<Reached, Cause> {
        let hot = self.hot.get_or_insert_default();
        match manner.offer(hot.upgrade_key).response(&scratch.plain) {
            Err(Rejected::Status { status }) => return Err(Cause::Status(status)),
            Err(other) => return Err(Cause::Garbled(other.to_string())),
            Ok(Parsed::Incomplete) => {
                hot.plain.append(&mut scratch.plain);
                return Ok(Reached::No);
            }
            Ok(Parsed::Complete { consumed, head }) => {
                // JSON is also what a server speaks that agrees to nothing.
                if manner.encoding != Encoding::Json && !head.subprotocol {
                    return Err(Cause::Garbled("the server did not agree to the subprotocol".to_owned()));
                }
                drop(scratch.plain.drain(..consumed));
            }
        }
        if manner.goal == Goal::Upgraded {
            self.stage = Stage::Open;
            return Ok(Reached::Goal);
        }
        self.stage = Stage::Greeting;
        let token = ear.token(self.number)?;
        let connect = Connect { token: token.into(), name: "headland-loadgen".into(), ..Connect::default() };
        frames.command(&Command { id: CONNECT_ID, request: Request::Connect(connect) });
        if let Some(channel) = ear.channel(self.number) {
            let from = ear.recovers_from();
            let subscribe = Subscribe {
                channel: channel.into(),
                recover: from.is_some(),
                offset: from.unwrap_or(0),
                ..Subscribe::default()
            };
            frames.command(&Command { id: SUBSCRIBE_ID, request: Request::Subscribe(subscribe) });
        }
        Ok(Reached::No)
    }

    /// Reads WebSocket messages from the scratch; keeps what is left.
    fn listen<E: Identity + Listener>(
        &mut self,
        index: u32,
        manner: &Manner,
        scratch: &mut Scratch,
        frames: &mut Frames,
        ear: &mut E,
    ) -> Result<Reached, Cause> {
        debug_assert_eq!(manner.goal, Goal::Greeted);
        let limits = ws::Limits { message_bytes_max: MESSAGE_BYTES_MAX, deflate: manner.deflate };
        let mut reached = Reached::No;
        let mut at = 0;
        let mut reader = std::mem::take(&mut self.reader);
        loop {
            let (used, item) = reader
                .next(Role::Client, &mut scratch.plain[at..], &limits)
                .map_err(|violation| Cause::Garbled(violation.to_string()))?;
            at += used;
            match item {
                Item::Incomplete { .. } => break,
                Item::Nothing | Item::Pong(_) => {}
                Item::Ping(payload) => frames.control(Opcode::Pong, payload),
                Item::Close { code, .. } => {
                    frames.close(code);
                    return Err(Cause::Closed(code.unwrap_or(NO_CODE)));
                }
                said @ (Item::Text(_) | Item::Binary(_)) => {
                    let messages = manner.messages(&said)?;
                    if self.hear(index, messages, frames, ear)? == Reached::Goal {
                        reached = Reached::Goal;
                    }
                }
            }
        }
        self.reader = reader;
        if at < scratch.plain.len() {
            self.hot.get_or_insert_default().plain.extend_from_slice(&scratch.plain[at..]);
        }
        self.cool();
        Ok(reached)
    }

    /// What one WebSocket message says.
    fn hear<E: Identity + Listener>(
        &mut self,
        index: u32,
        messages: Messages<'_>,
        frames: &mut Frames,
        ear: &mut E,
    ) -> Result<Reached, Cause> {
        let mut reached = Reached::No;
        for received in messages {
            match received.map_err(|garbled| Cause::Garbled(garbled.to_string()))? {
                Received::Ping if self.pong => frames.pong(),
                Received::Push { event: Event::Publication(message), .. } => {
                    ear.publication(&mut self.line(index, frames), message.data);
                }
                Received::Push { event: Event::Unsubscribe(ended), .. } => {
                    return Err(Cause::Unsubscribed(ended.code));
                }
                Received::Ping | Received::Push { .. } => {}
                Received::Reply { id: id @ (CONNECT_ID | SUBSCRIBE_ID), answer } => {
                    if self.greet(id, &answer, ear)? {
                        self.stage = Stage::Open;
                        reached = Reached::Goal;
                    }
                }
                Received::Reply { id, answer } => ear.answer(&mut self.line(index, frames), id, &answer),
            }
        }
        Ok(reached)
    }

    /// Takes an answer to one of the opening commands; says whether it was the last.
    fn greet<E: Identity>(&mut self, id: u32, answer: &Answer<'_>, ear: &mut E) -> Result<bool, Cause> {
        match answer {
            Answer::Error(failure) => Err(Cause::Error(failure.code)),
            Answer::Connect(session) if id == CONNECT_ID => {
                self.pong = session.pong;
                ear.announced(session.ping_s);
                Ok(ear.channel(self.number).is_none())
            }
            Answer::Subscribe(subscription) if id == SUBSCRIBE_ID => {
                if ear.recovers_from().is_some() {
                    let publications = subscription.recovered.then_some(subscription.publications.len());
                    ear.recovered(self.number, publications);
                }
                Ok(true)
            }
            _ => Err(Cause::Garbled("an answer of another kind than the command".to_owned())),
        }
    }

    /// Drops the box of a connection that has nothing pending.
    fn cool(&mut self) {
        let cold = |hot: &Hot| {
            hot.handshake.is_none() && hot.cipher.is_empty() && hot.plain.is_empty() && hot.owed.is_empty()
        };
        if self.stage == Stage::Open && self.hot.as_deref().is_some_and(cold) {
            self.hot = None;
        }
    }
}

/// RFC 6455 §7.4.1: what a close frame without a code means.
const NO_CODE: u16 = 1005;
