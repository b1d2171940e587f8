//! Links to other edges: made and lost, and in use while both sides have the same list.

use std::sync::Arc;
use std::time::Duration;

use wire::mesh::{Class, Word};

use super::peer::{Connection, Peer};
use super::{Mesh, Told};
use crate::bus::{EdgeId, Tell};
use crate::{Event, LinkId};

/// Why a connection cannot be another edge's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Stranger {
    /// Not in the list.
    #[error("it is not in this edge's list")]
    Unlisted,
    /// This edge's own name.
    #[error("it has this edge's own name")]
    Namesake,
}

impl Mesh {
    /// A connection to another edge, whose name is proven, has been made. It replaces one that there was.
    pub fn opened(
        &mut self,
        now: Duration,
        name: &str,
        edge: EdgeId,
        told: &mut Told<'_>,
    ) -> Result<LinkId, Stranger> {
        if *name == *self.me {
            return Err(Stranger::Namesake);
        }
        let listed = |peer: &Peer| *peer.name == *name && peer.former.is_none();
        let index = self.peers.iter().position(listed).ok_or(Stranger::Unlisted)?;
        self.drop_connection(now, index, told);
        let link = self.next_link();
        let mut connection = Connection::new(now, link, edge);
        let heard = self.heard.entry(name.into()).or_insert((edge, 0));
        if heard.0 != edge {
            *heard = (edge, 0);
        }
        connection.say(Class::Word, &Word::List { digest: self.list.digest(), heard: heard.1 });
        self.peers[index].connection = Some(connection);
        self.counters.links_opened += 1;
        self.tell_edges(told);
        self.finish(now, told);
        Ok(link)
    }

    /// The connection is gone, whoever closed it.
    pub fn closed(&mut self, now: Duration, link: LinkId, told: &mut Told<'_>) {
        if let Some(index) = self.linked(link) {
            self.drop_connection(now, index, told);
            self.finish(now, told);
        }
    }

    /// This edge and itself are always connected.
    pub(super) fn connect_self(&mut self, now: Duration) {
        let link = self.next_link();
        let (edge, digest) = (self.edge, self.list.digest());
        if let Some(own) = self.index(&self.me) {
            let mut connection = Connection::new(now, link, edge);
            connection.digest = Some(digest);
            self.peers[own].connection = Some(connection);
            self.agree(own);
        }
    }

    /// Both sides have the same list: each serves the other from now on.
    pub(super) fn agree(&mut self, index: usize) {
        let digest = self.list.digest();
        let peer = &self.peers[index];
        let agreed = peer.connection.as_ref().is_some_and(|connection| connection.digest == Some(digest));
        if !agreed || peer.home().is_some() {
            return;
        }
        let home = self.next_link();
        self.home.link_opened(home);
        let peer = &mut self.peers[index];
        if let Some(connection) = &mut peer.connection {
            connection.home = Some(home);
        }
        peer.interest.reset(|_| debug_assert!(false, "nothing is joined without a link"));
        peer.present.restart();
        peer.leaving.restart();
    }

    /// They have not, or the connection is gone: what was asked fails, and nothing counts as joined.
    pub(super) fn disagree(&mut self, now: Duration, index: usize, told: &mut Told<'_>) {
        let peer = &mut self.peers[index];
        peer.present.stop();
        peer.arriving = None;
        if let Some(connection) = &mut peer.connection {
            connection.table.clear();
            if let Some(home) = connection.home.take() {
                self.home.link_closed(now, home);
            }
        }
        for ticket in peer.questions.abandon() {
            told(Tell::Failed { ticket, code: wire::code::INTERNAL });
        }
        let mut parted = Vec::new();
        peer.interest.reset(|channel| parted.push(Arc::clone(channel)));
        for channel in parted {
            self.tell_parted(&channel, told);
        }
        self.tell_untold(told);
    }

    pub(super) fn drop_connection(&mut self, now: Duration, index: usize, told: &mut Told<'_>) {
        self.disagree(now, index, told);
        if let Some(connection) = self.peers[index].connection.take() {
            self.peers[index].down_since = now;
            self.events.push_back(Event::Close(connection.link));
            self.counters.links_lost += 1;
            self.tell_edges(told);
        }
    }

    fn tell_edges(&self, told: &mut Told<'_>) {
        let others = self.peers.iter().filter(|peer| peer.name != self.me);
        let edges: Vec<EdgeId> =
            others.filter_map(|peer| peer.connection.as_ref()).map(|connection| connection.edge).collect();
        told(Tell::Edges(&edges));
    }
}
