//! Presence: who enters and leaves, who is asked for, and the events that tell others.

use std::time::Duration;

use wire::code::{self, ErrorCode};
use wire::frame;
use wire::link::{ClientInfo, ToShard};
use wire::{ClientId, settings::Namespace};

use super::Broker;
use crate::presence::bytes_of;
use crate::{Appearance, Entered, LinkId, Members};

impl Broker {
    pub(super) fn enter(
        &mut self,
        now: Duration,
        link: LinkId,
        channel: &str,
        info: &ClientInfo<'_>,
        appearance: Appearance,
    ) {
        if self.admit(channel).is_err() {
            return;
        }
        let Ok(index) = self.open(channel) else {
            self.counters.members_refused += 1;
            return;
        };
        self.reap(now, index);
        if !self.has_room_for(index, info) {
            self.counters.members_refused += 1;
            self.channels.change(index, |_| ());
            return;
        }
        let entered = self
            .channels
            .change(index, |channel| channel.members.get_or_insert_default().enter(link, info, appearance));
        if let Some(outbound) = self.links.get_mut(&link) {
            outbound.entered = true;
        }
        if appearance.announced && entered == Some(Entered::New) {
            self.counters.joins += 1;
            let frame = encoded(&ToShard::Join { channel, info: *info });
            self.deliver_event(index, &frame);
        }
    }

    /// One more of this size, even if it replaces one, keeps within the bounds.
    fn has_room_for(&self, index: u32, info: &ClientInfo<'_>) -> bool {
        let members = self.channels.channel(index).and_then(|channel| channel.members.as_deref());
        let again = members.is_some_and(|members| members.contains(info.client));
        let clients = members.map_or(0, Members::len);
        (again || clients < self.limits.presence_per_channel)
            && self.channels.totals().presence_bytes + bytes_of(info) <= self.limits.presence_bytes
    }

    pub(super) fn leave(&mut self, link: LinkId, channel: &str, client: ClientId) {
        let Some(index) = self.channels.find(channel) else { return };
        let mut left = Vec::new();
        self.channels.change(index, |channel| {
            if let Some(members) = &mut channel.members {
                members.leave(link, client, |info| {
                    left.push(encoded(&ToShard::Leave { channel: &channel.name, info: *info }));
                });
            }
        });
        self.tell_left(index, &left);
    }

    /// Takes out those whose link is lost and whose grace is over.
    pub(super) fn reap(&mut self, now: Duration, index: u32) {
        let nobody = self.channels.channel(index).is_none_or(|channel| channel.members.is_none());
        if nobody || self.gone.is_empty() {
            return;
        }
        let Self { channels, links, gone, .. } = self;
        let lapsed =
            |link: LinkId| !links.contains_key(&link) && gone.get(&link).is_none_or(|gone| gone.over(now));
        let mut left = Vec::new();
        channels.change(index, |channel| {
            if let Some(members) = &mut channel.members {
                members.reap(lapsed, |info| {
                    left.push(encoded(&ToShard::Leave { channel: &channel.name, info: *info }));
                });
            }
        });
        self.tell_left(index, &left);
    }

    fn tell_left(&mut self, index: u32, left: &[Vec<u8>]) {
        self.counters.leaves += left.len() as u64;
        for frame in left {
            self.deliver_event(index, frame);
        }
    }

    /// The members of a channel whose namespace has presence, those over their grace taken out.
    fn members(&mut self, now: Duration, channel: &str) -> Result<Option<&Members>, ErrorCode> {
        let has_presence = |namespace: &Namespace| namespace.presence;
        if !self.admit(channel).map(has_presence)? {
            return Err(code::NOT_AVAILABLE);
        }
        let Some(index) = self.channels.find(channel) else { return Ok(None) };
        self.reap(now, index);
        Ok(self.channels.channel(index).and_then(|channel| channel.members.as_deref()))
    }

    pub(super) fn presence(&mut self, now: Duration, link: LinkId, request: u32, channel: &str) {
        let mut frame = Vec::new();
        let encoded = match self.members(now, channel) {
            Ok(members) => {
                let members = members.map(|members| members.all().collect()).unwrap_or_default();
                frame::encode(&ToShard::Presence { request, members }, &mut frame)
            }
            Err(error) => return self.fail(link, request, error),
        };
        self.queue_or_fail(link, request, encoded, frame);
    }

    pub(super) fn presence_stats(&mut self, now: Duration, link: LinkId, request: u32, channel: &str) {
        let (clients, users) = match self.members(now, channel) {
            Ok(members) => members.map_or((0, 0), |members| (members.clients(), members.users())),
            Err(error) => return self.fail(link, request, error),
        };
        // Fits: presence per channel is bounded far below.
        let message = ToShard::PresenceStats { request, clients: clients as u32, users: users as u32 };
        self.queue_message(link, &message);
    }
}

/// The frame of a join or leave.
fn encoded(event: &ToShard<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    let encoded = frame::encode(event, &mut frame);
    debug_assert!(encoded.is_ok(), "what entered in a frame leaves in one");
    frame
}
