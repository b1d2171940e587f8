//! Who is subscribed to what, and the fan-out of events to them, as resumable jobs.
//!
//! Owns channels, their dense lists of subscribers and the events not yet handed to all of them. Never touches a connection:
//! a visit calls back with a connection's index. A subscription costs eight bytes here and eight in its connection.
//!
//! A job walks its channel's list in a circle. Each subscriber knows the last event it was handed, so events that arrive while
//! the walk is under way join it where it is: one visit hands over all that the subscriber has not had, in order.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use slab::Slab;

use crate::client::encoding::Encoding;

mod frames;
mod special;
#[cfg(test)]
mod tests;

pub use frames::Frames;
pub use special::{Form, Manner, Needs, Special, Variants};

/// A subscription as its connection keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The channel's id in this hub.
    pub channel: u32,
    /// Index in the channel's list, or [`Place::WAITING`] with the low bits of the request that will decide.
    position: u32,
}

/// A channel with at least one subscriber or one request under way.
#[derive(Debug)]
pub struct Channel {
    /// Its name.
    pub name: Rc<str>,
    /// The stream's incarnation, as the relay last told; empty without history.
    pub epoch: Box<str>,
    /// Offset of the last publication that came over the link.
    pub offset: u64,
    /// The relay sends this channel's publications.
    pub live: bool,
    /// The relay has been told of somebody who is here.
    pub entered: bool,
    /// Some subscribers are special: what happens is written in several forms.
    special: bool,
    subscribers: Vec<Subscriber>,
    /// Subscriptions that wait for the relay.
    waiting: u32,
    /// Number of the last event; wraps.
    newest: u32,
    /// Subscribers of each encoding.
    readers: [u32; Encoding::ALL.len()],
    job: Option<Box<Job>>,
}

/// What subscribers are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// For everybody.
    Publication(Frames),
    /// For those who asked for join and leave.
    Presence(Frames),
    /// Either, in several forms.
    Variants(Box<Variants>),
    /// Publications were lost: the subscription must end.
    Insufficient,
}

/// A subscriber whose index in a channel's list has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Index of its connection.
    pub connection: u32,
    /// Its place now.
    pub place: Place,
}

/// The table of channels of one shard.
#[derive(Debug, Default)]
pub struct Hub {
    channels: Slab<Channel>,
    names: HashMap<Rc<str>, u32>,
    jobs: VecDeque<u32>,
    /// By channel.
    special: HashMap<u32, Box<Special>>,
    /// The last number given to a channel.
    numbered: u32,
    subscriptions: usize,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Subscriber {
    /// Connection index below the bits of [`WANTS_PRESENCE`], [`ENCODING`] and [`SPECIAL`].
    connection: u32,
    /// Number of the last event handed over.
    seen: u32,
}

#[derive(Debug)]
struct Job {
    events: VecDeque<Event>,
    /// Number of the first event kept.
    first: u32,
    /// The next visit.
    cursor: u32,
    /// Visits until everybody has the newest event.
    left: u32,
    /// The newest event when the cursor last stood at the start: everybody has it when the cursor gets there again.
    lap: u32,
}

/// Join and leave are wanted.
const WANTS_PRESENCE: u32 = 1 << 31;
/// What the subscriber reads.
const ENCODING: u32 = 0b111 << ENCODING_SHIFT;
const ENCODING_SHIFT: u32 = 28;
/// The subscriber is among the channel's special ones.
const SPECIAL: u32 = 1 << 27;
const INDEX: u32 = SPECIAL - 1;

const _: () = assert!((INDEX | SPECIAL) & (ENCODING | WANTS_PRESENCE) == 0);
const _: () = assert!(Encoding::ALL.len() <= (ENCODING >> ENCODING_SHIFT) as usize + 1);

impl Place {
    const WAITING: u32 = 1 << 31;

    /// A subscription that waits for the answer to `request`.
    pub const fn waiting(channel: u32, request: u32) -> Self {
        Self { channel, position: Self::WAITING | request }
    }

    /// Waits for the answer to `request` (or to one 2³¹ earlier; pending requests are far fewer).
    pub const fn waits_for(self, request: u32) -> bool {
        self.position == Self::WAITING | request
    }

    /// Is subscribed, not only asking.
    pub const fn is_active(self) -> bool {
        self.position & Self::WAITING == 0
    }
}

impl Event {
    fn bytes(&self) -> usize {
        match self {
            Self::Publication(frames) | Self::Presence(frames) => frames.bytes(),
            Self::Variants(variants) => variants.bytes(),
            Self::Insufficient => 0,
        }
    }
}

impl Hub {
    /// The channel of that name, made if need be, with one more waiting subscription.
    pub fn reserve(&mut self, name: &str) -> u32 {
        let id = self.find(name).unwrap_or_else(|| {
            let name: Rc<str> = Rc::from(name);
            let id = self.channels.insert(Channel {
                name: Rc::clone(&name),
                epoch: Box::default(),
                offset: 0,
                live: false,
                entered: false,
                special: false,
                subscribers: Vec::new(),
                waiting: 0,
                newest: 0,
                readers: <_>::default(),
                job: None,
            }) as u32;
            self.names.insert(name, id);
            id
        });
        self.channels[id as usize].waiting += 1;
        id
    }

    /// A reservation ends without a subscription. True when the channel is gone with it.
    pub fn release(&mut self, channel: u32) -> bool {
        self.channels[channel as usize].waiting -= 1;
        self.remove_if_empty(channel)
    }

    /// A reservation becomes a subscription: the subscriber gets every event after the last one published so far.
    pub fn subscribe(
        &mut self,
        channel: u32,
        connection: u32,
        encoding: Encoding,
        wants_presence: bool,
    ) -> Place {
        debug_assert!(connection & !INDEX == 0, "connection indices have 27 bits");
        let entry = &mut self.channels[channel as usize];
        debug_assert!(entry.waiting > 0, "a subscription begins as a reservation");
        entry.waiting -= 1;
        let position = entry.subscribers.len() as u32;
        let presence = if wants_presence { WANTS_PRESENCE } else { 0 };
        let flags = presence | (encoding.index() as u32) << ENCODING_SHIFT;
        entry.readers[encoding.index()] += 1;
        if entry.subscribers.capacity() == 0 {
            entry.subscribers.reserve_exact(1);
        }
        entry.subscribers.push(Subscriber { connection: connection | flags, seen: entry.newest });
        entry.widen();
        entry.check();
        self.subscriptions += 1;
        Place { channel, position }
    }

    /// Ends a subscription. Calls `moved` for subscribers that took another place. True when the channel is gone with it.
    pub fn unsubscribe(&mut self, place: Place, mut moved: impl FnMut(Moved)) -> bool {
        debug_assert!(place.is_active());
        let Place { channel, position } = place;
        let entry = &mut self.channels[channel as usize];
        let leaving = entry.subscribers[position as usize].connection;
        entry.readers[((leaving & ENCODING) >> ENCODING_SHIFT) as usize] -= 1;
        if leaving & SPECIAL != 0
            && let Some(special) = self.special.get_mut(&channel)
        {
            special.leave(leaving & INDEX);
            if special.is_empty() && special.number() == 0 {
                entry.special = false;
                self.special.remove(&channel);
            }
        }
        let mut hole = position;
        let mut tell = |entry: &Channel, position: u32| {
            let connection = entry.subscribers[position as usize].connection & INDEX;
            moved(Moved { connection, place: Place { channel, position } });
        };
        let walked = entry.job.as_ref().map_or(0, |job| job.cursor);
        if hole < walked {
            // The last subscriber has perhaps not been visited in this lap: it may not land behind the cursor.
            let before = walked - 1;
            if hole != before {
                entry.subscribers[hole as usize] = entry.subscribers[before as usize];
                tell(entry, hole);
            }
            hole = before;
            if let Some(job) = &mut entry.job {
                job.cursor = before;
            }
        }
        entry.subscribers.swap_remove(hole as usize);
        if (hole as usize) < entry.subscribers.len() {
            tell(entry, hole);
        }
        self.bytes -= entry.narrow();
        entry.check();
        self.subscriptions -= 1;
        self.remove_if_empty(channel)
    }

    /// Hands an event to everybody who is subscribed now; [`Hub::run`] does the work.
    pub fn publish(&mut self, channel: u32, event: Event) {
        let entry = &mut self.channels[channel as usize];
        if entry.subscribers.is_empty() {
            return;
        }
        self.bytes += event.bytes();
        let everybody = entry.subscribers.len() as u32;
        let before = entry.newest;
        entry.newest = before.wrapping_add(1);
        if let Some(job) = &mut entry.job {
            job.events.push_back(event);
            job.left = everybody;
        } else {
            entry.job = Some(Box::new(Job {
                events: VecDeque::from([event]),
                first: entry.newest,
                cursor: 0,
                left: everybody,
                lap: before,
            }));
            self.jobs.push_back(channel);
        }
        entry.check();
    }

    /// Works on the jobs, each in its turn, for at most `visits` visits of at most `per_job` each. Calls `deliver` for every event
    /// handed to a connection, without frames where its position is lost. True when work is left.
    pub fn run(
        &mut self,
        visits: usize,
        per_job: usize,
        mut deliver: impl FnMut(u32, u32, Option<&Frames>),
    ) -> bool {
        let mut budget = visits;
        while budget > 0 {
            let Some(channel) = self.jobs.pop_front() else { break };
            // A channel that was emptied has left its number behind; the number may be another channel's by now.
            let Some(entry) = self.channels.get_mut(channel as usize) else { continue };
            if entry.job.is_none() {
                continue;
            }
            let special = if entry.special { self.special.get_mut(&channel) } else { None };
            let (visited, freed) =
                entry.walk(budget.min(per_job), special.map(Box::as_mut), |connection, frames| {
                    deliver(connection, channel, frames);
                });
            budget -= visited;
            self.bytes -= freed;
            if entry.job.is_some() {
                self.jobs.push_back(channel);
            }
        }
        !self.jobs.is_empty()
    }

    /// The channel of that name.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// A channel by its id, which must be of a present place, reservation or answer of [`Hub::find`].
    pub fn channel(&self, channel: u32) -> &Channel {
        &self.channels[channel as usize]
    }

    /// The same, to change what the relay told.
    pub fn channel_mut(&mut self, channel: u32) -> &mut Channel {
        &mut self.channels[channel as usize]
    }

    /// The first channel with an id of at least `from`, to walk all of them a few at a time.
    pub fn channel_from(&self, from: u32) -> Option<(u32, &Channel)> {
        (from as usize..self.channels.capacity())
            .find_map(|id| self.channels.get(id).map(|channel| (id as u32, channel)))
    }

    /// Connection index of the subscriber at a position of a channel's list.
    pub fn subscriber(&self, channel: u32, position: u32) -> Option<u32> {
        let entry = self.channels.get(channel as usize)?;
        entry.subscribers.get(position as usize).map(|s| s.connection & INDEX)
    }

    /// Subscriptions held.
    pub const fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// Channels known.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Bytes of events that some subscriber has not been handed.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove_if_empty(&mut self, channel: u32) -> bool {
        let entry = &self.channels[channel as usize];
        if !entry.subscribers.is_empty() || entry.waiting > 0 {
            return false;
        }
        debug_assert!(entry.job.is_none(), "a job without subscribers has ended");
        let entry = self.channels.remove(channel as usize);
        if entry.special {
            self.special.remove(&channel);
        }
        self.names.remove(&entry.name);
        true
    }
}

impl Channel {
    /// Subscribers now.
    pub fn subscribers(&self) -> usize {
        self.subscribers.len()
    }

    /// Encodings that some subscriber reads: what an event is encoded in.
    pub fn encodings(&self) -> impl Iterator<Item = Encoding> + use<> {
        let readers = self.readers;
        Encoding::ALL.into_iter().filter(move |encoding| readers[encoding.index()] > 0)
    }

    /// The relay sends the channel's publications from this position on.
    pub fn stands_at(&mut self, offset: u64, epoch: &str) {
        self.live = true;
        self.offset = offset;
        if *self.epoch != *epoch {
            self.epoch = Box::from(epoch);
        }
    }

    /// After an insertion the walk may have one more to visit: a visit too many hands over nothing.
    fn widen(&mut self) {
        let everybody = self.subscribers.len() as u32;
        if let Some(job) = &mut self.job {
            job.left = (job.left + 1).min(everybody);
        }
    }

    /// The same after a removal, which may also end the lap or the job. Returns the bytes of events that this let go.
    fn narrow(&mut self) -> usize {
        self.widen();
        let everybody = self.subscribers.len() as u32;
        let mut freed = 0;
        if let Some(job) = &mut self.job {
            if job.cursor >= everybody {
                freed += job.lap_ends(self.newest);
            }
            if job.left == 0 {
                freed += job.events.iter().map(Event::bytes).sum::<usize>();
                self.job = None;
            }
        }
        freed
    }

    /// Visits up to `visits` subscribers. Returns how many, and the bytes of events let go.
    fn walk(
        &mut self,
        visits: usize,
        mut special: Option<&mut Special>,
        mut deliver: impl FnMut(u32, Option<&Frames>),
    ) -> (usize, usize) {
        let Some(job) = &mut self.job else { return (0, 0) };
        let (mut visited, mut freed) = (0, 0);
        while visited < visits && job.left > 0 {
            let subscriber = &mut self.subscribers[job.cursor as usize];
            let connection = subscriber.connection & INDEX;
            while subscriber.seen != self.newest {
                subscriber.seen = subscriber.seen.wrapping_add(1);
                let index = subscriber.seen.wrapping_sub(job.first) as usize;
                debug_assert!(index < job.events.len(), "an event somebody still needs was let go");
                let wants_presence = subscriber.connection & WANTS_PRESENCE != 0;
                match &job.events[index] {
                    Event::Publication(frames) => deliver(connection, Some(frames)),
                    Event::Presence(frames) if wants_presence => deliver(connection, Some(frames)),
                    Event::Variants(variants) if wants_presence || !variants.presence => {
                        let known = (subscriber.connection & SPECIAL != 0).then_some(connection);
                        if let Some(frames) = variants.pick(special.as_deref_mut(), known) {
                            deliver(connection, Some(frames));
                        }
                    }
                    Event::Presence(_) | Event::Variants(_) => {}
                    Event::Insufficient => deliver(connection, None),
                }
            }
            visited += 1;
            job.left -= 1;
            job.cursor += 1;
            if job.cursor as usize >= self.subscribers.len() {
                freed += job.lap_ends(self.newest);
            }
        }
        if job.left == 0 {
            freed += job.events.iter().map(Event::bytes).sum::<usize>();
            self.job = None;
        }
        self.check();
        (visited, freed)
    }

    fn check(&self) {
        debug_assert_eq!(self.readers.iter().sum::<u32>() as usize, self.subscribers.len());
        let Some(job) = &self.job else { return };
        debug_assert!(job.left as usize <= self.subscribers.len());
        debug_assert!((job.cursor as usize) < self.subscribers.len());
        debug_assert_eq!(job.first.wrapping_add(job.events.len() as u32), self.newest.wrapping_add(1));
    }
}

impl Job {
    /// The cursor starts again: everybody has what was newest when it last did. Returns the bytes let go.
    fn lap_ends(&mut self, newest: u32) -> usize {
        let mut freed = 0;
        while self.lap.wrapping_sub(self.first).wrapping_add(1) as i32 > 0 {
            let Some(event) = self.events.pop_front() else { break };
            freed += event.bytes();
            self.first = self.first.wrapping_add(1);
        }
        self.cursor = 0;
        self.lap = newest;
        freed
    }
}
