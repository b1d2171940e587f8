//! A page of history among many messages: the store is filled beside the node, then random pages are read by REST.

use std::time::Duration;

use anyhow::{Context, Result};
use nodes::ids::Ids;
use nodes::model::Id;
use nodes::store::{self, Post, Store, StoreError};
use serde_json::value::RawValue;
use sqlx::{Connection, PgConnection, SqliteConnection};

use super::load::{TEXT, Times};
use super::{Figure, Options, Place, Target};
use crate::postgres;
use crate::sim::random::Random;
use crate::wait;

/// Messages in the store: first so many, then so many.
const FEW: usize = 100_000;
const MANY: usize = 10_000_000;
/// Messages of a transaction while it is filled.
const BATCH: usize = 500;
/// How often what was filled in is taken off the hands of bus and search.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// How often a transaction is tried that finds the database locked; keys make each message one.
const TRIES: usize = 10;
/// Pages that are read, and messages of each.
const PAGES: usize = 4_000;
const PAGE: usize = 50;
/// Nothing is served from memory: what is measured is the store.
const NO_CACHE: &str = "[limits]\npage_cache_bytes = 0\n";

/// How a store is filled.
struct Way {
    /// Transactions side by side, each with channels of its own.
    lanes: usize,
    /// Messages of a channel that come after each other.
    run: usize,
}

/// Rows lie in a tree by channel, so that it matters little to where they lie when they came, and much to how long it takes.
const SQLITE: Way = Way { lanes: 1, run: 50 };
/// Rows lie as they came: from all channels in turn.
const POSTGRES: Way = Way { lanes: 4, run: 1 };

pub(in super::super) fn run(options: &Options) -> Result<Vec<Figure>> {
    let many = options.connections.unwrap_or(MANY);
    let mut figures =
        one(None, many, ["SQLite: page p99, 100,000", "SQLite: page p99, many", "SQLite: many / few"])?;
    let server = postgres::Server::start()?;
    let names = ["PostgreSQL: page p99, 100,000", "PostgreSQL: page p99, many", "PostgreSQL: many / few"];
    figures.extend(one(Some(&server), many, names)?);
    Ok(figures)
}

fn one(server: Option<&postgres::Server>, many: usize, names: [&'static str; 3]) -> Result<Vec<Figure>> {
    let place = Place::start(server, NO_CACHE)?;
    let way = if server.is_some() { &POSTGRES } else { &SQLITE };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fill = |from, to| runtime.block_on(fill(&place, way, from, to));
    fill(0, FEW)?;
    let few = pages(&place, FEW)?;
    fill(FEW, many)?;
    let full = pages(&place, many)?;
    Ok(vec![
        Figure::told(names[0], Times::ms(few.p99), "ms"),
        Figure::told(names[1], Times::ms(full.p99), "ms"),
        Figure::aimed(names[2], full.p99.as_secs_f64() / few.p99.as_secs_f64(), "x", Target::AtMost(2.0)),
    ])
}

/// Stores messages, as many in each channel, until there are so many.
async fn fill(place: &Place, way: &Way, from: usize, to: usize) -> Result<()> {
    let store = store::open(&place.url).await?;
    // A number that no node of the bench has.
    let ids = Ids::new(900);
    let workspace = number(&place.people[0].workspace["id"])?;
    let channels: Vec<Id> = place
        .channels
        .iter()
        .map(|id| id.parse().map_err(|()| anyhow::anyhow!("an id")))
        .collect::<Result<_>>()?;
    let senders: Vec<Id> =
        place.people.iter().map(|person| number(&person.user["id"])).collect::<Result<_>>()?;
    let body = RawValue::from_string(format!("{{\"text\":\"{TEXT}\"}}"))?;
    let each = to.div_ceil(channels.len()) - from / channels.len();
    let lanes = channels.chunks(channels.len().div_ceil(way.lanes)).map(|channels| {
        let (store, ids, body, senders) = (&store, &ids, &body, &senders);
        async move {
            // By rounds of so many messages of each channel.
            let total = channels.len() * each;
            for first in (0..total).step_by(BATCH) {
                let post = |index: usize| {
                    let id = ids.next(nodes::ids::time(Id(0)) + index as i64);
                    let channel = index / way.run % channels.len();
                    Post {
                        id,
                        workspace,
                        channel: channels[channel],
                        sender: senders[channel % senders.len()],
                        key: id.to_string(),
                        body: body.clone(),
                        media: String::new(),
                        at: index as i64,
                    }
                };
                store_all(&**store, (first..(first + BATCH).min(total)).map(post).collect()).await?;
            }
            anyhow::Ok(())
        }
    });
    let telling = async {
        let mut told = tokio::time::interval(TOLD_EVERY);
        loop {
            told.tick().await;
            tell(&place.url).await?;
        }
    };
    tokio::select! {
        filled = futures_util::future::try_join_all(lanes) => filled.map(|_| ()),
        told = telling => told,
    }?;
    tell(&place.url).await?;
    if !place.url.starts_with("sqlite:") {
        // As autovacuum leaves a store that has grown over months.
        sqlx::query("VACUUM ANALYZE").execute(&mut PgConnection::connect(&place.url).await?).await?;
    }
    Ok(())
}

/// The node writes too, and SQLite has one writer: its turns may be long.
async fn store_all(store: &dyn Store, posts: Vec<Post>) -> Result<()> {
    let mut tries = 1..TRIES;
    let outcomes = loop {
        match store.post(&posts).await {
            Err(StoreError::Away(_)) if tries.next().is_some() => {}
            outcomes => break outcomes?,
        }
    };
    for outcome in outcomes {
        outcome?;
    }
    Ok(())
}

/// Marks what there is as announced and findable: the bus and the search are not what is measured, and would be busy with it for hours.
async fn tell(url: &str) -> Result<()> {
    if url.starts_with("sqlite:") {
        let mark =
            "UPDATE streams SET announced = top, findable = top WHERE top > announced OR top > findable";
        sqlx::query(mark).execute(&mut SqliteConnection::connect(url).await?).await?;
        return Ok(());
    }
    let mut connection = PgConnection::connect(url).await?;
    let marks = [
        "SELECT mark_announced(array_agg(channel ORDER BY channel), array_agg(top ORDER BY channel))
         FROM streams WHERE top > announced",
        "SELECT mark_findable(array_agg(channel ORDER BY channel), array_agg(findable ORDER BY channel),
             array_agg(top ORDER BY channel)) FROM streams WHERE top > findable",
    ];
    for mark in marks {
        sqlx::query(mark).execute(&mut connection).await?;
    }
    Ok(())
}

fn number(id: &serde_json::Value) -> Result<Id> {
    id.as_str().and_then(|id| id.parse().ok()).context("an id")
}

/// Reads pages at random places of random channels.
fn pages(place: &Place, messages: usize) -> Result<Times> {
    let mut random = Random::new(messages as u64);
    let mut readers: Vec<_> = place.people.iter().map(crate::rest::Rest::another).collect();
    let each = messages / place.channels.len();
    let mut times: Vec<Duration> = Vec::with_capacity(PAGES);
    for _ in 0..PAGES {
        let channel = random.index(place.channels.len());
        let count = readers.len();
        let reader = &mut readers[channel % count];
        let before = random.between(2, each as u64);
        let path =
            format!("/v1/channels/{}/messages?before={before}.0&limit={PAGE}", place.channels[channel]);
        let began = wait::now();
        reader.call("GET", &path, None)?.expect(200)?;
        times.push(began.elapsed());
    }
    Ok(Times::of(times))
}
