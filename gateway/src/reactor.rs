//! One shard's loop over [`Sys`]: wait, note readiness, work within budgets, flush every dirty connection once, expire, sleep.
//!
//! Owns descriptors and the order of a turn. Every decision about a connection is the [`Shard`]'s.

use std::{collections::VecDeque, io, path::PathBuf, sync::Arc, time::Duration};

use protocol::{
    admission::Refused,
    shard::{Options, Policy, Shard},
    time::Now,
};
use sys::{Handle, Ready, Sys, WAKE};
use wire::stats::TURN_BUCKETS_US;

use crate::{
    flights::Flights,
    limits::{
        FLUSHES_TOGETHER, PRESSED_FOR, READ_BUFFER_BYTES, READ_PER_CONNECTION_BYTES, READS_PER_TURN,
        SENDS_PER_CONNECTION, STARVED, STATS_EVERY, TRIM_AFTER,
    },
    link::Link,
    newcomers::Newcomers,
};

/// What the main thread tells a shard. Never traffic.
pub enum Order {
    /// New settings from the relay.
    Apply(Arc<Policy>),
    /// Close everybody over this many milliseconds, then end.
    Drain {
        /// 0: at once.
        window_ms: u64,
    },
}

/// Where orders come from, and what only the process knows.
pub trait Outside {
    /// The next order.
    fn order(&mut self) -> Option<Order>;
    /// Private memory and CPU time in microseconds of the process, for the statistics.
    fn process(&mut self) -> (u64, u64);
    /// Asks for freed memory to be given back.
    fn trim(&mut self);
    /// Tells the operator.
    fn say(&mut self, text: &str);
}

/// What a shard's loop is made of.
pub struct Setup {
    /// For [`Shard::new`].
    pub options: Options,
    /// The first settings.
    pub policy: Arc<Policy>,
    /// Listening sockets, in the order of [`Options::tls`].
    pub listeners: Vec<Handle>,
    /// The relay's socket.
    pub link: PathBuf,
    /// Number of the gateway process.
    pub gateway: u64,
    /// Number of the shard.
    pub shard: u16,
}

/// See the module.
pub struct Reactor<S, O> {
    sys: S,
    outside: O,
    shard: Shard,
    listeners: Vec<Listener>,
    link: Link,
    flights: Flights,
    ready: Vec<Ready>,
    reads: VecDeque<Read>,
    /// Connections whose last turn's sends were cut short by the budget.
    unsent: Vec<u32>,
    buffer: Box<[u8]>,
    /// Sealed bytes of as many connections, which `sealed` names.
    outs: [Vec<u8>; FLUSHES_TOGETHER],
    sealed: Vec<u32>,
    busy: bool,
    /// Established connections have work, or had some lately.
    pressed: bool,
    pressed_until: Duration,
    newcomers: Newcomers,
    /// Deliveries when last looked at.
    delivered: u64,
    starved_until: Option<Duration>,
    stats_at: Duration,
    turns: [u64; TURN_BUCKETS_US.len() + 1],
    turn_us: u64,
    closes: u64,
    /// Connections that had come or gone when memory was last given back.
    trimmed_at: u64,
}

struct Listener {
    handle: Handle,
    ready: bool,
}

/// A connection to be read.
#[derive(Clone, Copy)]
struct Read {
    token: u64,
    /// To the end: a short read does not mean that nothing is left.
    whole: bool,
}

/// Tokens below 2³² are not connections': generations start at one.
const LINK: u64 = 1 << 16;
const FLIGHTS: u64 = LINK + 1;

impl<S: Sys, O: Outside> Reactor<S, O> {
    /// Watches the listeners. Fails when one cannot be.
    pub fn new(mut sys: S, outside: O, setup: Setup) -> io::Result<Self> {
        let mut seed = [0; 16];
        sys.fill_random(&mut seed);
        let mut listeners = Vec::new();
        for (index, handle) in setup.listeners.into_iter().enumerate() {
            sys.watch(handle, index as u64)?;
            listeners.push(Listener { handle, ready: true });
        }
        let mut secret = [0; 32];
        sys.fill_random(&mut secret);
        let mut shard = Shard::new(setup.options, setup.policy, seed);
        shard.identify(setup.gateway, setup.shard, &secret);
        Ok(Self {
            shard,
            link: Link::new(setup.link.clone(), setup.gateway, setup.shard, LINK),
            flights: Flights::new(setup.link, setup.gateway, setup.shard, FLIGHTS),
            listeners,
            ready: Vec::new(),
            reads: VecDeque::new(),
            unsent: Vec::new(),
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            outs: <_>::default(),
            sealed: Vec::with_capacity(FLUSHES_TOGETHER),
            busy: false,
            pressed: false,
            pressed_until: Duration::ZERO,
            newcomers: Newcomers::default(),
            delivered: 0,
            starved_until: None,
            stats_at: STATS_EVERY,
            turns: <_>::default(),
            turn_us: 0,
            closes: 0,
            trimmed_at: 0,
            sys,
            outside,
        })
    }

    /// One turn. False when a drain has closed everything.
    pub fn turn(&mut self) -> io::Result<bool> {
        self.ready.clear();
        // While more reads wait than a turn makes, no more are asked for: that bounds the queue.
        if self.reads.len() <= READS_PER_TURN {
            let timeout = self.timeout();
            self.sys.wait(&mut self.ready, timeout)?;
        }
        let now = Now { at: self.sys.now(), unix: self.sys.unix() };
        self.note();
        self.obey(now);
        self.busy = self.link.advance(&mut self.sys, &mut self.shard, now);
        self.newcomers.earn(now.at, self.pressed);
        let begun = self.sys.now();
        let flights = self.newcomers.flights();
        self.busy |= self.flights.advance(&mut self.sys, &mut self.shard, now, flights);
        self.accept(now);
        self.newcomers.spend(self.sys.now().saturating_sub(begun));
        self.read(now);
        let more = self.shard.fan_out(now);
        self.busy |= more;
        self.pressed = self.is_pressed(now, more);
        let begun = self.sys.now();
        self.busy |= self.flights.begin(&mut self.sys, &mut self.shard, now);
        self.newcomers.spend(self.sys.now().saturating_sub(begun));
        self.flush(now);
        let drained = self.shard.expire(now);
        self.busy |= self.shard.restore(now);
        self.busy |= self.shard.survey(now);
        self.flush(now);
        // What was resumed by a flush or a deadline is read in the next turn, which does not wait then.
        self.note_resumed();
        self.link.flush(&mut self.sys, &mut self.shard, now);
        if let Some(why) = self.link.take_lost() {
            self.outside.say(&format!("the link to the relay is lost: {why}; trying again until it is back"));
        }
        self.close();
        self.report(now);
        Ok(!drained)
    }

    /// Whether established connections have work, or had some so lately that more will come: what is new waits for shorter turns.
    fn is_pressed(&mut self, now: Now, more: bool) -> bool {
        let delivered = self.shard.delivered();
        if more || delivered != self.delivered {
            self.delivered = delivered;
            self.pressed_until = now.at + PRESSED_FOR;
        }
        now.at < self.pressed_until
    }

    /// The shard, for statistics and checks.
    pub const fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The system beneath.
    pub const fn sys(&mut self) -> &mut S {
        &mut self.sys
    }

    fn timeout(&mut self) -> Duration {
        if self.busy || !self.reads.is_empty() || !self.unsent.is_empty() {
            return Duration::ZERO;
        }
        let patience = self.newcomers.wait().into_iter().fold(self.shard.patience(), Duration::min);
        let deadlines = self.link.deadline().into_iter().chain(self.flights.deadline());
        let Some(deadline) = deadlines.min() else { return patience };
        let now = self.sys.now();
        patience.min(deadline.saturating_sub(now).max(Duration::from_millis(1)))
    }

    fn note(&mut self) {
        for event in &self.ready {
            match event.token {
                WAKE => {}
                LINK => self.link.ready(event.readable || event.closed, event.writable),
                FLIGHTS => self.flights.ready(event.readable || event.closed, event.writable),
                token if token < LINK => {
                    if let Some(listener) = self.listeners.get_mut(token as usize) {
                        listener.ready = true;
                    }
                }
                token => {
                    let Some(index) = self.shard.find(token) else { continue };
                    if event.writable {
                        self.shard.writable(index);
                    }
                    if event.readable || event.closed {
                        self.reads.push_back(Read { token, whole: event.closed });
                    }
                }
            }
        }
    }

    fn obey(&mut self, now: Now) {
        while let Some(order) = self.outside.order() {
            match order {
                Order::Apply(policy) => self.shard.apply(policy),
                Order::Drain { window_ms } => {
                    for listener in self.listeners.drain(..) {
                        self.sys.close(listener.handle);
                    }
                    self.shard.drain(now, window_ms);
                }
            }
        }
    }

    fn read(&mut self, now: Now) {
        self.note_resumed();
        // Each at most once a turn: the answers to what was read are flushed, and counted against their reader, before more is.
        for _ in 0..READS_PER_TURN.min(self.reads.len()) {
            let Some(read) = self.reads.pop_front() else { break };
            if self.read_one(now, read) {
                self.reads.push_back(read);
            }
        }
    }

    fn note_resumed(&mut self) {
        while let Some(index) = self.shard.take_resumed() {
            if let Some(token) = self.shard.token_at(index) {
                self.reads.push_back(Read { token, whole: true });
            }
        }
    }

    /// True when the budget ended before the socket was empty.
    fn read_one(&mut self, now: Now, read: Read) -> bool {
        let mut budget = READ_PER_CONNECTION_BYTES;
        loop {
            let Some(index) = self.shard.find(read.token) else { return false };
            // A paused one is named again when it is resumed.
            if !self.shard.wants_input(index) {
                return false;
            }
            if budget == 0 {
                return true;
            }
            let Some(handle) = self.shard.handle(index) else { return false };
            let part = budget.min(self.buffer.len());
            match self.sys.receive(handle, &mut self.buffer[..part]) {
                Ok(0) => {
                    self.shard.ended(index);
                    return false;
                }
                Ok(count) => {
                    self.shard.receive(now, index, &mut self.buffer[..count]);
                    budget -= count;
                    // The socket was empty: what comes later makes a new edge.
                    if count < part && !read.whole {
                        return false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.shard.broken(index);
                    return false;
                }
            }
        }
    }

    fn accept(&mut self, now: Now) {
        if self.starved_until.is_some_and(|until| now.at < until) {
            return;
        }
        self.starved_until = None;
        for number in 0..self.listeners.len() {
            let all = self.newcomers.accepts();
            let mut budget = all;
            while self.listeners[number].ready {
                if budget == 0 {
                    self.busy |= all > 0;
                    break;
                }
                budget -= 1;
                if !self.accept_one(now, number) {
                    break;
                }
            }
        }
    }

    /// False when this listener has no more for now.
    fn accept_one(&mut self, now: Now, number: usize) -> bool {
        match self.sys.accept(self.listeners[number].handle) {
            Ok((handle, peer)) => {
                match self.shard.accept(now, handle, peer, number as u8) {
                    Ok(token) => {
                        // What is there already is reported as the first edge: reading now would often be too early.
                        if self.sys.watch(handle, token).is_err()
                            && let Some(index) = self.shard.find(token)
                        {
                            self.shard.broken(index);
                        }
                    }
                    Err(_) => self.sys.reset(handle),
                }
                true
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    self.listeners[number].ready = false;
                    false
                }
                io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => true,
                // Out of descriptors (or memory): no new edge will come for those that wait.
                _ => {
                    self.shard.refuse(Refused::Descriptors);
                    self.starved_until = Some(now.at + STARVED);
                    false
                }
            },
        }
    }

    /// Flushes every dirty connection once, several at a time: sealing them in a row keeps the cryptography's code and tables in
    /// the processor's caches, which every send of the kernel's sweeps.
    fn flush(&mut self, now: Now) {
        for index in std::mem::take(&mut self.unsent) {
            self.seal(now, index as usize);
        }
        while let Some(index) = self.shard.take_dirty() {
            self.seal(now, index);
        }
        self.send(now);
    }

    /// Makes a connection's next bytes ready to be sent; as many together as there is room for are.
    fn seal(&mut self, now: Now, index: usize) {
        let out = &mut self.outs[self.sealed.len()];
        if self.shard.transmit(index, out) {
            self.sealed.push(index as u32);
            if self.sealed.len() == self.outs.len() {
                self.send(now);
            }
        } else {
            self.shard.flushed(now, index);
        }
    }

    /// Sends what is sealed, and what more the same connections are owed.
    fn send(&mut self, now: Now) {
        for slot in 0..self.sealed.len() {
            let index = self.sealed[slot] as usize;
            let out = &mut self.outs[slot];
            let Some(handle) = self.shard.handle(index) else { continue };
            let mut more = SENDS_PER_CONNECTION;
            loop {
                more -= 1;
                let taken = match self.sys.send(handle, out) {
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    Err(_) => {
                        self.shard.broken(index);
                        break;
                    }
                };
                if !self.shard.sent(now, index, out, taken) {
                    self.shard.flushed(now, index);
                    break;
                }
                if more == 0 {
                    self.unsent.push(index as u32);
                    break;
                }
                if !self.shard.transmit(index, out) {
                    self.shard.flushed(now, index);
                    break;
                }
            }
        }
        self.sealed.clear();
    }

    fn close(&mut self) {
        while let Some(closed) = self.shard.take_closed() {
            if closed.reset {
                self.sys.reset(closed.handle);
            } else {
                self.sys.close(closed.handle);
            }
            self.closes += 1;
            self.starved_until = None;
        }
    }

    fn report(&mut self, now: Now) {
        let end = self.sys.now();
        let took = end.saturating_sub(now.at).as_micros() as u64;
        let bucket = TURN_BUCKETS_US.partition_point(|bound| *bound < took);
        self.turns[bucket] += 1;
        self.turn_us += took;
        if now.at < self.stats_at {
            return;
        }
        self.stats_at = now.at + STATS_EVERY;
        let mut stats = self.shard.stats();
        stats.turns = self.turns;
        stats.turn_us = self.turn_us;
        (stats.process_private_bytes, stats.process_cpu_us) = self.outside.process();
        let churn = stats.accepted + self.closes;
        if churn - self.trimmed_at >= TRIM_AFTER && stats.handshaking == 0 {
            self.trimmed_at = churn;
            self.outside.trim();
        }
        self.shard.report(stats);
    }
}
