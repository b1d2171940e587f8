//! One server that is the bus, or a part of it: its three connections and the tasks that keep them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::dial::Server;
use super::lane::{self, Inbox};
use super::shared::Shared;
use super::subscriber;
use super::topics::Session;
use super::trouble::Line;

/// A server. While it is used, tasks keep its connections.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: String,
    /// What is published, in order.
    pub(super) writes: Arc<Inbox>,
    /// Everything else: nothing here waits behind replicas.
    pub(super) reads: Arc<Inbox>,
    /// Wakes the subscriber connection's writer.
    pub(super) bell: Notify,
    /// The subscriber connection's session, 0 when there is none.
    session: AtomicU64,
    /// The run of the server's process that was seen last.
    run: Mutex<String>,
    lines: [Arc<Line>; 3],
    unused: watch::Sender<bool>,
}

impl Node {
    /// Begins to keep connections to a server.
    pub(super) fn start(shared: &Arc<Shared>, address: &str, began: Instant) -> Arc<Self> {
        let line = |what: &str| Arc::new(Line::new(format!("redis {address} {what}"), began));
        let lines = [line("publications"), line("questions"), line("subscriptions")];
        let (unused, used) = watch::channel(false);
        let node = Arc::new(Self {
            address: address.to_owned(),
            writes: Arc::default(),
            reads: Arc::default(),
            bell: Notify::new(),
            session: AtomicU64::new(0),
            run: Mutex::default(),
            lines: lines.clone(),
            unused,
        });
        let [writes, reads, subscriptions] = lines;
        for (inbox, line) in [(&node.writes, writes), (&node.reads, reads)] {
            tokio::spawn(lane::keep(
                Arc::clone(shared),
                Arc::clone(&node),
                Arc::clone(inbox),
                line,
                used.clone(),
            ));
        }
        tokio::spawn(subscriber::keep(Arc::clone(shared), Arc::clone(&node), subscriptions, used));
        node
    }

    /// It is not a part of the bus any more: its connections end.
    pub(super) fn stop(&self) {
        self.unused.send_replace(true);
    }

    /// A connection was made. If the server has started anew, it may have lost what it was told last.
    pub(super) fn seen(&self, shared: &Shared, server: &Server) {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *run, server.run.clone());
        drop(run);
        if !before.is_empty() && before != server.run {
            shared.forgot();
        }
    }

    pub(super) fn session(&self) -> Option<Session> {
        Some(Session(self.session.load(Ordering::Acquire))).filter(|session| session.0 != 0)
    }

    pub(super) fn set_session(&self, session: Option<Session>) {
        self.session.store(session.map_or(0, |session| session.0), Ordering::Release);
    }

    pub(super) fn lines(&self) -> &[Arc<Line>; 3] {
        &self.lines
    }
}
