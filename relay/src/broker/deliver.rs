//! Publishing: into the stream once, encoded once, to each link that wants it; and the repair of what a full link missed.

use std::time::Duration;

use wire::code::{self, ErrorCode};
use wire::frame;
use wire::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use wire::link::{Position, Publication, ToShard};

use super::{Broker, Event};
use crate::gap::Gap;
use crate::limits::PUBLICATION_BYTES_MAX;
use crate::outbound::{Offered, Outbound};
use crate::results::Placed;
use crate::stream::{Epoch, Kept, Stream};
use crate::{Counters, Limits, LinkId};

/// What is to be published.
pub(super) struct Publishing<'a> {
    pub(super) channel: &'a str,
    /// Without its place.
    pub(super) publication: Publication<'a>,
    /// Idempotency key; empty when none.
    pub(super) key: &'a str,
    /// History does not keep it.
    pub(super) skip_history: bool,
}

impl Broker {
    pub(super) fn publish(&mut self, now: Duration, link: LinkId, request: u32, wanted: &Publishing<'_>) {
        let Publishing { channel, key, .. } = *wanted;
        let before = if key.is_empty() { None } else { self.results.find(now, channel, key) };
        let duplicate = before.is_some();
        let placed = before.map_or_else(|| self.place(now, wanted), Ok);
        match placed {
            Ok((offset, epoch)) => {
                self.counters.duplicates += u64::from(duplicate);
                if !duplicate && !key.is_empty() {
                    self.results.insert(now, channel, key, (offset, epoch));
                }
                let epoch = epoch.as_ref().map_or("", Epoch::as_str);
                self.queue_message(link, &ToShard::Published { request, offset, epoch, duplicate });
            }
            Err(error) => self.fail(link, request, error),
        }
    }

    fn place(&mut self, now: Duration, wanted: &Publishing<'_>) -> Result<Placed, ErrorCode> {
        if wanted.key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            return Err(code::BAD_REQUEST);
        }
        let namespace = self.admit(wanted.channel)?;
        let delta = wanted.publication.delta || namespace.delta_publish;
        let publication = Publication { delta, ..wanted.publication };
        match Self::kept(namespace).filter(|_| !wanted.skip_history) {
            Some(kept) => self.publish_kept(now, wanted.channel, publication, kept),
            None => self.publish_loose(wanted.channel, publication),
        }
    }

    fn publish_kept(
        &mut self,
        now: Duration,
        channel: &str,
        publication: Publication<'_>,
        kept: Kept,
    ) -> Result<Placed, ErrorCode> {
        let index = self.open_stream(now, channel, kept)?;
        let stream = self.channels.channel(index).and_then(|channel| channel.stream.as_deref());
        let (top, epoch) = stream.map(|stream| (stream.top(), stream.epoch())).ok_or(code::INTERNAL)?;
        let offset = top + 1;
        let frame = self.encode_publication(channel, Publication { offset, ..publication })?;
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

    fn publish_loose(&mut self, channel: &str, publication: Publication<'_>) -> Result<Placed, ErrorCode> {
        let frame = self.encode_publication(channel, publication)?;
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
    pub(super) fn deliver(&mut self, index: u32, before: Option<Gap>, frame: &[u8]) {
        self.each_link(index, |outbound, limits, counters| {
            match before {
                Some(before) => match outbound.offer(index, before, frame, limits) {
                    Offered::Queued => counters.deliveries += 1,
                    Offered::Gapped => counters.gaps += 1,
                    Offered::Waiting => {}
                    Offered::Overflow => return false,
                },
                None if outbound.offer_loose(frame, limits) => counters.deliveries += 1,
                None => counters.lost += 1,
            }
            true
        });
    }

    /// Hands a join or leave to every link that wants the channel.
    pub(super) fn deliver_event(&mut self, index: u32, frame: &[u8]) {
        self.each_link(index, |outbound, limits, counters| {
            counters.lost_events += u64::from(!outbound.offer_loose(frame, limits));
            true
        });
    }

    /// Does something for each living link that wants the channel (false: the link must go), and announces what that queued. Takes out
    /// links that are gone.
    fn each_link(&mut self, index: u32, mut each: impl FnMut(&mut Outbound, &Limits, &mut Counters) -> bool) {
        let Self { channels, links, limits, counters, events, .. } = self;
        let Some(channel) = channels.channel(index) else { return };
        let (mut gone, mut over) = (false, Vec::new());
        for link in &channel.links {
            match links.get_mut(link) {
                None => gone = true,
                Some(outbound) if outbound.overflowed() => {}
                Some(outbound) => {
                    if !each(outbound, limits, counters) {
                        over.push(*link);
                    } else if outbound.announce() {
                        events.push_back(Event::Ready(*link));
                    }
                }
            }
        }
        over.into_iter().for_each(|link| self.overflow(link));
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
            self.unsubscribe_remote(link, index);
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
