//! What every handler has: the databases, the writers, the keys, the way to the relays, and what was asked lately.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{Checked, Registration};
use crate::counters::Counters;
use crate::fast::Fast;
use crate::flight::Flights;
use crate::membership::Standings;
use crate::message::{Marks, Pages};
use crate::numbers::Numbers;
use crate::problem::{Kind, Problem};
use crate::relays::{Dispatch, Reads, Teller};
use crate::store::StoreError;
use crate::store::route::Router;
use crate::store::write::Writers;
use crate::tokens::{Hasher, Keys, Throttle};

/// A node. Shared by all handlers and tasks.
#[derive(Debug)]
pub struct Node {
    /// The configuration.
    pub checked: Checked,
    /// Where what is stored.
    pub router: Arc<Router>,
    /// Stores messages, many at a time.
    pub writers: Writers,
    /// Makes ids.
    pub numbers: Numbers,
    /// The time.
    pub clock: Clock,
    /// Signs and verifies tokens.
    pub keys: Keys,
    /// Messages that are delivered before they are stored.
    pub fast: Fast,
    /// What was stored is told by it.
    pub dispatch: Dispatch,
    /// Tells relays.
    pub teller: Teller,
    /// What relays read just now.
    pub reads: Reads,
    /// Passwords.
    pub hasher: Hasher,
    /// Failed sign-ins by workspace and name.
    pub accounts: Throttle<(String, String)>,
    /// Failed sign-ins by address.
    pub sources: Throttle<std::net::IpAddr>,
    /// Who is in which channel, as of lately.
    pub standings: Standings,
    /// Pages of messages.
    pub pages: Pages,
    /// Read marks that wait.
    pub marks: Marks,
    /// How the databases are; asked once, however many ask.
    pub health: Flights<(), Vec<Option<StoreError>>>,
    /// What was done.
    pub counters: Counters,
}

/// What a node is made of beside its configuration.
#[derive(Debug)]
pub struct Parts {
    /// See [`Node`].
    pub router: Arc<Router>,
    /// See [`Node`].
    pub numbers: Numbers,
    /// See [`Node`].
    pub keys: Keys,
    /// See [`Node`].
    pub fast: Fast,
    /// See [`Node`].
    pub dispatch: Dispatch,
    /// See [`Node`].
    pub teller: Teller,
    /// See [`Node`].
    pub clock: Clock,
}

impl Node {
    /// Begins with nothing remembered.
    pub fn new(checked: Checked, parts: Parts) -> Result<Self, Problem> {
        let Parts { router, numbers, keys, fast, dispatch, teller, clock } = parts;
        let limits = checked.config.limits.clone();
        Ok(Self {
            writers: Writers::new(Arc::clone(&router)),
            router,
            numbers,
            clock,
            keys,
            fast,
            dispatch,
            teller,
            reads: Reads::default(),
            hasher: Hasher::new(limits.hashes)?,
            accounts: Throttle::new(limits.failures_per_account),
            sources: Throttle::new(limits.failures_per_source),
            standings: Standings::default(),
            pages: Pages::new(limits.page_cache_bytes),
            marks: Marks::default(),
            health: Flights::default(),
            counters: Counters::default(),
            checked,
        })
    }

    /// Whether the configuration lets people register.
    pub fn may_register(&self) -> Result<(), Problem> {
        match self.checked.config.registration {
            Registration::Open => Ok(()),
            Registration::Closed => Err(Problem::new(Kind::Forbidden, "registration is closed here")),
        }
    }
}
