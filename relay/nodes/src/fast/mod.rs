//! `fast` channels: a message is delivered at once and stored soon, by a queue on disk.
//!
//! Owns the way from the queue into the store. What cannot be taken is refused before anybody has seen it; what was taken and cannot be
//! stored is counted and logged, never silently dropped.

mod limits;
mod queue;

#[cfg(test)]
mod tests;

pub use queue::{Bounds, Queue, Queued, Refusal, Taken};

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::log::log;
use crate::model::{Id, UnixMs};
use crate::store::{Post, Posted, Store, StoreError};

/// The queue with what it has come to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fast {
    queue: Queue,
    counters: Arc<Counters>,
    more: Arc<Notify>,
}

/// What became of messages, since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Taken into the queue.
    pub taken: AtomicU64,
    /// Refused: the queue was full or could not be written.
    pub refused: AtomicU64,
    /// Stored.
    pub stored: AtomicU64,
    /// Given up: delivered, and not stored.
    pub lost: AtomicU64,
}

impl Fast {
    /// Over this queue.
    pub fn new(queue: Queue) -> Self {
        Self { queue, counters: Arc::default(), more: Arc::default() }
    }

    /// Takes a message that is to be stored. Once this answers it may be delivered, and acknowledged.
    pub async fn accept(&self, post: &Post) -> Result<Taken, Refusal> {
        let outcome = self.queue.put(post).await;
        let counter = if outcome.is_ok() { &self.counters.taken } else { &self.counters.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        self.more.notify_one();
        outcome
    }

    /// What became of messages.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Messages and bytes that wait.
    pub fn levels(&self) -> (u64, u64) {
        self.queue.levels()
    }

    /// Stores what is in the queue, for ever. `shard` says where a channel's stream is; `stored` hears of each message that was stored
    /// and was not before.
    pub async fn drain<S, F>(&self, now: impl Fn() -> UnixMs, shard: S, stored: impl Fn(&Post, Posted))
    where
        S: Fn(Id, Id) -> F,
        F: Future<Output = Result<Arc<dyn Store>, StoreError>>,
    {
        let mut pause = limits::PAUSE.0;
        let mut refusals = 0;
        loop {
            match self.step(now(), &shard, &stored, refusals >= limits::REFUSALS_MAX).await {
                Ok(0) => self.more.notified().await,
                Ok(_) => (pause, refusals) = (limits::PAUSE.0, 0),
                Err(error) => {
                    refusals = if matches!(error, StoreError::Refused(_)) { refusals + 1 } else { 0 };
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(limits::PAUSE.1);
                }
            }
        }
    }

    /// Stores the oldest messages, those of each shard in a transaction; says how many were dealt with. An error only where none was. With
    /// `give_up` the oldest alone is tried, and given up if the store refuses it.
    async fn step<S, F>(
        &self,
        now: UnixMs,
        shard: &S,
        stored: &impl Fn(&Post, Posted),
        give_up: bool,
    ) -> Result<usize, StoreError>
    where
        S: Fn(Id, Id) -> F,
        F: Future<Output = Result<Arc<dyn Store>, StoreError>>,
    {
        let limit = if give_up { 1 } else { limits::BATCH_MAX };
        let away = |error: Refusal| StoreError::Away(error.to_string());
        let waiting = self.queue.oldest(limit).await.map_err(away)?;
        let mut groups: Vec<(Arc<dyn Store>, Vec<Queued>)> = Vec::new();
        let mut wrong = None;
        for queued in waiting {
            match shard(queued.post.workspace, queued.post.channel).await {
                Ok(store) => match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &store)) {
                    Some((_, batch)) => batch.push(queued),
                    None => groups.push((store, vec![queued])),
                },
                Err(error) => wrong = Some(error),
            }
        }
        let mut dealt = 0;
        for (store, batch) in groups {
            match self.store_all(&*store, batch, stored, give_up).await {
                Ok(done) => {
                    self.queue.done(&done, now).await.map_err(away)?;
                    dealt += done.len();
                }
                Err(error) => wrong = Some(error),
            }
        }
        match wrong {
            Some(error) if dealt == 0 => Err(error),
            _ => Ok(dealt),
        }
    }

    /// One transaction. The numbers of those that are dealt with; an error where there are none.
    async fn store_all(
        &self,
        store: &dyn Store,
        batch: Vec<Queued>,
        stored: &impl Fn(&Post, Posted),
        give_up: bool,
    ) -> Result<Vec<i64>, StoreError> {
        let (numbers, posts): (Vec<i64>, Vec<Post>) =
            batch.into_iter().map(|queued| (queued.number, queued.post)).unzip();
        let outcomes = match store.post(&posts).await {
            Err(StoreError::Refused(why)) if give_up => vec![Err(StoreError::Refused(why))],
            outcome => outcome?,
        };
        let mut done = Vec::with_capacity(posts.len());
        for ((number, post), outcome) in numbers.into_iter().zip(&posts).zip(outcomes) {
            match outcome {
                Ok(posted) => {
                    self.counters.stored.fetch_add(1, Ordering::Relaxed);
                    stored(post, posted);
                }
                Err(StoreError::Moving) => continue,
                Err(error) => self.give_up(post, &error),
            }
            done.push(number);
        }
        if done.is_empty() { Err(StoreError::Moving) } else { Ok(done) }
    }

    fn give_up(&self, post: &Post, error: &StoreError) {
        self.counters.lost.fetch_add(1, Ordering::Relaxed);
        log!("message {} of channel {} was delivered and cannot be stored: {error}", post.id, post.channel);
    }
}
