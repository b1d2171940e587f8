//! One subscription of an edge as a broker follows it: watches offsets, reads what is missing, and begins anew when that is gone.

use std::sync::Arc;
use std::time::Duration;

use crate::bus::{Ask, Ticket};
use crate::stream::Kept;

/// As the test's namespaces have it; an owner goes by its own.
pub(super) const KEPT: Kept =
    Kept { size: 10_000, ttl: Duration::from_secs(3600), meta_ttl: Duration::from_secs(3600) };

/// A channel that is followed.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) channel: Arc<str>,
    /// Last known place.
    pub(super) at: Option<(String, u64)>,
    pub(super) joined: bool,
    reading: Option<Ticket>,
    wants_read: bool,
    held: Vec<(String, u64, u64)>,
    /// The bus's last publication since it said `Joined`.
    last: u64,
    /// What arrived since it began (anew): epoch, offset, what.
    pub(super) got: Vec<(String, u64, u64)>,
    /// How often it had to begin anew.
    pub(super) told: usize,
}

impl Follower {
    pub(super) fn new(channel: Arc<str>) -> Self {
        Self {
            channel,
            at: None,
            joined: false,
            reading: None,
            wants_read: false,
            held: Vec::new(),
            last: 0,
            got: Vec::new(),
            told: 0,
        }
    }

    pub(super) fn joined(&mut self) -> Result<(), String> {
        if self.joined {
            return Err(format!("{}: joined twice", self.channel));
        }
        (self.joined, self.wants_read, self.last) = (true, true, 0);
        Ok(())
    }

    pub(super) fn parted(&mut self) {
        self.joined = false;
        self.held.clear();
    }

    /// The edge's relay restarts: the place lives on in its clients.
    pub(super) fn restart(&mut self) {
        self.parted();
        (self.reading, self.wants_read) = (None, false);
    }

    pub(super) fn publication(&mut self, epoch: &str, offset: u64, what: u64) -> Result<(), String> {
        if !self.joined {
            return Err(format!("{}: {what} came while not joined", self.channel));
        }
        if offset <= self.last {
            return Err(format!("{}: {offset} came after {}", self.channel, self.last));
        }
        self.last = offset;
        if self.wants_read || self.reading.is_some() {
            self.held.push((epoch.to_owned(), offset, what));
            return Ok(());
        }
        self.take(epoch, offset, what);
        Ok(())
    }

    fn take(&mut self, epoch: &str, offset: u64, what: u64) {
        match &mut self.at {
            Some((known, last)) if known == epoch && offset == *last + 1 => {
                *last = offset;
                self.got.push((epoch.to_owned(), offset, what));
            }
            Some((known, last)) if known == epoch && offset <= *last => {}
            _ => self.wants_read = true,
        }
    }

    /// A question, if one is due.
    pub(super) fn ask(&mut self, ticket: Ticket) -> Option<Ask> {
        if !self.joined || !self.wants_read || self.reading.is_some() {
            return None;
        }
        (self.wants_read, self.reading) = (false, Some(ticket));
        let (since, limit) = self.at.as_ref().map_or((None, 0), |(_, offset)| (Some(*offset), 1000));
        Some(Ask::Read {
            ticket,
            channel: Arc::clone(&self.channel),
            since,
            limit,
            reverse: false,
            kept: KEPT,
        })
    }

    pub(super) fn failed(&mut self, ticket: Ticket) {
        if self.reading == Some(ticket) {
            (self.reading, self.wants_read) = (None, true);
        }
    }

    pub(super) fn page(&mut self, ticket: Ticket, epoch: &str, top: u64, publications: &[(u64, u64)]) {
        if self.reading != Some(ticket) {
            return;
        }
        self.reading = None;
        match &mut self.at {
            None => self.at = Some((epoch.to_owned(), top)),
            Some((known, last)) => {
                let whole = publications.first().map_or(top == *last, |(first, _)| *first == *last + 1);
                if known != epoch || !whole {
                    self.told += 1;
                    self.at = Some((epoch.to_owned(), top));
                } else {
                    for (offset, what) in publications {
                        self.got.push((epoch.to_owned(), *offset, *what));
                        *last = *offset;
                    }
                }
            }
        }
        for (epoch, offset, what) in std::mem::take(&mut self.held) {
            self.take(&epoch, offset, what);
        }
    }
}
