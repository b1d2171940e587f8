//! Handshake flights of one shard: begun within a budget per turn, finished when the relay's signature has come.
//!
//! Owns the signing connection and who waits on it. Never blocks, and never sees a private key: the relay signs.

use std::{collections::VecDeque, io, path::PathBuf, time::Duration};

use protocol::{
    shard::{Job, Shard},
    time::Now,
    tls::{Unsigned, Wanted, certificate::Remote},
};
use sys::Sys;
use wire::{
    frame::{self, Greeting, Purpose, VERSION},
    sign::{SignReply, SignRequest},
};

use crate::{
    limits::{ANSWERS_READ_BYTES, FLIGHTS_ASKED_MAX, SIGN_TIMEOUT},
    line::{Line, invalid},
};

/// See the module.
pub(crate) struct Flights {
    line: Line,
    /// In the order of the requests.
    asked: VecDeque<Asked>,
    out: Vec<u8>,
    /// Flights that may be worked on in this turn, and how many of them still.
    given: usize,
    budget: usize,
}

/// A flight that waits for its signature.
struct Asked {
    job: Job,
    until: Duration,
    /// On a second connection, after the first was lost.
    again: bool,
}

/// Stands for the relay's keys where rustls wants to call somebody. A flight that cannot be played back is not worth the wait of
/// everybody else's.
#[derive(Debug)]
pub(crate) struct Elsewhere;

impl Remote for Elsewhere {
    fn sign(&self, _key: u32, _scheme: u16, _message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        Err(Unsigned::Unavailable)
    }
}

impl Flights {
    pub(crate) const fn new(path: PathBuf, gateway: u64, shard: u16, token: u64) -> Self {
        let greeting = Greeting { version: VERSION, purpose: Purpose::Sign, gateway, shard };
        let line = Line::new(path, greeting, token);
        Self { line, asked: VecDeque::new(), out: Vec::new(), given: 0, budget: 0 }
    }

    pub(crate) const fn ready(&mut self, readable: bool, writable: bool) {
        self.line.ready(readable, writable);
    }

    /// When it wants a turn of its own.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let first = self.asked.front().map(|asked| asked.until);
        self.line.deadline().into_iter().chain(first).min()
    }

    /// Connects, and finishes flights whose signatures have come; this and [`Self::begin`] work on at most `budget` of them. True
    /// when the budget was all that ended it.
    pub(crate) fn advance(&mut self, sys: &mut impl Sys, shard: &mut Shard, now: Now, budget: usize) -> bool {
        (self.given, self.budget) = (budget, budget);
        if !self.line.advance(sys, now.at) {
            self.lose(sys, shard, now);
        }
        if self.finish(sys, shard, now).is_err() {
            self.lose(sys, shard, now);
        }
        if self.asked.front().is_some_and(|asked| asked.until <= now.at) {
            self.give_up(sys, shard, now);
        }
        !self.line.input.is_empty() && self.is_spent()
    }

    /// The turn's budget was not nothing, and is used up.
    const fn is_spent(&self) -> bool {
        self.budget == 0 && self.given > 0
    }

    /// Begins flights and asks for their signatures, all at once. True when the budget was all that ended it.
    pub(crate) fn begin(&mut self, sys: &mut impl Sys, shard: &mut Shard, now: Now) -> bool {
        let mut more = false;
        while self.asked.len() < FLIGHTS_ASKED_MAX {
            if self.budget == 0 {
                more = self.is_spent() && shard.has_job();
                break;
            }
            let Some(mut job) = shard.take_job() else { break };
            self.budget -= 1;
            match job.begin() {
                Some(wanted) if ask(wanted, &mut self.out) => {
                    self.asked.push_back(Asked { job, until: now.at + SIGN_TIMEOUT, again: false });
                }
                Some(_) => {
                    job.finish(Err(Unsigned::Refused));
                    shard.job_done(now, job);
                }
                None => shard.job_done(now, job),
            }
        }
        if self.line.is_up() && self.line.send(sys, &mut self.out).is_err() {
            self.lose(sys, shard, now);
        }
        more
    }

    fn finish(&mut self, sys: &mut impl Sys, shard: &mut Shard, now: Now) -> io::Result<()> {
        loop {
            if self.line.welcomed()? {
                self.out.clear();
                self.asked.iter_mut().for_each(|asked| {
                    // It was encoded once already.
                    let _ = asked.job.wanted().is_some_and(|wanted| ask(wanted, &mut self.out));
                });
            }
            if self.line.is_up() {
                self.take_answers(shard, now)?;
            }
            if self.budget == 0 || self.line.fill(sys, ANSWERS_READ_BYTES)? == 0 {
                return Ok(());
            }
        }
    }

    fn take_answers(&mut self, shard: &mut Shard, now: Now) -> io::Result<()> {
        let mut rest = &self.line.input[..];
        while self.budget > 0 {
            let Some((body, after)) = frame::split(rest).map_err(invalid)? else { break };
            let signature = match frame::decode(body).map_err(invalid)? {
                SignReply::Signature(signature) => Ok(signature.to_vec()),
                SignReply::Refused => Err(Unsigned::Refused),
            };
            // An answer that nobody asked for: which belongs to which is not known any more.
            let Some(Asked { mut job, .. }) = self.asked.pop_front() else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            job.finish(signature);
            shard.job_done(now, job);
            self.budget -= 1;
            rest = after;
        }
        let used = self.line.input.len() - rest.len();
        self.line.used(used);
        Ok(())
    }

    /// A relay that does not answer is not asked on this connection any more; whoever has waited too long gets an alert.
    fn give_up(&mut self, sys: &mut impl Sys, shard: &mut Shard, now: Now) {
        let late = self.asked.partition_point(|asked| asked.until <= now.at);
        for Asked { mut job, .. } in self.asked.drain(..late) {
            job.finish(Err(Unsigned::Unavailable));
            shard.job_done(now, job);
        }
        self.out.clear();
        self.line.lose(sys, now.at);
    }

    /// A lost connection is worth one new try for each flight.
    fn lose(&mut self, sys: &mut impl Sys, shard: &mut Shard, now: Now) {
        self.out.clear();
        if !self.line.lose(sys, now.at) {
            return;
        }
        for mut asked in std::mem::take(&mut self.asked) {
            if asked.again {
                asked.job.finish(Err(Unsigned::Unavailable));
                shard.job_done(now, asked.job);
            } else {
                asked.again = true;
                self.asked.push_back(asked);
            }
        }
    }
}

/// Adds a request; false, and nothing is added, if no frame holds it.
fn ask(Wanted { key, scheme, message }: &Wanted, out: &mut Vec<u8>) -> bool {
    frame::encode(&SignRequest { key: *key, scheme: *scheme, message }, out).is_ok()
}
