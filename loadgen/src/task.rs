//! What a mode does with open connections, on one thread, and how the coordinator and the threads talk.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use protocol::client::command::Command;
use protocol::client::encoding::Encoding;
use protocol::client::limits::MESSAGES_IN_FRAME_MAX;

use crate::connection::{Identity, Line, Listener};

/// One thread's part of a mode.
pub trait Task: Identity + Listener + Send + 'static {
    /// A connection reached the goal, `took` after `connect` was called.
    fn opened(&mut self, line: &mut Line<'_>, took: Duration, now: Duration) -> Fate;

    /// An open connection is gone.
    fn lost(&mut self, index: u32, number: u32, now: Duration);

    /// The coordinator wants something.
    fn order(&mut self, order: Order, now: Duration);

    /// The end of a turn: what is to be sent without having been asked for goes to `post`.
    fn turn(&mut self, post: &mut Post, now: Duration);

    /// When [`Self::turn`] must run although nothing arrives.
    fn deadline(&self) -> Option<Duration>;

    /// A reply or publication arrives at `now`: called before a connection's bytes are read.
    fn clock(&mut self, now: Duration);
}

/// What happens to a connection that reached its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Keep,
    /// It is reset, and its slot is free for the next.
    Reset,
}

/// What the coordinator says to a thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// Have this many connections, all told, opened so many per second (0: no limit).
    Open {
        /// On this thread.
        total: u32,
        /// On this thread.
        rate: f64,
    },
    /// Open one more, [`PUBLISHER`], on this thread.
    Publisher,
    /// Start the mode's traffic.
    Go,
    /// What happens from now on counts.
    Mark,
    /// What happens from now on does not count.
    Stop,
    /// Tell every channel once.
    Broadcast,
    /// Reset every connection and return.
    Finish,
}

/// Number of the connection that publishes.
pub const PUBLISHER: u32 = u32::MAX;

/// Commands for connections that did not ask, sent at the end of the turn: those in a row for one connection together.
#[derive(Debug, Default)]
pub struct Post {
    encoding: Encoding,
    bytes: Vec<u8>,
    batches: Vec<Batch>,
}

/// One WebSocket message: commands of `bytes` up to `end`.
#[derive(Debug, Clone, Copy)]
struct Batch {
    index: u32,
    end: usize,
    count: usize,
}

impl Post {
    /// Nothing to send.
    pub fn new(encoding: Encoding) -> Self {
        Self { encoding, ..Self::default() }
    }

    /// Sends `command` on the open connection `index` of this thread.
    pub fn send(&mut self, index: u32, command: &Command<'_>) {
        match self.batches.last_mut() {
            Some(last) if last.index == index && last.count < MESSAGES_IN_FRAME_MAX => {
                self.bytes.extend_from_slice(self.encoding.separator());
                last.count += 1;
            }
            _ => self.batches.push(Batch { index, end: 0, count: 1 }),
        }
        self.encoding.command(command, &mut self.bytes);
        let last = self.batches.last_mut().expect("invariant: one was there or was pushed");
        last.end = self.bytes.len();
    }

    /// Each message with the connection it is for, in order.
    pub fn messages(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let starts = std::iter::once(0).chain(self.batches.iter().map(|batch| batch.end));
        self.batches.iter().zip(starts).map(|(batch, start)| (batch.index, &self.bytes[start..batch.end]))
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.batches.clear();
    }
}

/// Counters of all threads together, for the coordinator to look at. Each is exact once the threads are quiet.
#[derive(Debug, Default)]
pub struct Gauges {
    /// At their goal now.
    pub open: AtomicU64,
    /// Reached their goal so far.
    pub opened: AtomicU64,
    /// Did not get there.
    pub failed: AtomicU64,
    /// Got there and ended.
    pub lost: AtomicU64,
    /// Threads that have given up opening.
    pub stuck: AtomicU64,
    /// Whatever the mode counts: deliveries, replies.
    pub done: AtomicU64,
    /// The publisher's connection is ready.
    pub publisher: AtomicBool,
    /// The mode has done what it was told to do.
    pub complete: AtomicBool,
}

impl Gauges {
    /// The sum of what was tried and came to an end one way or the other.
    pub fn settled(&self) -> u64 {
        self.opened.load(Relaxed) + self.failed.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use protocol::client::command::Request;

    use super::*;

    #[test]
    fn commands_in_a_row_for_one_connection_share_a_message() {
        let mut post = Post::default();
        for index in [3, 3, 5, 3] {
            post.send(index, &Command { id: 9, request: Request::Unsubscribe { channel: "a".into() } });
        }
        let lines: Vec<(u32, usize)> =
            post.messages().map(|(index, text)| (index, text.split(|&byte| byte == b'\n').count())).collect();
        assert_eq!(lines, [(3, 2), (5, 1), (3, 1)]);
        post.clear();
        assert_eq!(post.messages().count(), 0);
    }
}
