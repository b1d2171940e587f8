//! The table of channels: by name and by index, with their interest, streams and members, and the totals over all.
//!
//! Owns when a channel is kept and which one goes first for want of room. Never sends anything.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::follow::Follow;
use crate::limits::Limits;
use crate::order::Order;
use crate::stream::{Epoch, Epochs, Kept};
use crate::{LinkId, Members, Stream};

/// One channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: Arc<str>,
    /// Links that want it, in the order of asking. May name links that are gone: whoever meets one takes it out.
    pub(crate) links: Vec<LinkId>,
    pub(crate) stream: Option<Box<Stream>>,
    pub(crate) members: Option<Box<Members>>,
    /// Where the stream lives on a bus that others share: then `stream` mirrors it.
    pub(crate) follow: Option<Box<Follow>>,
}

impl Channel {
    /// Whether it has to stay, whatever else is wanted.
    const fn is_wanted(&self) -> bool {
        !self.links.is_empty() || self.members.is_some() || self.follow.is_some()
    }
}

/// All channels.
#[derive(Debug)]
pub(crate) struct Channels {
    slots: Slab<Channel>,
    names: HashMap<Arc<str>, u32>,
    /// Those with publications, by last publication.
    published: Order,
    /// Those that nobody wants and nobody is in, by when that began or they were last used.
    idle: Order,
    epochs: Epochs,
    totals: Totals,
}

/// Sums over all channels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) history_bytes: usize,
    pub(crate) history_publications: usize,
    pub(crate) members: usize,
    pub(crate) presence_bytes: usize,
    /// Channels that some link wants.
    pub(crate) wanted: usize,
}

impl Totals {
    fn of(channel: &Channel) -> Self {
        let (stream, members) = (channel.stream.as_deref(), channel.members.as_deref());
        Self {
            history_bytes: stream.map_or(0, Stream::bytes),
            history_publications: stream.map_or(0, Stream::len),
            members: members.map_or(0, Members::clients),
            presence_bytes: members.map_or(0, Members::bytes),
            wanted: usize::from(!channel.links.is_empty()),
        }
    }

    const fn add(&mut self, other: Self) {
        self.history_bytes += other.history_bytes;
        self.history_publications += other.history_publications;
        self.members += other.members;
        self.presence_bytes += other.presence_bytes;
        self.wanted += other.wanted;
    }

    const fn remove(&mut self, other: Self) {
        self.history_bytes -= other.history_bytes;
        self.history_publications -= other.history_publications;
        self.members -= other.members;
        self.presence_bytes -= other.presence_bytes;
        self.wanted -= other.wanted;
    }
}

impl Channels {
    pub(crate) fn new(epochs: Epochs) -> Self {
        Self {
            slots: Slab::new(),
            names: HashMap::new(),
            published: Order::new(),
            idle: Order::new(),
            epochs,
            totals: Totals::default(),
        }
    }

    /// The channel of this name, made if need be. `None`: no further channel fits. The second value counts the streams that
    /// were forgotten to make room.
    pub(crate) fn open(&mut self, name: &str, limits: &Limits) -> (Option<u32>, u64) {
        if let Some(index) = self.names.get(name) {
            return (Some(*index), 0);
        }
        let mut forgotten = 0;
        while self.slots.len() >= limits.channels.min(u32::MAX as usize - 1) {
            let Some(oldest) = self.idle.oldest() else { return (None, forgotten) };
            self.remove(oldest);
            forgotten += 1;
        }
        let name: Arc<str> = name.into();
        let channel =
            Channel { name: Arc::clone(&name), links: Vec::new(), stream: None, members: None, follow: None };
        // Fits: the table is shorter than u32::MAX, checked above.
        let index = self.slots.insert(channel) as u32;
        self.names.insert(name, index);
        (Some(index), forgotten)
    }

    /// The stream of a channel, begun if need be, its position renewed for another `meta_ttl`.
    pub(crate) fn stream(&mut self, index: u32, now: Duration, kept: Kept) {
        let Self { slots, epochs, .. } = self;
        let Some(channel) = slots.get_mut(index as usize) else { return };
        let stream = channel.stream.get_or_insert_with(|| Box::new(Stream::new(epochs.draw(), now, kept)));
        stream.touch(now, kept);
    }

    /// An epoch that no stream has.
    pub(crate) fn draw_epoch(&mut self) -> Epoch {
        self.epochs.draw()
    }

    /// The names of the channels that have a stream.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &Arc<str>> {
        self.slots.iter().filter(|(_, channel)| channel.stream.is_some()).map(|(_, channel)| &channel.name)
    }

    /// Changes a channel and keeps totals and orders true. A channel that holds nothing any more is removed.
    pub(crate) fn change<R>(&mut self, index: u32, change: impl FnOnce(&mut Channel) -> R) -> Option<R> {
        let channel = self.slots.get_mut(index as usize)?;
        let before = Totals::of(channel);
        let top = channel.stream.as_ref().map(|stream| stream.top());
        let result = change(channel);
        self.totals.add(Totals::of(channel));
        self.totals.remove(before);
        let stream = channel.stream.as_deref();
        if stream.is_none_or(Stream::is_empty) {
            self.published.remove(index);
        } else if stream.map(Stream::top) != top || !self.published.contains(index) {
            self.published.renew(index);
        }
        self.settle(index);
        Some(result)
    }

    fn settle(&mut self, index: u32) {
        let Some(channel) = self.slots.get_mut(index as usize) else { return };
        if channel.members.as_ref().is_some_and(|members| members.is_empty()) {
            channel.members = None;
        }
        match (channel.is_wanted(), channel.stream.is_some()) {
            (true, _) => self.idle.remove(index),
            (false, true) => self.idle.renew(index),
            (false, false) => self.remove(index),
        }
    }

    fn remove(&mut self, index: u32) {
        self.published.remove(index);
        self.idle.remove(index);
        if let Some(channel) = self.slots.try_remove(index as usize) {
            self.totals.remove(Totals::of(&channel));
            self.names.remove(&channel.name);
        }
    }

    /// Makes history fit its bound: publications of the channels that were not published to for longest go first. The
    /// result counts the channels that lost all of theirs.
    pub(crate) fn bound_history(&mut self, limits: &Limits) -> u64 {
        let mut evicted = 0;
        while self.totals.history_bytes > limits.history_bytes
            && let Some(oldest) = self.published.oldest()
        {
            let only = self.published.len() == 1;
            let emptied = self.change(oldest, |channel| match channel.stream.as_deref_mut() {
                Some(stream) if only => {
                    stream.drop_oldest();
                    stream.is_empty()
                }
                Some(stream) => {
                    stream.clear();
                    true
                }
                None => true,
            });
            evicted += u64::from(emptied == Some(true));
        }
        evicted
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    pub(crate) fn channel(&self, index: u32) -> Option<&Channel> {
        self.slots.get(index as usize)
    }

    pub(crate) const fn totals(&self) -> Totals {
        self.totals
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Indices are below this.
    pub(crate) fn slots(&self) -> usize {
        self.slots.capacity()
    }

    /// Every sum, order and name, recomputed. For tests and debug builds.
    pub(crate) fn check(&self) {
        let mut totals = Totals::default();
        let (mut published, mut idle) = (0, 0);
        for (index, channel) in &self.slots {
            let index = index as u32;
            totals.add(Totals::of(channel));
            assert_eq!(self.names.get(&channel.name), Some(&index), "a channel is found by its name");
            let has = channel.stream.as_ref().is_some_and(|stream| !stream.is_empty());
            assert_eq!(
                self.published.contains(index),
                has,
                "exactly those with publications are in order of them"
            );
            let wanted = channel.is_wanted();
            assert_eq!(self.idle.contains(index), !wanted, "exactly the unwanted are idle");
            assert!(wanted || channel.stream.is_some(), "a channel that holds nothing is removed");
            published += usize::from(has);
            idle += usize::from(!wanted);
        }
        assert_eq!(totals, self.totals, "sums are kept");
        assert_eq!((published, idle), (self.published.len(), self.idle.len()), "orders hold no others");
        assert_eq!(self.names.len(), self.slots.len(), "names hold no others");
    }
}
