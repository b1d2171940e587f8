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

use crate::limits::SIGN_TIMEOUT;

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

impl Connection {
    fn sign(&mut self, request: &SignRequest<'_>) -> io::Result<Result<Vec<u8>, Unsigned>> {
        self.buffer.clear();
        frame::encode(request, &mut self.buffer).map_err(invalid)?;
        self.stream.write_all(&self.buffer)?;
        self.buffer.clear();
        loop {
            if let Some((body, _)) = frame::split(&self.buffer).map_err(invalid)? {
                return Ok(match frame::decode(body).map_err(invalid)? {
                    SignReply::Signature(signature) => Ok(signature.to_vec()),
                    SignReply::Refused => Err(Unsigned::Refused),
                });
            }
            let before = self.buffer.len();
            self.buffer.resize(before + 1024, 0);
            let count = self.stream.read(&mut self.buffer[before..])?;
            self.buffer.truncate(before + count);
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Remote for RelaySigner {
    fn sign(&self, key: u32, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        CONNECTION.with_borrow_mut(|slot| {
            // A connection that the relay has closed in the meantime is worth one new try.
            for _ in 0..2 {
                let fresh = slot.is_none();
                let connection = match slot {
                    Some(connection) => connection,
                    None => slot.insert(self.connect().map_err(|_| Unsigned::Unavailable)?),
                };
                match connection.sign(&SignRequest { key, scheme, message }) {
                    Ok(answer) => return answer,
                    Err(_) => *slot = None,
                }
                if fresh {
                    break;
                }
            }
            Err(Unsigned::Unavailable)
        })
    }
}

fn invalid(error: frame::FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
