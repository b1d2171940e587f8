//! Streams that change hands: which edge is to have one, what becomes of one that another edge may have, and one that comes.
//!
//! A stream that was said to another edge is lent: that edge may go on with it though its answer never comes. It is served here, or handed
//! to a third, only once that edge is known not to have it. Where nobody is left to ask it is forgotten, so that no epoch has two owners.

use std::sync::Arc;
use std::time::Duration;

use wire::mesh::{Stream, Word};

use super::{Mesh, moves};
use crate::limits::SETTLE_WITHIN;

impl Mesh {
    /// A stream goes to the channel's owner, unless that is this edge.
    pub(super) fn hand_over(&mut self, channel: Arc<str>) {
        let owner = self.list.owner(&channel);
        if self.peers[owner].name != self.me {
            self.peers[owner].leaving.add([channel]);
        }
    }

    /// Whether a stream that the edge is to have is lent to another, of an earlier list: it may come back, so nothing is settled.
    pub(super) fn held(&self, index: usize) -> bool {
        let mine = |channel: &Arc<str>| self.list.owner(channel) == index;
        !self.peers[index].leaving.settled() && self.peers.iter().any(|peer| peer.leaving.earlier().any(mine))
    }

    /// The first word on a new link says which streams have come to the edge. Those it answered are its; their answers were lost.
    pub(super) fn answer_lent(&mut self, index: usize, heard: u64) {
        let peer = &mut self.peers[index];
        let Some(connection) = &peer.connection else { return };
        let (gone, back) = peer.leaving.linked(connection.edge, heard);
        gone.iter().for_each(|channel| self.home.forget(channel));
        back.into_iter().for_each(|channel| self.hand_over(channel));
    }

    /// Edges that have been away for too long, and those nobody waits for any more, answer no more: what they may have is not served here.
    pub(super) fn give_up(&mut self, now: Duration) {
        let Self { peers, home, unsettled, .. } = self;
        for peer in peers.iter_mut().filter(|peer| peer.connection.is_none()) {
            let away = now.saturating_sub(peer.down_since) >= SETTLE_WITHIN;
            if away || peer.former.is_some() || unsettled.get(&peer.name).is_some_and(|until| *until <= now) {
                peer.leaving.give_up().iter().for_each(|channel| home.forget(channel));
            }
        }
    }

    /// Number of the last whole stream from the run that the edge's link is of.
    pub(super) fn heard(&self, index: usize) -> u64 {
        self.heard.get(&self.peers[index].name).map_or(0, |(_, number)| *number)
    }

    /// A stream of another edge, or a part of it.
    pub(super) fn stream(&mut self, now: Duration, index: usize, part: &Stream<'_>) {
        let agreed = self.peers[index].home().is_some();
        self.counters.stale += u64::from(!agreed);
        let arriving = &mut self.peers[index].arriving;
        let bytes_max = self.bounds.history_bytes;
        let moved = if agreed { moves::join(arriving, part, bytes_max) } else { None };
        if !part.last {
            return;
        }
        if let Some((_, number)) = self.heard.get_mut(&self.peers[index].name) {
            *number = part.number;
        }
        if !agreed || !self.may_own(part.channel) {
            return self.peers[index].say(&Word::Left { channel: part.channel });
        }
        if let Some(moved) = moved {
            // One that was lent and is back by another way is worth more than what is left of it here.
            for peer in &mut self.peers {
                if peer.leaving.answered(&moved.channel) {
                    self.home.forget(&moved.channel);
                }
            }
            self.counters.streams_arrived += 1;
            self.home.arrive_stream(now, &moved);
        }
        self.peers[index].say(&Word::Taken { channel: part.channel });
    }
}
