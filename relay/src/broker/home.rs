//! What a home of channels is asked beyond the words of a shard's link: interest without an answer, streams that begin anew, end,
//! come from another home and go to one.

use std::sync::Arc;
use std::time::Duration;

use wire::code::{self, ErrorCode};
use wire::frame;
use wire::link::ToShard;

use super::Broker;
use crate::LinkId;
use crate::stream::{Epoch, Stream};

/// A whole stream on its way from one home to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// The channel.
    pub channel: Arc<str>,
    /// Its incarnation, which stays.
    pub epoch: Epoch,
    /// Offset of its last publication.
    pub top: u64,
    /// How long publications are kept from now.
    pub ttl: Duration,
    /// How long the position is.
    pub meta_ttl: Duration,
    /// The kept publications ([`wire::bus::body`]); the last is at `top`.
    pub bodies: Vec<Box<[u8]>>,
    /// Idempotency keys: each with its offset and how long it is remembered.
    pub keys: Vec<(Box<str>, u64, Duration)>,
}

impl Broker {
    /// The link wants the channel from now on; the stream's incarnation, or `None` where there is no history. Idempotent. What the
    /// link missed before goes first, so that an answer passed on next stands where one to `Subscribe` would.
    pub fn join(&mut self, now: Duration, link: LinkId, channel: &str) -> Result<Option<Epoch>, ErrorCode> {
        let kept = self.admit(channel).map(Self::kept)?;
        let index = match kept {
            Some(kept) => self.open_stream(now, channel, kept)?,
            None => self.open(channel)?,
        };
        self.channels.change(index, |channel| {
            if !channel.links.contains(&link) {
                channel.links.push(link);
            }
        });
        self.repair_channel(link, index, usize::MAX);
        let stream = self.channels.channel(index).and_then(|channel| channel.stream.as_deref());
        let epoch = kept.and(stream).map(Stream::epoch);
        self.check();
        Ok(epoch)
    }

    /// Queues a whole frame that must arrive.
    pub fn pass(&mut self, link: LinkId, frame: &[u8]) {
        self.queue_answer(link, frame);
        self.check();
    }

    /// Forgets a channel's publications. Its position stays.
    pub fn remove_history(&mut self, channel: &str) -> Result<(), ErrorCode> {
        if Self::kept(self.admit(channel)?).is_none() {
            return Err(code::NOT_AVAILABLE);
        }
        if let Some(index) = self.channels.find(channel) {
            self.channels.change(index, |channel| channel.stream.as_mut().map(|stream| stream.clear()));
        }
        self.check();
        Ok(())
    }

    /// Begins a stream anew, with another epoch and empty, if its epoch is still this one. Whoever wants the channel is told.
    pub fn renew(&mut self, now: Duration, channel: &str, epoch: Epoch) {
        let Some(index) = self.channels.find(channel) else { return };
        let Ok(Some(kept)) = self.admit(channel).map(Self::kept) else { return };
        let stream = self.channels.channel(index).and_then(|channel| channel.stream.as_deref());
        if stream.is_none_or(|stream| stream.epoch() != epoch) {
            return;
        }
        let anew = Stream::new(self.channels.draw_epoch(), now, kept);
        self.replace_stream(index, anew);
        self.check();
    }

    /// The channels that have a stream.
    pub fn streams(&self) -> impl Iterator<Item = &Arc<str>> {
        self.channels.streams()
    }

    /// A stream as it is, for another home. It stays here until [`Broker::forget`].
    pub fn leaving(&self, now: Duration, channel: &str) -> Option<Moved> {
        let channel = self.channels.channel(self.channels.find(channel)?)?;
        let stream = channel.stream.as_deref()?;
        let (ttl, meta_ttl) = stream.left(now);
        // Those over their time are not worth the way.
        let places = if stream.ends(now) { 0..0 } else { 0..stream.len() };
        let bodies = stream.frames(places).filter_map(|(_, frame)| wire::bus::body_of(frame).map(Into::into));
        let keys = self.results.all(now, &channel.name);
        let keys = keys.filter(|(_, (_, epoch), _)| *epoch == Some(stream.epoch()));
        Some(Moved {
            channel: Arc::clone(&channel.name),
            epoch: stream.epoch(),
            top: stream.top(),
            ttl,
            meta_ttl,
            bodies: bodies.collect(),
            keys: keys.map(|(key, (offset, _), left)| (key.into(), offset, left)).collect(),
        })
    }

    /// Takes a stream of another home over, unless the one here has gone on: further in the same incarnation, or anywhere in another.
    pub fn arrive_stream(&mut self, now: Duration, moved: &Moved) {
        let Ok(Some(kept)) = self.admit(&moved.channel).map(Self::kept) else { return };
        let Ok(index) = self.open(&moved.channel) else { return };
        let here = self.channels.channel(index).and_then(|channel| channel.stream.as_deref());
        let stays = here.is_some_and(|here| match here.epoch() == moved.epoch {
            true => here.top() >= moved.top,
            false => here.top() > 0,
        });
        if !stays {
            let times = (moved.ttl.min(kept.ttl), moved.meta_ttl.max(kept.meta_ttl));
            let stream = Stream::restored(moved.epoch, moved.top, now, times, frames(moved, kept.size));
            self.replace_stream(index, stream);
            self.counters.history_evicted += self.channels.bound_history(&self.limits);
            for (key, offset, left) in &moved.keys {
                self.results.restore(now, &moved.channel, key, (*offset, Some(moved.epoch)), *left);
            }
        } else {
            self.channels.change(index, |_| ());
        }
        self.check();
    }

    /// Forgets a stream that has another home.
    pub fn forget(&mut self, channel: &str) {
        if let Some(index) = self.channels.find(channel) {
            self.channels.change(index, |channel| channel.stream = None);
        }
        self.check();
    }

    /// Another stream in the place of the one there. Positions in that are worth nothing any more.
    fn replace_stream(&mut self, index: u32, stream: Stream) {
        let links = self.channels.change(index, |channel| {
            let before = channel.stream.replace(Box::new(stream));
            if before.is_some() { channel.links.clone() } else { Vec::new() }
        });
        let Some(name) = self.channels.channel(index).map(|channel| Arc::clone(&channel.name)) else {
            return;
        };
        let mut frame = Vec::new();
        let encoded = frame::encode(&ToShard::Insufficient { channel: &name }, &mut frame);
        debug_assert!(encoded.is_ok(), "a channel name fits a frame");
        for link in links.unwrap_or_default() {
            if let Some(outbound) = self.links.get_mut(&link) {
                outbound.gaps.close(index);
                self.counters.insufficient += 1;
                self.queue_answer(link, &frame);
            }
        }
    }
}

/// The frames of a moved stream's last publications: all that are to be kept, or none when any is not what it should be.
fn frames(moved: &Moved, most: usize) -> Vec<Box<[u8]>> {
    let bodies = &moved.bodies[moved.bodies.len().saturating_sub(most)..];
    let Some(before) = moved.top.checked_sub(bodies.len() as u64) else { return Vec::new() };
    let frames = bodies.iter().zip(before + 1..).map(|(body, offset)| {
        wire::bus::publication(offset, body).ok()?;
        let mut frame = Vec::new();
        wire::bus::publication_frame(&moved.channel, offset, body, &mut frame).ok()?;
        Some(frame.into_boxed_slice())
    });
    frames.collect::<Option<_>>().unwrap_or_default()
}
