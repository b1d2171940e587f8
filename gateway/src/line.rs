//! A stream to the relay of this box: made, greeted, read, written, lost and made again.
//!
//! Owns the socket, its readiness and the bytes that no frame was made of yet. Never looks into a frame.

use std::{io, path::PathBuf, time::Duration};

use sys::{Handle, Sys};
use wire::frame::{FrameError, GREETING_BYTES, Greeting, Welcome};

use crate::limits::{GREETING_TIMEOUT, RECONNECT_FIRST, RECONNECT_LAST};

/// See the module.
pub(crate) struct Line {
    path: PathBuf,
    greeting: Greeting,
    /// What its readiness is reported as.
    token: u64,
    state: State,
    /// Received, and not used up by the owner.
    pub(crate) input: Vec<u8>,
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

/// Room that an emptied buffer keeps.
const BUFFER_KEPT_BYTES: usize = 64 * 1024;

impl Line {
    pub(crate) const fn new(path: PathBuf, greeting: Greeting, token: u64) -> Self {
        Self {
            path,
            greeting,
            token,
            state: State::Down { retry: Duration::ZERO },
            input: Vec::new(),
            blocked: false,
            readable: false,
            wait: RECONNECT_FIRST,
        }
    }

    /// An edge of its token.
    pub(crate) const fn ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        if writable {
            self.blocked = false;
        }
    }

    /// Whether there may be bytes in the socket.
    pub(crate) const fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether the relay has welcomed it.
    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Connects when it is time. False when the relay has not greeted in time: then the owner has to [`Self::lose`] it.
    pub(crate) fn advance(&mut self, sys: &mut impl Sys, now: Duration) -> bool {
        match self.state {
            State::Down { retry } if retry <= now => self.connect(sys, now),
            State::Greeting { until, .. } if until <= now => return false,
            _ => {}
        }
        true
    }

    /// When it wants a turn of its own.
    pub(crate) const fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Down { retry: at } | State::Greeting { until: at, .. } => Some(at),
            State::Up { .. } => None,
        }
    }

    /// Reads up to `most` bytes; 0 when there are none for now. The end of the stream is an error.
    pub(crate) fn fill(&mut self, sys: &mut impl Sys, most: usize) -> io::Result<usize> {
        let (State::Greeting { handle, .. } | State::Up { handle }) = self.state else { return Ok(0) };
        if !self.readable {
            return Ok(0);
        }
        let before = self.input.len();
        self.input.resize(before + most, 0);
        let received = sys.receive(handle, &mut self.input[before..]);
        self.input.truncate(before + received.as_ref().map_or(0, |count| *count));
        match received {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => Ok(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the relay's welcome from the input. True when that has brought the line up just now.
    pub(crate) fn welcomed(&mut self) -> io::Result<bool> {
        let State::Greeting { handle, .. } = self.state else { return Ok(false) };
        let Some((welcome, _)) = self.input.split_first_chunk::<GREETING_BYTES>() else { return Ok(false) };
        Welcome::decode(welcome).map_err(invalid)?;
        self.input.drain(..GREETING_BYTES);
        self.state = State::Up { handle };
        self.wait = RECONNECT_FIRST;
        Ok(true)
    }

    /// The first `count` bytes of the input are done with. An emptied buffer keeps a working size.
    pub(crate) fn used(&mut self, count: usize) {
        self.input.drain(..count);
        if self.input.is_empty() {
            self.input.shrink_to(BUFFER_KEPT_BYTES);
        }
    }

    /// Sends from the front of `out` what the socket takes; nothing while the line is not up.
    pub(crate) fn send(&mut self, sys: &mut impl Sys, out: &mut Vec<u8>) -> io::Result<()> {
        let State::Up { handle } = self.state else { return Ok(()) };
        while !out.is_empty() && !self.blocked {
            match sys.send(handle, out) {
                Ok(count) => {
                    out.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                Err(error) => return Err(error),
            }
        }
        if out.is_empty() {
            out.shrink_to(BUFFER_KEPT_BYTES);
        }
        Ok(())
    }

    /// Ends it, to be made again later. True when it was up.
    pub(crate) fn lose(&mut self, sys: &mut impl Sys, now: Duration) -> bool {
        let (State::Greeting { handle, .. } | State::Up { handle }) = self.state else { return false };
        let up = self.is_up();
        sys.close(handle);
        if up {
            self.wait = RECONNECT_FIRST;
        }
        self.input = Vec::new();
        self.readable = false;
        self.retry_later(sys, now);
        up
    }

    fn connect(&mut self, sys: &mut impl Sys, now: Duration) {
        let made = sys.connect(&self.path).and_then(|handle| {
            let greeted =
                sys.watch(handle, self.token).and_then(|()| sys.send(handle, &self.greeting.encode()));
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
                self.state = State::Greeting { handle, until: now + GREETING_TIMEOUT };
                self.blocked = false;
                self.readable = true;
            }
            Err(_) => self.retry_later(sys, now),
        }
    }

    fn retry_later(&mut self, sys: &mut impl Sys, now: Duration) {
        let mut random = [0; 1];
        sys.fill_random(&mut random);
        // Between half of the wait and all of it: shards do not come back in step.
        let jitter = self.wait / 2 * u32::from(random[0]) / 255;
        self.state = State::Down { retry: now + self.wait / 2 + jitter };
        self.wait = (self.wait * 2).min(RECONNECT_LAST);
    }
}

/// What is not a frame of ours.
pub(crate) fn invalid(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
