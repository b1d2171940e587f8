//! From a socket's bytes to commands: TLS records or handshake flights, then an HTTP request, then WebSocket messages.
//!
//! Owns what is kept of an unfinished piece, and its bounds. Whole pieces are used where they lie.

use std::mem::take;

use wire::code;

use super::{Job, Shard};
use crate::{
    connection::{Flags, Phase},
    framing::Framing,
    http,
    limits::{HANDSHAKE_INPUT_BYTES_MAX, HEAD_BYTES_MAX},
    time::{Now, Tick},
    tls::{Cause, Flight, Opened, Progress},
    upgrade::{self, Asked, Parsed, Refusal},
    ws::{self, Item, Opcode, Role},
};

impl Shard {
    /// Bytes of a connection's socket. Decrypted and unmasked in place.
    pub fn receive(&mut self, now: Now, index: usize, bytes: &mut [u8]) {
        self.stats.shard.bytes_in += bytes.len() as u64;
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.flags.has(Flags::LAST) {
            return;
        }
        if connection.phase == Phase::Handshake {
            let generation = connection.generation;
            connection.hot(&mut self.pool).input.extend_from_slice(bytes);
            self.advance_handshake(now, index);
            self.after_input(index, generation);
            return;
        }
        let generation = connection.generation;
        match connection.hot.as_mut().map(|hot| take(&mut hot.input)) {
            Some(mut held) if !held.is_empty() => {
                held.extend_from_slice(bytes);
                let used = self.records(now, index, generation, &mut held);
                self.keep_input(index, generation, held, used);
            }
            _ => {
                let used = self.records(now, index, generation, bytes);
                if used < bytes.len() && self.is(index, generation) {
                    let hot = self.connections[index].hot(&mut self.pool);
                    hot.input.extend_from_slice(&bytes[used..]);
                }
            }
        }
        self.after_input(index, generation);
    }

    /// The peer will send no more.
    pub fn ended(&mut self, index: usize) {
        let Some(connection) = self.connections.get(index) else { return };
        if connection.phase == Phase::Handshake {
            self.stats.shard.handshake_failures[4] += 1;
        }
        if self.connections[index].is_open() {
            self.count_close(0);
        }
        self.remove(index, false);
    }

    /// A flight is done.
    pub fn job_done(&mut self, now: Now, job: Job) {
        let Some(index) = self.find(job.token) else { return };
        let Job { handshake, input, output, outcome, .. } = job;
        let connection = &mut self.connections[index];
        let generation = connection.generation;
        connection.flags.clear(Flags::WORKING);
        self.door.flown();
        let hot = connection.hot(&mut self.pool);
        let later = take(&mut hot.input);
        hot.input = input;
        hot.input.extend_from_slice(&later);
        hot.handshake = Some(handshake);
        hot.sealed.extend_from_slice(&output);
        self.mark_dirty(index);
        match outcome {
            Some(Ok(progress)) => self.handshake_progress(now, index, progress),
            Some(Err(failure)) => self.handshake_failed(index, failure.cause),
            None => self.handshake_failed(index, Cause::Internal),
        }
        self.after_input(index, generation);
    }

    fn is(&self, index: usize, generation: u32) -> bool {
        self.connections.get(index).is_some_and(|connection| connection.generation == generation)
    }

    fn after_input(&mut self, index: usize, generation: u32) {
        if self.is(index, generation) {
            self.account(index);
            // Frees a hot part that is empty again, even when there is nothing to send.
            self.mark_dirty(index);
        }
    }

    fn keep_input(&mut self, index: usize, generation: u32, mut held: Vec<u8>, used: usize) {
        if self.is(index, generation) {
            held.drain(..used);
            self.connections[index].hot(&mut self.pool).input = held;
        }
    }

    fn advance_handshake(&mut self, now: Now, index: usize) {
        let token = self.token(index);
        let connection = &mut self.connections[index];
        let working = connection.flags.has(Flags::WORKING);
        let Some(hot) = &mut connection.hot else { return };
        if hot.input.len() > HANDSHAKE_INPUT_BYTES_MAX {
            self.handshake_failed(index, Cause::Peer);
            return;
        }
        if working || !whole_record(&hot.input) {
            return;
        }
        let handshake = match hot.handshake.take() {
            Some(handshake) => handshake,
            None => match self.policy.tls.as_ref().map(crate::tls::Handshake::server) {
                Some(Ok(handshake)) => Box::new(handshake),
                Some(Err(_)) | None => {
                    self.handshake_failed(index, Cause::Internal);
                    return;
                }
            },
        };
        if handshake.flight() == Flight::Hello {
            if let Err(refused) = self.door.flight(self.jobs.len()) {
                // Before the key exchange and the signature: a refusal costs a reset.
                self.refuse(refused);
                self.remove(index, true);
                return;
            }
            connection.flags.set(Flags::WORKING);
            let input = take(&mut hot.input);
            self.jobs.push_back(Job { token, handshake, input, output: Vec::new(), outcome: None });
            return;
        }
        let handshake = hot.handshake.insert(handshake);
        match handshake.receive(&mut hot.input, &mut hot.sealed) {
            Ok(progress) => self.handshake_progress(now, index, progress),
            Err(failure) => self.handshake_failed(index, failure.cause),
        }
        self.mark_dirty(index);
    }

    fn handshake_progress(&mut self, now: Now, index: usize, progress: Progress) {
        let Progress::Done(done) = progress else {
            // The flight may have been overtaken by the client's next one.
            if self.connections[index].hot.as_ref().is_some_and(|hot| whole_record(&hot.input)) {
                self.advance_handshake(now, index);
            }
            return;
        };
        self.stats.shard.handshakes += 1;
        self.stats.shard.handshakes_resumed += u64::from(done.resumed);
        let connection = &mut self.connections[index];
        let generation = connection.generation;
        connection.traffic = Some(done.traffic);
        let hot = connection.hot(&mut self.pool);
        hot.handshake = None;
        let mut held = take(&mut hot.input);
        self.enter(index, Phase::Upgrade);
        self.due[index] = Tick::after(now, u64::from(self.options.upgrade_timeout_ms));
        if !held.is_empty() {
            let used = self.records(now, index, generation, &mut held);
            self.keep_input(index, generation, held, used);
        }
    }

    pub(super) fn handshake_failed(&mut self, index: usize, cause: Cause) {
        let counter = if cause.is_mismatch() {
            1
        } else if cause.is_ours() {
            2
        } else {
            0
        };
        self.stats.shard.handshake_failures[counter] += 1;
        // An alert, if there is one, is in the sealed bytes already.
        self.begin_closing(index);
        self.finish(index);
    }

    /// Opens records until the input ends in a part of one; returns how many bytes are used.
    fn records(&mut self, now: Now, index: usize, generation: u32, input: &mut [u8]) -> usize {
        let mut used = 0;
        while used < input.len() && self.is(index, generation) {
            let connection = &mut self.connections[index];
            if connection.flags.has(Flags::LAST) {
                return input.len();
            }
            let Some(traffic) = &mut connection.traffic else {
                self.plaintext(now, index, &mut input[used..]);
                return input.len();
            };
            match traffic.open(&mut input[used..]) {
                Ok((_, Opened::Incomplete { .. })) => break,
                Ok((count, Opened::Data(plain))) => {
                    used += count;
                    self.plaintext(now, index, plain);
                }
                Ok((count, Opened::Nothing)) => used += count,
                Ok((_, Opened::Closed)) => {
                    // RFC 8446 §6.1: no data follows. What we owe still goes out, then our own close_notify.
                    self.begin_closing(index);
                    self.finish(index);
                    return input.len();
                }
                Err(misbehaviour) => {
                    let mut alert = Vec::new();
                    // Without an alert the end of the stream has to say it.
                    let _ = traffic.seal_alert(misbehaviour, &mut alert);
                    connection.flags.set(Flags::NOTIFIED);
                    let hot = connection.hot(&mut self.pool);
                    hot.outbox.clear();
                    hot.sealed.extend_from_slice(&alert);
                    self.begin_closing(index);
                    self.finish(index);
                    return input.len();
                }
            }
        }
        used
    }

    fn plaintext(&mut self, now: Now, index: usize, bytes: &mut [u8]) {
        let generation = self.connections[index].generation;
        let connection = &mut self.connections[index];
        match connection.hot.as_mut().map(|hot| take(&mut hot.plain)) {
            Some(mut held) if !held.is_empty() => {
                held.extend_from_slice(bytes);
                let used = self.pieces(now, index, generation, &mut held);
                if self.is(index, generation) {
                    held.drain(..used);
                    self.connections[index].hot(&mut self.pool).plain = held;
                }
            }
            _ => {
                let used = self.pieces(now, index, generation, bytes);
                if used < bytes.len() && self.is(index, generation) {
                    let hot = self.connections[index].hot(&mut self.pool);
                    hot.plain.extend_from_slice(&bytes[used..]);
                }
            }
        }
    }

    /// Input that waited for the relay's answer.
    pub(super) fn resume(&mut self, now: Now, index: usize) {
        self.connections[index].flags.clear(Flags::PAUSED);
        self.resumed.push(index as u32);
        self.plaintext(now, index, &mut []);
        let Some(connection) = self.connections.get(index) else { return };
        let generation = connection.generation;
        self.after_input(index, generation);
    }

    fn pieces(&mut self, now: Now, index: usize, generation: u32, input: &mut [u8]) -> usize {
        let mut used = 0;
        while self.is(index, generation) {
            let connection = &self.connections[index];
            if connection.flags.has(Flags::LAST) {
                return input.len();
            }
            if connection.flags.has(Flags::PAUSED) {
                break;
            }
            let rest = &mut input[used..];
            let taken = match connection.phase {
                Phase::Upgrade | Phase::Http => self.request(now, index, rest),
                Phase::Handshake => 0,
                _ if !connection.framing.is_websocket() => self.surplus(now, index, rest),
                Phase::Fresh | Phase::Connecting | Phase::Ready | Phase::Unusable | Phase::Closing => {
                    self.frame(now, index, rest)
                }
            };
            if taken == 0 {
                break;
            }
            used += taken;
        }
        used
    }

    fn request(&mut self, now: Now, index: usize, input: &mut [u8]) -> usize {
        if input.len() < self.needed(index) {
            return 0;
        }
        let echo = self.connections[index].flags.has(Flags::ECHO);
        if !echo && http::service(input, &self.options.rules).is_some() {
            return self.service(now, index, input);
        }
        match upgrade::request(input, &self.options.rules) {
            Ok(Parsed::Incomplete) if input.len() <= HEAD_BYTES_MAX => {
                if self.connections[index].phase == Phase::Http && !input.is_empty() {
                    self.expect_request(now, index, input.len() + 1, false);
                }
                0
            }
            Ok(Parsed::Incomplete) => self.refuse_request(index, input.len(), Refusal::HeadTooLarge),
            Ok(Parsed::Complete { consumed, head }) => {
                let listens = head.listens && !echo;
                let connect = if listens { http::connect_of(input) } else { None };
                let connection = &mut self.connections[index];
                if let Asked::Known(id) = head.asked {
                    connection.encoding = super::encoding_of(id);
                }
                if head.frame_pings {
                    connection.flags.set(Flags::FRAME_PING);
                }
                if listens {
                    connection.set_framing(Framing::Uni);
                } else if head.deflate.is_some() {
                    connection.set_framing(Framing::Deflate);
                }
                let hot = connection.hot(&mut self.pool);
                hot.exchange = None;
                hot.outbox.push_with(|out| upgrade::response(&head, out));
                if !echo {
                    self.keep_headers(index, input);
                }
                self.enter(index, Phase::Fresh);
                self.due[index] =
                    Tick::after(now, u64::from(self.policy.settings.client.stale_close_delay_ms));
                if echo {
                    self.echo_heard(now, index);
                }
                self.mark_dirty(index);
                if let Some(connect) = connect {
                    self.listener_says(now, index, &connect);
                }
                consumed
            }
            Err(refusal) => self.refuse_request(index, input.len(), refusal),
        }
    }

    pub(super) fn refuse_request(&mut self, index: usize, used: usize, refusal: Refusal) -> usize {
        self.stats.shard.upgrade_failures += 1;
        self.connections[index].hot(&mut self.pool).outbox.push_with(|out| refusal.response(out));
        self.begin_closing(index);
        self.finish(index);
        used
    }

    fn frame(&mut self, now: Now, index: usize, input: &mut [u8]) -> usize {
        let limits = self.limits(index);
        if self.connections[index].flags.has(Flags::ECHO) {
            self.echo_heard(now, index);
        }
        let mut reader = take(&mut self.connections[index].reader);
        let generation = self.connections[index].generation;
        let farewell = !reader.is_inside_frame() && ws::is_close(input);
        let found = reader.next(Role::Server, input, &limits);
        let consumed = match found {
            Err(violation) => {
                self.close_with(now, index, violation.code(), &violation.to_string());
                // Whoever has said its last word waits for nothing but the end of the connection.
                if farewell || ws::ends_with_close(input) {
                    self.finish(index);
                }
                input.len()
            }
            Ok((count, Item::Incomplete { .. } | Item::Nothing)) => {
                // After a violation frames cannot be told apart, but the answer to our close frame ends what there is.
                if reader.is_closed() && ws::ends_with_close(input) {
                    self.finish(index);
                }
                count
            }
            Ok((count, item)) => {
                self.item(now, index, item);
                count
            }
        };
        if self.is(index, generation) {
            self.connections[index].reader = reader;
        }
        consumed
    }

    fn item(&mut self, now: Now, index: usize, item: Item<'_>) {
        let closing = self.connections[index].phase == Phase::Closing;
        match item {
            Item::Close { code, .. } => self.peer_closes(index, code),
            _ if closing => {}
            Item::Ping(payload) if self.connections[index].flags.has(Flags::ECHO) => {
                self.echo(index, Opcode::Pong, payload);
            }
            Item::Text(text) if self.connections[index].flags.has(Flags::ECHO) => {
                self.echo(index, Opcode::Text, text.as_bytes());
            }
            Item::Binary(bytes) if self.connections[index].flags.has(Flags::ECHO) => {
                self.echo(index, Opcode::Binary, &bytes);
            }
            Item::Ping(payload) => {
                let encoding = self.connections[index].encoding;
                let outbox = &mut self.connections[index].hot(&mut self.pool).outbox;
                outbox.end_batch(encoding);
                outbox.push_with(|out| ws::frame(Opcode::Pong, payload, out));
                self.check_backlog(now, index);
                self.mark_dirty(index);
            }
            Item::Pong(_) => {
                if self.connections[index].flags.has(Flags::FRAME_PING) {
                    self.pong_received(index);
                }
            }
            Item::Text(text) if self.connections[index].framing == Framing::Uni => {
                self.listener_says(now, index, text.as_bytes());
            }
            Item::Text(text) => {
                if self.connections[index].encoding.frame_opcode() == Opcode::Text {
                    self.message_received(now, index, text.as_bytes());
                } else {
                    self.close(now, index, code::CLOSE_BAD_REQUEST);
                }
            }
            Item::Binary(bytes) => {
                if self.connections[index].encoding.frame_opcode() == Opcode::Binary {
                    self.message_received(now, index, &bytes);
                } else {
                    self.close(now, index, code::CLOSE_BAD_REQUEST);
                }
            }
            Item::Incomplete { .. } | Item::Nothing => {}
        }
    }
}

/// Enough of a TLS record for a handshake step to be worth while (RFC 8446 §5.1: three bytes, then the length).
fn whole_record(input: &[u8]) -> bool {
    let Some(([_, _, _, high, low], rest)) = input.split_first_chunk() else { return false };
    rest.len() >= usize::from(u16::from_be_bytes([*high, *low]))
}
