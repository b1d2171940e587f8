//! The bus that edges share, as the relay's tasks see it: what carries the broker's asks, and who is told what comes back.
//!
//! Owns the contract between [`Relay`] and an adapter. Never knows what carries it.

pub(crate) mod mesh;
pub mod redis;

pub use mesh::{BookError, IdentityError};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use relay::bus::{Ask, EdgeId};

use crate::config::{BusKind, Checked, MeshError};
use crate::state::Relay;

/// An adapter to a bus. What comes back goes to [`Relay::tell`], in order for each channel.
pub(crate) trait Bus: Send + Sync + fmt::Debug {
    /// Takes one ask; asks of a relay come in order, under its lock: never blocks and never calls back. What does not fit the
    /// adapter's bounded queue is answered with [`relay::bus::Tell::Failed`], later.
    fn ask(&self, ask: Ask);

    /// Every connection it has or wants.
    fn links(&self) -> Vec<Health>;

    /// Sets gauges and counters of its own, for `/metrics`.
    fn measure(&self) {}
}

/// How one connection of the bus is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// What is at the other end, for people.
    pub name: String,
    /// Whether it can be used.
    pub up: bool,
    /// Since when it is or is not, counted from the start of the relay.
    pub since: Duration,
    /// Why not, in a sentence that says what to do.
    pub error: Option<String>,
}

/// Why the bus that is configured cannot be.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The mesh.
    #[error(transparent)]
    Mesh(#[from] MeshError),
}

/// Reads what the configured bus needs, and connects to nobody.
pub(crate) fn check(checked: &Checked) -> Result<(), BusError> {
    match checked.config.bus.kind.0 {
        // What Redis needs was read with the configuration.
        BusKind::Local | BusKind::Redis | BusKind::RedisCluster => Ok(()),
        BusKind::Mesh => Ok(checked.config.bus.mesh.prepare().map(drop)?),
    }
}

/// The adapter that the configuration asks for, its tasks running; `None` where this edge is alone. `numbers` come from a random source.
pub(crate) fn start(
    checked: &Checked,
    relay: &Arc<Relay>,
    numbers: (u64, u64),
) -> Result<Option<Arc<dyn Bus>>, BusError> {
    match checked.config.bus.kind.0 {
        BusKind::Local => Ok(None),
        BusKind::Mesh => Ok(Some(mesh::start(checked, relay, numbers)?)),
        BusKind::Redis | BusKind::RedisCluster => {
            let told = Arc::clone(relay) as Arc<dyn redis::Told>;
            let start = |settings| redis::Redis::start(settings, EdgeId(numbers.0), numbers.1, told);
            Ok(checked.redis.clone().map(|settings| Arc::new(start(settings)) as Arc<dyn Bus>))
        }
    }
}

impl redis::Told for Relay {
    fn tell(&self, saying: &mut redis::Saying<'_>) {
        Self::tell(self, |tell| saying(tell));
    }
}
