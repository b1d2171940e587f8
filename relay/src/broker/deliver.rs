//! Publishing: into the stream once, encoded once, to each link that wants it; and the repair of what a full link missed.

use std::time::Duration;

use wire::code::{self, ErrorCode};
use wire::frame;
use wire::link::{ClientInfo, Position, Publication, ToShard};

use super::Broker;
use crate::LinkId;
use crate::gap::Gap;
use crate::limits::PUBLICATION_BYTES_MAX;
use crate::outbound::Offered;
use crate::stream::{Epoch, Kept, Stream};

impl Broker {
    pub(super) fn publish(
        &mut self,
        now: Duration,
        link: LinkId,
        request: u32,
        channel: &str,
        data: &[u8],
        info: Option<ClientInfo<'_>>,
    ) {
        let placed = match self.admit(channel).map(Self::kept) {
            Ok(Some(kept)) => self.publish_kept(now, channel, data, info, kept),
            Ok(None) => self.publish_loose(channel, data, info),
            Err(error) => Err(error),
        };
        match placed {
            Ok((offset, epoch)) => {
                let epoch = epoch.as_ref().map_or("", Epoch::as_str);
                self.queue_message(link, &ToShard::Published { request, offset, epoch });
            }
            Err(error) => self.fail(link, request, error),
        }
    }

    fn publish_kept(
        &mut self,
        now: Duration,
        channel: &str,
        data: &[u8],
        info: Option<ClientInfo<'_>>,
        kept: Kept,
    ) -> Result<(u64, Option<Epoch>), ErrorCode> {
        let index = self.open_stream(now, channel, kept)?;
        let stream = self.channels.channel(index).and_then(|channel| channel.stream.as_deref());
        let (top, epoch) = stream.map(|stream| (stream.top(), stream.epoch())).ok_or(code::INTERNAL)?;
        let offset = top + 1;
        let frame = self.encode_publication(channel, Publication { offset, data, info })?;
        self.channels.change(index, |channel| {
            if let Some(stream) = &mut channel.stream {
                stream.append(now, &frame, kept);
            }
        });
        self.deliver(index, Some(Gap { epoch, offset: top }), &frame);
        self.scratch = frame;
        self.counters.history_evicted += self.channels.bound_history(&self.limits);
        Ok((offset, Some(epoch)))
    }

    fn publish_loose(
        &mut self,
        channel: &str,
        data: &[u8],
        info: Option<ClientInfo<'_>>,
    ) -> Result<(u64, Option<Epoch>), ErrorCode> {
        let frame = self.encode_publication(channel, Publication { offset: 0, data, info })?;
        if let Some(index) = self.channels.find(channel) {
            self.deliver(index, None, &frame);
        }
        self.scratch = frame;
        Ok((0, None))
    }

    fn encode_publication(
        &mut self,
        channel: &str,
        publication: Publication<'_>,
    ) -> Result<Vec<u8>, ErrorCode> {
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        let encoded = frame::encode(&ToShard::Publication { channel, publication }, &mut frame);
        if encoded.is_err() || frame.len() > PUBLICATION_BYTES_MAX {
            self.scratch = frame;
            return Err(code::LIMIT_EXCEEDED);
        }
        self.counters.publications += 1;
        Ok(frame)
    }

    /// Hands a publication to every link that wants the channel. `before` is the stream's position without it.
    fn deliver(&mut self, index: u32, before: Option<Gap>, frame: &[u8]) {
        self.each_link(index, |broker, link| {
            let Some(outbound) = broker.links.get_mut(&link) else { return };
            match before {
                Some(before) => match outbound.offer(index, before, frame, &broker.limits) {
                    Offered::Queued => broker.counters.deliveries += 1,
                    Offered::Gapped => broker.counters.gaps += 1,
                    Offered::Waiting => {}
                    Offered::Overflow => broker.overflow(link),
                },
                None if outbound.offer_loose(frame, &broker.limits) => broker.counters.deliveries += 1,
                None => broker.counters.lost += 1,
            }
        });
    }

    /// Hands a join or leave to every link that wants the channel.
    pub(super) fn deliver_event(&mut self, index: u32, frame: &[u8]) {
        self.each_link(index, |broker, link| {
            let Some(outbound) = broker.links.get_mut(&link) else { return };
            if !outbound.offer_loose(frame, &broker.limits) {
                broker.counters.lost_events += 1;
            }
        });
    }

    /// Does something for each living link that wants the channel, and announces what that queued. Takes out links that are
    /// gone.
    fn each_link(&mut self, index: u32, mut each: impl FnMut(&mut Self, LinkId)) {
        let (mut place, mut gone) = (0, false);
        let link_at = |broker: &Self, place| broker.channels.channel(index)?.links.get(place).copied();
        while let Some(link) = link_at(self, place) {
            place += 1;
            match self.links.get(&link) {
                None => gone = true,
                Some(outbound) if outbound.overflowed() => {}
                Some(_) => {
                    each(self, link);
                    self.announce(link);
                }
            }
        }
        if gone {
            let Self { channels, links, .. } = self;
            channels.change(index, |channel| channel.links.retain(|link| links.contains_key(link)));
        }
    }

    /// Takes a link out of a channel's interest.
    pub(super) fn disinterest(&mut self, link: LinkId, index: u32) {
        self.channels.change(index, |channel| channel.links.retain(|other| *other != link));
    }

    pub(super) fn unsubscribe(&mut self, link: LinkId, channel: &str) {
        if let Some(index) = self.channels.find(channel) {
            if let Some(outbound) = self.links.get_mut(&link) {
                outbound.gaps.close(index);
            }
            self.disinterest(link, index);
        }
    }

    /// Once a link's queue is below half of its bound: gives it what it missed, one channel after the other, while there is
    /// room.
    pub(super) fn repair(&mut self, link: LinkId) {
        let bound = self.limits.link_publications_bytes;
        if self.links.get(&link).is_none_or(|outbound| outbound.queued() >= bound.div_ceil(2)) {
            return;
        }
        while let Some((index, _)) = self.links.get(&link).and_then(|outbound| outbound.gaps.first()) {
            if !self.repair_channel(link, index, bound) {
                return;
            }
        }
    }

    /// Closes one gap as far as `room` (bytes in the link's queue) allows; true when it is closed.
    pub(super) fn repair_channel(&mut self, link: LinkId, index: u32, room: usize) -> bool {
        let Self { links, channels, limits, counters, .. } = self;
        let Some(outbound) = links.get_mut(&link) else { return true };
        let Some(gap) = outbound.gaps.get(index) else { return true };
        let Some(channel) = channels.channel(index) else { return true };
        let stream = channel.stream.as_deref();
        let Some((stream, places)) = stream.and_then(|stream| Some((stream, missing(stream, gap)?))) else {
            outbound.gaps.close(index);
            counters.insufficient += 1;
            let mut frame = Vec::new();
            let encoded = frame::encode(&ToShard::Insufficient { channel: &channel.name }, &mut frame);
            debug_assert!(encoded.is_ok(), "a channel name fits a frame");
            self.queue_answer(link, &frame);
            return true;
        };
        let mut fits = true;
        for (offset, frame) in stream.frames(places) {
            // One larger than the room goes when it is alone.
            if outbound.queued() > 0 && outbound.queued() + frame.len() > room {
                return false;
            }
            fits = outbound.answer(frame, limits);
            if !fits {
                break;
            }
            outbound.gaps.advance(index, offset);
            counters.deliveries += 1;
        }
        if !fits {
            self.overflow(link);
            return false;
        }
        outbound.gaps.close(index);
        counters.repairs += 1;
        self.announce(link);
        true
    }
}

/// Where in the stream that lies which a receiver with this gap has not got; `None` when some of it is gone.
fn missing(stream: &Stream, gap: Gap) -> Option<std::ops::Range<usize>> {
    stream.after(Position { offset: gap.offset, epoch: gap.epoch.as_str() })
}
