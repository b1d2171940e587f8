//! Time without timers: one deadline of four bytes per connection, swept a slice per turn.
//!
//! Owns what is due when. A deadline is noticed at most [`SWEEP_MS`] late; the slices spread pings evenly.

use std::time::Duration;

use wire::code;

use super::Shard;
use crate::{
    connection::{Flags, Phase},
    framing::Framing,
    limits::{BACKLOG_SOFT_MS, BROADCAST_KEPT, HELD_BYTES_MAX, HELD_KEPT_EIGHTHS, SWEEP_MS},
    places::Refresh,
    time::{Now, TICK_MS, Tick},
};

/// Where the sweep stands.
#[derive(Default)]
pub(super) struct Sweep {
    cursor: usize,
    at: Duration,
    tick: Tick,
    /// Wall clock at the shard's birth, by the last turn's clocks.
    birth_unix: u64,
}

impl Sweep {
    /// The tick of the last turn.
    pub(super) const fn tick(&self) -> Tick {
        self.tick
    }
}

impl Shard {
    /// Feeds time: deadlines of the next slice of connections, overdue requests, drain, shedding. Call every turn. True when a
    /// drain has closed everything.
    pub fn expire(&mut self, now: Now) -> bool {
        self.sweep.tick = Tick::current(now);
        self.sweep.birth_unix = now.unix.saturating_sub(now.at.as_secs());
        for _ in 0..self.slice(now) {
            if self.sweep.cursor >= self.due.len() {
                self.sweep.cursor = 0;
            }
            let index = self.sweep.cursor;
            self.sweep.cursor += 1;
            if self.due[index] <= self.sweep.tick() {
                self.overdue(now, index);
            }
        }
        self.expire_requests(now);
        if !self.broadcast.keys.is_empty() && self.broadcast.last + BROADCAST_KEPT <= now.at {
            self.broadcast.keys.clear();
        }
        self.door.expire(now.at, self.jobs.len());
        self.meters.sweep(now.at);
        if self.stats.held > HELD_BYTES_MAX {
            self.shed();
        }
        self.drain_some(now)
    }

    /// How many entries are due to be looked at. Time too short for one entry is kept for the next turn, so that a loop of short
    /// turns sweeps as fast as one of long ones.
    fn slice(&mut self, now: Now) -> usize {
        let passed_us = now.at.saturating_sub(self.sweep.at).as_micros();
        let table = self.due.len();
        let slice = (table as u128 * passed_us / (u128::from(SWEEP_MS) * 1000)).min(table as u128) as usize;
        if slice > 0 || table == 0 {
            self.sweep.at = now.at;
        }
        slice
    }

    /// How long the shell may sleep: not so long that a slice of the sweep becomes a lump.
    pub fn patience(&self) -> Duration {
        if self.connections.is_empty() {
            Duration::from_millis(SWEEP_MS)
        } else {
            Duration::from_millis(SWEEP_MS / 10)
        }
    }

    /// Sets a ready session's deadline to the nearest of its own.
    pub(super) fn schedule(&mut self, index: usize) {
        let connection = &self.connections[index];
        debug_assert_eq!(connection.phase, Phase::Ready);
        let mut next = connection.ping;
        let client = &self.policy.settings.client;
        if connection.expire_at > 0 {
            let grace = if self.asks_when_over(index) { 0 } else { client.expired_close_delay_ms };
            next = next.min(self.expiry_tick(connection.expire_at, grace));
        }
        for terms in connection.places.all_terms().iter().filter(|terms| terms.expire_at > 0) {
            let asks = terms.refresh == Refresh::Backend;
            let grace = if asks { 0 } else { client.expired_sub_close_delay_ms };
            next = next.min(self.expiry_tick(terms.expire_at, grace));
        }
        if let Some(since) = connection.hot.as_ref().and_then(|hot| hot.slow_since) {
            next = next.min(since.shift(BACKLOG_SOFT_MS as i64));
        }
        self.due[index] = next;
    }

    /// Whether a backend is to be asked when the session's time is over, and has not been.
    fn asks_when_over(&self, index: usize) -> bool {
        self.policy.settings.backend.refresh && !self.connections[index].flags.has(Flags::REFRESHING)
    }

    /// A pong, which is only welcome after a ping.
    pub(super) fn pong_received(&mut self, index: usize) -> bool {
        let client = &self.policy.settings.client;
        let connection = &mut self.connections[index];
        if !connection.flags.has(Flags::PONG_OWED) {
            return false;
        }
        connection.flags.clear(Flags::PONG_OWED);
        let until_next = i64::from(client.ping_interval_ms) - i64::from(client.pong_timeout_ms);
        connection.ping = connection.ping.shift(until_next);
        if connection.phase == Phase::Ready {
            self.schedule(index);
        }
        true
    }

    /// The first ping comes at a random point of the interval's second half.
    pub(super) fn start_pings(&mut self, now: Now, index: usize) {
        let interval = u64::from(self.policy.settings.client.ping_interval_ms);
        self.connections[index].ping = if self.connections[index].framing == Framing::Poll {
            // No ping: the end of its time.
            Tick::after(now, u64::from(self.options.rules.transports.poll_timeout_ms))
        } else if interval == 0 {
            Tick::NEVER
        } else {
            Tick::after(now, interval / 2 + self.random.below(interval.div_ceil(2)))
        };
        self.schedule(index);
    }

    fn overdue(&mut self, now: Now, index: usize) {
        let Some(connection) = self.connections.get(index) else {
            self.due[index] = Tick::NEVER;
            return;
        };
        match connection.phase {
            Phase::Handshake => {
                self.stats.shard.handshake_failures[3] += 1;
                self.remove(index, true);
            }
            Phase::Upgrade => {
                self.stats.shard.upgrade_failures += 1;
                self.remove(index, true);
            }
            Phase::Fresh | Phase::Connecting | Phase::Unusable => self.close(now, index, code::STALE),
            Phase::Closing => self.remove(index, true),
            Phase::Http => self.overdue_exchange(now, index),
            Phase::Ready => self.overdue_session(now, index),
        }
    }

    fn overdue_session(&mut self, now: Now, index: usize) {
        let tick = self.sweep.tick();
        let connection = &self.connections[index];
        let slow = connection.hot.as_ref().and_then(|hot| hot.slow_since);
        let client = &self.policy.settings.client;
        let over =
            |expire_at: u32, grace_ms: u32| expire_at > 0 && self.expiry_tick(expire_at, grace_ms) <= tick;
        let all = connection.places.all_terms();
        let expired = all.iter().find(|t| over(t.expire_at, client.expired_sub_close_delay_ms));
        let asks = all.iter().find(|t| t.refresh == Refresh::Backend && over(t.expire_at, 0));
        if self.asks_when_over(index) && over(connection.expire_at, 0) {
            self.ask_refresh(now, index);
        } else if over(connection.expire_at, client.expired_close_delay_ms) {
            self.close(now, index, code::CONNECTION_EXPIRED);
        } else if let Some(channel) = asks.map(|terms| terms.channel) {
            self.ask_sub_refresh(now, index, channel);
        } else if slow.is_some_and(|since| since.shift(BACKLOG_SOFT_MS as i64) <= tick) {
            self.close(now, index, code::SLOW);
        } else if let Some(channel) = expired.map(|terms| terms.channel) {
            self.end_subscription(now, index, channel, code::SUBSCRIPTION_EXPIRED);
        } else if connection.ping <= tick && connection.framing == Framing::Poll {
            self.end_poll(now, index);
        } else if connection.ping <= tick {
            let paused = connection.flags.has(Flags::PAUSED);
            if connection.flags.has(Flags::PONG_OWED) && paused {
                // Its pong may wait to be read, behind a command that waits for the relay: as long as that may take.
                self.connections[index].ping = tick.shift(SWEEP_MS as i64);
                self.schedule(index);
            } else if connection.flags.has(Flags::PONG_OWED) {
                self.close(now, index, code::NO_PONG);
            } else {
                self.ping(now, index);
            }
        } else {
            self.schedule(index);
        }
    }

    fn ping(&mut self, now: Now, index: usize) {
        let sent = self.sweep.tick();
        let connection = &mut self.connections[index];
        let (encoding, framing) = (connection.encoding, connection.framing);
        connection.flags.set(Flags::PONG_OWED);
        // From when it is sent, not from when it was due: a loop that was held up does not send everybody away.
        connection.ping = sent.shift(i64::from(self.policy.settings.client.pong_timeout_ms));
        let native = connection.flags.has(Flags::FRAME_PING);
        let outbox = &mut connection.hot(&mut self.pool).outbox;
        if native {
            outbox.end_batch(encoding);
            outbox.push_with(|out| crate::ws::frame(crate::ws::Opcode::Ping, &[], out));
        }
        // One that only listens shows that it is there by its library's pong, and sees by ours that we are.
        let ping = self.pings.get(encoding, framing, &mut self.deflater);
        if let Some(ping) = ping.filter(|_| !native || framing == Framing::Uni) {
            outbox.push_shared(encoding, ping);
        }
        self.check_backlog(now, index);
        if self.connections[index].phase == Phase::Ready {
            self.schedule(index);
            self.mark_dirty(index);
        }
    }

    /// The tick at which what expires at `unix` is ended: after the grace for a refresh.
    fn expiry_tick(&self, unix: u32, grace_ms: u32) -> Tick {
        let grace_s = u64::from(grace_ms) / 1000;
        let end = (u64::from(unix) + grace_s).saturating_sub(self.sweep.birth_unix);
        Tick(u32::try_from(end * (1000 / TICK_MS)).map_or(u32::MAX - 1, |tick| tick.min(u32::MAX - 1)))
    }

    /// Too much is held for slow readers and unfinished messages: the largest go until a part of the bound is free again.
    fn shed(&mut self) {
        let mut holders: Vec<(usize, usize)> = self
            .connections
            .iter()
            .filter_map(|(index, connection)| Some((connection.hot.as_ref()?.counted, index)))
            .collect();
        holders.sort_unstable_by(|a, b| b.cmp(a));
        let goal = HELD_BYTES_MAX / 8 * HELD_KEPT_EIGHTHS;
        for (_, index) in holders {
            if self.stats.held <= goal {
                break;
            }
            if self.connections[index].is_open() {
                self.count_close(code::SLOW.code);
            }
            // A close frame would wait behind what the peer does not read.
            self.remove(index, true);
        }
    }
}
