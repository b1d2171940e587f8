//! The part of a thread's loop that opens connections: at its pace, within its bounds, giving up on the late.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sys::Sys;

use super::{Worker, seconds, token};
use crate::cause::{Cause, Stage};
use crate::connection::Connection;
use crate::limits::FAILURES_IN_A_ROW_MAX;
use crate::task::{PUBLISHER, Task};

/// A connection that has not reached its goal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) deadline: Duration,
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl<T: Task> Worker<T> {
    pub(super) fn open_more(&mut self, now: Duration) {
        if self.wants_publisher && self.opening < self.brief.opening {
            self.wants_publisher = false;
            self.dial(PUBLISHER, now);
        }
        let room = self.brief.opening.saturating_sub(self.opening);
        for _ in 0..self.pace.due(now).min(room) {
            let number = self.pace.take() * self.brief.threads + self.brief.thread;
            if !self.dial(number, now) {
                break;
            }
        }
    }

    /// Begins one connection; false when no further one can succeed.
    fn dial(&mut self, number: u32, now: Duration) -> bool {
        let source = self.brief.sources.of(number);
        let handle = match sys::connect_from(source, self.brief.addr) {
            Ok(handle) => handle,
            Err(error) => {
                self.note_failure(Cause::of(&error, Stage::Connecting), number, now);
                return !self.pace.is_stopped();
            }
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.table.push(Connection::vacant());
            u32::try_from(self.table.len() - 1).expect("invariant: bounded by CONNECTIONS_MAX")
        });
        let connection = &mut self.table[index as usize];
        connection.occupy(handle, number, seconds(now));
        let generation = connection.generation;
        self.opening += 1;
        if let Err(error) = self.sys.watch(handle, token(index, generation)) {
            self.fail(index, Cause::of(&error, Stage::Connecting));
            return !self.pace.is_stopped();
        }
        self.openings.push_back(Opening { deadline: now + self.brief.timeout, index, generation });
        true
    }

    /// Gives up on those that are being opened for too long.
    pub(super) fn give_up(&mut self, now: Duration) {
        while let Some(&Opening { deadline, index, generation }) = self.openings.front() {
            let stage = self.table[index as usize].stage();
            let waiting = self.tenant(index, generation) && stage != Stage::Open;
            if waiting && deadline > now {
                return;
            }
            self.openings.pop_front();
            if waiting {
                self.fail(index, Cause::Timeout(stage));
            }
        }
    }

    pub(super) fn note_failure(&mut self, cause: Cause, number: u32, now: Duration) {
        self.failures_in_a_row += 1;
        if cause.is_final() || self.failures_in_a_row >= FAILURES_IN_A_ROW_MAX {
            self.stop_opening();
        }
        self.tally.add(cause, now, self.open);
        if number != PUBLISHER {
            self.gauges.failed.fetch_add(1, Relaxed);
        }
    }

    fn stop_opening(&mut self) {
        if !self.pace.is_stopped() {
            self.pace.stop();
            self.gauges.stuck.fetch_add(1, Relaxed);
        }
    }
}
