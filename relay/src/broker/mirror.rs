//! The mirror of a stream that lives on a shared bus: publications as they come, gaps found by their offsets, and what is read to
//! close them. What goes on to links is in order, once, and whole, or they are told that it is not.

use std::time::Duration;

use wire::bus as words;
use wire::frame;
use wire::link::ToShard;

use super::Broker;
use super::follow::reading;
use crate::LinkId;
use crate::bus::{Ask, Ticket};
use crate::follow::Wanted;
use crate::gap::Gap;
use crate::limits::BARREN_READS_MAX;
use crate::remote::Pending;
use crate::store;
use crate::stream::{Epoch, Kept, Stream};

/// What a page of history says about the stream.
#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    pub(super) ticket: Ticket,
    pub(super) top: u64,
    pub(super) epoch: &'a str,
    pub(super) since: Option<u64>,
    pub(super) limit: usize,
    pub(super) reverse: bool,
    /// The mirror's top when it was asked for.
    pub(super) was: Option<u64>,
}

/// What comes next after a page.
enum Follows {
    /// The page fits the mirror.
    On,
    /// The stream is another, or history has gone back.
    Lost,
}

impl Broker {
    /// Everything published from now on will come: what came before is to be read.
    pub(super) fn joined(&mut self, now: Duration, channel: &str) {
        let Some(index) = self.channels.find(channel) else { return };
        let kept = self.is_kept(channel);
        let joined = self.with_follow(index, |follow| {
            (follow.joined, follow.level, follow.checked) = (true, false, now);
        });
        if joined.is_none() {
            return;
        }
        if kept {
            let urgent = self.is_awaited(index);
            self.read_soon(index, urgent);
        } else {
            self.serve(index);
        }
    }

    pub(super) fn parted(&mut self, channel: &str) {
        if let Some(index) = self.channels.find(channel) {
            self.with_follow(index, |follow| (follow.joined, follow.level) = (false, false));
        }
    }

    pub(super) fn parted_all(&mut self) {
        for index in 0..self.channels.slots() as u32 {
            let followed = self.channels.channel(index).is_some_and(|channel| channel.follow.is_some());
            if followed {
                self.with_follow(index, |follow| (follow.joined, follow.level) = (false, false));
            }
        }
    }

    fn is_awaited(&self, index: u32) -> bool {
        let follow = self.channels.channel(index).and_then(|channel| channel.follow.as_deref());
        follow.is_some_and(|follow| !follow.waiters.is_empty())
    }

    /// A publication came.
    pub(super) fn heard(&mut self, now: Duration, channel: &str, (offset, epoch): (u64, &str), body: &[u8]) {
        let Some(index) = self.channels.find(channel) else { return };
        let Some(channel) = self.channels.channel(index) else { return };
        let Some(follow) = channel.follow.as_deref() else { return };
        self.counters.bus_publications += 1;
        if offset == 0 {
            return self.deliver_loose(index, body);
        }
        let Some(epoch) = Epoch::parse(epoch) else { return };
        let top = match channel.stream.as_deref() {
            Some(stream) if follow.level && stream.epoch() == epoch => stream.top(),
            _ => return self.hold(index, epoch, offset, body),
        };
        if offset == top + 1 {
            self.advance(now, index, offset, body);
        } else if offset > top {
            self.counters.bus_gaps += 1;
            self.hold(index, epoch, offset, body);
        } else if self.differs(index, offset, body) {
            self.fork(index);
        }
    }

    /// Keeps a publication until what is before it is there.
    fn hold(&mut self, index: u32, epoch: Epoch, offset: u64, body: &[u8]) {
        self.with_follow(index, |follow| {
            follow.level = false;
            follow.held.put(epoch, offset, body);
        });
        self.read_soon(index, true);
    }

    /// The next publication: into the mirror, and on to the links.
    fn advance(&mut self, now: Duration, index: u32, offset: u64, body: &[u8]) -> bool {
        let Some(kept) = self.kept_of(index) else { return false };
        let Some(channel) = self.channels.channel(index) else { return false };
        let Some(before) =
            channel.stream.as_deref().map(|stream| Gap { epoch: stream.epoch(), offset: stream.top() })
        else {
            return false;
        };
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        if words::publication_frame(&channel.name, offset, body, &mut frame).is_err() {
            self.scratch = frame;
            return false;
        }
        self.channels.change(index, |channel| {
            if let Some(stream) = &mut channel.stream {
                stream.append(now, &frame, kept);
            }
            if let Some(follow) = &mut channel.follow {
                follow.checked = now;
            }
        });
        self.deliver(index, Some(before), &frame);
        self.scratch = frame;
        self.counters.history_evicted += self.channels.bound_history(&self.limits);
        true
    }

    fn deliver_loose(&mut self, index: u32, body: &[u8]) {
        let Some(channel) = self.channels.channel(index) else { return };
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        if words::publication_frame(&channel.name, 0, body, &mut frame).is_ok() {
            self.deliver(index, None, &frame);
        }
        self.scratch = frame;
    }

    /// Whether the mirror has another publication in this place.
    fn differs(&self, index: u32, offset: u64, body: &[u8]) -> bool {
        let channel = self.channels.channel(index);
        let stream = channel.and_then(|channel| channel.stream.as_deref());
        let frame = stream.and_then(|stream| stream.frame(offset));
        let stored = channel.is_some_and(|channel| self.is_stored(&channel.name));
        frame.is_some_and(|frame| match words::body_of(frame) {
            // A message may have been edited since: it is still that message.
            Some(mine) if stored => !words::same_entry(mine, body),
            mine => mine != Some(body),
        })
    }

    fn kept_of(&self, index: u32) -> Option<Kept> {
        let channel = self.channels.channel(index)?;
        Self::kept(self.settings.namespace(&channel.name)?)
    }

    /// A read of the channel is due, unless one is in flight.
    pub(super) fn read_soon(&mut self, index: u32, urgent: bool) {
        let due = self.with_follow(index, |follow| {
            let due = follow.joined && follow.reading.is_none() && !follow.queued;
            follow.queued |= due;
            due
        });
        if due == Some(true)
            && let Some(remote) = &mut self.remote
        {
            remote.queue(index, urgent);
        }
    }

    /// Begins the reads that are due, as many as may be in flight.
    pub(super) fn pump(&mut self, now: Duration) {
        while let Some(index) = self.remote.as_mut().and_then(|remote| remote.due()) {
            self.begin_read(now, index);
        }
    }

    fn begin_read(&mut self, now: Duration, index: u32) {
        let queued = self.with_follow(index, |follow| std::mem::take(&mut follow.queued));
        let (Some(true), Some(kept)) = (queued, self.kept_of(index)) else { return };
        let stored = self.channels.channel(index).is_some_and(|channel| self.is_stored(&channel.name));
        let Self { channels, remote, settings, counters, .. } = self;
        let (Some(remote), Some(channel)) = (remote.as_mut(), channels.channel(index)) else { return };
        let Some(follow) = channel.follow.as_deref().filter(|follow| follow.joined) else { return };
        let most = settings.client.recovery_max_publication_limit as usize;
        let Wanted { since, limit, reverse } = follow.wanted(channel.stream.as_deref(), most);
        let was = channel.stream.as_deref().map(Stream::top);
        let channel = channel.name.clone();
        let pending = Pending::Read { index, since, limit, reverse, was };
        let ask = |ticket| reading(stored, (ticket, channel), Wanted { since, limit, reverse }, kept);
        let ticket = remote.question(now, pending, ask);
        counters.bus_reads += 1;
        if ticket.is_none() {
            remote.retry(now, index);
        }
        self.with_follow(index, |follow| follow.reading = ticket);
    }

    pub(super) fn read_failed(&mut self, now: Duration, index: u32, ticket: Ticket) {
        let ours = self.with_follow(index, |follow| {
            let ours = follow.reading == Some(ticket);
            if ours {
                follow.reading = None;
            }
            ours
        });
        if ours == Some(true)
            && let Some(remote) = &mut self.remote
        {
            remote.retry(now, index);
        }
    }

    /// A page came: the mirror gets what it lacks, then whoever waited is answered.
    pub(super) fn read(&mut self, now: Duration, index: u32, page: Page<'_>, publications: &[(u64, &[u8])]) {
        let ours = self.with_follow(index, |follow| {
            let ours = follow.reading == Some(page.ticket);
            if ours {
                (follow.reading, follow.read) = (None, Some(page.ticket));
            }
            ours
        });
        let (Some(true), Some(kept)) = (ours, self.kept_of(index)) else { return };
        let Some(epoch) = Epoch::parse(page.epoch) else {
            if let Some(remote) = &mut self.remote {
                remote.retry(now, index);
            }
            return;
        };
        let mut ascending = publications.to_vec();
        if page.reverse {
            ascending.reverse();
        }
        let before = self.top_of(index);
        if let Follows::Lost = self.take_page(now, index, (epoch, page, kept), &ascending) {
            return self.fork(index);
        }
        self.settle_mirror(now, index, (epoch, page.top, kept), before);
        self.serve(index);
        let level = self.channels.channel(index).and_then(|channel| channel.follow.as_deref());
        if level.is_some_and(|follow| !follow.level) {
            self.read_soon(index, true);
        }
    }

    fn top_of(&self, index: u32) -> Option<u64> {
        self.channels.channel(index)?.stream.as_deref().map(Stream::top)
    }

    fn take_page(
        &mut self,
        now: Duration,
        index: u32,
        (epoch, page, kept): (Epoch, Page<'_>, Kept),
        ascending: &[(u64, &[u8])],
    ) -> Follows {
        let mirrored = self.channels.channel(index).and_then(|channel| channel.stream.as_deref());
        match mirrored.map(|stream| stream.epoch() == epoch) {
            Some(true) if page.was.is_some_and(|was| page.top < was) => return Follows::Lost,
            Some(true) => {
                self.extend_back(now, index, page, kept, ascending);
                for (offset, body) in ascending {
                    self.catch_up(now, index, (*offset, epoch, kept), body, page.reverse);
                    if self.differs(index, *offset, body) {
                        return Follows::Lost;
                    }
                }
            }
            other => {
                if other == Some(false) {
                    self.insufficient(index);
                }
                self.begin_mirror(now, index, (epoch, page, kept), ascending);
            }
        }
        Follows::On
    }

    /// One of a page. Where something before it is gone, links are told, and the mirror goes on behind the gap.
    fn catch_up(
        &mut self,
        now: Duration,
        index: u32,
        (offset, epoch, kept): (u64, Epoch, Kept),
        body: &[u8],
        reverse: bool,
    ) {
        let Some(top) = self.top_of(index) else { return };
        // A page from the end says nothing of what is before it.
        if offset <= top || (reverse && offset > top + 1) {
            return;
        }
        if offset > top + 1 {
            self.insufficient(index);
            self.restart_mirror(now, index, (epoch, offset - 1, kept));
        } else {
            let links = self.channels.channel(index).map_or(0, |channel| channel.links.len());
            self.counters.bus_repaired += u64::from(links > 0);
        }
        self.advance(now, index, offset, body);
    }

    /// The first page of a stream.
    fn begin_mirror(
        &mut self,
        now: Duration,
        index: u32,
        (epoch, page, kept): (Epoch, Page<'_>, Kept),
        ascending: &[(u64, &[u8])],
    ) {
        let whole = ascending.last().is_some_and(|(offset, _)| *offset == page.top);
        let base = match ascending.first() {
            Some((first, _)) if whole => first.saturating_sub(1),
            _ => page.top,
        };
        self.restart_mirror(now, index, (epoch, base, kept));
        // Links have been told that they are to begin anew, or there are none: this is for those who ask from now on.
        let links = self.channels.change(index, |channel| std::mem::take(&mut channel.links));
        if whole {
            ascending.iter().for_each(|(offset, body)| {
                self.advance(now, index, *offset, body);
            });
        }
        self.channels.change(index, |channel| channel.links = links.unwrap_or_default());
        // What was asked for and did not come is gone.
        let gone = match page.since {
            Some(since) => (whole || ascending.is_empty()) && since < base,
            None => ascending.len() < page.limit,
        };
        if gone {
            self.with_follow(index, |follow| follow.floor = base);
        }
    }

    fn restart_mirror(&mut self, now: Duration, index: u32, (epoch, top, kept): (Epoch, u64, Kept)) {
        self.channels.change(index, |channel| {
            channel.stream = Some(Box::new(Stream::at(epoch, top, now, kept)));
            if let Some(follow) = &mut channel.follow {
                follow.floor = 0;
            }
        });
    }

    /// Publications before those that the mirror has.
    fn extend_back(
        &mut self,
        now: Duration,
        index: u32,
        page: Page<'_>,
        kept: Kept,
        ascending: &[(u64, &[u8])],
    ) {
        let Some(channel) = self.channels.channel(index) else { return };
        let Some(first) = channel.stream.as_deref().map(Stream::first) else { return };
        let asked_back = page.since.is_some_and(|since| since + 1 < first);
        let all = page.reverse && ascending.len() < page.limit;
        if !asked_back && !page.reverse {
            return;
        }
        let name = channel.name.clone();
        self.channels.change(index, |channel| {
            let Some(stream) = &mut channel.stream else { return };
            let mut frame = Vec::new();
            for (offset, body) in ascending.iter().rev().filter(|(offset, _)| *offset < first) {
                frame.clear();
                let composed = words::publication_frame(&name, *offset, body, &mut frame);
                if composed.is_err() || !stream.prepend(now, *offset, &frame, kept) {
                    break;
                }
            }
            // Whoever asked for more than came would ask in vain again.
            let short = page.since.is_some_and(|since| since + 1 < stream.first());
            if let Some(follow) = channel.follow.as_mut().filter(|_| all || short) {
                follow.floor = follow.floor.max(stream.first() - 1);
            }
        });
        self.counters.history_evicted += self.channels.bound_history(&self.limits);
    }

    /// What was held follows, as far as it fits; then the mirror is level, or it is known what it lacks.
    fn settle_mirror(
        &mut self,
        now: Duration,
        index: u32,
        (epoch, top, kept): (Epoch, u64, Kept),
        before: Option<u64>,
    ) {
        self.release(now, index, epoch);
        let behind = |broker: &Self| {
            let follow = broker.channels.channel(index)?.follow.as_deref()?;
            Some(broker.top_of(index)? < top.max(follow.held.highest(epoch)))
        };
        let mut lacks = behind(self) == Some(true);
        let progress = self.top_of(index) != before;
        let barren = self.with_follow(index, |follow| {
            follow.barren = if lacks && !progress { follow.barren + 1 } else { 0 };
            follow.barren
        });
        if lacks && barren > Some(BARREN_READS_MAX) {
            // History does not have what the bus has sent.
            let held = self.channels.channel(index).and_then(|channel| channel.follow.as_deref());
            let next = held.and_then(|follow| follow.held.first(epoch));
            let highest = held.map_or(top, |follow| follow.held.highest(epoch).max(top));
            self.insufficient(index);
            self.restart_mirror(now, index, (epoch, next.map_or(highest, |next| next - 1), kept));
            self.release(now, index, epoch);
            lacks = behind(self) == Some(true);
        }
        let mirrored = self.top_of(index).is_some();
        self.with_follow(index, |follow| {
            follow.level = follow.joined && mirrored && !lacks;
            if follow.level {
                follow.held.clear();
                (follow.barren, follow.checked) = (0, now);
            }
        });
    }

    fn release(&mut self, now: Duration, index: u32, epoch: Epoch) {
        while let Some(top) = self.top_of(index) {
            let next = self.with_follow(index, |follow| match follow.held.first(epoch) {
                Some(offset) if offset <= top + 1 => follow.held.take(epoch),
                _ => None,
            });
            let Some((offset, body)) = next.flatten() else { return };
            if offset == top + 1 {
                self.advance(now, index, offset, &body);
            } else if self.differs(index, offset, &body) {
                return self.fork(index);
            }
        }
    }

    /// One place has had two publications: whoever follows the stream has to begin anew, here and elsewhere.
    fn fork(&mut self, index: u32) {
        self.counters.forks += 1;
        self.insufficient(index);
        let stored = self.channels.channel(index).is_some_and(|channel| self.is_stored(&channel.name));
        let Self { channels, remote, .. } = self;
        channels.change(index, |channel| {
            let stream = channel.stream.take();
            if let (Some(remote), Some(stream)) = (remote, stream) {
                let (channel, epoch) = (channel.name.clone(), stream.epoch());
                match stored {
                    true => remote.put_store(store::Ask::Renew { channel, epoch }),
                    false => remote.put(Ask::Renew { channel, epoch }),
                }
            }
            if let Some(follow) = &mut channel.follow {
                follow.level = false;
                follow.floor = 0;
                follow.held.clear();
            }
        });
        self.read_soon(index, true);
    }

    /// Tells every link of the channel that publications are gone.
    pub(super) fn insufficient(&mut self, index: u32) {
        let Some(channel) = self.channels.channel(index) else { return };
        let mut frame = Vec::new();
        let encoded = frame::encode(&ToShard::Insufficient { channel: &channel.name }, &mut frame);
        debug_assert!(encoded.is_ok(), "a channel name fits a frame");
        let links: Vec<LinkId> = channel.links.clone();
        for link in links {
            if let Some(outbound) = self.links.get_mut(&link) {
                outbound.gaps.close(index);
                self.counters.insufficient += 1;
                self.queue_answer(link, &frame);
            }
        }
    }
}
