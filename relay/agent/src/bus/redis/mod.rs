//! Redis as the bus: one server (the star), or a cluster with sharded publish and subscribe.
//!
//! Every publication goes through a script that stores and publishes in one piece; each edge subscribes to what it wants. Owns the
//! connections and their tasks. What gets lost between Redis and here is the broker's to find, by offsets.

mod answer;
mod counters;
mod dial;
mod edges;
mod handover;
mod keys;
mod lane;
pub(crate) mod limits;
mod members;
mod node;
mod resp;
mod scripts;
mod settings;
mod shared;
mod subscriber;
mod topics;
mod topology;
mod trouble;

use std::fmt;
use std::sync::Arc;

use relay::bus::{Ask, EdgeId, Tell};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use settings::{Login, Place, Settings, Tls};

use crate::bus::{Bus, Health};
use members::Op;
use shared::Shared;

/// What is said at once: calls what it is given with one thing after the other.
pub type Saying<'a> = dyn FnMut(&mut dyn FnMut(&Tell<'_>)) + 'a;

/// Who is told what the bus says.
pub trait Told: Send + Sync + fmt::Debug + 'static {
    /// Calls `saying` once.
    fn tell(&self, saying: &mut Saying<'_>);
}

/// The adapter. Its tasks end with it.
#[derive(Debug)]
pub struct Redis {
    shared: Arc<Shared>,
    runtime: Handle,
    tasks: JoinSet<()>,
}

impl Redis {
    /// Begins to connect; must be called in a runtime. Until there is a connection every question fails at once. `edge` and `seed`
    /// come from a random source.
    pub fn start(settings: Settings, edge: EdgeId, seed: u64, told: Arc<dyn Told>) -> Self {
        let shared = Shared::new(settings, edge, seed, told);
        let mut tasks = JoinSet::new();
        tasks.spawn(topology::keep(Arc::clone(&shared), Instant::now()));
        tasks.spawn(edges::keep(Arc::clone(&shared)));
        tasks.spawn(members::keep(Arc::clone(&shared)));
        tasks.spawn(Arc::clone(&shared).release());
        Self { shared, runtime: Handle::current(), tasks }
    }

    /// Takes one ask; never blocks and never tells anything before it returns.
    pub fn ask(&self, ask: Ask) {
        let shared = &self.shared;
        match ask {
            Ask::Want { channel } => self.want(channel, true),
            Ask::Unwant { channel } => self.want(channel, false),
            Ask::Publish { ref channel, .. }
            | Ask::Read { ref channel, .. }
            | Ask::Remove { ref channel, .. }
            | Ask::Renew { ref channel, .. } => shared.ask(shared.keys.partition(channel), ask),
            Ask::Send { .. } => shared.ask(0, ask),
            Ask::Enter { channel, member, appearance } => {
                self.member(Op { channel, member, appearance, enters: true });
            }
            Ask::Leave { channel, member, appearance } => {
                self.member(Op { channel, member, appearance, enters: false });
            }
            Ask::Presence { .. } | Ask::PresenceStats { .. } => {
                let _runtime = self.runtime.enter();
                members::question(shared, ask);
            }
        }
    }

    /// Every connection, and how it is.
    pub fn links(&self) -> Vec<Health> {
        let mut nodes = self.shared.nodes();
        nodes.sort_by(|one, other| address(one).cmp(&address(other)));
        nodes.dedup_by(|one, other| address(one) == address(other));
        nodes.iter().flatten().flat_map(|node| node.lines()).map(|line| line.health()).collect()
    }

    /// Totals since the start, each with the name of its metric.
    pub fn totals(&self) -> Vec<(&'static str, u64)> {
        self.shared.counters.totals()
    }

    /// What there is now, each with the name of its metric.
    pub fn levels(&self) -> Vec<(&'static str, u64)> {
        let (wanted, joined) = self.shared.topics().counts();
        vec![
            ("headland_relay_redis_channels_wanted", wanted as u64),
            ("headland_relay_redis_channels_joined", joined as u64),
            ("headland_relay_redis_handover_bytes", self.shared.handover.waiting() as u64),
            ("headland_relay_redis_member_changes_waiting", self.shared.members.waiting() as u64),
        ]
    }

    fn member(&self, op: Op) {
        self.shared.members.push(self.shared.keys.partition(&op.channel), op);
    }

    fn want(&self, channel: Arc<str>, wanted: bool) {
        let partition = self.shared.keys.partition(&channel);
        if self.shared.topics().want(partition, channel, wanted)
            && let Some(node) = self.shared.node(partition)
        {
            node.bell.notify_one();
        }
    }
}

fn address(node: &Option<Arc<node::Node>>) -> Option<&str> {
    node.as_ref().map(|node| node.address.as_str())
}

impl Bus for Redis {
    fn ask(&self, ask: Ask) {
        Self::ask(self, ask);
    }

    fn links(&self) -> Vec<Health> {
        Self::links(self)
    }

    fn measure(&self) {
        for (name, total) in self.totals() {
            metrics::counter!(name).absolute(total);
        }
        for (name, level) in self.levels() {
            metrics::gauge!(name).set(level as f64);
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.tasks.abort_all();
        for node in self.shared.nodes().into_iter().flatten() {
            node.stop();
        }
    }
}
