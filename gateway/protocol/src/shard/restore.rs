//! After the link was lost: every channel with subscribers is asked for again from where it was, and presence is told again.
//!
//! Owns the walk over the hub, some channels per turn. Subscribers notice nothing, or are told that their position is lost.

use wire::link::{Position, ToRelay};

use super::{Shard, answers::Top};
use crate::{
    limits::RESTORES_PER_TURN,
    pending::{Asker, Question},
    time::Now,
};

/// How far the walk has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    channel: u32,
    /// The next subscriber whose presence is told.
    position: u32,
    /// The next connection whose session is counted again, once the channels are done.
    session: u32,
}

impl Shard {
    pub(super) fn start_restoring(&mut self) {
        self.link.restore = Some(Cursor::default());
    }

    /// No channel is known to be coming any more.
    pub(super) fn forget_live(&mut self) {
        let mut from = 0;
        while let Some((id, _)) = self.hub.channel_from(from) {
            self.hub.channel_mut(id).live = false;
            from = id + 1;
        }
    }

    /// Goes on restoring, as far as one turn and the link's bounds allow. True when more can be done at once.
    pub fn restore(&mut self, now: Now) -> bool {
        let Some(mut cursor) = self.link.restore else { return false };
        for _ in 0..RESTORES_PER_TURN {
            if self.link_is_full() || self.pending.is_full() {
                self.link.restore = Some(cursor);
                return false;
            }
            let Some((id, channel)) = self.hub.channel_from(cursor.channel) else {
                cursor.channel = u32::MAX;
                if cursor.session as usize >= self.due.len() {
                    self.link.restore = None;
                    return false;
                }
                self.count_again(cursor.session as usize);
                cursor.session += 1;
                continue;
            };
            if id != cursor.channel {
                cursor = Cursor { channel: id, position: 0, ..cursor };
            }
            let presence = channel.entered;
            let subscribers = channel.subscribers();
            if cursor.position == 0 {
                self.restore_channel(now, id);
            }
            if presence && (cursor.position as usize) < subscribers {
                if let Some(index) = self.hub.subscriber(id, cursor.position) {
                    self.tell_entered(index as usize, id);
                }
                cursor.position += 1;
            }
            if !presence || cursor.position as usize >= subscribers {
                cursor = Cursor { channel: id + 1, position: 0, ..cursor };
            }
        }
        self.link.restore = Some(cursor);
        true
    }

    /// A client asks for a channel that others had before the link was lost: theirs comes first, so that the answer stands in order.
    pub(super) fn restore_before(&mut self, now: Now, channel: u32) {
        let entry = self.hub.channel(channel);
        if !entry.live && entry.subscribers() > 0 {
            self.restore_channel(now, channel);
        }
    }

    /// The channel comes again, with what was missed if the relay has it.
    pub(super) fn restored(&mut self, channel: u32, top: &Top<'_>) {
        let entry = self.hub.channel(channel);
        let had_position = !entry.epoch.is_empty();
        let name = std::rc::Rc::clone(&entry.name);
        if !had_position || entry.subscribers() == 0 {
            self.note_position(channel, top);
        } else if top.recovered {
            self.hub.channel_mut(channel).live = true;
            for publication in top.publications {
                self.publication(&name, publication);
            }
        } else {
            // Not what we had: a relay that lost its history, or too much was missed.
            self.lose_position(channel);
            self.hub.channel_mut(channel).stands_at(top.offset, top.epoch);
        }
        self.release(channel);
    }

    /// A session that was admitted stays so.
    fn count_again(&mut self, index: usize) {
        let counted = |c: &&crate::connection::Connection| c.flags.has(crate::connection::Flags::COUNTED);
        if let Some(connection) = self.connections.get(index).filter(counted) {
            let (session, identity) = (self.token(index), connection.identity.clone());
            self.tell(&ToRelay::Arrive { request: None, session, user: identity.user() });
        }
    }

    fn restore_channel(&mut self, now: Now, id: u32) {
        if !self.link.up || self.hub.channel(id).live || self.hub.channel(id).subscribers() == 0 {
            return;
        }
        let name = std::rc::Rc::clone(&self.hub.channel(id).name);
        let (offset, epoch) = {
            let entry = self.hub.channel(id);
            (entry.offset, entry.epoch.clone())
        };
        let question = Question::Restore { channel: id };
        let asker = Asker { connection: u32::MAX, generation: 0, id: 0, question };
        let Ok(request) = self.pending.ask(now.at, asker) else { return };
        self.hub.reserve(&name);
        // From here on the relay knows; the answer comes before anything newer.
        self.hub.channel_mut(id).live = true;
        let recover = (!epoch.is_empty()).then_some(Position { offset, epoch: &epoch });
        if !self.tell(&ToRelay::Subscribe { request, channel: &name, recover, latest: false }) {
            self.pending.answer(request);
            self.hub.channel_mut(id).live = false;
            self.release(id);
        }
    }
}
