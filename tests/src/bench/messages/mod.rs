//! Messages through a node: how many are stored in a second next to bare inserts of the same rows, how long a sender waits for the
//! acknowledgement and a reader for the message, and what a page of history costs among many messages.

mod bare;
pub(super) mod history;
mod load;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Figure, Options, Target};
use crate::client::Client;
use crate::node::{self, Node, Plan};
use crate::postgres;
use crate::rest::Rest;
use crate::wait;
use crate::world::World;
use load::{Audience, Times};

/// Channels of the load.
const CHANNELS: usize = 1000;
/// Channels of one client: what one connection may be subscribed to, less its own.
const CHANNELS_EACH: usize = 125;
/// Connections that post at once.
const CONNECTIONS: usize = 256;
const SECONDS: u64 = 8;
/// Posts a second while times are measured: less than the system can do, as in life.
const PACE: u64 = 500;
/// Everything that was posted must have been heard by then.
const HEARD_WITHIN: Duration = Duration::from_secs(30);

/// The figures of one store, by name.
struct Names {
    stored: &'static str,
    batch: &'static str,
    bare: &'static str,
    ratio: &'static str,
    single: &'static str,
    over: &'static str,
    acknowledged: [&'static str; 2],
    delivered: [&'static str; 2],
}

const SQLITE: Names = Names {
    stored: "SQLite: stored by REST",
    batch: "SQLite: messages per transaction",
    bare: "SQLite: bare inserts, as many per transaction",
    ratio: "SQLite: stored / bare inserts",
    single: "SQLite: bare inserts, one per transaction",
    over: "SQLite: stored / bare inserts, one per transaction",
    acknowledged: ["SQLite: POST to ack, p50", "SQLite: POST to ack, p99"],
    delivered: ["SQLite: POST to delivery, p50", "SQLite: POST to delivery, p99"],
};
const POSTGRES: Names = Names {
    stored: "PostgreSQL: stored by REST",
    batch: "PostgreSQL: messages per transaction",
    bare: "PostgreSQL: bare inserts, as many per transaction",
    ratio: "PostgreSQL: stored / bare inserts",
    single: "PostgreSQL: bare inserts, one per transaction",
    over: "PostgreSQL: stored / bare, one per transaction",
    acknowledged: ["PostgreSQL: POST to ack, p50", "PostgreSQL: POST to ack, p99"],
    delivered: ["PostgreSQL: POST to delivery, p50", "PostgreSQL: POST to delivery, p99"],
};

pub(super) fn run(options: &Options) -> Result<Vec<Figure>> {
    let mut figures = one(&SQLITE, None, options)?;
    figures.extend(one(&POSTGRES, Some(&postgres::Server::start()?), options)?);
    Ok(figures)
}

fn one(names: &Names, server: Option<&postgres::Server>, options: &Options) -> Result<Vec<Figure>> {
    let time = Duration::from_secs(options.seconds.unwrap_or(SECONDS));
    let place = Place::start(server, "")?;
    let began = wait::now();
    let audience = Audience::open(|person| place.connect(person), &place.people, began)?;
    let connections = options.connections.unwrap_or(CONNECTIONS);
    let post = |pace| load::post(&place.people, &place.channels, connections, time, pace, began);
    let heard = |count: u64| {
        wait::until("every message to be heard", HEARD_WITHIN, || {
            (audience.heard() as u64 >= count).then_some(())
        })
    };
    let before = place.written()?;
    let full = post(None)?;
    heard(full.count)?;
    let after = place.written()?;
    audience.forget();
    let paced = post(Some(PACE))?;
    heard(paced.count)?;
    let delivered = audience.close()?;
    let batch = (after.0 - before.0) / (after.1 - before.1).max(1.0);
    drop(place);
    let bare = bare::inserts(server, CHANNELS, batch.round() as usize, time)?;
    let single = bare::inserts(server, CHANNELS, 1, time)?;
    Ok(vec![
        Figure::told(names.stored, full.per_second, "/s"),
        Figure::told(names.batch, batch, ""),
        Figure::told(names.bare, bare, "/s"),
        Figure::aimed(names.ratio, full.per_second / bare, "x", Target::AtLeast(0.6)),
        Figure::told(names.single, single, "/s"),
        Figure::aimed(names.over, full.per_second / single, "x", Target::AtLeast(0.6)),
        Figure::told(names.acknowledged[0], Times::ms(paced.acknowledged.p50), "ms"),
        Figure::told(names.acknowledged[1], Times::ms(paced.acknowledged.p99), "ms"),
        Figure::told(names.delivered[0], Times::ms(delivered.p50), "ms"),
        Figure::told(names.delivered[1], Times::ms(delivered.p99), "ms"),
    ])
}

/// A node and an edge, people and channels: each person has an equal share of the channels.
struct Place {
    node: Node,
    world: World,
    /// Of the database.
    url: String,
    people: Vec<Rest>,
    channels: Vec<String>,
}

impl Place {
    fn start(server: Option<&postgres::Server>, text: &str) -> Result<Self> {
        let plan = Plan::new()?;
        let world = World::builder().relay(&plan.relay()).start()?;
        let url = match server {
            None => format!("sqlite:{}", plan.file("messages.db").display()),
            Some(server) => server.database()?,
        };
        let node = plan.start(&[world.http], &format!("{}{text}", node::store(&url)))?;
        let mut people = vec![Rest::found(node.http, "bench", "person-0")?];
        for number in 1..CHANNELS.div_ceil(CHANNELS_EACH) {
            people.push(Rest::register(node.http, "bench", &format!("person-{number}"))?);
        }
        // In this order each person posts to channels of her own.
        let mut channels = Vec::with_capacity(CHANNELS);
        for number in 0..CHANNELS {
            let count = people.len();
            let person = &mut people[number % count];
            let body = json!({ "name": format!("channel {number}") });
            let channel = person.call("POST", "/v1/channels", Some(&body))?.expect(201)?;
            channels.push(channel["id"].as_str().context("an id")?.to_owned());
        }
        Ok(Self { node, world, url, people, channels })
    }

    fn connect(&self, person: &Rest) -> Result<Client> {
        let mut client = Client::at(self.world.plain, &self.world.ws())?;
        let reply = client.connect(person.token())?;
        let subscribed = reply["connect"]["subs"].as_object().map_or(0, serde_json::Map::len);
        ensure!(subscribed >= CHANNELS_EACH, "subscribed to {subscribed} channels: {reply}");
        Ok(client)
    }

    /// Messages and transactions so far.
    fn written(&self) -> Result<(f64, f64)> {
        let metrics = crate::metrics::Metrics::scrape(self.node.http)?;
        Ok((
            metrics.sum("headland_node_messages_stored_total", &[]),
            metrics.sum("headland_node_transactions_total", &[]),
        ))
    }
}
