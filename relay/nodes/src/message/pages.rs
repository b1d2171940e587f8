//! Pages that were read lately: closed ones to be served again, others for when the store is away.
//!
//! Owns the bound on bytes. A page is kept as the bytes of its answer.

use std::sync::Arc;

use axum::body::Bytes;

use super::logic::{self, Standing};
use crate::cache::Recent;
use crate::flight::Flights;
use crate::model::{Id, Message, Position};
use crate::store::{From, StoreError};
use crate::tokens::keys::entity_tag;

/// What was read, and what is being read.
#[derive(Debug)]
pub struct Pages {
    known: Recent<Key, Arc<Served>>,
    flights: Flights<(Id, Place, usize), Result<Arc<Served>, StoreError>>,
    positions: Flights<Id, Result<Option<Position>, StoreError>>,
}

/// Channel, place, the change that the page is to be as of, how many. Without a change: as it was last.
type Key = (Id, Place, Option<u64>, usize);

/// [`From`], to be looked up by.
type Place = (u8, u64);

/// An answer.
#[derive(Debug)]
pub struct Served {
    /// The page as JSON.
    pub body: Bytes,
    /// Its entity tag.
    pub tag: String,
    /// How it stands.
    pub standing: Standing,
}

/// What the key and the list's own places take.
const OVERHEAD_BYTES: usize = 256;

impl Pages {
    /// Keeps so many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { known: Recent::new(bytes_max), flights: Flights::default(), positions: Flights::default() }
    }

    /// A closed page as of a change, if it was read before.
    pub fn closed(&self, channel: Id, from: From, revised: u64, limit: usize) -> Option<Arc<Served>> {
        self.known.get(&(channel, place(from), Some(revised), limit))
    }

    /// A page as it was read last.
    pub fn last(&self, channel: Id, from: From, limit: usize) -> Option<Arc<Served>> {
        self.known.get(&(channel, place(from), None, limit))
    }

    /// Reads a page; the same one once, however many ask.
    pub async fn read<F>(
        &self,
        channel: Id,
        from: From,
        limit: usize,
        read: impl FnOnce() -> F,
    ) -> Result<Arc<Served>, StoreError>
    where
        F: Future<Output = Result<(Position, Vec<Message>), StoreError>>,
    {
        let ask = || async {
            let (position, messages) = read().await?;
            let (page, standing) = logic::page(from, limit, &position, messages);
            let body =
                Bytes::from(serde_json::to_vec(&page).map_err(|e| StoreError::Refused(e.to_string()))?);
            let served = Arc::new(Served { tag: entity_tag(&body), body, standing });
            let weight = served.body.len() + OVERHEAD_BYTES;
            if standing.closed {
                let key = (channel, place(from), Some(standing.revised), limit);
                self.known.put(key, Arc::clone(&served), weight);
            }
            self.known.put((channel, place(from), None, limit), Arc::clone(&served), weight);
            Ok(served)
        };
        self.flights.ask((channel, place(from), limit), ask).await
    }

    /// Asks for a position; once, however many ask.
    pub async fn position<F>(
        &self,
        channel: Id,
        ask: impl FnOnce() -> F,
    ) -> Result<Option<Position>, StoreError>
    where
        F: Future<Output = Result<Option<Position>, StoreError>>,
    {
        self.positions.ask(channel, ask).await
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.known.weight()
    }

    /// Pages that are being read.
    pub fn reading(&self) -> usize {
        self.flights.len()
    }
}

const fn place(from: From) -> Place {
    match from {
        From::End => (0, 0),
        From::Before(offset) => (1, offset),
        From::After(offset) => (2, offset),
    }
}
