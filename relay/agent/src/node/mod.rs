//! The nodes, as this edge uses them: who stores what clients publish, reads what was stored, and says who may be where.
//!
//! Owns the way of each question to a node and of its answer back. Never decides what is stored or who may do what.

mod channels;
mod counters;
mod pool;
mod rights;
mod store;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use relay::{Broker, LinkId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::code::{self, ErrorCode};
use wire::link::ToShard;

use counters::Word;
pub(crate) use pool::Pool;

use crate::limits::NODE_WAITING_MAX;
use crate::state::Relay;

/// What an operator says of nodes.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) pool: Pool,
    /// How long a right is remembered.
    pub(crate) granted_for: Duration,
    /// How long a subscription goes on without being asked about.
    pub(crate) term: Duration,
}

/// See the module.
pub(crate) struct Node {
    relay: Weak<Relay>,
    pool: Pool,
    term: Duration,
    /// Questions that wait or are under way.
    waiting: Arc<Semaphore>,
    order: store::Order,
    rights: rights::Rights,
    channels: channels::Channels,
}

impl Node {
    pub(crate) fn new(settings: &Settings, relay: &Arc<Relay>) -> Self {
        Self {
            relay: Arc::downgrade(relay),
            pool: settings.pool.clone(),
            term: settings.term,
            waiting: Arc::new(Semaphore::new(NODE_WAITING_MAX)),
            order: store::Order::default(),
            rights: rights::Rights::new(settings.granted_for),
            channels: channels::Channels::default(),
        }
    }

    /// Takes what the broker has for nodes, under its lock and before anything is written: what is remembered of who may be where is never
    /// older than what shards are told.
    pub(crate) fn serve(self: &Arc<Self>, broker: &mut Broker) {
        while let Some(moved) = broker.moved() {
            self.rights.forget(&moved);
            self.channels.spoil(&moved);
        }
        while let Some(ask) = broker.ask_store() {
            self.take(ask);
        }
    }

    pub(crate) const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Questions that wait or are under way.
    pub(crate) fn under_way(&self) -> usize {
        NODE_WAITING_MAX - self.waiting.available_permits()
    }

    /// Rights that are remembered.
    pub(crate) fn remembered(&self) -> usize {
        self.rights.len()
    }

    fn admit(&self) -> Result<OwnedSemaphorePermit, ErrorCode> {
        Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| code::TOO_MANY_REQUESTS)
    }
}

impl Relay {
    /// The nodes, where there are some.
    pub(crate) fn node(&self) -> Option<&Arc<Node>> {
        self.node.get()
    }

    /// From now on nodes are asked.
    pub(crate) fn connect_node(&self, node: Node) {
        let connected = self.node.set(Arc::new(node)).is_ok();
        debug_assert!(connected, "a relay has its nodes once");
        self.wake(self.broker());
    }

    /// Gives a shard an answer unless it is too late for it: `valid` is asked under the bus's lock.
    fn answer_while(&self, link: LinkId, message: &ToShard<'_>, valid: impl FnOnce() -> bool) -> bool {
        let mut broker = self.broker();
        if let Some(node) = self.node() {
            node.serve(&mut broker);
        }
        let valid = valid();
        if valid {
            broker.answer(link, message);
        }
        self.wake(broker);
        valid
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("pool", &self.pool).finish_non_exhaustive()
    }
}
