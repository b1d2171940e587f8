//! Soaking: real edges on one bus under a mixed load while faults strike, and books of what was promised and what came of it.

pub mod ledger;
mod net;
mod people;
mod place;
mod stored;
mod strike;

use std::fmt::Write;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

pub use place::Kind;
pub use stored::Store;

use crate::client::Client;
use crate::credentials::hs256;
use crate::sim::random::Random;
use crate::wait;
use crate::world::SECRET;
use ledger::{Channel, FAULTS_SAID_MAX, Verdict};
use people::{Shared, Subscriber};
use place::Place;

/// Channels of the load.
const CHANNELS: usize = 24;
/// Subscribers on each edge, and how many of those go away now and then.
const SUBSCRIBERS: usize = 8;
const WANDERERS: usize = 3;
/// Channels of one subscriber.
const CHANNELS_EACH: usize = 12;
/// Publishers on each edge.
const PUBLISHERS: usize = 3;
/// What a publisher waits between two publications.
const PUBLISH_PAUSE: Duration = Duration::from_millis(25);
/// Between two looks at whether all has come: a look reads all books.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two faults, in milliseconds, at least and at most.
const CALM_MS: (u64, u64) = (2_000, 6_000);
/// After the last fault everything that was acknowledged must have come within this.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);

/// What is to be soaked.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Which bus.
    #[arg(long, value_enum, default_value = "redis")]
    pub bus: Kind,
    /// The same seed strikes in the same order.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long faults strike, in minutes.
    #[arg(long, default_value_t = 10.0)]
    pub minutes: f64,
    /// How many edges.
    #[arg(long, default_value_t = 3)]
    pub edges: usize,
    /// Channels are a node's, which stores what is published; nodes and the database are struck too.
    #[arg(long, value_enum)]
    pub store: Option<Store>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The comparison of the books.
    pub verdict: Verdict,
    /// For people.
    pub text: String,
}

/// Runs it.
pub fn run(options: &Options) -> Result<Outcome> {
    let users = users(options.edges);
    let mut place = Place::start(options.bus, options.edges, (options.store, CHANNELS, &users))?;
    let stored = place.stored.as_ref();
    let tokens = stored.map(|stored| stored.tokens.clone());
    let mut posters = match stored {
        None => Vec::new(),
        Some(stored) => {
            let poster = |number| stored.poster(&people::publisher_name(number), number).map(Some);
            (0..options.edges * PUBLISHERS).map(poster).collect::<Result<_>>()?
        }
    };
    let names = match stored {
        None => (0..CHANNELS).map(|channel| format!("soak:{channel}")).collect(),
        Some(stored) => stored.names(),
    };
    let ports: Vec<_> = place.edges().map(|edge| (edge.ws(), edge.plain)).collect();
    let connect = |edge: usize, user: &str| -> Result<Client> {
        let (url, address) = &ports[edge];
        let mut client = Client::at(*address, url)?;
        let token = match &tokens {
            None => hs256(SECRET, &json!({ "sub": user }))?,
            Some(tokens) => tokens.get(user).cloned().with_context(|| format!("no user {user}"))?,
        };
        let reply = client.connect(&token)?;
        anyhow::ensure!(reply.get("connect").is_some(), "connect was answered {reply}");
        Ok(client)
    };
    let shared = Shared::new(names, options.store.is_some());
    let mut strikes = Vec::new();
    let broken: Vec<anyhow::Error> = thread::scope(|scope| -> Result<Vec<anyhow::Error>> {
        let (shared, connect) = (&shared, &connect);
        let mut listeners = Vec::new();
        for edge in 0..options.edges {
            for number in 0..SUBSCRIBERS {
                let subscriber = Subscriber::new(
                    edge * SUBSCRIBERS + number,
                    channels(edge, number),
                    number < WANDERERS,
                    shared,
                );
                listeners.push(scope.spawn(move || subscriber.listen(&|user| connect(edge, user))));
            }
            for number in 0..PUBLISHERS {
                let number = edge * PUBLISHERS + number;
                let poster = posters.get_mut(number).and_then(Option::take);
                scope.spawn(move || {
                    people::publisher(number, PUBLISH_PAUSE, &|user| connect(edge, user), poster, shared);
                });
            }
        }
        let struck = strike(&mut place, options, &mut strikes);
        settle(shared);
        shared.over.store(true, std::sync::atomic::Ordering::Relaxed);
        let ends = listeners.into_iter().filter_map(|listener| listener.join().ok()?.err()).collect();
        struck.map(|()| ends)
    })?;
    if let Some(error) = broken.into_iter().next() {
        return Err(error.context("a subscriber"));
    }
    let repaired = place.repaired();
    let stored = match &place.stored {
        None => None,
        Some(stored) => {
            let books = shared.books.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Some(stored.check(&books)?)
        }
    };
    Ok(report(options, &shared, &strikes, repaired, stored))
}

/// Everybody's names.
fn users(edges: usize) -> Vec<String> {
    let publishers = (0..edges * PUBLISHERS).map(people::publisher_name);
    publishers.chain((0..edges * SUBSCRIBERS).map(people::subscriber_name)).collect()
}

/// Each subscriber has half of the channels, and each channel has subscribers on every edge.
fn channels(edge: usize, number: usize) -> Vec<Channel> {
    (0..CHANNELS_EACH).map(|index| (edge + number + index * 2) % CHANNELS).collect()
}

/// Strikes until the time is over; what is broken by then is mended.
fn strike(place: &mut Place, options: &Options, strikes: &mut Vec<&'static str>) -> Result<()> {
    let mut random = Random::new(options.seed);
    let faults = strike::faults(place);
    let until = wait::now() + Duration::from_secs_f64(options.minutes * 60.0);
    wait::pause(Duration::from_millis(CALM_MS.0));
    while wait::now() < until {
        let fault = random.pick(&faults);
        eprintln!("{:>6.1} s left: {}", (until - wait::now()).as_secs_f64(), fault.name);
        (fault.strike)(place, &mut random).with_context(|| fault.name)?;
        strikes.push(fault.name);
        wait::pause(Duration::from_millis(random.between(CALM_MS.0, CALM_MS.1)));
    }
    place.check()
}

/// Publishers end, then everybody gets what is still on its way.
fn settle(shared: &Shared) {
    use std::sync::atomic::Ordering::Relaxed;
    shared.quiet.store(true, Relaxed);
    let whole = || {
        wait::pause(LOOK_EVERY);
        let books = shared.books.lock().ok()?;
        books.verdict().is_good().then_some(())
    };
    // Not reached is not an error here: the books say what is missing.
    let _ = wait::until("everything to arrive", SETTLED_WITHIN, whole);
}

fn report(
    options: &Options,
    shared: &Shared,
    strikes: &[&'static str],
    repaired: u64,
    stored: Option<(u64, Vec<String>)>,
) -> Outcome {
    use std::sync::atomic::Ordering::Relaxed;
    let books = shared.books.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut verdict = books.verdict();
    let mut count = 0;
    if let Some((messages, wrong)) = stored {
        count = messages;
        verdict.lost += wrong.len() as u64;
        verdict.faults.extend(wrong.into_iter().take(FAULTS_SAID_MAX));
    }
    let acknowledged: usize = books.acknowledged.values().map(std::collections::BTreeMap::len).sum();
    let mut counts = std::collections::BTreeMap::new();
    for strike in strikes {
        *counts.entry(*strike).or_insert(0) += 1;
    }
    let faults: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}x")).collect();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "soak: {:?}{}, seed {}, {} edges, {:.1} minutes; faults: {}",
        options.bus,
        options.store.map_or_else(String::new, |store| format!(" with nodes over {store:?}")),
        options.seed,
        options.edges,
        options.minutes,
        if faults.is_empty() { "none".to_owned() } else { faults.join(", ") },
    );
    let rows = [
        ("published", shared.published.load(Relaxed)),
        ("attempts refused or unanswered, and repeated", shared.refused.load(Relaxed)),
        ("acknowledged", acknowledged as u64),
        ("stored", count),
        ("delivered", verdict.delivered),
        ("repaired", repaired),
        ("recovered", verdict.recovered),
        ("told that something is gone", verdict.told),
        ("lost", verdict.lost),
        ("duplicated", verdict.duplicated),
        ("out of order", verdict.disordered),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "  {name:<46} {value:>10}");
    }
    for fault in &verdict.faults {
        let _ = writeln!(text, "  {fault}");
    }
    Outcome { verdict, text }
}
