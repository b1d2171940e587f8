//! From what is owed to bytes for the socket: records sealed straight from the outbox, remainders kept, idle parts freed.

use super::{Closed, Shard};
use crate::{
    connection::{Flags, Hot, Phase},
    framing::Framing,
    limits::{BACKLOG_SOFT_SHARE, HOT_POOL_MAX, RECORD_BYTES_MAX},
    time::{Now, Tick},
};

impl Shard {
    /// A connection with something to send. Each is named once; transmit until it says no, or until the socket is full.
    pub fn take_dirty(&mut self) -> Option<usize> {
        while let Some(index) = self.dirty.pop() {
            let index = index as usize;
            // A stale entry may name a later connection at the same index: one flush too many does nothing.
            if let Some(connection) = self.connections.get_mut(index) {
                connection.flags.clear(Flags::DIRTY);
                return Some(index);
            }
        }
        None
    }

    /// The socket can take bytes again.
    pub fn writable(&mut self, index: usize) {
        let flags = self.connections[index].flags;
        if flags.has(Flags::BLOCKED) && !flags.has(Flags::DAMMED) {
            self.connections[index].flags.clear(Flags::BLOCKED);
            self.mark_dirty(index);
        }
    }

    /// Fills the (emptied) `out` with the next bytes for the socket: all of one turn's messages in one record, up to
    /// [`RECORD_BYTES_MAX`]. False when nothing is owed. Report what became of them with [`Shard::sent`].
    pub fn transmit(&mut self, index: usize, out: &mut Vec<u8>) -> bool {
        out.clear();
        let Some(connection) = self.connections.get_mut(index) else { return false };
        if connection.flags.has(Flags::BLOCKED) {
            return false;
        }
        if let Some(hot) = &mut connection.hot {
            if hot.sealed.len() > hot.sent {
                out.extend_from_slice(&hot.sealed[hot.sent..]);
                hot.sealed.clear();
                hot.sent = 0;
                return true;
            }
            hot.outbox.end_batch(connection.encoding);
            if !hot.outbox.is_empty() {
                let Some(traffic) = &mut connection.traffic else {
                    hot.outbox.take(RECORD_BYTES_MAX, out);
                    return true;
                };
                let take = |out: &mut Vec<u8>| hot.outbox.take(RECORD_BYTES_MAX, out);
                let sealed = if self.broadcast.now {
                    traffic.seal_from(&mut self.broadcast.keys, index, out, take)
                } else {
                    traffic.seal_with(out, take)
                };
                if sealed.is_ok() {
                    return true;
                }
                // The key's limit is reached (TLS 1.2 cannot change it): nothing more can be said on this connection.
                self.remove(index, true);
                return false;
            }
        }
        if connection.flags.has(Flags::LAST) && !connection.flags.has(Flags::NOTIFIED) {
            connection.flags.set(Flags::NOTIFIED);
            if let Some(traffic) = &mut connection.traffic {
                // It fails when an alert has ended our side already.
                return traffic.seal_close(out).is_ok() && !out.is_empty();
            }
        }
        false
    }

    /// `count` bytes of `out` were taken by the socket; the rest is kept and goes first next time. True when there may be more to
    /// transmit at once.
    pub fn sent(&mut self, now: Now, index: usize, out: &[u8], count: usize) -> bool {
        debug_assert!(count <= out.len());
        self.stats.shard.bytes_out += count as u64;
        self.stats.shard.sends += 1;
        let connection = &mut self.connections[index];
        if count == out.len() {
            return connection.flags.has(Flags::LAST)
                || connection.hot.as_ref().is_some_and(|hot| hot.backlog() > 0);
        }
        connection.flags.set(Flags::BLOCKED);
        let hot = connection.hot(&mut self.pool);
        debug_assert!(hot.sealed.is_empty(), "one remainder at a time");
        hot.sealed.extend_from_slice(&out[count..]);
        self.note_backlog(now, index);
        false
    }

    /// The connection has been flushed as far as its socket allows: frees what is empty, ends what has said its last word.
    pub fn flushed(&mut self, now: Now, index: usize) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let waiting = connection.hot.as_ref().is_some_and(|hot| hot.backlog() > 0);
        if connection.flags.has(Flags::LAST) && !waiting && connection.flags.has(Flags::NOTIFIED) {
            self.remove(index, false);
            return;
        }
        if connection.framing == Framing::Poll && self.go_on_with_poll(now, index) {
            return;
        }
        if self.connections[index].flags.has(Flags::ECHO_PAUSED) {
            self.echo_flushed(now, index);
        }
        let Some(connection) = self.connections.get(index) else { return };
        let whole = connection.reader.held_bytes() == 0;
        if whole && connection.hot.as_ref().is_none_or(|hot| hot.is_idle()) {
            if let Some(hot) = self.connections[index].hot.take() {
                self.recycle(hot);
            }
            return;
        }
        self.account(index);
        if waiting {
            self.note_backlog(now, index);
            // What was queued in one turn is not held against a reader until the socket has refused it.
            self.check_backlog(now, index);
        } else if let Some(hot) = &mut self.connections[index].hot {
            hot.slow_since = None;
        }
    }

    /// The socket has failed.
    pub fn broken(&mut self, index: usize) {
        if self.connections.contains(index) {
            self.remove(index, true);
        }
    }

    /// Brings the shard's account of held bytes up to date.
    pub(super) fn account(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let partial = connection.reader.held_bytes();
        if let Some(hot) = &mut connection.hot {
            let held = hot.held() + partial;
            self.stats.held = self.stats.held + held - hot.counted;
            hot.counted = held;
        } else if partial > 0 {
            let hot = connection.hot(&mut self.pool);
            hot.counted = partial;
            self.stats.held += partial;
        }
    }

    pub(super) fn recycle(&mut self, mut hot: Box<Hot>) {
        self.stats.held -= hot.counted;
        if self.pool.len() < HOT_POOL_MAX {
            hot.recycle();
            self.pool.push(hot);
        }
    }

    /// Starts or ends the clock of a backlog above the soft bound.
    fn note_backlog(&mut self, now: Now, index: usize) {
        let soft = self.policy.settings.client.queue_max_size as usize / BACKLOG_SOFT_SHARE;
        self.account(index);
        let connection = &mut self.connections[index];
        let Some(hot) = &mut connection.hot else { return };
        if hot.backlog() <= soft {
            hot.slow_since = None;
        } else if hot.slow_since.is_none() {
            hot.slow_since = Some(Tick::current(now));
            if connection.phase == Phase::Ready {
                self.schedule(index);
            }
        }
    }

    /// Takes a connection out of everything. Its descriptor is closed by the shell.
    pub(super) fn remove(&mut self, index: usize, reset: bool) {
        self.leave_channels(index);
        let connection = self.connections.remove(index);
        self.due[index] = Tick::NEVER;
        self.stats.phases[connection.phase as usize] -= 1;
        let way = self.stats.ways.of(connection.framing, connection.encoding);
        way.sessions -= u64::from(connection.phase == Phase::Ready);
        self.door.leave(connection.source, connection.at_the_door());
        self.closed.push(Closed { handle: connection.handle, reset });
        if let Some(hot) = connection.hot {
            self.recycle(hot);
        }
    }
}
