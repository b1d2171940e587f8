//! The tasks that tell relays what was stored, and the databases that it was told.
//!
//! Owns the order: an entry counts as announced once a relay has it and the list of conversations knows of it. Whatever goes wrong is
//! left to the sweep, which asks the stores.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Notify, mpsc};
use tokio::{join, time};

use super::client::Api;
use super::dispatch::{Announcement, Job, Shared, Work};
use super::limits::{BATCH_BYTES, BATCH_JOBS, INDEX_MESSAGES, INDEX_PAUSE, RELAY_PAUSE, SWEEP_EVERY};
use super::names::{Family, Name};
use super::words::Command;
use crate::log::log;
use crate::model::{EntryKind, Id};
use crate::store::route::Router;
use crate::store::{Latest, Store, StoreError, Streams};

/// See the module.
#[derive(Debug)]
pub struct Teller {
    pub(super) router: Arc<Router>,
    /// `None`: there is nobody to tell.
    pub(super) api: Option<Api>,
    pub(super) shared: Arc<Shared>,
    /// Something may be made findable.
    indexing: Notify,
    /// It has been said that a relay refuses announcements.
    complained: AtomicBool,
    /// What was done.
    pub counters: Counters,
}

/// Channels, each with what has been announced of it.
type Tops = Vec<(Id, u64)>;

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
        Self { router, api, shared, indexing, complained, counters: Counters::default() }
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

    /// Tells relays of entries, in order for each channel, and databases that relays have them. `more` goes before. The error: no relay
    /// could be told, or some database could not.
    pub(super) async fn announce(&self, all: &[Announcement], more: Vec<Command>) -> Result<(), ()> {
        let (told, listed) = join!(self.tell(all, more), self.list(all));
        let mut tops: BTreeMap<Id, (Name, u64)> = BTreeMap::new();
        let mut missing: Vec<Id> = Vec::new();
        for (announcement, told) in all.iter().zip(told.iter().flatten()) {
            let (name, offset) = (announcement.name, announcement.entry.offset);
            if *told {
                tops.insert(name.channel, (name, offset));
            } else {
                missing.push(name.channel);
            }
        }
        tops.retain(|channel, (name, _)| !missing.contains(channel) && !listed.contains(&name.workspace));
        let marked = self.mark(tops.into_values()).await;
        if told.is_some() && missing.is_empty() && listed.is_empty() { marked } else { Err(()) }
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

    /// Tells the lists of conversations. The workspaces for which that failed.
    async fn list(&self, all: &[Announcement]) -> Vec<Id> {
        let mut latest: BTreeMap<Id, HashMap<Id, Latest>> = BTreeMap::new();
        for Announcement { name, entry, .. } in all {
            let (top, message) = (entry.offset, entry.message.clone());
            let known = latest.entry(name.workspace).or_default().entry(name.channel);
            let known = known.or_insert_with(|| Latest { top, message: message.clone() });
            let newer = (message.offset, top) > (known.message.offset, known.top);
            known.top = known.top.max(top);
            if newer {
                known.message = message;
            }
        }
        let mut failed = Vec::new();
        for (workspace, latest) in latest {
            let latest: Vec<Latest> = latest.into_values().collect();
            let told = async { self.router.home(workspace).await?.set_latest(workspace, &latest).await };
            if let Err(error) = told.await {
                self.unless_gone(&error, "the list of conversations");
                failed.extend((error != StoreError::Missing).then_some(workspace));
            }
        }
        failed
    }

    async fn mark(&self, tops: impl Iterator<Item = (Name, u64)>) -> Result<(), ()> {
        let mut shards: Vec<(Arc<dyn Store>, Tops)> = Vec::new();
        let mut result = Ok(());
        for (name, top) in tops {
            match self.router.shard(name.workspace, name.channel).await {
                Ok(store) => match shards.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &store)) {
                    Some((_, tops)) => tops.push((name.channel, top)),
                    None => shards.push((store, vec![(name.channel, top)])),
                },
                Err(error) => {
                    self.unless_gone(&error, "what was announced");
                    result = Err(());
                }
            }
        }
        for (store, tops) in shards {
            if let Err(error) = Streams::announced(&*store, &tops).await {
                self.unless_gone(&error, "what was announced");
                result = Err(());
            }
        }
        self.indexing.notify_one();
        result
    }

    /// Makes what was stored findable.
    async fn index(&self) {
        loop {
            for store in self.stores() {
                loop {
                    match store.index(INDEX_MESSAGES).await {
                        Ok(count) if count >= INDEX_MESSAGES => {}
                        Ok(_) => break,
                        Err(error) => {
                            self.unless_gone(&error, "the search");
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

    pub(super) fn unless_gone(&self, error: &StoreError, what: &str) {
        if !matches!(error, StoreError::Missing | StoreError::Moving) {
            log!("{what}: {error}");
        }
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
