//! Signatures by the relay: one blocking connection per handshake worker, made when first needed and after every failure.
//!
//! Owns the connection of its thread. Never sees a private key.

use std::{
    cell::RefCell,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use crossbeam_channel::{Receiver, unbounded};
use protocol::tls::{Unsigned, certificate::Remote};
use sys::Opener;
use wire::{
    frame::{self, GREETING_BYTES, Greeting, Purpose, VERSION, Welcome},
    sign::{SignReply, SignRequest},
};

use crate::{
    limits::{ANSWERS_READ_BYTES, SIGN_TIMEOUT},
    sandbox,
};

/// Where to ask.
pub(crate) struct RelaySigner {
    path: PathBuf,
    /// One for each thread that will sign; empty: threads connect by themselves.
    openers: Receiver<Opener>,
    gateway: u64,
}

thread_local! {
    static OPENER: RefCell<Option<Opener>> = const { RefCell::new(None) };
    static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

struct Connection {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl RelaySigner {
    pub(crate) fn new(path: PathBuf, openers: impl IntoIterator<Item = Opener>, gateway: u64) -> Self {
        let (given, taken) = unbounded();
        // The receiver is there: no sending fails.
        openers.into_iter().for_each(|opener| drop(given.send(opener)));
        Self { path, openers: taken, gateway }
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
        let mut stream = OPENER.with_borrow_mut(|own| {
            *own = own.take().or_else(|| self.openers.try_recv().ok());
            sandbox::connect(own.as_ref(), &self.path)
        })?;
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

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;

    /// A relay that serves as many connections as `lives` says, and answers on each as many requests as its number; a request's
    /// key is its signature, and the even ones are refused. Answers leave in pieces.
    fn relay(name: &str, lives: Vec<usize>) -> (RelaySigner, thread::JoinHandle<()>) {
        let path = std::env::temp_dir().join(format!("headland-signer-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let signer = RelaySigner::new(path.clone(), [], 1);
        let serving = thread::spawn(move || {
            for life in lives {
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_exact(&mut [0; GREETING_BYTES]).unwrap();
                stream.write_all(&Welcome { version: VERSION }.encode()).unwrap();
                answer(stream, life);
            }
            std::fs::remove_file(path).unwrap();
        });
        (signer, serving)
    }

    fn answer(mut stream: UnixStream, count: usize) {
        let mut input = Vec::new();
        for _ in 0..count {
            let (key, used) = loop {
                if let Some((body, rest)) = frame::split(&input).unwrap() {
                    break (frame::decode::<SignRequest<'_>>(body).unwrap().key, input.len() - rest.len());
                }
                let mut chunk = [0; 64];
                let read = stream.read(&mut chunk).unwrap();
                assert!(read > 0, "the gateway has closed");
                input.extend_from_slice(&chunk[..read]);
            };
            input.drain(..used);
            let signature = key.to_le_bytes();
            let reply =
                if key.is_multiple_of(2) { SignReply::Refused } else { SignReply::Signature(&signature) };
            let mut out = Vec::new();
            frame::encode(&reply, &mut out).unwrap();
            out.chunks(3).for_each(|piece| stream.write_all(piece).unwrap());
        }
    }

    fn batch(keys: std::ops::Range<u32>) -> Batch {
        let mut batch = Batch::default();
        for key in keys {
            assert!(batch.add(&SignRequest { key, scheme: 0x0403, message: &[0; 130] }));
        }
        batch
    }

    fn expected(keys: std::ops::Range<u32>) -> Vec<Result<Vec<u8>, Unsigned>> {
        let answer = |key: u32| {
            if key.is_multiple_of(2) { Err(Unsigned::Refused) } else { Ok(key.to_le_bytes().to_vec()) }
        };
        keys.map(answer).collect()
    }

    #[test]
    fn answers_come_in_the_order_of_the_requests() {
        let (signer, serving) = relay("order", vec![17]);
        assert_eq!(signer.sign_all(&batch(0..16)), expected(0..16));
        assert_eq!(signer.sign(21, 0x0403, b"message"), Ok(21u32.to_le_bytes().to_vec()));
        serving.join().unwrap();
    }

    #[test]
    fn a_connection_lost_in_the_middle_of_a_batch_is_made_again_once() {
        let (signer, serving) = relay("lost", vec![4 + 3, 4, 2]);
        assert_eq!(signer.sign_all(&batch(0..4)), expected(0..4));
        // The connection ends after three of four; all four are asked again on the next.
        assert_eq!(signer.sign_all(&batch(1..5)), expected(1..5));
        // Ends at once, and the next one in the middle: that was the second try.
        assert_eq!(signer.sign_all(&batch(0..3)), vec![Err(Unsigned::Unavailable); 3]);
        serving.join().unwrap();
    }

    #[test]
    fn without_a_relay_every_signature_is_unavailable() {
        let signer = RelaySigner::new(std::env::temp_dir().join("headland-no-such.sock"), [], 1);
        assert_eq!(signer.sign_all(&batch(0..3)), vec![Err(Unsigned::Unavailable); 3]);
        assert_eq!(signer.sign(1, 0x0403, b""), Err(Unsigned::Unavailable));
    }
}
