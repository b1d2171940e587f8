//! A shard's connection to the relay of its box: made, greeted, read in frames, written from the shard's queue, made again.
//!
//! Owns the socket and the bytes of an unfinished frame. Never looks into a message but to decode it for the shard.

use std::{io, path::PathBuf, time::Duration};

use protocol::{shard::Shard, time::Now};
use sys::{Handle, Sys};
use wire::frame::{self, FrameError, GREETING_BYTES, Greeting, Purpose, VERSION, Welcome};

use crate::limits::{GREETING_TIMEOUT, LINK_READ_PER_TURN_BYTES, RECONNECT_FIRST, RECONNECT_LAST};

/// See the module.
pub(crate) struct Link {
    path: PathBuf,
    greeting: Greeting,
    state: State,
    /// Received bytes; `parsed` of them are done with.
    input: Vec<u8>,
    parsed: usize,
    /// Bytes of the shard's queue are waiting for room in the socket.
    blocked: bool,
    readable: bool,
    wait: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Down { retry: Duration },
    Greeting { handle: Handle, until: Duration },
    Up { handle: Handle },
}

impl Link {
    pub(crate) fn new(path: PathBuf, gateway: u64, shard: u16) -> Self {
        Self {
            path,
            greeting: Greeting { version: VERSION, purpose: Purpose::Shard, gateway, shard },
            state: State::Down { retry: Duration::ZERO },
            input: Vec::new(),
            parsed: 0,
            blocked: false,
            readable: false,
            wait: RECONNECT_FIRST,
        }
    }

    pub(crate) const fn ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        if writable {
            self.blocked = false;
        }
    }

    /// Connects, reads and hears. True when there is more to read at once.
    pub(crate) fn advance(&mut self, sys: &mut impl Sys, shard: &mut Shard, now: Now, token: u64) -> bool {
        match self.state {
            State::Down { retry } if retry <= now.at => self.connect(sys, now, token),
            State::Greeting { until, .. } if until <= now.at => self.lose(sys, shard, now),
            _ => {}
        }
        if shard.link_is_stuck() {
            self.lose(sys, shard, now);
        }
        let more = match self.read(sys, shard, now) {
            Ok(more) => more,
            Err(_) => {
                self.lose(sys, shard, now);
                false
            }
        };
        more && shard.wants_link_input()
    }

    /// Sends what the shard has queued.
    pub(crate) fn flush(&mut self, sys: &mut impl Sys, shard: &mut Shard, now: Now) {
        let State::Up { handle } = self.state else { return };
        let out = shard.link_out();
        while !out.is_empty() && !self.blocked {
            match sys.send(handle, out) {
                Ok(count) => {
                    out.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                Err(_) => {
                    self.lose(sys, shard, now);
                    return;
                }
            }
        }
        if out.is_empty() {
            out.shrink_to(64 * 1024);
        }
    }

    /// When the link wants a turn of its own.
    pub(crate) const fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Down { retry: at } | State::Greeting { until: at, .. } => Some(at),
            State::Up { .. } => None,
        }
    }

    fn connect(&mut self, sys: &mut impl Sys, now: Now, token: u64) {
        let made = sys.connect(&self.path).and_then(|handle| {
            let greeted = sys.watch(handle, token).and_then(|()| sys.send(handle, &self.greeting.encode()));
            match greeted {
                Ok(GREETING_BYTES) => Ok(handle),
                other => {
                    sys.close(handle);
                    Err(other.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into()))
                }
            }
        });
        match made {
            Ok(handle) => {
                self.state = State::Greeting { handle, until: now.at + GREETING_TIMEOUT };
                self.blocked = false;
                self.readable = true;
            }
            Err(_) => self.retry_later(sys, now),
        }
    }

    fn retry_later(&mut self, sys: &mut impl Sys, now: Now) {
        let mut random = [0; 1];
        sys.fill_random(&mut random);
        // Between half of the wait and all of it: shards do not come back in step.
        let jitter = self.wait / 2 * u32::from(random[0]) / 255;
        self.state = State::Down { retry: now.at + self.wait / 2 + jitter };
        self.wait = (self.wait * 2).min(RECONNECT_LAST);
    }

    fn lose(&mut self, sys: &mut impl Sys, shard: &mut Shard, now: Now) {
        let (State::Greeting { handle, .. } | State::Up { handle }) = self.state else { return };
        sys.close(handle);
        if matches!(self.state, State::Up { .. }) {
            shard.link_down(now);
            self.wait = RECONNECT_FIRST;
        }
        self.input = Vec::new();
        self.parsed = 0;
        self.readable = false;
        self.retry_later(sys, now);
    }

    fn read(&mut self, sys: &mut impl Sys, shard: &mut Shard, now: Now) -> io::Result<bool> {
        let (State::Greeting { handle, .. } | State::Up { handle }) = self.state else { return Ok(false) };
        let mut budget = LINK_READ_PER_TURN_BYTES;
        loop {
            self.parse(shard, now)?;
            if !shard.wants_link_input() || budget == 0 {
                return Ok(self.readable || self.parsed < self.input.len());
            }
            if !self.readable {
                return Ok(false);
            }
            let before = self.input.len();
            let part = budget.min(64 * 1024);
            self.input.resize(before + part, 0);
            let received = sys.receive(handle, &mut self.input[before..]);
            self.input.truncate(before + received.as_ref().map_or(0, |count| *count));
            match received {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => budget -= count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) => return Err(error),
            }
        }
    }

    fn parse(&mut self, shard: &mut Shard, now: Now) -> io::Result<()> {
        if let State::Greeting { handle, .. } = self.state {
            let Some((welcome, _)) = self.input.split_first_chunk::<GREETING_BYTES>() else { return Ok(()) };
            Welcome::decode(welcome).map_err(invalid)?;
            self.parsed = GREETING_BYTES;
            self.state = State::Up { handle };
            self.wait = RECONNECT_FIRST;
            shard.link_up();
        }
        while shard.wants_link_input() {
            let rest = &self.input[self.parsed..];
            let Some((body, after)) = frame::split(rest).map_err(invalid)? else { break };
            let after = after.len();
            shard.hear(now, &frame::decode(body).map_err(invalid)?);
            self.parsed = self.input.len() - after;
        }
        // What is left of the last read moves to the front; an emptied buffer keeps a working size.
        self.input.drain(..self.parsed);
        self.parsed = 0;
        if self.input.is_empty() {
            self.input.shrink_to(64 * 1024);
        }
        Ok(())
    }
}

fn invalid(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
