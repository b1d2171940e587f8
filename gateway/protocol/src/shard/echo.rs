//! Raw echo on listeners that were set to it, for conformance tests of the WebSocket layer: whole messages go back as they came,
//! compressed to those with whom that was agreed.
//!
//! Owns how much may wait for one that does not read: then no more is read from it. The client protocol is never spoken here.

use std::rc::Rc;

use super::Shard;
use crate::{
    connection::Flags,
    framing::Framing,
    limits::{ECHO_BACKLOG_BYTES_MAX, ECHO_IDLE_MS},
    time::{Now, Tick},
    ws::{self, Opcode},
};

/// Which listeners echo, and what.
#[derive(Clone, Debug, Default)]
pub struct Echo {
    /// By listener; those not named speak the client protocol.
    pub listeners: Vec<bool>,
    /// Largest message that is sent back, all fragments together.
    pub message_bytes_max: usize,
}

impl Echo {
    /// What a connection of a listener begins with.
    pub(super) fn flags(&self, listener: u8) -> Flags {
        let echo = self.listeners.get(usize::from(listener)).copied().unwrap_or(false);
        if echo { Flags::ECHO } else { Flags::default() }
    }
}

impl Shard {
    /// Queues a frame for one that has sent the like.
    pub(super) fn echo(&mut self, index: usize, opcode: Opcode, payload: &[u8]) {
        let Self { connections, pool, deflater, .. } = self;
        let connection = &mut connections[index];
        debug_assert!(connection.flags.has(Flags::ECHO));
        let deflated = connection.framing == Framing::Deflate && !opcode.is_control();
        let hot = connection.hot(pool);
        hot.outbox.push_with(|out| {
            if deflated {
                let mut frame = Vec::new();
                ws::frame(opcode, payload, &mut frame);
                out.extend_from_slice(&deflater.frame(&Rc::from(frame)));
            } else {
                ws::frame(opcode, payload, out);
            }
        });
        if hot.backlog() > ECHO_BACKLOG_BYTES_MAX {
            connection.flags.set(Flags::PAUSED);
        }
        self.mark_dirty(index);
    }

    /// A sign of life: the time for the next one begins.
    pub(super) fn echo_heard(&mut self, now: Now, index: usize) {
        if self.connections[index].is_open() {
            self.due[index] = Tick::after(now, ECHO_IDLE_MS);
        }
    }

    /// The socket of a paused one has taken what it could: once it has read enough, it is read from again.
    pub(super) fn echo_flushed(&mut self, now: Now, index: usize) {
        let backlog = self.connections[index].hot.as_ref().map_or(0, |hot| hot.backlog());
        if backlog <= ECHO_BACKLOG_BYTES_MAX {
            self.resume(now, index);
        }
    }
}
