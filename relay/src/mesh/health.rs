//! What an edge says about itself: each other edge with its link and both sides' tables, and totals since the start.

use std::time::Duration;

use super::Mesh;
use crate::{Counters as HomeCounters, Levels};

/// How it is with another edge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerHealth {
    /// Its name.
    pub name: String,
    /// The link.
    pub state: PeerState,
    /// Since when the link is up, or down.
    pub since: Duration,
    /// Channels that this edge wants of it, and those of them that are joined.
    pub wanted: (usize, usize),
    /// Version of that table as told, and as it is known to have it.
    pub told: (u64, u64),
    /// Channels that it wants of this edge, and that table's version.
    pub serves: (usize, u64),
    /// Questions that it has not answered.
    pub questions: usize,
    /// Bytes that wait for it, those of its home link aside.
    pub queued_bytes: usize,
    /// Streams that it owns by now and has not taken yet.
    pub leaving: usize,
    /// Streams that it may still have are waited for.
    pub awaited: bool,
}

/// A link's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerState {
    /// There is none.
    Down,
    /// It has another list of edges: nothing is asked until both have the same.
    OtherList,
    /// It serves and is served.
    Up,
}

/// Totals since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Links made.
    pub links_opened: u64,
    /// Links lost.
    pub links_lost: u64,
    /// Links given up because nothing was heard.
    pub links_silent: u64,
    /// Links given up because too much waited.
    pub links_overflowed: u64,
    /// Publications of this edge on their way to an owner, this edge included.
    pub published: u64,
    /// Those of them that another edge owns the channel of.
    pub forwarded: u64,
    /// Publications that other owners sent here, wanted ones.
    pub received: u64,
    /// Publications that came for a channel that was not joined any more, or not yet again.
    pub unwanted: u64,
    /// Questions to an owner without a link.
    pub unreachable: u64,
    /// Questions that had no room.
    pub congested: u64,
    /// Questions for channels that this edge does not speak for, or not yet.
    pub refused: u64,
    /// Frames of an agreement that was over.
    pub stale: u64,
    /// Table words that did not follow the one before.
    pub tables_again: u64,
    /// Words of other relays.
    pub messages: u64,
    /// Words for other relays that had no room.
    pub messages_lost: u64,
    /// Streams that came from an owner before.
    pub streams_arrived: u64,
    /// Streams handed over.
    pub streams_left: u64,
}

impl Mesh {
    /// Every other edge.
    pub fn peers(&self) -> Vec<PeerHealth> {
        let others = self.peers.iter().filter(|peer| peer.name != self.me);
        let health = others.map(|peer| {
            let connection = peer.connection.as_ref();
            PeerHealth {
                name: peer.name.to_string(),
                state: match connection {
                    None => PeerState::Down,
                    Some(connection) if connection.home.is_none() => PeerState::OtherList,
                    Some(_) => PeerState::Up,
                },
                since: connection.map_or(peer.down_since, |connection| connection.since),
                wanted: peer.interest.counts(),
                told: peer.interest.versions(),
                serves: connection
                    .map_or((0, 0), |connection| (connection.table.len(), connection.table.version())),
                questions: peer.questions.len(),
                queued_bytes: connection.map_or(0, super::peer::Connection::queued),
                leaving: peer.leaving.len(),
                awaited: self.unsettled.contains_key(&peer.name),
            }
        });
        health.collect()
    }

    /// Totals since the start.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Of this edge's home: totals, and what there is now.
    pub fn home(&self) -> (HomeCounters, Levels) {
        (self.home.counters(), self.home.levels())
    }

    /// Members of this edge's clients that it keeps to enter them again.
    pub fn members(&self) -> usize {
        self.peers.iter().map(|peer| peer.present.len()).sum()
    }
}
