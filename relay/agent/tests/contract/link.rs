//! A blocking client of the link, as a gateway would be.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::{Deserialize, Serialize};
use wire::frame::{self, GREETING_BYTES, Greeting, Purpose, VERSION, Welcome};
use wire::link::{ToRelay, ToShard};
use wire::settings::Settings;
use wire::sign::{SignReply, SignRequest};
use wire::tags::Tags;

use crate::program::WITHIN;

pub(crate) struct Link {
    stream: UnixStream,
    buffer: Vec<u8>,
    requests: u32,
}

impl Link {
    /// Connects, greets and is welcomed.
    pub(crate) fn connect(path: &Path, purpose: Purpose) -> Self {
        let mut link = Self::raw(path);
        let greeting = Greeting { version: VERSION, purpose, gateway: 7, shard: 3 };
        link.write(&greeting.encode());
        Welcome::decode(&link.read_greeting().unwrap()).unwrap();
        link
    }

    /// A connection that has said nothing yet.
    pub(crate) fn raw(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        Self { stream, buffer: Vec::new(), requests: 0 }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn read_greeting(&mut self) -> Option<[u8; GREETING_BYTES]> {
        let mut bytes = [0; GREETING_BYTES];
        self.stream.read_exact(&mut bytes).ok().map(|()| bytes)
    }

    /// Waits for the other side to close.
    pub(crate) fn closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = self.stream.read_to_end(&mut rest);
        // What the other side had not read when it closed comes back as a reset.
        read.is_ok() || read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    }

    pub(crate) fn send<T: Serialize>(&mut self, message: &T) {
        let mut out = Vec::new();
        frame::encode(message, &mut out).unwrap();
        self.write(&out);
    }

    /// Reads one message and gives it to `see`.
    pub(crate) fn read<T: for<'a> Deserialize<'a>>(&mut self) -> T {
        self.read_with(|body| frame::decode::<T>(body).unwrap())
    }

    fn read_with<R>(&mut self, see: impl FnOnce(&[u8]) -> R) -> R {
        loop {
            if let Some((body, rest)) = frame::split(&self.buffer).unwrap() {
                let rest = self.buffer.len() - rest.len();
                let seen = see(body);
                self.buffer.drain(..rest);
                return seen;
            }
            let mut chunk = vec![0; 1 << 16];
            let read = self.stream.read(&mut chunk).unwrap();
            assert!(read > 0, "the relay closed the link");
            self.buffer.extend_from_slice(&chunk[..read]);
        }
    }

    pub(crate) fn settings(&mut self) -> Settings {
        self.read()
    }

    /// Reads one message and gives it to `see`.
    pub(crate) fn next<R>(&mut self, see: impl FnOnce(&ToShard<'_>) -> R) -> R {
        self.read_with(|body| see(&frame::decode(body).unwrap()))
    }

    /// Asks and gives the next message, which must be the answer.
    pub(crate) fn ask<'a, R>(
        &mut self,
        question: impl FnOnce(u32) -> ToRelay<'a>,
        see: impl FnOnce(&ToShard<'_>) -> R,
    ) -> R {
        self.requests += 1;
        self.send(&question(self.requests));
        self.next(see)
    }

    pub(crate) fn subscribe(&mut self, channel: &str) {
        self.ask(
            |request| ToRelay::Subscribe { request, channel, recover: None, latest: false },
            |answer| assert!(matches!(answer, ToShard::Subscribed { .. }), "{answer:?}"),
        );
    }

    pub(crate) fn publish(&mut self, channel: &str, data: &[u8]) -> u64 {
        self.ask(
            |request| ToRelay::Publish {
                request,
                channel,
                data,
                info: None,
                tags: Tags::NONE,
                key: "",
                skip_history: false,
                delta: false,
            },
            |answer| match answer {
                ToShard::Published { offset, .. } => *offset,
                other => panic!("{other:?}"),
            },
        )
    }

    /// The signature, or `None` when refused.
    pub(crate) fn sign(&mut self, key: u32, scheme: u16, message: &[u8]) -> Option<Vec<u8>> {
        self.send(&SignRequest { key, scheme, message });
        self.signature()
    }

    /// The same for several messages, asked for together.
    pub(crate) fn sign_all(&mut self, key: u32, scheme: u16, messages: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        for message in messages {
            frame::encode(&SignRequest { key, scheme, message }, &mut bytes).unwrap();
        }
        self.stream.write_all(&bytes).unwrap();
        messages.iter().map(|_| self.signature()).collect()
    }

    fn signature(&mut self) -> Option<Vec<u8>> {
        self.read_with(|body| match frame::decode(body).unwrap() {
            SignReply::Signature(signature) => Some(signature.to_vec()),
            SignReply::Refused => None,
        })
    }
}
