//! Presence: who enters and leaves, who is asked for, and the events that tell others.

use std::sync::Arc;
use std::time::Duration;

use wire::ClientId;
use wire::code::{self, ErrorCode};
use wire::frame;
use wire::link::{ClientInfo, ToShard};

use super::Broker;
use crate::bus::{Ask, Member};
use crate::limits::SAID_AGAIN_PER_TICK;
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
        if let Some(remote) = self.remote.as_mut().filter(|remote| remote.shared) {
            // Whether it is new, and who has to know, is for the bus to say.
            return remote.put(Ask::Enter { channel: channel.into(), member: Member::of(info), appearance });
        }
        if appearance.announced && entered == Some(Entered::New) {
            self.appeared(channel, true, *info);
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
                members.leave(link, client, |info, appearance| left.push((Member::of(info), appearance)));
            }
        });
        self.tell_left(channel, &left);
    }

    /// Takes out those whose link is lost and whose grace is over.
    pub(super) fn reap(&mut self, now: Duration, index: u32) {
        let Some(channel) = self.channels.channel(index).filter(|channel| channel.members.is_some()) else {
            return;
        };
        if self.gone.is_empty() {
            return;
        }
        let name = Arc::clone(&channel.name);
        let Self { channels, links, gone, .. } = self;
        let lapsed =
            |link: LinkId| !links.contains_key(&link) && gone.get(&link).is_none_or(|gone| gone.over(now));
        let mut left = Vec::new();
        channels.change(index, |channel| {
            if let Some(members) = &mut channel.members {
                members.reap(lapsed, |info, appearance| left.push((Member::of(info), appearance)));
            }
        });
        self.tell_left(&name, &left);
    }

    /// Those who left are gone for others too: on a bus that edges share by way of it, else at once.
    fn tell_left(&mut self, channel: &str, left: &[(Member, Appearance)]) {
        for (member, appearance) in left {
            if let Some(remote) = self.remote.as_mut().filter(|remote| remote.shared) {
                let (member, appearance) = (member.clone(), *appearance);
                remote.put(Ask::Leave { channel: channel.into(), member, appearance });
            } else if appearance.announced {
                self.appeared(channel, false, member.info());
            }
        }
    }

    /// Tells links of a join or a leave.
    pub(super) fn appeared(&mut self, channel: &str, joined: bool, info: ClientInfo<'_>) {
        let count = if joined { &mut self.counters.joins } else { &mut self.counters.leaves };
        *count += 1;
        let Some(index) = self.channels.find(channel) else { return };
        let frame = match joined {
            true => encoded(&ToShard::Join { channel, info }),
            false => encoded(&ToShard::Leave { channel, info }),
        };
        self.deliver_event(index, &frame);
    }

    /// The bus has forgotten the members of this edge: they are to be entered again.
    pub(super) fn say_again(&mut self) {
        if let Some(remote) = &mut self.remote {
            remote.again = Some(0);
        }
    }

    /// Enters the members of the next channels again.
    pub(super) fn say_some_again(&mut self) {
        let Self { channels, remote, .. } = self;
        let Some(remote) = remote else { return };
        let Some(start) = remote.again else { return };
        let end = channels.slots().min(start + SAID_AGAIN_PER_TICK);
        for channel in (start..end).filter_map(|index| channels.channel(index as u32)) {
            for (info, appearance) in channel.members.iter().flat_map(|members| members.each()) {
                let (channel, member) = (Arc::clone(&channel.name), Member::of(&info));
                remote.put(Ask::Enter { channel, member, appearance });
            }
        }
        remote.again = (end < channels.slots()).then_some(end);
    }

    pub(super) fn has_presence(&self, channel: &str) -> Result<(), ErrorCode> {
        if self.admit(channel)?.presence { Ok(()) } else { Err(code::NOT_AVAILABLE) }
    }

    /// The members of a channel whose namespace has presence, those over their grace taken out.
    fn members(&mut self, now: Duration, channel: &str) -> Result<Option<&Members>, ErrorCode> {
        self.has_presence(channel)?;
        let Some(index) = self.channels.find(channel) else { return Ok(None) };
        self.reap(now, index);
        Ok(self.channels.channel(index).and_then(|channel| channel.members.as_deref()))
    }

    pub(super) fn presence(&mut self, now: Duration, link: LinkId, request: u32, channel: &str) {
        if self.is_shared() {
            return self.presence_remote(now, link, request, channel);
        }
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
        if self.is_shared() {
            return self.presence_stats_remote(now, link, request, channel);
        }
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
