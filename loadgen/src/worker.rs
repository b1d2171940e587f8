//! One thread's loop: opens connections at a pace, feeds what arrives to them, sends what they owe, gives up on the late.
//! Owns the sockets of its thread; what connections are for is the [`Task`]'s.

mod opening;
mod pace;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use hdrhistogram::Histogram;
use sys::{Kernel, Ready, Sys, WAKE};

use crate::cause::{Cause, Stage, Tally};
use crate::connection::{Connection, Reached, Scratch};
use crate::frames::{Dice, Frames};
use crate::latency;
use crate::limits::{BACKLOG_BYTES_MAX, RECEIVE_BYTES, TURN_BYTES_MAX, WAIT_MAX};
use crate::manner::Manner;
use crate::own::{OwnLoad, Watch};
use crate::sources::Sources;
use crate::task::{Fate, Gauges, Order, PUBLISHER, Post, Task};
use opening::Opening;
use pace::Pace;

/// What a thread needs to know of the run.
#[derive(Debug, Clone)]
pub struct Brief {
    /// Which thread this is.
    pub thread: u32,
    /// How many there are.
    pub threads: u32,
    /// Where to connect.
    pub addr: SocketAddr,
    /// Where from.
    pub sources: Sources,
    /// How to open.
    pub manner: Manner,
    /// Connections being opened at once.
    pub opening: u32,
    /// For a connection to reach its goal.
    pub timeout: Duration,
    /// Slots of the table: connections and a publisher.
    pub slots: u32,
    /// Slept before waiting, between [`Order::Go`] and [`Order::Stop`].
    pub nap: Duration,
    /// Age of the run when this thread's clock starts.
    pub birth: Duration,
}

/// What a thread leaves behind.
#[derive(Debug)]
pub struct Left<T> {
    /// With whatever it counted.
    pub task: T,
    /// Failures and ends.
    pub tally: Tally,
    /// From `connect` to the goal.
    pub openings: Histogram<u64>,
    /// Between [`Order::Mark`] and [`Order::Stop`].
    pub own: OwnLoad,
    /// Connections that were open at the end.
    pub open: u64,
    /// Of those, seconds of the run in which they were last heard from, coarsely.
    pub heard_s: Vec<u32>,
    /// Age of the run at the end.
    pub ended: Duration,
    /// Bytes of the table and of what its connections had on the heap, at the end.
    pub connection_bytes: u64,
}

/// A thread at work.
#[derive(Debug)]
pub struct Worker<T> {
    brief: Brief,
    sys: Kernel,
    task: T,
    orders: Receiver<Order>,
    gauges: Arc<Gauges>,
    table: Vec<Connection>,
    free: Vec<u32>,
    pace: Pace,
    /// Deadlines of those being opened, in order, as (when, index, generation, began).
    openings: VecDeque<Opening>,
    opening: u32,
    failures_in_a_row: u32,
    tally: Tally,
    opened: Histogram<u64>,
    watch: Watch,
    own: Option<OwnLoad>,
    napping: bool,
    /// Told to publish but not yet opened.
    wants_publisher: bool,
    /// More may be waiting on these than one turn takes.
    again: Vec<(u32, u32, bool)>,
    open: u64,
    scratch: Scratch,
    frames: Frames,
    input: Vec<u8>,
    post: Post,
}

impl<T: Task> Worker<T> {
    /// Takes its place; nothing is opened before the first order.
    pub fn new(brief: Brief, mut sys: Kernel, task: T, orders: Receiver<Order>, gauges: Arc<Gauges>) -> Self {
        let mut seed = [0; 8];
        sys.fill_random(&mut seed);
        let now = sys.now() + brief.birth;
        let encoding = brief.manner.encoding;
        Self {
            table: Vec::with_capacity(brief.slots as usize),
            free: Vec::new(),
            pace: Pace::new(now),
            openings: VecDeque::new(),
            opening: 0,
            failures_in_a_row: 0,
            tally: Tally::default(),
            opened: latency::histogram(),
            watch: Watch::start(now),
            own: None,
            napping: false,
            wants_publisher: false,
            again: Vec::new(),
            open: 0,
            scratch: Scratch::default(),
            frames: Frames::new(encoding, Dice::new(seed)),
            input: vec![0; RECEIVE_BYTES],
            post: Post::new(encoding),
            brief,
            sys,
            task,
            orders,
            gauges,
        }
    }

    /// Runs until [`Order::Finish`] or until the coordinator is gone.
    pub fn run(mut self) -> io::Result<Left<T>> {
        let mut ready = Vec::new();
        loop {
            let timeout = self.timeout();
            if self.napping && timeout > Duration::ZERO && self.brief.nap > Duration::ZERO {
                nap(self.brief.nap);
            }
            self.sys.wait(&mut ready, timeout)?;
            let began = self.now();
            for one in &ready {
                if one.token != WAKE {
                    self.react(one);
                }
            }
            for (index, generation, to_end) in std::mem::take(&mut self.again) {
                if self.tenant(index, generation) {
                    self.read(index, to_end);
                }
            }
            if !self.obey() {
                return Ok(self.finish());
            }
            let now = self.now();
            self.give_up(now);
            self.open_more(now);
            self.turn(now);
            let took = self.now().saturating_sub(began);
            self.watch.turn(took);
        }
    }

    fn now(&mut self) -> Duration {
        self.sys.now() + self.brief.birth
    }

    fn timeout(&mut self) -> Duration {
        if !self.again.is_empty() {
            return Duration::ZERO;
        }
        let now = self.now();
        let room = self.opening < self.brief.opening;
        let next = [
            self.task.deadline(),
            self.openings.front().map(|opening| opening.deadline),
            self.pace.next(now).filter(|_| room),
        ];
        next.into_iter().flatten().map(|at| at.saturating_sub(now)).fold(WAIT_MAX, Duration::min)
    }

    /// Does what the coordinator says; false at the end.
    fn obey(&mut self) -> bool {
        loop {
            let order = match self.orders.try_recv() {
                Ok(order) => order,
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => Order::Finish,
            };
            let now = self.now();
            match order {
                Order::Open { total, rate } => self.pace.aim(total, rate, now),
                Order::Publisher => self.wants_publisher = true,
                Order::Go => self.napping = true,
                Order::Mark => self.watch = Watch::start(now),
                Order::Stop => {
                    self.napping = false;
                    self.own = Some(self.watch.load(now));
                }
                Order::Broadcast => {}
                Order::Finish => return false,
            }
            self.task.order(order, now);
        }
    }

    fn react(&mut self, ready: &Ready) {
        let (index, generation) = parts(ready.token);
        if !self.tenant(index, generation) {
            return;
        }
        let connection = &mut self.table[index as usize];
        if connection.stage() == Stage::Connecting {
            if !ready.writable && !ready.closed {
                return;
            }
            if let Ok(Some(error)) | Err(error) = sys::take_error(connection.handle) {
                return self.fail(index, Cause::of(&error, Stage::Connecting));
            }
            match connection.begin(&self.brief.manner, &mut self.frames) {
                Ok(reached) => self.after(index, reached),
                Err(cause) => return self.fail(index, cause),
            }
        } else if ready.writable && connection.owes() {
            self.flush(index);
        }
        if (ready.readable || ready.closed) && self.tenant(index, generation) {
            self.read(index, ready.closed);
        }
    }

    /// Takes what has arrived, up to a turn's worth; `to_end` when the end of the stream was already reported.
    fn read(&mut self, index: u32, to_end: bool) {
        let now = self.now();
        self.task.clock(now);
        let mut taken = 0;
        while taken < TURN_BYTES_MAX {
            let connection = &mut self.table[index as usize];
            let (stage, generation) = (connection.stage(), connection.generation);
            let count = match self.sys.receive(connection.handle, &mut self.input) {
                Ok(0) => return self.fail(index, Cause::Ended(stage)),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return self.fail(index, Cause::of(&error, stage)),
            };
            taken += count;
            connection.heard_s = seconds(now);
            let bytes = &mut self.input[..count];
            let (scratch, frames) = (&mut self.scratch, &mut self.frames);
            match connection.receive(index, bytes, &self.brief.manner, scratch, frames, &mut self.task) {
                Ok(reached) => self.after(index, reached),
                // It may have reached its goal and ended in one go: then it never was open.
                Err(cause) => return self.fail_in(stage, index, cause),
            }
            // A short read means that the socket is empty; the next arrival is a new edge, unless that was this one.
            if !self.tenant(index, generation) || (count < self.input.len() && !to_end) {
                return;
            }
        }
        let generation = self.table[index as usize].generation;
        self.again.push((index, generation, to_end));
    }

    /// Hands a connection that reached its goal to the task, and sends what is owed.
    fn after(&mut self, index: u32, reached: Reached) {
        if reached == Reached::Goal && self.goal(index) == Fate::Reset {
            return self.remove(index, true);
        }
        self.flush(index);
    }

    fn goal(&mut self, index: u32) -> Fate {
        let now = self.now();
        self.opening = self.opening.saturating_sub(1);
        self.failures_in_a_row = 0;
        let connection = &mut self.table[index as usize];
        let (number, generation) = (connection.number, connection.generation);
        // Looked for from the back: deadlines are in order of birth, and those that open now were born lately.
        let born = self.openings.iter().rev().find(|one| (one.index, one.generation) == (index, generation));
        let took = born.map_or(Duration::ZERO, |one| (now + self.brief.timeout).saturating_sub(one.deadline));
        let fate = self.task.opened(&mut connection.line(index, &mut self.frames), took, now);
        if number == PUBLISHER {
            self.gauges.publisher.store(true, Relaxed);
            return fate;
        }
        latency::record(&mut self.opened, took, 1);
        self.gauges.opened.fetch_add(1, Relaxed);
        if fate == Fate::Keep {
            self.open += 1;
            self.gauges.open.fetch_add(1, Relaxed);
        }
        fate
    }

    /// Sends what connection `index` owes, and keeps what the socket does not take.
    fn flush(&mut self, index: u32) {
        let connection = &mut self.table[index as usize];
        let (stage, handle) = (connection.stage(), connection.handle);
        let bytes = match connection.transmit(&mut self.scratch, &mut self.frames) {
            Ok(bytes) => bytes,
            Err(cause) => return self.fail(index, cause),
        };
        if bytes.is_empty() {
            return;
        }
        let sent = match self.sys.send(handle, bytes) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            Err(error) => return self.fail(index, Cause::of(&error, stage)),
        };
        if connection.sent(sent, &mut self.scratch) > BACKLOG_BYTES_MAX {
            self.fail(index, Cause::Backlog);
        }
    }

    fn turn(&mut self, now: Duration) {
        let mut post = std::mem::take(&mut self.post);
        self.task.turn(&mut post, now);
        for (index, message) in post.messages() {
            if self.table.get(index as usize).is_some_and(Connection::is_taken) {
                self.frames.message(message);
                self.flush(index);
            }
        }
        post.clear();
        self.post = post;
    }

    /// Ends connection `index` for a reason that counts.
    fn fail(&mut self, index: u32, cause: Cause) {
        self.fail_in(self.table[index as usize].stage(), index, cause);
    }

    /// The same of a connection that was known to be in `stage`.
    fn fail_in(&mut self, stage: Stage, index: u32, cause: Cause) {
        let now = self.now();
        // A last word (an alert, an answer to a close frame), if the socket takes it.
        let connection = &mut self.table[index as usize];
        let (handle, number) = (connection.handle, connection.number);
        if let Ok(bytes) = connection.transmit(&mut self.scratch, &mut self.frames)
            && !bytes.is_empty()
        {
            let _ = self.sys.send(handle, bytes);
        }
        self.frames.clear();
        let orderly = matches!(cause, Cause::Closed(_) | Cause::Tls(_));
        self.remove(index, !orderly);
        if stage != Stage::Open {
            self.opening = self.opening.saturating_sub(1);
            return self.note_failure(cause, number, now);
        }
        self.tally.add(cause, now, self.open);
        if number != PUBLISHER {
            self.open -= 1;
            self.gauges.open.fetch_sub(1, Relaxed);
            self.gauges.lost.fetch_add(1, Relaxed);
        }
        self.task.lost(index, number, now);
    }

    /// Frees the slot and closes the socket.
    fn remove(&mut self, index: u32, reset: bool) {
        let handle = self.table[index as usize].vacate();
        if reset {
            self.sys.reset(handle);
        } else {
            self.sys.close(handle);
        }
        self.free.push(index);
    }

    fn tenant(&self, index: u32, generation: u32) -> bool {
        let connection = self.table.get(index as usize);
        connection.is_some_and(|one| one.is_taken() && one.generation == generation)
    }

    fn finish(mut self) -> Left<T> {
        let ended = self.now();
        let own = self.own.take().unwrap_or_else(|| self.watch.load(ended));
        let table_bytes = self.table.capacity() * size_of::<Connection>();
        let heap_bytes: usize = self.table.iter().map(Connection::heap_bytes).sum();
        let mut heard_s = Vec::new();
        for index in 0..self.table.len() {
            let connection = &mut self.table[index];
            if !connection.is_taken() {
                continue;
            }
            if connection.stage() == Stage::Open && connection.number != PUBLISHER {
                heard_s.push(connection.heard_s);
            }
            let handle = connection.vacate();
            self.sys.reset(handle);
        }
        Left {
            task: self.task,
            tally: self.tally,
            openings: self.opened,
            own,
            open: self.open,
            heard_s,
            ended,
            connection_bytes: (table_bytes + heap_bytes) as u64,
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a nap is what it is: wake-ups are gathered, see --nap-ms")]
fn nap(time: Duration) {
    std::thread::sleep(time);
}

fn seconds(now: Duration) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

fn token(index: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(index)
}

fn parts(token: u64) -> (u32, u32) {
    (token as u32, (token >> 32) as u32)
}
