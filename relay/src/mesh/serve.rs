//! The owner's side: whether this edge may speak for a channel now, and what its home answers.

use std::time::Duration;

use wire::code;
use wire::frame::{self, FrameError};
use wire::link::{ToRelay, ToShard};
use wire::mesh::{self, Class, Place, Word};

use super::Mesh;
use crate::LinkId;

impl Mesh {
    /// Takes a question of an edge, through its link in the home.
    pub(super) fn serve(&mut self, now: Duration, home: LinkId, body: &[u8]) -> Result<(), FrameError> {
        let message: ToRelay<'_> = frame::decode(body)?;
        let (request, channel) = match message {
            ToRelay::Publish { request, channel, .. }
            | ToRelay::History { request, channel, .. }
            | ToRelay::Presence { request, channel }
            | ToRelay::PresenceStats { request, channel } => (Some(request), channel),
            ToRelay::Enter { channel, .. } | ToRelay::Leave { channel, .. } => (None, channel),
            // Not a word between edges.
            _ => return Err(FrameError::Malformed),
        };
        // Who is present does not move with streams, so it need not wait for them.
        let serves = match request {
            Some(_) => self.serves(channel),
            None => self.may_own(channel),
        };
        match (serves, request) {
            (true, _) => self.home.receive(now, home, &message),
            (false, Some(request)) => {
                self.counters.refused += 1;
                self.home.answer(home, &ToShard::Failed { request, code: code::INTERNAL.code });
            }
            (false, None) => self.counters.refused += 1,
        }
        Ok(())
    }

    /// Takes a word of an edge's table, and says which version there is now.
    pub(super) fn place(
        &mut self,
        now: Duration,
        index: usize,
        (version, anew): (u64, bool),
        unwanted: &[&str],
        wanted: &[&str],
    ) {
        let Self { peers, home, .. } = self;
        let Some(connection) = &mut peers[index].connection else { return };
        let Some(link) = connection.home else { return };
        let Some(dropped) = connection.table.advance(version, anew) else {
            self.counters.tables_again += 1;
            let version = connection.table.version();
            return connection.say(Class::Word, &Word::Again { version });
        };
        for channel in dropped {
            home.receive(now, link, &ToRelay::Unsubscribe { channel: &channel });
        }
        for channel in unwanted {
            if connection.table.remove(channel) {
                home.receive(now, link, &ToRelay::Unsubscribe { channel });
            }
        }
        let places: Vec<_> = wanted.iter().map(|channel| self.place_one(now, index, link, channel)).collect();
        let named = places.iter().map(|place| match place {
            Ok(epoch) => Place::At { epoch: epoch.as_ref().map_or("", crate::Epoch::as_str) },
            Err(error) => Place::Refused { code: error.code },
        });
        let mut frame = Vec::new();
        let encoded =
            mesh::encode(Class::Word, &Word::Placed { version, places: named.collect() }, &mut frame);
        debug_assert!(encoded.is_ok(), "an answer is not much larger than its question");
        self.home.pass(link, &frame);
    }

    fn place_one(
        &mut self,
        now: Duration,
        index: usize,
        link: LinkId,
        channel: &str,
    ) -> super::interest::Placed {
        if !self.serves(channel) {
            self.counters.refused += 1;
            return Err(code::INTERNAL);
        }
        let epoch = self.home.join(now, link, channel)?;
        if let Some(connection) = &mut self.peers[index].connection {
            connection.table.insert(channel);
        }
        Ok(epoch)
    }

    /// Whether this edge speaks for the channel: it owns it, whoever did before has handed it over, and nobody else may have it.
    pub(super) fn serves(&self, channel: &str) -> bool {
        let lent = self.peers.iter().any(|peer| peer.leaving.lent(channel));
        let here = !lent && (self.unsettled.is_empty() || self.has_settled(channel));
        self.may_own(channel) && (here || !self.kept(channel))
    }

    fn has_settled(&self, channel: &str) -> bool {
        let Some(previous) = &self.previous else { return false };
        let before = previous.names().nth(previous.owner(channel));
        before.is_some_and(|before| !self.unsettled.contains_key(before))
    }

    /// By the list; the second edge may too where nothing is kept.
    pub(super) fn may_own(&self, channel: &str) -> bool {
        let (owner, second) = self.list.owners(channel);
        let mine = |place: usize| self.peers[place].name == self.me;
        mine(owner) || !self.kept(channel) && second.is_some_and(mine)
    }

    pub(super) fn kept(&self, channel: &str) -> bool {
        self.settings.namespace(channel).is_none_or(wire::settings::Namespace::has_history)
    }
}
