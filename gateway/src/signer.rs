//! Signatures by the relay: one blocking connection per handshake worker, made when first needed and after every failure.
//!
//! Owns the connection of its thread. Never sees a private key.

use std::{
    cell::RefCell,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use protocol::tls::{Unsigned, certificate::Remote};
use wire::{
    frame::{self, GREETING_BYTES, Greeting, Purpose, VERSION, Welcome},
    sign::{SignReply, SignRequest},
};

use crate::limits::{ANSWERS_READ_BYTES, SIGN_TIMEOUT};

/// Where to ask.
pub(crate) struct RelaySigner {
    path: PathBuf,
    gateway: u64,
}

thread_local! {
    static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

struct Connection {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl RelaySigner {
    pub(crate) const fn new(path: PathBuf, gateway: u64) -> Self {
        Self { path, gateway }
    }

    /// Asks for several signatures at once. One answer for each request, in their order; without the relay's, all are
    /// [`Unsigned::Unavailable`].
    pub(crate) fn sign_all(&self, requests: &Batch) -> Vec<Result<Vec<u8>, Unsigned>> {
        self.ask(|connection| connection.exchange(requests))
            .unwrap_or_else(|| (0..requests.count).map(|_| Err(Unsigned::Unavailable)).collect())
    }

    /// Talks over this thread's connection. A connection that the relay has closed in the meantime is worth one new try.
    fn ask<R>(&self, mut talk: impl FnMut(&mut Connection) -> io::Result<R>) -> Option<R> {
        CONNECTION.with_borrow_mut(|slot| {
            for _ in 0..2 {
                let fresh = slot.is_none();
                let connection = match slot {
                    Some(connection) => connection,
                    None => slot.insert(self.connect().ok()?),
                };
                match talk(connection) {
                    Ok(answer) => return Some(answer),
                    Err(_) => *slot = None,
                }
                if fresh {
                    break;
                }
            }
            None
        })
    }

    fn connect(&self) -> io::Result<Connection> {
        let mut stream = UnixStream::connect(&self.path)?;
        stream.set_read_timeout(Some(SIGN_TIMEOUT))?;
        stream.set_write_timeout(Some(SIGN_TIMEOUT))?;
        let greeting = Greeting { version: VERSION, purpose: Purpose::Sign, gateway: self.gateway, shard: 0 };
        stream.write_all(&greeting.encode())?;
        let mut welcome = [0; GREETING_BYTES];
        stream.read_exact(&mut welcome)?;
        Welcome::decode(&welcome).map_err(invalid)?;
        Ok(Connection { stream, buffer: Vec::new() })
    }
}

/// Requests for signatures, as they go out.
#[derive(Default)]
pub(crate) struct Batch {
    frames: Vec<u8>,
    count: usize,
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.count = 0;
    }

    /// Adds a request; false, and nothing is added, if no frame holds it.
    pub(crate) fn add(&mut self, request: &SignRequest<'_>) -> bool {
        let added = frame::encode(request, &mut self.frames).is_ok();
        self.count += usize::from(added);
        added
    }
}

impl Connection {
    /// Sends all requests and receives as many answers.
    fn exchange(&mut self, requests: &Batch) -> io::Result<Vec<Result<Vec<u8>, Unsigned>>> {
        self.stream.write_all(&requests.frames)?;
        self.buffer.clear();
        let mut answers = Vec::with_capacity(requests.count);
        loop {
            let mut rest = &self.buffer[..];
            while let Some((body, next)) = frame::split(rest).map_err(invalid)? {
                answers.push(match frame::decode(body).map_err(invalid)? {
                    SignReply::Signature(signature) => Ok(signature.to_vec()),
                    SignReply::Refused => Err(Unsigned::Refused),
                });
                rest = next;
            }
            let used = self.buffer.len() - rest.len();
            self.buffer.drain(..used);
            if answers.len() >= requests.count {
                break;
            }
            let before = self.buffer.len();
            self.buffer.resize(before + ANSWERS_READ_BYTES, 0);
            let count = self.stream.read(&mut self.buffer[before..])?;
            self.buffer.truncate(before + count);
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        // Answers that nobody asked for: which belongs to which is not known any more.
        if answers.len() > requests.count || !self.buffer.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(answers)
    }
}

impl Remote for RelaySigner {
    fn sign(&self, key: u32, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        let mut request = Batch::default();
        if !request.add(&SignRequest { key, scheme, message }) {
            return Err(Unsigned::Refused);
        }
        self.sign_all(&request).pop().unwrap_or(Err(Unsigned::Unavailable))
    }
}

fn invalid(error: frame::FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
