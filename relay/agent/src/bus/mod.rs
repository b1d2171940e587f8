//! The bus that edges share, as the relay's tasks see it: what carries the broker's asks, and who is told what comes back.
//!
//! Owns the contract between [`Relay`] and an adapter. Never knows what carries it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use relay::bus::Ask;

use crate::config::{BusKind, Checked};
use crate::state::Relay;

/// An adapter to a bus. What comes back goes to [`Relay::tell`], in order for each channel.
pub(crate) trait Bus: Send + Sync + fmt::Debug {
    /// Takes one ask; asks of a relay come in order, under its lock: never blocks and never calls back. What does not fit the
    /// adapter's bounded queue is answered with [`relay::bus::Tell::Failed`], later.
    fn ask(&self, ask: Ask);

    /// Every connection it has or wants.
    fn links(&self) -> Vec<Health>;
}

/// How one connection of the bus is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Health {
    /// What is at the other end, for people.
    pub(crate) name: String,
    /// Whether it can be used.
    pub(crate) up: bool,
    /// Since when it is or is not, counted from the start of the relay.
    pub(crate) since: Duration,
    /// Why not, in a sentence that says what to do.
    pub(crate) error: Option<String>,
}

/// The adapter that the configuration asks for, its tasks running; `None` where this edge is alone.
pub(crate) fn start(checked: &Checked, _relay: &Arc<Relay>) -> Option<Arc<dyn Bus>> {
    match checked.config.bus.kind.0 {
        BusKind::Local => None,
    }
}
