//! What was read from Redis on its way to the broker: in order, bounded in bytes, never in the way of who reads.
//!
//! Owns the queue and the task that hands on. Publications that find it full are dropped by the reader, which says so.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use relay::bus::Tell;
use relay::payload::{self, Payload};
use tokio::sync::mpsc;

use super::Told;
use super::keys::{Keys, Topic};
use super::limits::HANDOVER_BYTES_MAX;

/// What one batch counts for beyond its bytes.
const BATCH_OVERHEAD_BYTES: usize = 1024;
/// Batches that the broker takes together. What it has for a link then goes out with one write.
const BATCHES_AT_ONCE: usize = 16;
/// Handed on without a pause for others.
const YIELD_BYTES: usize = 64 * 1024;

/// What came at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) items: Vec<Item>,
}

/// One thing that came.
#[derive(Debug)]
pub(super) enum Item {
    /// A message: its topic and payload in the batch's bytes.
    Message {
        topic: Range<usize>,
        payload: Range<usize>,
    },
    Joined(Arc<str>),
    Parted(Arc<str>),
    /// Publications of the channel were dropped here: it has parted and joined.
    Again(Arc<str>),
    PartedAll,
    MembersForgotten,
}

/// The queue. What readers offer is bounded in bytes; what must arrive is bounded by what there is to say about channels.
#[derive(Clone, Debug)]
pub(super) struct Handover {
    sender: mpsc::UnboundedSender<Batch>,
    waiting: Arc<AtomicUsize>,
}

impl Handover {
    /// The queue; the task hands on what is in it until the queue is gone.
    pub(super) fn start(keys: Arc<Keys>, edge: relay::bus::EdgeId, told: Arc<dyn Told>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        tokio::spawn(hand_on(receiver, Arc::clone(&waiting), keys, edge, told));
        Self { sender, waiting }
    }

    /// Takes a batch unless there is no room.
    pub(super) fn offer(&self, batch: Batch) -> Result<(), Batch> {
        if self.waiting.load(Ordering::Relaxed) + batch.cost() > HANDOVER_BYTES_MAX {
            return Err(batch);
        }
        self.push(batch);
        Ok(())
    }

    /// Takes what must arrive.
    pub(super) fn insist(&self, items: Vec<Item>) {
        if !items.is_empty() {
            self.push(Batch { bytes: Vec::new(), items });
        }
    }

    fn push(&self, batch: Batch) {
        self.waiting.fetch_add(batch.cost(), Ordering::Relaxed);
        let _ = self.sender.send(batch);
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

async fn hand_on(
    mut receiver: mpsc::UnboundedReceiver<Batch>,
    waiting: Arc<AtomicUsize>,
    keys: Arc<Keys>,
    edge: relay::bus::EdgeId,
    told: Arc<dyn Told>,
) {
    let mut batches = Vec::with_capacity(BATCHES_AT_ONCE);
    while receiver.recv_many(&mut batches, BATCHES_AT_ONCE).await > 0 {
        told.tell(&mut |tell| batches.iter().for_each(|batch| batch.tell(&keys, edge, tell)));
        let cost: usize = batches.drain(..).map(|batch| batch.cost()).sum();
        waiting.fetch_sub(cost, Ordering::Relaxed);
        if cost > YIELD_BYTES {
            // A broker that is busy for long must not keep other tasks of this thread waiting.
            tokio::task::yield_now().await;
        }
    }
}

impl Batch {
    fn cost(&self) -> usize {
        self.bytes.len() + BATCH_OVERHEAD_BYTES
    }

    fn tell(&self, keys: &Keys, edge: relay::bus::EdgeId, tell: &mut dyn FnMut(&Tell<'_>)) {
        for item in &self.items {
            match item {
                Item::Message { topic, payload } => {
                    let (Some(topic), Some(payload)) =
                        (self.bytes.get(topic.clone()), self.bytes.get(payload.clone()))
                    else {
                        debug_assert!(false, "ranges are of the batch's bytes");
                        continue;
                    };
                    if let Some(said) = message(keys, edge, topic, payload) {
                        tell(&said);
                    }
                }
                Item::Joined(channel) => tell(&Tell::Joined { channel }),
                Item::Parted(channel) => tell(&Tell::Parted { channel }),
                Item::Again(channel) => {
                    tell(&Tell::Parted { channel });
                    tell(&Tell::Joined { channel });
                }
                Item::PartedAll => tell(&Tell::PartedAll),
                Item::MembersForgotten => tell(&Tell::MembersForgotten),
            }
        }
    }
}

/// What a message says; `None` for words of our own, and for what another version has written.
fn message<'a>(
    keys: &Keys,
    edge: relay::bus::EdgeId,
    topic: &'a [u8],
    payload: &'a [u8],
) -> Option<Tell<'a>> {
    Some(match (keys.read(topic)?, payload::parse(payload)?) {
        (Topic::Channel(channel), Payload::Publication { offset, epoch, body }) => {
            Tell::Publication { channel, offset, epoch, body }
        }
        (Topic::Channel(channel), Payload::Presence { joined, info }) => {
            Tell::Presence { channel, joined, info }
        }
        (Topic::Edges, Payload::Words { from, body }) if from != edge => Tell::Message { from, body },
        _ => return None,
    })
}
