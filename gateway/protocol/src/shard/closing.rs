//! Ends of connections: by us with a code, by the peer, by drain; and what a session leaves behind.

use wire::{
    code::{self, Close},
    link::ToRelay,
};

use super::Shard;
use crate::{
    connection::{Flags, Phase},
    framing::Framing,
    hub::Place,
    limits::CLOSING_MS,
    time::{Now, Tick},
    ws,
};

/// A drain under way: connections are closed evenly over a window.
pub(super) struct Drain {
    begun: Now,
    window_ms: u64,
    /// Connections there were.
    total: usize,
    closed: usize,
    cursor: usize,
}

impl Shard {
    /// Says goodbye with a code. The connection stays until the peer has answered or [`CLOSING_MS`] are over.
    pub fn close(&mut self, now: Now, index: usize, close: Close) {
        self.close_with(now, index, close.code, close.reason);
    }

    /// The same with any code and a reason of at most 123 bytes.
    pub(super) fn close_with(&mut self, now: Now, index: usize, code: u16, reason: &str) {
        let Some(connection) = self.connections.get(index) else { return };
        if !connection.is_open() {
            // Before the upgrade there is no frame to say it with.
            if connection.phase != Phase::Closing {
                self.begin_closing(index);
                self.finish(index);
            }
            return;
        }
        self.count_close(code);
        self.leave_channels(index);
        let connection = &mut self.connections[index];
        let encoding = connection.encoding;
        let hot = connection.hot(&mut self.pool);
        if code == code::SLOW.code {
            // What a slow reader is owed would only delay the word that it is too slow.
            hot.outbox.abandon();
        }
        let framing = self.connections[index].framing;
        if framing.is_websocket() {
            if framing == Framing::Uni {
                self.push_disconnect(index, code, reason);
            }
            let outbox = &mut self.connections[index].hot(&mut self.pool).outbox;
            outbox.end_batch(encoding);
            outbox.push_with(|out| ws::close_frame(Some(code), reason, out));
        } else {
            self.end_response(index, code, reason);
        }
        self.enter(index, Phase::Closing);
        self.resume_closing(index);
        self.due[index] = Tick::after(now, CLOSING_MS);
        if !framing.is_websocket() {
            // Nothing of the peer is waited for.
            self.finish(index);
        }
        self.mark_dirty(index);
    }

    /// Starts to close every connection, spread over `window_ms`; new ones are refused.
    pub fn drain(&mut self, now: Now, window_ms: u64) {
        self.drain.get_or_insert(Drain {
            begun: now,
            window_ms,
            total: self.connections.len(),
            closed: 0,
            cursor: 0,
        });
    }

    /// The peer's close frame: the answer to ours, or to be answered in kind.
    pub(super) fn peer_closes(&mut self, index: usize, code: Option<u16>) {
        if self.connections[index].phase != Phase::Closing {
            self.count_close(code.unwrap_or(0));
            self.leave_channels(index);
            let connection = &mut self.connections[index];
            let encoding = connection.encoding;
            let hot = connection.hot(&mut self.pool);
            hot.outbox.end_batch(encoding);
            // RFC 6455 §5.5.1: the same code back, or none for none.
            hot.outbox.push_with(|out| ws::close_frame(code, "", out));
            self.enter(index, Phase::Closing);
        }
        self.finish(index);
    }

    /// Nothing more will be said or heard: the connection goes as soon as what is owed is sent.
    pub(super) fn finish(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.flags.set(Flags::LAST);
        if connection.traffic.is_none() {
            connection.flags.set(Flags::NOTIFIED);
        }
        // A peer that does not read what is left has the time of a slice of the sweep's table.
        self.due[index] = self.due[index]
            .min(Tick(self.sweep.tick().0.saturating_add((CLOSING_MS / crate::time::TICK_MS) as u32)));
        self.mark_dirty(index);
    }

    /// From any phase; an open session is counted and leaves its channels.
    pub(super) fn begin_closing(&mut self, index: usize) {
        let connection = &self.connections[index];
        if connection.phase == Phase::Closing {
            return;
        }
        if connection.is_open() {
            self.count_close(0);
            self.leave_channels(index);
        }
        self.enter(index, Phase::Closing);
    }

    pub(super) fn count_close(&mut self, code: u16) {
        super::bump(&mut self.stats.shard.closes, code);
    }

    /// Ends every subscription of a connection, for its channels and for the relay.
    pub(super) fn leave_channels(&mut self, index: usize) {
        self.give_up_opening(index);
        self.depart(index);
        let places = std::mem::take(&mut self.connections[index].places);
        for place in places.as_slice() {
            self.leave_channel(index, *place);
        }
    }

    /// Ends one subscription that is no longer in its connection's list. A waiting one ends when its answer comes.
    pub(super) fn leave_channel(&mut self, index: usize, place: Place) {
        if !place.is_active() {
            return;
        }
        let name = std::rc::Rc::clone(&self.hub.channel(place.channel).name);
        let connections = &mut self.connections;
        let entered = self.hub.channel(place.channel).entered;
        let gone = self.hub.unsubscribe(place, |moved| {
            connections[moved.connection as usize].places.update(moved.place);
        });
        if entered {
            let client = self.connections[index].client;
            self.tell(&ToRelay::Leave { channel: &name, client });
        }
        if gone {
            self.tell(&ToRelay::Unsubscribe { channel: &name });
        }
    }

    /// Closes as many as are due by now. True when nobody is left.
    pub(super) fn drain_some(&mut self, now: Now) -> bool {
        let Some(drain) = &mut self.drain else { return false };
        let passed = now.at.saturating_sub(drain.begun.at).as_millis() as u64;
        let due = if drain.window_ms == 0 || passed >= drain.window_ms {
            drain.total
        } else {
            (drain.total as u64 * passed / drain.window_ms) as usize
        };
        let mut budget = due.saturating_sub(drain.closed);
        let mut cursor = drain.cursor;
        let mut closed = drain.closed;
        while budget > 0 && cursor < self.due.len() {
            if self.connections.get(cursor).is_some_and(|c| c.phase != Phase::Closing) {
                self.close(now, cursor, code::SHUTDOWN);
                budget -= 1;
                closed += 1;
            }
            cursor += 1;
        }
        if let Some(drain) = &mut self.drain {
            drain.cursor = cursor;
            drain.closed = closed;
        }
        self.connections.is_empty()
    }

    /// A paused connection that is being closed must read its peer's close frame.
    fn resume_closing(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.flags.has(Flags::PAUSED) {
            connection.flags.clear(Flags::PAUSED);
            self.resumed.push(index as u32);
        }
    }
}
