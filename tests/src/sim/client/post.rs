//! A second connection, by which a session over a stream says what it has to say: request by request, at any shard.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use protocol::{client::encoding::Encoding, http::shard_of};

use super::{BATCH_BYTES, Client, Surroundings};
use crate::sim::{
    http::{Service, emulation},
    kernel::Line,
    socket::Got,
    wire::{Shape, Wire, Word},
};

/// See the module.
#[derive(Default)]
pub(super) struct Post {
    /// What waits to be said.
    queue: VecDeque<Vec<u8>>,
    /// Session and node, as the answer to `connect` names them.
    name: Option<(String, String)>,
    connection: Option<Connection>,
    retry_at: Duration,
    /// The session was not found then.
    missing: Option<Duration>,
}

struct Connection {
    shard: usize,
    line: Line,
    wire: Wire,
    written: usize,
    state: State,
    /// Of the response under way.
    status: u16,
    last: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Not yet open.
    Opening,
    /// Asks whether it may.
    Asking,
    Idle,
    /// Commands are out.
    Busy,
}

/// How long a session that is not found may seem to go on.
const GOES_ON: Duration = Duration::from_secs(8);

impl Post {
    /// Of a session that has begun.
    pub(super) fn name(&mut self, session: &str, node: &str) {
        self.name = Some((session.to_owned(), node.to_owned()));
    }

    /// More to say.
    pub(super) fn say(&mut self, encoding: Encoding, batch: &[u8]) {
        match self.queue.back_mut().filter(|last| last.len() + batch.len() <= BATCH_BYTES) {
            Some(last) => {
                last.extend_from_slice(encoding.separator());
                last.extend_from_slice(batch);
            }
            None => self.queue.push_back(batch.to_vec()),
        }
    }

    /// All is said.
    pub(super) fn is_settled(&self) -> bool {
        let busy = self.connection.as_ref().is_some_and(|connection| connection.state == State::Busy);
        self.queue.is_empty() && !busy && self.missing.is_none()
    }

    /// Whether there is a connection.
    pub(super) const fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// The session is over.
    pub(super) fn end(&mut self, around: &Surroundings) {
        if let Some(connection) = self.connection.take() {
            around.kernel.borrow_mut().peer_close(connection.line);
        }
        *self = Self::default();
    }
}

impl Client {
    /// One turn of the connection for commands.
    pub(super) fn step_post(&mut self, now: Duration, around: &Surroundings) -> Result<(), String> {
        if !self.way.is_emulated() || self.line.is_none() {
            return Ok(());
        }
        if self.post.missing.is_some_and(|at| now > at + GOES_ON) && !self.excused && !self.closed {
            return Err(format!("client {}: its session goes on, though it is not found", self.number));
        }
        if self.post.connection.is_some() {
            self.hear_post(now, around).map_err(|crime| format!("client {} posts: {crime}", self.number))?;
        } else if !self.post.queue.is_empty() && self.post.name.is_some() && now >= self.post.retry_at {
            self.open_post(now, around)?;
        }
        let may = !self.closed && self.post.missing.is_none();
        let Post { queue, name, connection: Some(connection), .. } = &mut self.post else { return Ok(()) };
        if connection.state == State::Idle
            && may
            && let (Some((session, node)), Some(commands)) = (name, queue.pop_front())
        {
            connection.state = State::Busy;
            around.trace.note("posts", self.number as u64, commands.len() as u64);
            let body = emulation(self.encoding, node, session, &commands);
            connection.wire.request(Service::Emulation, &body, &mut self.random);
        }
        let Connection { wire, written, line, .. } = connection;
        *written += around.kernel.borrow_mut().peer_send(*line, &wire.out[*written..]);
        if *written == wire.out.len() {
            wire.out.clear();
            *written = 0;
        }
        Ok(())
    }

    fn open_post(&mut self, now: Duration, around: &Surroundings) -> Result<(), String> {
        let plan = &around.plan;
        let (shard, listener) = (self.random.index(plan.shards), self.random.index(plan.listeners.len()));
        let source = SocketAddr::from((plan.address(self.number), 9));
        let bytes = plan.socket_bytes;
        let line = around.kernel.borrow_mut().connect(plan.listener(shard, listener), source, bytes, bytes);
        let Some(line) = line else {
            self.post.retry_at = now + Duration::from_millis(100);
            return Ok(());
        };
        let tls = around.tls.as_ref().filter(|_| plan.listeners[listener]);
        let mut wire = Wire::new(tls, self.encoding, Shape::Http, &mut self.random)?;
        let open = tls.is_none() && wire.begin();
        around.trace.note("opens a post", self.number as u64, u64::from(line.0));
        let connection =
            Connection { shard, line, wire, written: 0, state: State::Opening, status: 0, last: false };
        let connection = self.post.connection.insert(connection);
        if open {
            connection.opened(self.random.chance(700), &mut self.random);
        }
        Ok(())
    }

    fn hear_post(&mut self, now: Duration, around: &Surroundings) -> Result<(), String> {
        let Some(connection) = &mut self.post.connection else { return Ok(()) };
        let mut bytes = Vec::new();
        let got = around.kernel.borrow_mut().peer_receive(connection.line, &mut bytes, usize::MAX);
        match got {
            Got::Nothing => Ok(()),
            Got::Bytes(_) => {
                let mut words = Vec::new();
                let read = connection.wire.receive(&bytes, &mut words);
                for word in words {
                    self.post_says(now, around, word)?;
                }
                read
            }
            Got::End | Got::Reset => {
                self.lose_post(now, around);
                Ok(())
            }
        }
    }

    /// Whoever does not know what became of its commands begins anew.
    fn lose_post(&mut self, now: Duration, around: &Surroundings) {
        let Some(connection) = self.post.connection.take() else { return };
        around.kernel.borrow_mut().peer_close(connection.line);
        self.post.retry_at = now + Duration::from_millis(self.random.between(20, 300));
        if connection.state == State::Busy {
            self.leave(around, 3);
        }
    }

    fn post_says(&mut self, now: Duration, around: &Surroundings, word: Word) -> Result<(), String> {
        let Some(connection) = &mut self.post.connection else { return Ok(()) };
        match word {
            Word::Opened => connection.opened(self.random.chance(700), &mut self.random),
            Word::Head { status, last } => {
                (connection.status, connection.last) = (status, last);
            }
            Word::Last => {
                let (status, state) = (connection.status, connection.state);
                around.trace.note("posted", self.number as u64, u64::from(status));
                connection.state = State::Idle;
                if connection.last || status == 408 {
                    self.lose_post(now, around);
                }
                match (state, status) {
                    (State::Asking | State::Busy, 204) => {}
                    (State::Idle | State::Asking | State::Busy, 408) => self.leave(around, 3),
                    (State::Busy, status) => return self.not_taken(now, around, status),
                    (state, status) => return Err(format!("{status} while {state:?}")),
                }
            }
            Word::Ended => {}
            word => return Err(format!("{word:?}")),
        }
        Ok(())
    }

    fn not_taken(&mut self, now: Duration, around: &Surroundings, status: u16) -> Result<(), String> {
        let place = self.post.name.as_ref().and_then(|(_, node)| shard_of(node));
        let here = self
            .post
            .connection
            .as_ref()
            .zip(place)
            .is_some_and(|(connection, (_, shard))| connection.shard == usize::from(shard));
        match status {
            404 if here || around.plan.has_steady_relay() => {
                self.post.missing.get_or_insert(now);
            }
            503 if here => return Err("its own shard cannot be reached".to_owned()),
            404 | 503 => self.leave(around, 3),
            _ => return Err(format!("commands are answered with {status}")),
        }
        Ok(())
    }
}

impl Connection {
    /// A page asks first; others need not.
    fn opened(&mut self, page: bool, random: &mut crate::sim::random::Random) {
        if page {
            self.state = State::Asking;
            self.wire.request(Service::Preflight, b"", random);
        } else {
            self.state = State::Idle;
        }
    }
}
