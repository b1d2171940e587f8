//! What happens in channels, on its way to subscribers: encoded once per encoding, handed out by the hub's jobs.

use std::rc::Rc;

use wire::{
    ClientId,
    code::{self, Unsubscribe},
    link::{ClientInfo, Publication, ToRelay},
};

use super::Shard;
use crate::{
    client::{
        encoding::Encoding,
        reply::Push,
        rights::{self, Appearance},
    },
    connection::{Identity, Phase},
    hub::{Event, Frames, Place},
    limits::{BROADCAST_DELIVERIES, FANOUT_VISITS_PER_JOB, FANOUT_VISITS_PER_TURN},
    places::{Maker, Terms},
    time::Now,
    ws,
};

/// A session as others see it.
pub(super) fn info<'a>(client: ClientId, identity: &'a Identity, chan_info: &'a [u8]) -> ClientInfo<'a> {
    ClientInfo { client, user: identity.user(), conn_info: identity.info(), chan_info }
}

impl Shard {
    /// Works on fan-out within one turn's budget. True when more is left.
    pub fn fan_out(&mut self, now: Now) -> bool {
        let mut lost = Vec::new();
        let before = self.delivered();
        let Self { hub, connections, pool, dirty, stats, policy, deflater, .. } = self;
        let bound = policy.settings.client.queue_max_size as usize;
        let mut slow = Vec::new();
        let more = hub.run(FANOUT_VISITS_PER_TURN, FANOUT_VISITS_PER_JOB, |index, channel, frames| {
            let Some(frames) = frames else {
                lost.push((index, channel));
                return;
            };
            // What comes after a loss is for those who subscribe after it; one visit hands over both.
            if lost.last() == Some(&(index, channel)) {
                return;
            }
            let connection = &mut connections[index as usize];
            debug_assert!(
                matches!(connection.phase, Phase::Ready | Phase::Connecting),
                "subscribers are sessions, or about to be"
            );
            let Some(frame) = frames.get(connection.encoding, connection.framing, deflater) else { return };
            let blocked = connection.flags.has(crate::connection::Flags::BLOCKED);
            let encoding = connection.encoding;
            stats.ways.of(connection.framing, encoding).deliveries += 1;
            let hot = connection.hot(pool);
            hot.outbox.push_shared(encoding, frame);
            if blocked && hot.backlog() > bound {
                slow.push(index);
            }
            if !connection.flags.has(crate::connection::Flags::DIRTY) {
                connection.flags.set(crate::connection::Flags::DIRTY);
                dirty.push(index);
            }
        });
        self.broadcast.now = self.delivered() - before >= BROADCAST_DELIVERIES;
        if self.broadcast.now {
            self.broadcast.last = now.at;
        }
        for index in slow {
            self.close(now, index as usize, code::SLOW);
        }
        for (index, channel) in lost {
            self.end_subscription(now, index as usize, channel, code::INSUFFICIENT_STATE);
        }
        more
    }

    /// A publication from the relay.
    pub(super) fn publication(&mut self, channel: &str, publication: &Publication<'_>) {
        self.stats.shard.publications += 1;
        // Nobody is left: the relay does not know yet.
        let Some(known) = self.hub.find(channel) else { return };
        let entry = self.hub.channel_mut(known);
        if publication.offset > 0 && !entry.epoch.is_empty() {
            if publication.offset <= entry.offset {
                return;
            }
            if publication.offset > entry.offset + 1 {
                self.lose_position(known);
                self.hub.channel_mut(known).offset = publication.offset;
                return;
            }
        }
        entry.offset = publication.offset.max(entry.offset);
        if entry.subscribers() > 0 {
            let event = self.publication_forms(known, channel, publication).unwrap_or_else(|| {
                Event::Publication(self.encode(known, channel, &Push::Publication(publication)))
            });
            self.hub.publish(known, event);
        }
    }

    pub(super) fn presence_event(&mut self, channel: &str, push: &Push<'_>) {
        let Some(known) = self.hub.find(channel) else { return };
        if self.hub.channel(known).subscribers() > 0 {
            let event = self
                .presence_forms(known, channel, push)
                .unwrap_or_else(|| Event::Presence(self.encode(known, channel, push)));
            self.hub.publish(known, event);
        }
    }

    /// Publications of a channel were lost: its subscribers must recover by themselves.
    pub(super) fn lose_position(&mut self, channel: u32) {
        let entry = self.hub.channel_mut(channel);
        entry.epoch = Box::default();
        // Whoever subscribes next asks the relay where the channel is.
        entry.live = false;
        self.hub.unbase(channel);
        self.hub.publish(channel, Event::Insufficient);
    }

    /// Tells the relay, for presence and join, that a session is in a channel. False when others are to know nothing of it.
    pub(super) fn tell_entered(&mut self, index: usize, channel: u32) -> bool {
        let name = Rc::clone(&self.hub.channel(channel).name);
        let Terms { overrides, info: chan_info, .. } = self.terms_of(index, channel);
        let Appearance { seen, announced } = rights::appearance(&self.policy.settings, &name, &overrides);
        if seen || announced {
            self.hub.channel_mut(channel).entered = true;
            let connection = &self.connections[index];
            let (client, identity) = (connection.client, connection.identity.clone());
            let info = info(client, &identity, &chan_info);
            self.tell(&ToRelay::Enter { channel: &name, presence: seen, announced, info });
        }
        seen || announced
    }

    /// Ends a subscription that a client made; one that the server made ends its session, which begins anew with it.
    pub(super) fn end_subscription(&mut self, now: Now, index: usize, channel: u32, reason: Unsubscribe<'_>) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let Some(place) = connection.places.find(channel).filter(|place| Place::is_active(*place)) else {
            return;
        };
        if connection.places.terms(channel).is_some_and(|terms| terms.maker != Maker::Client) {
            let expired = reason == code::SUBSCRIPTION_EXPIRED;
            let why = if expired { code::CLOSE_SUBSCRIPTION_EXPIRED } else { code::CLOSE_INSUFFICIENT_STATE };
            return self.close(now, index, why);
        }
        connection.places.remove(channel);
        let name = Rc::clone(&self.hub.channel(channel).name);
        self.leave_channel(index, place);
        self.push(now, index, &name, &Push::Unsubscribe(reason));
    }

    /// Once for each encoding that a subscriber here reads.
    fn encode(&mut self, known: u32, channel: &str, push: &Push<'_>) -> Frames {
        self.frames(known, |encoding, out| encoding.push(channel, push, out))
    }

    /// One frame of what is written for each encoding that a subscriber here reads.
    pub(super) fn frames(&mut self, known: u32, write: impl Fn(Encoding, &mut Vec<u8>)) -> Frames {
        let mut frames = Frames::default();
        for encoding in self.hub.channel(known).encodings() {
            self.message.clear();
            write(encoding, &mut self.message);
            self.scratch.clear();
            ws::frame(encoding.frame_opcode(), &self.message, &mut self.scratch);
            frames.0[encoding.index()] = Some(Rc::from(&self.scratch[..]));
        }
        frames
    }
}
