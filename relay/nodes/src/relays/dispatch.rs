//! What a commit leaves to be done, on its way: announcements, changes of membership, events.
//!
//! Owns the bounded queues between whoever commits and the tasks that tell relays. What finds no room is no loss: the store knows
//! what it has not told yet, and the sweep finds it. Only events are lost then, as they may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc};

use super::limits::{DISPATCH_BYTES_MAX, DISPATCH_LANES, DISPATCH_QUEUE_MAX};
use super::names::Name;
use crate::model::{Channel, Entry, Id};

/// What one lane does, in order.
#[derive(Debug)]
pub enum Job {
    /// Tell the bus of an entry that has been stored.
    Announce(Box<Announcement>),
    /// Publish something that is stored nowhere.
    Event {
        /// Where.
        channel: String,
        /// What.
        data: Box<RawValue>,
        /// Idempotency key; empty when none.
        key: String,
    },
}

/// An entry with what is to be known to tell it.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// Where on the bus.
    pub name: Name,
    /// The stream's incarnation.
    pub epoch: String,
    /// What.
    pub entry: Entry,
}

/// Takes what is to be done. Cheap to clone; never waits.
#[derive(Clone, Debug)]
pub struct Dispatch {
    shared: Arc<Shared>,
    lanes: [mpsc::Sender<Job>; DISPATCH_LANES],
}

/// The other end: the jobs of each lane.
#[derive(Debug)]
pub struct Work {
    /// In the order of [`Dispatch`]'s lanes. A channel's jobs are all in one.
    pub lanes: [mpsc::Receiver<Job>; DISPATCH_LANES],
    /// What the lanes share.
    pub shared: Arc<Shared>,
}

/// What both ends know.
#[derive(Debug, Default)]
pub struct Shared {
    bytes: AtomicUsize,
    left: AtomicU64,
    lost: AtomicU64,
    notices: Notify,
}

impl Dispatch {
    /// The two ends of empty queues.
    pub fn new() -> (Self, Work) {
        let shared = Arc::new(Shared::default());
        let ends: [_; DISPATCH_LANES] = std::array::from_fn(|_| mpsc::channel(DISPATCH_QUEUE_MAX));
        let mut receivers = Vec::with_capacity(DISPATCH_LANES);
        let lanes = ends.map(|(sender, receiver)| {
            receivers.push(receiver);
            sender
        });
        let mut receivers = receivers.into_iter();
        let lanes_in =
            std::array::from_fn(|_| receivers.next().expect("invariant: one was pushed for each lane"));
        (Self { shared: Arc::clone(&shared), lanes }, Work { lanes: lanes_in, shared })
    }

    /// An entry was stored: the bus is to have it, and the list of conversations and the search are.
    pub fn committed(&self, workspace: Id, channel: &Channel, epoch: &str, entry: Entry) {
        debug_assert_eq!(workspace, channel.workspace);
        self.stored(Name::stream(channel), epoch, entry);
    }

    /// The same for a channel that is known by its name.
    pub fn stored(&self, name: Name, epoch: &str, entry: Entry) {
        let announcement = Announcement { name, epoch: epoch.to_owned(), entry };
        if !self.put(name.channel.0.unsigned_abs(), Job::Announce(Box::new(announcement))) {
            self.shared.left.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A notice was written: whoever is at the user's sessions is to hear of it, soon.
    pub fn membership(&self) {
        self.shared.notices.notify_one();
    }

    /// Something that clients may hear of, at most once.
    pub fn event(&self, bus_channel: String, data: Box<RawValue>) {
        self.publish(bus_channel, data, String::new());
    }

    /// The same, which the bus takes once for each key.
    pub fn publish(&self, bus_channel: String, data: Box<RawValue>, key: String) {
        let lane =
            bus_channel.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        if !self.put(lane, Job::Event { channel: bus_channel, data, key }) {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What the two ends share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// `key` says which lane.
    fn put(&self, key: u64, job: Job) -> bool {
        let bytes = job.bytes();
        if self.shared.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > DISPATCH_BYTES_MAX {
            self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        // The low bits of an id are mostly zero; the high bits of this product depend on all.
        let lane = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % DISPATCH_LANES;
        let put = self.lanes[lane].try_send(job).is_ok();
        if !put {
            self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        put
    }
}

impl Work {
    /// A job was taken out of its lane: its room is free.
    pub fn taken(shared: &Shared, job: &Job) {
        shared.bytes.fetch_sub(job.bytes(), Ordering::Relaxed);
    }
}

impl Shared {
    /// Bytes of what waits.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Announcements that found no room so far, and were left to the sweep.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Events that found no room so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits for notices.
    pub async fn noticed(&self) {
        self.notices.notified().await;
    }
}

impl Job {
    pub(super) fn bytes(&self) -> usize {
        const OVERHEAD_BYTES: usize = 512;
        OVERHEAD_BYTES
            + match self {
                Self::Announce(announcement) => announcement.entry.message.body.get().len(),
                Self::Event { channel, data, key } => channel.len() + data.get().len() + key.len(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelKind, Delivery, EntryKind, Message};

    fn channel(id: i64) -> Channel {
        Channel {
            id: Id(id),
            workspace: Id(1),
            kind: ChannelKind::Group,
            name: String::new(),
            delivery: Delivery::Persist,
            created_by: Id(2),
            created_at: 0,
        }
    }

    fn entry(channel: &Channel, offset: u64, body: usize) -> Entry {
        let body = RawValue::from_string(format!("\"{}\"", "x".repeat(body))).unwrap();
        let message = Message {
            id: Id(offset as i64),
            channel: channel.id,
            offset,
            sender: Id(2),
            key: "k".to_owned(),
            body,
            media: String::new(),
            created_at: 0,
            edited_at: 0,
            deleted_at: 0,
        };
        Entry { offset, kind: EntryKind::Posted, message }
    }

    #[test]
    fn a_channels_entries_are_in_one_lane_in_order() {
        let (dispatch, mut work) = Dispatch::new();
        for offset in 1..=10 {
            for id in 1..=5 {
                dispatch.committed(Id(1), &channel(id), "abcdefgh", entry(&channel(id), offset, 1));
            }
        }
        let mut seen = std::collections::BTreeMap::<Id, Vec<u64>>::new();
        for lane in &mut work.lanes {
            let mut here = Vec::new();
            while let Ok(job) = lane.try_recv() {
                Work::taken(&work.shared, &job);
                let Job::Announce(announcement) = job else { panic!("only entries") };
                here.push(announcement.name.channel);
                seen.entry(announcement.name.channel).or_default().push(announcement.entry.offset);
            }
        }
        assert_eq!(seen.len(), 5);
        assert!(seen.values().all(|offsets| offsets.iter().copied().eq(1..=10)));
        assert_eq!(work.shared.bytes(), 0);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nothing_waits_for_it() {
        let (dispatch, _work) = Dispatch::new();
        let channel = channel(1);
        for offset in 1..=DISPATCH_QUEUE_MAX as u64 + 3 {
            dispatch.committed(Id(1), &channel, "abcdefgh", entry(&channel, offset, 1));
        }
        assert_eq!(dispatch.shared().left(), 3);
        let (dispatch, _work) = Dispatch::new();
        let large = DISPATCH_BYTES_MAX / 3;
        for offset in 1..=3 {
            dispatch.committed(Id(1), &channel, "abcdefgh", entry(&channel, offset, large));
        }
        assert_eq!(dispatch.shared().left(), 1);
        assert!(dispatch.shared().bytes() <= DISPATCH_BYTES_MAX);
    }
}
