//! Commands that come by requests of their own: found to the session they are for, here or, through the relay, at another shard.
//!
//! Owns how sessions are named. The name is a place and a code over it that only the shard's key makes, so that nothing is kept
//! for it and nobody guesses it.

use aws_lc_rs::{constant_time, hmac};
use wire::{
    code::{self, ErrorCode},
    link::{SESSION_BYTES, ToRelay},
};

use super::Shard;
use crate::{
    connection::{Flags, Phase},
    http::{self, Emulation},
    pending::{Asker, Question},
    time::Now,
};

/// What this shard is called by clients whose commands come by requests of their own, and the key of its sessions' names.
pub(super) struct Name {
    gateway: u64,
    shard: u16,
    key: hmac::Key,
}

/// A token's part of a session's name.
const TOKEN_BYTES: usize = 8;

impl Name {
    pub(super) fn new(gateway: u64, shard: u16, secret: &[u8; 32]) -> Self {
        Self { gateway, shard, key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// 128 of the code's bits.
    fn code(&self, token: [u8; TOKEN_BYTES]) -> [u8; SESSION_BYTES - TOKEN_BYTES] {
        let tag = hmac::sign(&self.key, &token);
        let mut code = [0; SESSION_BYTES - TOKEN_BYTES];
        code.copy_from_slice(&tag.as_ref()[..SESSION_BYTES - TOKEN_BYTES]);
        code
    }
}

impl Shard {
    /// Which shard of which gateway process this is, and 32 random bytes for the names of its sessions. Before the first connection.
    pub fn identify(&mut self, gateway: u64, shard: u16, secret: &[u8; 32]) {
        debug_assert!(self.connections.is_empty(), "names of sessions do not change");
        self.name = Name::new(gateway, shard, secret);
    }

    /// What the client of a session names it and its shard by; empty where commands come on the connection itself.
    pub(super) fn names(&self, index: usize) -> (String, String) {
        if !self.connections[index].framing.is_emulated() {
            return <_>::default();
        }
        let token = self.token(index).to_le_bytes();
        let mut bytes = [0; SESSION_BYTES];
        bytes[..TOKEN_BYTES].copy_from_slice(&token);
        bytes[TOKEN_BYTES..].copy_from_slice(&self.name.code(token));
        (http::session(&bytes), http::node(self.name.gateway, self.name.shard))
    }

    /// The body of a request for some shard's session.
    pub(super) fn emulate(&mut self, now: Now, index: usize, body: &[u8], binary: bool) {
        let read = if binary { Emulation::protobuf(body) } else { Emulation::json(body) };
        let Some(request) = read else { return self.respond(now, index, 400) };
        let names = (http::shard_of(&request.node), http::session_of(&request.session));
        let (Some((gateway, shard)), Some(session)) = names else {
            return self.respond(now, index, 404);
        };
        if (gateway, shard) == (self.name.gateway, self.name.shard) {
            let found = self.emulated(now, &session, &request.data);
            return self.respond(now, index, if found { 204 } else { 404 });
        }
        if !self.pass_on(now, index, (gateway, shard), session, &request.data) {
            self.respond(now, index, 503);
        }
    }

    /// The connection of a session of this shard, by its name.
    pub(super) fn named(&self, session: &[u8; SESSION_BYTES]) -> Option<usize> {
        let (token, code) = session.split_first_chunk::<TOKEN_BYTES>()?;
        constant_time::verify_slices_are_equal(&self.name.code(*token), code).ok()?;
        self.find(u64::from_le_bytes(*token))
    }

    /// Commands for a session of this shard. False when there is no such session.
    pub(super) fn emulated(&mut self, now: Now, session: &[u8; SESSION_BYTES], commands: &[u8]) -> bool {
        let Some(index) = self.named(session) else { return false };
        let connection = &self.connections[index];
        if connection.phase != Phase::Ready || !connection.framing.is_emulated() {
            return false;
        }
        if connection.flags.has(Flags::PAUSED) {
            self.wait_behind(now, index, commands);
        } else {
            self.message_received(now, index, commands);
        }
        if self.connections.contains(index) {
            self.account(index);
        }
        true
    }

    /// A command before these waits for the relay's word.
    fn wait_behind(&mut self, now: Now, index: usize, commands: &[u8]) {
        let bound = self.options.message_bytes_max.max(crate::limits::HTTP_BODY_BYTES_MAX);
        let connection = &mut self.connections[index];
        let separator = connection.encoding.separator();
        let waiting = &mut connection.hot(&mut self.pool).waiting;
        if waiting.len() + commands.len() > bound {
            return self.close(now, index, code::CLOSE_TOO_MANY_REQUESTS);
        }
        waiting.extend_from_slice(separator);
        waiting.extend_from_slice(commands);
    }

    /// Commands for a session of this shard that came to another one.
    pub(super) fn emulated_from(
        &mut self,
        now: Now,
        (asker, request): (u32, u32),
        session: &[u8; SESSION_BYTES],
        commands: &[u8],
    ) {
        let found = self.emulated(now, session, commands);
        self.tell(&ToRelay::Emulated { asker, request, found });
    }

    /// What became of commands that were passed on.
    pub(super) fn emulation_answered(&mut self, now: Now, index: usize, outcome: Result<bool, ErrorCode>) {
        if self.connections[index].phase == Phase::Closing {
            return;
        }
        let status = match outcome {
            Ok(true) => 204,
            Ok(false) => 404,
            Err(error) if error.temporary => 503,
            Err(_) => 404,
        };
        self.respond(now, index, status);
        self.resume(now, index);
    }

    /// Through the relay to the shard; the connection waits. False when it cannot be asked now.
    fn pass_on(
        &mut self,
        now: Now,
        index: usize,
        (gateway, shard): (u64, u16),
        session: [u8; SESSION_BYTES],
        data: &[u8],
    ) -> bool {
        if !self.link.up || self.link_is_full() {
            return false;
        }
        let connection = &self.connections[index];
        let (connection, generation) = (index as u32, connection.generation);
        let asker = Asker { connection, generation, id: 0, question: Question::Emulate };
        let Ok(request) = self.pending.ask(now.at, asker) else { return false };
        if !self.tell(&ToRelay::Emulate { request, gateway, shard, session, data }) {
            self.pending.answer(request);
            return false;
        }
        let connection = &mut self.connections[index];
        connection.asked += 1;
        connection.flags.set(Flags::PAUSED);
        if connection.phase != Phase::Http {
            self.enter(index, Phase::Http);
        }
        // The deadline of the question is nearer.
        self.due[index] = crate::time::Tick::after(now, 2 * crate::limits::PENDING_TIMEOUT_MS);
        true
    }
}
