//! What relays have taken, on its way into the databases: the lists of conversations, and how far each channel is announced.
//!
//! Owns what waits to be written. It is gathered for a moment, because each write takes a turn from messages that wait to be stored.
//! Whatever is lost with the program, or cannot be written, is owed still: the sweep finds it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time;

use super::dispatch::Announcement;
use super::limits::{BOOKS_CHANNELS_MAX, BOOKS_PAUSE};
use super::names::Name;
use super::teller::{Teller, unless_gone};
use crate::model::Id;
use crate::store::route::sort_in;
use crate::store::{Latest, StoreError, Streams};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Books {
    waiting: Mutex<Page>,
    some: Notify,
    /// One writes at a time.
    writing: tokio::sync::Mutex<()>,
}

/// What is written together. A channel counts as announced up to somewhere once its list knows of it.
#[derive(Debug, Default)]
struct Page {
    /// The last message of each channel, by workspace.
    latest: BTreeMap<Id, HashMap<Id, Latest>>,
    tops: BTreeMap<Id, (Name, u64)>,
    /// How many have something here.
    channels: usize,
}

impl Books {
    /// Says whether so much waits that it has to be written before more is noted.
    fn note(&self, all: &[Announcement], untold: &BTreeSet<Id>) -> bool {
        let mut page = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for announcement in all {
            page.list(announcement);
            if !untold.contains(&announcement.name.channel) {
                page.mark(announcement);
            }
        }
        let full = page.channels >= BOOKS_CHANNELS_MAX;
        drop(page);
        self.some.notify_one();
        full
    }

    fn take(&self) -> Page {
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Page {
    fn list(&mut self, Announcement { name, entry, .. }: &Announcement) {
        let (top, message) = (entry.offset, &entry.message);
        match self.latest.entry(name.workspace).or_default().entry(name.channel) {
            Entry::Vacant(vacant) => {
                vacant.insert(Latest { top, message: message.clone() });
                self.channels += 1;
            }
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if (message.offset, top) > (known.message.offset, known.top) {
                    known.message = message.clone();
                }
                known.top = known.top.max(top);
            }
        }
    }

    fn mark(&mut self, Announcement { name, entry, .. }: &Announcement) {
        let (_, top) = self.tops.entry(name.channel).or_insert((*name, entry.offset));
        *top = entry.offset.max(*top);
    }
}

impl Teller {
    /// Writes what relays were told, now and then, until the task is dropped.
    pub(super) async fn keep_books(&self) {
        loop {
            self.books.some.notified().await;
            time::sleep(BOOKS_PAUSE).await;
            self.write_books().await;
        }
    }

    /// Has entries listed, and that relays have those of all channels but these, each up to its last. Waits only where too much waits.
    pub(super) async fn book(&self, all: &[Announcement], untold: &BTreeSet<Id>) {
        if self.books.note(all, untold) {
            self.write_books().await;
        }
    }

    /// Writes everything that was noted before, also what somebody else is about to write.
    pub async fn write_books(&self) {
        let _turn = self.books.writing.lock().await;
        let Page { latest, mut tops, .. } = self.books.take();
        for (workspace, latest) in latest {
            let latest: Vec<Latest> = latest.into_values().collect();
            let told = async { self.router.home(workspace).await?.set_latest(workspace, &latest).await };
            if let Err(error) = told.await {
                unless_gone(&error, "the list of conversations");
                if error != StoreError::Missing {
                    tops.retain(|_, (name, _)| name.workspace != workspace);
                }
            }
        }
        let mut shards = Vec::new();
        for (name, top) in tops.into_values() {
            match self.router.shard(name.workspace, name.channel).await {
                Ok(store) => sort_in(&mut shards, store, (name.channel, top)),
                Err(error) => unless_gone(&error, "what was announced"),
            }
        }
        for (store, tops) in shards {
            if let Err(error) = Streams::announced(&*store, &tops).await {
                unless_gone(&error, "what was announced");
            }
        }
        self.indexing.notify_one();
    }
}
