//! A shard's connection to the relay of its box for everything but signatures: frames read for the shard, and written from its
//! queue.
//!
//! Never looks into a message but to decode it for the shard.

use std::{io, path::PathBuf, time::Duration};

use protocol::{shard::Shard, time::Now};
use sys::Sys;
use wire::frame::{self, Greeting, Purpose, VERSION};

use crate::{
    limits::{LINK_READ_BYTES, LINK_READ_PER_TURN_BYTES},
    line::{Line, invalid},
};

/// See the module.
pub(crate) struct Link {
    line: Line,
    /// Why it was lost, until somebody asks.
    lost: Option<io::Error>,
}

impl Link {
    pub(crate) const fn new(path: PathBuf, gateway: u64, shard: u16, token: u64) -> Self {
        let greeting = Greeting { version: VERSION, purpose: Purpose::Shard, gateway, shard };
        Self { line: Line::new(path, greeting, token), lost: None }
    }

    pub(crate) const fn ready(&mut self, readable: bool, writable: bool) {
        self.line.ready(readable, writable);
    }

    /// Connects, reads and hears. True when there is more to read at once.
    pub(crate) fn advance(&mut self, sys: &mut impl Sys, shard: &mut Shard, now: Now) -> bool {
        if !self.line.advance(sys, now.at) {
            self.lose(sys, shard, now, io::Error::new(io::ErrorKind::TimedOut, "no greeting in time"));
        } else if shard.link_is_stuck() {
            self.lose(
                sys,
                shard,
                now,
                io::Error::new(io::ErrorKind::TimedOut, "the relay takes nothing more"),
            );
        }
        let more = match self.read(sys, shard, now) {
            Ok(more) => more,
            Err(error) => {
                self.lose(sys, shard, now, error);
                false
            }
        };
        more && shard.wants_link_input()
    }

    /// Sends what the shard has queued.
    pub(crate) fn flush(&mut self, sys: &mut impl Sys, shard: &mut Shard, now: Now) {
        if self.line.is_up()
            && let Err(error) = self.line.send(sys, shard.link_out())
        {
            self.lose(sys, shard, now, error);
        }
    }

    /// Why the link was lost, once for each time.
    pub(crate) const fn take_lost(&mut self) -> Option<io::Error> {
        self.lost.take()
    }

    /// When the link wants a turn of its own.
    pub(crate) const fn deadline(&self) -> Option<Duration> {
        self.line.deadline()
    }

    fn lose(&mut self, sys: &mut impl Sys, shard: &mut Shard, now: Now, why: io::Error) {
        if self.line.lose(sys, now.at) {
            shard.link_down(now);
        }
        self.lost = Some(why);
    }

    fn read(&mut self, sys: &mut impl Sys, shard: &mut Shard, now: Now) -> io::Result<bool> {
        let mut budget = LINK_READ_PER_TURN_BYTES;
        loop {
            self.hear(shard, now)?;
            if !shard.wants_link_input() || budget == 0 {
                return Ok(self.line.is_readable() || !self.line.input.is_empty());
            }
            match self.line.fill(sys, budget.min(LINK_READ_BYTES))? {
                0 => return Ok(false),
                count => budget -= count,
            }
        }
    }

    fn hear(&mut self, shard: &mut Shard, now: Now) -> io::Result<()> {
        if self.line.welcomed()? {
            shard.link_up();
        }
        if !self.line.is_up() {
            return Ok(());
        }
        let mut rest = &self.line.input[..];
        while shard.wants_link_input() {
            let Some((body, after)) = frame::split(rest).map_err(invalid)? else { break };
            shard.hear(now, &frame::decode(body).map_err(invalid)?);
            rest = after;
        }
        let used = self.line.input.len() - rest.len();
        self.line.used(used);
        Ok(())
    }
}
