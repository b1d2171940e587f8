//! One other edge (or this one, as its own owner): the connection to it, and what is between the two as asker and owner.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use wire::mesh::{self, Class, Word};

use super::interest::Interest;
use super::moves::Leaving;
use super::present::Present;
use super::questions::Questions;
use super::table::Table;
use crate::bus::EdgeId;
use crate::limits::{MESH_OUTBOX_BYTES_MAX, MESH_PUMP_BYTES};
use crate::{LinkId, Moved};

/// An edge.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: Arc<str>,
    pub(super) connection: Option<Connection>,
    /// What this edge wants of the channels it owns.
    pub(super) interest: Interest,
    /// What this edge has asked it.
    pub(super) questions: Questions,
    /// This edge's members in channels that it owns.
    pub(super) present: Present,
    /// Streams of this edge that it owns by now.
    pub(super) leaving: Leaving,
    /// A stream of its that comes in parts.
    pub(super) arriving: Option<Moved>,
    /// It is no longer in the list: until when its connection stays.
    pub(super) former: Option<Duration>,
    /// When the last connection was lost; the start before the first.
    pub(super) down_since: Duration,
}

/// A connection on which both sides are known.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) link: LinkId,
    pub(super) edge: EdgeId,
    pub(super) since: Duration,
    pub(super) heard: Duration,
    pub(super) spoke: Duration,
    /// The digest of its list, once it has said it.
    pub(super) digest: Option<u64>,
    /// Its link in this edge's home, while both have the same list.
    pub(super) home: Option<LinkId>,
    /// What it wants of the channels that this edge owns.
    pub(super) table: Table,
    outbox: Vec<u8>,
    /// The shell knows that there is something to write.
    pub(super) announced: bool,
    /// More had to be said than there is room for.
    pub(super) overflowed: bool,
}

impl Peer {
    pub(super) fn new(now: Duration, name: Arc<str>) -> Self {
        Self {
            name,
            connection: None,
            interest: Interest::default(),
            questions: Questions::default(),
            present: Present::default(),
            leaving: Leaving::default(),
            arriving: None,
            former: None,
            down_since: now,
        }
    }

    pub(super) fn home(&self) -> Option<LinkId> {
        self.connection.as_ref()?.home
    }

    pub(super) fn is(&self, link: LinkId) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.link == link)
    }

    pub(super) fn say(&mut self, word: &Word<'_>) {
        if let Some(connection) = &mut self.connection {
            connection.say(Class::Word, word);
        }
    }
}

impl Connection {
    pub(super) fn new(now: Duration, link: LinkId, edge: EdgeId) -> Self {
        Self {
            link,
            edge,
            since: now,
            heard: now,
            spoke: now,
            digest: None,
            home: None,
            table: Table::default(),
            outbox: Vec::new(),
            announced: false,
            overflowed: false,
        }
    }

    /// Queues a message that must arrive, or the connection must end.
    pub(super) fn say<T: Serialize>(&mut self, class: Class, message: &T) {
        let said = mesh::encode(class, message, &mut self.outbox);
        debug_assert!(said.is_ok(), "what is said is cut to fit a frame");
        self.overflowed |= said.is_err() || self.outbox.len() > MESH_OUTBOX_BYTES_MAX;
    }

    /// The same of an encoded one.
    pub(super) fn pass(&mut self, frame: &[u8]) {
        self.outbox.extend_from_slice(frame);
        self.overflowed |= self.outbox.len() > MESH_OUTBOX_BYTES_MAX;
    }

    /// Queues a message that may be lost: false when there is no room.
    pub(super) fn offer<T: Serialize>(&mut self, class: Class, message: &T) -> bool {
        self.outbox.len() < MESH_OUTBOX_BYTES_MAX / 2
            && mesh::encode(class, message, &mut self.outbox).is_ok()
    }

    /// Whether what can be said later may be said now.
    pub(super) fn has_time(&self) -> bool {
        self.outbox.len() < MESH_PUMP_BYTES && !self.overflowed
    }

    /// Appends what waits to `out`.
    pub(super) fn take(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.outbox);
        if self.outbox.capacity() > MESH_PUMP_BYTES {
            self.outbox = Vec::new();
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.outbox.len()
    }
}
