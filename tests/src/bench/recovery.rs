//! A whole crowd comes back at once to the same channels of two edges around one Redis: how often history is asked, and how long it takes.

use std::thread;

use anyhow::Result;
use serde_json::json;

use super::load::Load;
use super::{Figure, Options, Target};
use crate::bus;
use crate::client::Client;
use crate::redis::Server;
use crate::wait;
use crate::world::World;

const CLIENTS: usize = 20_000;
const EDGES: usize = 2;
const CHANNELS: usize = 50;
/// Publications in each channel, and after which of them the crowd left.
const PUBLICATIONS: usize = 20;
const LEFT_AFTER: usize = 5;
/// Reads of history, whoever asked for them.
const READS: &str = "headland_relay_bus_reads_total";

pub(super) fn run(options: &Options) -> Result<Vec<Figure>> {
    let clients = options.connections.unwrap_or(CLIENTS);
    let redis = Server::start()?;
    let bus = format!(
        "{}[[channel.namespaces]]\nname = \"replay\"\nhistory_size = 100\nhistory_ttl = \"10m\"\n\
         force_recovery = true\nallow_subscribe_for_client = true\nallow_publish_for_client = true\n",
        bus::star(&redis.address())
    );
    let edge = || World::builder().relay(&bus).start();
    let worlds: Vec<World> = (0..EDGES).map(|_| edge()).collect::<Result<_>>()?;
    publish(&worlds[0])?;
    let before = reads(&worlds)?;
    let began = wait::now();
    let loads: Vec<Load> = thread::scope(|scope| {
        let each = (clients / EDGES).to_string();
        let from = LEFT_AFTER.to_string();
        let runs: Vec<_> = worlds
            .iter()
            .map(|world| {
                let (each, from) = (each.clone(), from.clone());
                scope.spawn(move || {
                    let channel = format!("replay:{{n%{CHANNELS}}}");
                    let args =
                        ["-n", &each, "--subscribe", &channel, "--recover-from", &from, "--seconds", "1"];
                    Load::run(world, "idle", false, &args)
                })
            })
            .collect();
        let join = |run: thread::ScopedJoinHandle<'_, Result<Load>>| {
            run.join().map_err(|_| anyhow::anyhow!("a thread of the bench panicked"))?
        };
        runs.into_iter().map(join).collect::<Result<_>>()
    })?;
    let took = wait::now() - began;
    let queries = reads(&worlds)? - before;
    let sum = |name: &str| loads.iter().map(|load| load.figure(name)).sum::<Result<f64>>();
    let recovered = sum("recovered")?;
    let publications = sum("publications recovered")?;
    let rates: Vec<f64> = loads.iter().map(|load| load.figure("opened per second")).collect::<Result<_>>()?;
    let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let missed = (PUBLICATIONS - LEFT_AFTER) as f64;
    Ok(vec![
        Figure::told("clients", clients as f64, ""),
        Figure::aimed("recovered", recovered, "", Target::AtLeast(clients as f64)),
        Figure::aimed(
            "publications recovered for each",
            publications / recovered,
            "",
            Target::AtLeast(missed),
        ),
        Figure::aimed("history queries", queries, "", Target::AtMost((CHANNELS * EDGES) as f64)),
        Figure::told("all recovered within", (clients / EDGES) as f64 / slowest, "s"),
        Figure::told("with the load generators' start and end", took.as_secs_f64(), "s"),
    ])
}

/// Fills the channels, before anybody wants them.
fn publish(world: &World) -> Result<()> {
    let mut client = Client::of(world, "publisher")?;
    for channel in 0..CHANNELS {
        for number in 0..PUBLICATIONS {
            client.publish(&format!("replay:{channel}"), &json!({ "number": number }))?;
        }
    }
    Ok(())
}

fn reads(worlds: &[World]) -> Result<f64> {
    worlds.iter().map(|world| Ok(world.metrics()?.sum(READS, &[]))).sum()
}
