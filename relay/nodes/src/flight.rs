//! The same question, asked by many at once, is asked once.
//!
//! Owns who waits for whom. A question that is under way is nobody's but those who asked before it began: its answer may be older than
//! what whoever asks now has heard.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as Turn, OnceCell};

/// Questions under way and about to begin. Bounded by the requests under way.
#[derive(Debug)]
pub struct Flights<K, V> {
    keys: Mutex<HashMap<K, Slot<V>>>,
}

/// One question.
#[derive(Debug)]
struct Slot<V> {
    /// The next time it is asked; not begun.
    due: Option<Arc<OnceCell<V>>>,
    /// Held while it is asked.
    turn: Arc<Turn<()>>,
    askers: usize,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { keys: Mutex::new(HashMap::new()) }
    }
}

impl<V> Default for Slot<V> {
    fn default() -> Self {
        Self { due: None, turn: Arc::default(), askers: 0 }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Flights<K, V> {
    /// The answer of the next time that this is asked. If whoever asks gives up, another who waits does.
    pub async fn ask<F: Future<Output = V>>(&self, key: K, ask: impl FnOnce() -> F) -> V {
        let (cell, turn) = {
            let mut keys = self.lock();
            let slot = keys.entry(key.clone()).or_default();
            slot.askers += 1;
            (Arc::clone(slot.due.get_or_insert_default()), Arc::clone(&slot.turn))
        };
        let asker = Asker { flights: self, key };
        let asked = async {
            let _turn = turn.lock().await;
            asker.begin(&cell);
            ask().await
        };
        cell.get_or_init(|| asked).await.clone()
    }

    /// Questions under way or about to begin.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Slot<V>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits for the answer, until dropped.
struct Asker<'f, K: Hash + Eq + Clone, V: Clone> {
    flights: &'f Flights<K, V>,
    key: K,
}

impl<K: Hash + Eq + Clone, V: Clone> Asker<'_, K, V> {
    /// From now on the answer is for those alone who wait already.
    fn begin(&self, cell: &Arc<OnceCell<V>>) {
        let mut keys = self.flights.lock();
        if let Some(slot) = keys.get_mut(&self.key)
            && slot.due.as_ref().is_some_and(|due| Arc::ptr_eq(due, cell))
        {
            slot.due = None;
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Drop for Asker<'_, K, V> {
    fn drop(&mut self) {
        let mut keys = self.flights.lock();
        let Some(slot) = keys.get_mut(&self.key) else { return };
        slot.askers -= 1;
        if slot.askers == 0 {
            keys.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::{Notify, Semaphore};

    use super::*;

    #[tokio::test]
    async fn a_hundred_who_ask_while_it_is_asked_ask_once_more() {
        let flights = Arc::new(Flights::default());
        let (asked, open) = (Arc::new(AtomicU32::new(0)), Arc::new(Semaphore::new(0)));
        let tasks: Vec<_> = (0..101)
            .map(|_| {
                let (flights, asked, open) = (Arc::clone(&flights), Arc::clone(&asked), Arc::clone(&open));
                tokio::spawn(async move {
                    let ask = || async {
                        open.acquire().await.unwrap().forget();
                        asked.fetch_add(1, Ordering::Relaxed)
                    };
                    flights.ask('k', ask).await
                })
            })
            .collect();
        while flights.lock().get(&'k').is_none_or(|slot| slot.askers < 101) {
            tokio::task::yield_now().await;
        }
        open.add_permits(101);
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        assert_eq!((answers[0], answers[1..].iter().all(|answer| *answer == 1)), (0, true));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn who_asks_later_does_not_get_what_was_looked_up_before() {
        let flights = Arc::new(Flights::default());
        let (open, began) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let first = tokio::spawn({
            let (flights, open, began) = (Arc::clone(&flights), Arc::clone(&open), Arc::clone(&began));
            async move {
                let ask = || async {
                    began.notify_one();
                    open.notified().await;
                    "before"
                };
                flights.ask('k', ask).await
            }
        });
        began.notified().await;
        let later = flights.ask('k', || async { "after" });
        open.notify_one();
        assert_eq!(later.await, "after");
        assert_eq!(first.await.unwrap(), "before");
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn one_who_gives_up_leaves_nothing_and_another_goes_on() {
        let flights: Arc<Flights<char, i32>> = Arc::default();
        let began = Arc::new(Notify::new());
        let first = tokio::spawn({
            let (flights, began) = (Arc::clone(&flights), Arc::clone(&began));
            async move {
                let ask = || async {
                    began.notify_one();
                    std::future::pending::<i32>().await
                };
                flights.ask('k', ask).await
            }
        });
        began.notified().await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert!(flights.is_empty());
        assert_eq!(flights.ask('k', || async { 2 }).await, 2);
    }
}
