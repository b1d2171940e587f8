//! What is told anew. After the link was lost: every channel with subscribers is asked for again from where it was, and presence is told
//! again. After a change of settings: who has appeared by it, and who has disappeared.
//!
//! Owns the walks over the hub, some channels and subscribers per turn. Subscribers notice nothing, or are told that their position is
//! lost.

use std::sync::Arc;

use wire::{
    link::{Position, ToRelay},
    token::Overrides,
};

use super::{Policy, Shard, answers::Top};
use crate::{
    client::rights::{self, Appearance},
    limits::RESTORES_PER_TURN,
    pending::{Asker, Question},
    time::Now,
};

/// How far a walk over channels and their subscribers has come.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    channel: u32,
    /// Subscribers of it to be looked at, the last first: whoever takes a leaver's place is looked at again rather than passed over.
    /// `None`: the channel is still to be looked at.
    left: Option<usize>,
}

/// Everything is told again to a relay that may know nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Restoring {
    cursor: Cursor,
    /// The next connection whose session is counted again, once the channels are done.
    session: u32,
}

/// Who is present is told anew.
pub(super) struct Reappearing {
    cursor: Cursor,
    /// What it was told by; `None`: who knows, after several changes in a row.
    before: Option<Arc<Policy>>,
}

impl Cursor {
    /// One of the `left` subscribers of a channel has been looked at.
    const fn goes_on(&mut self, channel: u32, left: usize) {
        *self = match left {
            0 | 1 => Self { channel: channel + 1, left: None },
            more => Self { channel, left: Some(more - 1) },
        };
    }
}

impl Shard {
    pub(super) fn start_restoring(&mut self) {
        self.link.restore = Some(Restoring::default());
    }

    /// No channel is known to be coming any more.
    pub(super) fn forget_live(&mut self) {
        let mut from = 0;
        while let Some((id, _)) = self.hub.channel_from(from) {
            self.hub.channel_mut(id).live = false;
            from = id + 1;
        }
    }

    /// Goes on telling, as far as one turn and the link's bounds allow. True when more can be done at once.
    pub fn restore(&mut self, now: Now) -> bool {
        for _ in 0..RESTORES_PER_TURN {
            if self.link_is_full() || self.pending.is_full() {
                return false;
            }
            if !self.restore_one(now) && !self.reappear_one() {
                return false;
            }
        }
        true
    }

    /// One step of restoring. False when it is done.
    fn restore_one(&mut self, now: Now) -> bool {
        let Some(mut restoring) = self.link.restore else { return false };
        let Restoring { cursor, session } = &mut restoring;
        if let Some((id, left)) = self.step(cursor) {
            let left = left.unwrap_or_else(|| {
                self.restore_channel(now, id);
                if self.may_appear(id) { self.hub.channel(id).subscribers() } else { 0 }
            });
            if let Some(index) = self.last_of(id, left) {
                self.tell_entered(index, id);
            }
            cursor.goes_on(id, left);
        } else if (*session as usize) < self.due.len() {
            self.count_again(*session as usize);
            *session += 1;
        } else {
            self.link.restore = None;
            return true;
        }
        self.link.restore = Some(restoring);
        true
    }

    /// Settings have changed: whoever appears otherwise than by those `before` is told of, unless all are told of anyway.
    pub(super) fn reappear(&mut self, before: Arc<Policy>) {
        if self.link.up {
            let before = if self.link.reappear.is_some() { None } else { Some(before) };
            self.link.reappear = Some(Reappearing { cursor: Cursor::default(), before });
        }
    }

    /// One step of that. False when it is done.
    fn reappear_one(&mut self) -> bool {
        let Some(mut walk) = self.link.reappear.take() else { return false };
        let Some((id, left)) = self.step(&mut walk.cursor) else { return false };
        let left = left.unwrap_or_else(|| {
            let channel = self.hub.channel(id);
            let by =
                |policy: &Policy| rights::appearance(&policy.settings, &channel.name, &Overrides::default());
            let changed = walk.before.as_deref().is_none_or(|before| by(before) != by(&self.policy));
            if changed && self.may_appear(id) { channel.subscribers() } else { 0 }
        });
        if let Some(index) = self.last_of(id, left)
            && !self.tell_entered(index, id)
        {
            let name = std::rc::Rc::clone(&self.hub.channel(id).name);
            let client = self.connections[index].client;
            self.tell(&ToRelay::Leave { channel: &name, client });
        }
        walk.cursor.goes_on(id, left);
        self.link.reappear = Some(walk);
        true
    }

    /// The channel that a walk has come to, and which of its subscribers. `None` when it has seen all.
    fn step(&self, cursor: &mut Cursor) -> Option<(u32, Option<usize>)> {
        let (id, channel) = self.hub.channel_from(cursor.channel)?;
        if id != cursor.channel {
            *cursor = Cursor { channel: id, left: None };
        }
        Some((id, cursor.left.map(|left| left.min(channel.subscribers()))))
    }

    /// The connection of the last of a channel's first `count` subscribers.
    fn last_of(&self, channel: u32, count: usize) -> Option<usize> {
        let position = u32::try_from(count.checked_sub(1)?).ok()?;
        self.hub.subscriber(channel, position).map(|index| index as usize)
    }

    /// Whether anybody in a channel appears, or has.
    fn may_appear(&self, channel: u32) -> bool {
        let channel = self.hub.channel(channel);
        let by_default = rights::appearance(&self.policy.settings, &channel.name, &Overrides::default());
        channel.entered || by_default != Appearance::default()
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
