//! The tasks that tell relays what was stored.
//!
//! Owns the order in which they are told. What they have taken goes into the books; whatever goes wrong is left to the sweep, which asks
//! the stores.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio::{join, time};

use super::books::Books;
use super::client::Api;
use super::dispatch::{Announcement, Job, Shared, Work};
use super::limits::{
    BATCH_BYTES, BATCH_JOBS, INDEX_MESSAGES, INDEX_PAUSE, INDEX_YIELD, RELAY_PAUSE, SWEEP_EVERY,
};
use super::names::Family;
use super::words::Command;
use crate::log::log;
use crate::model::{EntryKind, Id};
use crate::store::route::Router;
use crate::store::{Store, StoreError};

/// See the module.
#[derive(Debug)]
pub struct Teller {
    pub(super) router: Arc<Router>,
    /// `None`: there is nobody to tell.
    pub(super) api: Option<Api>,
    pub(super) shared: Arc<Shared>,
    /// Something may be made findable.
    pub(super) indexing: Notify,
    pub(super) books: Books,
    /// It has been said that a relay refuses announcements.
    complained: AtomicBool,
    /// What was done.
    pub counters: Counters,
}

/// Totals since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Entries that a relay has taken.
    pub announced: AtomicU64,
    /// Entries that it has not, and that were left to the sweep.
    pub failed: AtomicU64,
    /// Entries that the sweep found.
    pub swept: AtomicU64,
    /// Changes of membership that relays have heard of.
    pub notices: AtomicU64,
    /// Events that no relay has taken.
    pub events_lost: AtomicU64,
}

impl Teller {
    /// Begins with the first [`Teller::serve`].
    pub fn new(router: Arc<Router>, api: Option<Api>, work: &Work) -> Self {
        let shared = Arc::clone(&work.shared);
        let (indexing, complained) = (Notify::new(), AtomicBool::new(false));
        let (books, counters) = (Books::default(), Counters::default());
        Self { router, api, shared, indexing, books, complained, counters }
    }

    /// Whether relays are told, as far as is known. True where there is nobody to tell.
    pub fn is_up(&self) -> bool {
        self.api.as_ref().is_none_or(Api::is_up)
    }

    /// Works until the task is dropped. `clock` gives Unix milliseconds.
    pub async fn serve(&self, work: Work, clock: impl Fn() -> i64) {
        let [a, b, c, d] = work.lanes;
        join!(
            self.lane(a),
            self.lane(b),
            self.lane(c),
            self.lane(d),
            self.keep_books(),
            self.sweep(),
            self.notices(clock),
            self.index()
        );
    }

    async fn lane(&self, mut jobs: mpsc::Receiver<Job>) {
        let mut pause = RELAY_PAUSE.0;
        while let Some(first) = jobs.recv().await {
            let mut bytes = first.bytes();
            let mut batch = vec![first];
            while batch.len() < BATCH_JOBS && bytes < BATCH_BYTES {
                let Ok(job) = jobs.try_recv() else { break };
                bytes += job.bytes();
                batch.push(job);
            }
            batch.iter().for_each(|job| Work::taken(&self.shared, job));
            match self.tell_jobs(batch).await {
                true => pause = RELAY_PAUSE.0,
                false => {
                    time::sleep(pause).await;
                    pause = (pause * 2).min(RELAY_PAUSE.1);
                }
            }
        }
    }

    /// False: no relay could be told.
    async fn tell_jobs(&self, batch: Vec<Job>) -> bool {
        let (mut announcements, mut events) = (Vec::new(), Vec::new());
        for job in batch {
            match job {
                Job::Announce(announcement) => announcements.push(*announcement),
                Job::Event { channel, data, key } => {
                    events.push(Command::Publish { channel, data, idempotency_key: key });
                }
            }
        }
        // Writers of one channel may have said so in another order than they stored in.
        announcements.sort_by_key(|announcement| (announcement.name.channel, announcement.entry.offset));
        self.announce(&announcements, events).await.is_ok()
    }

    /// Tells relays of entries, in order for each channel, and has it noted. `more` goes before. The error: not everything could be told.
    pub(super) async fn announce(&self, all: &[Announcement], more: Vec<Command>) -> Result<(), ()> {
        let told = self.tell(all, more).await;
        let taken = |place: usize| told.as_ref().is_some_and(|told| told[place]);
        let untold = all.iter().enumerate().filter(|(place, _)| !taken(*place));
        let untold: BTreeSet<Id> = untold.map(|(_, announcement)| announcement.name.channel).collect();
        self.book(all, &untold).await;
        if told.is_some() && untold.is_empty() { Ok(()) } else { Err(()) }
    }

    /// For each announcement whether a relay has it. `None`: no relay could be told.
    async fn tell(&self, all: &[Announcement], more: Vec<Command>) -> Option<Vec<bool>> {
        let (before, mut commands) = (more.len(), more);
        let mut places = Vec::with_capacity(all.len());
        for Announcement { name, epoch, entry } in all {
            let command = match name.family {
                Family::Chat => Command::announce(*name, epoch, entry).ok(),
                // What is published at once was published before it was stored.
                Family::Fast if entry.kind == EntryKind::Posted => None,
                Family::Fast => Command::publish(*name, entry).ok(),
                Family::Live => None,
            };
            places.push(command.is_some().then_some(commands.len()));
            commands.extend(command);
        }
        let Some(api) = self.api.as_ref().filter(|_| !commands.is_empty()) else {
            return Some(vec![true; all.len()]);
        };
        let Ok(outcomes) = api.tell(&commands, false).await else {
            self.counters.failed.fetch_add(all.len() as u64, Ordering::Relaxed);
            self.counters.events_lost.fetch_add(before as u64, Ordering::Relaxed);
            return None;
        };
        let lost = outcomes[..before].iter().filter(|outcome| outcome.is_err()).count();
        self.counters.events_lost.fetch_add(lost as u64, Ordering::Relaxed);
        let told: Vec<bool> =
            places.iter().map(|place| place.is_none_or(|place| outcomes[place].is_ok())).collect();
        let good = told.iter().filter(|told| **told).count() as u64;
        self.counters.announced.fetch_add(good, Ordering::Relaxed);
        self.counters.failed.fetch_add(told.len() as u64 - good, Ordering::Relaxed);
        let refused = outcomes[before..].iter().find_map(|outcome| outcome.err());
        // Once for each time.
        if let Some(code) = refused
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            log!("a relay does not take announcements (error {code}): are its namespaces those of its node?");
        }
        if refused.is_none() {
            self.complained.store(false, Ordering::Relaxed);
        }
        Some(told)
    }

    /// Makes what was stored findable.
    async fn index(&self) {
        loop {
            for store in self.stores() {
                loop {
                    let since = Instant::now();
                    let done = store.index(INDEX_MESSAGES).await;
                    time::sleep(since.elapsed() * INDEX_YIELD).await;
                    match done {
                        Ok(count) if count >= INDEX_MESSAGES => {}
                        Ok(_) => break,
                        Err(error) => {
                            unless_gone(&error, "the search");
                            break;
                        }
                    }
                }
            }
            let _ = time::timeout(10 * SWEEP_EVERY, self.indexing.notified()).await;
            // Many that are stored at about the same time are one transaction.
            time::sleep(INDEX_PAUSE).await;
        }
    }

    /// Every database, once.
    pub(super) fn stores(&self) -> Vec<Arc<dyn Store>> {
        distinct(self.router.stores())
    }
}

/// Each once, in this order.
pub(super) fn distinct<'s>(all: impl Iterator<Item = &'s Arc<dyn Store>>) -> Vec<Arc<dyn Store>> {
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for store in all {
        if !stores.iter().any(|known| Arc::ptr_eq(known, store)) {
            stores.push(Arc::clone(store));
        }
    }
    stores
}

/// Says an error, unless it only means that a workspace has gone or goes elsewhere.
pub(super) fn unless_gone(error: &StoreError, what: &str) {
    if !matches!(error, StoreError::Missing | StoreError::Moving) {
        log!("{what}: {error}");
    }
}
