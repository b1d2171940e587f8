//! Holding many TLS connections in one gateway process: what they cost while idle, and whether all of them are there at the end.

use anyhow::Result;

use super::load::Load;
use super::{Figure, Options, Target};
use crate::world::World;

const IDLE_CONNECTIONS: usize = 100_000;
const IDLE_SECONDS: u64 = 60;
const HOLD_CONNECTIONS: usize = 200_000;
const HOLD_SECONDS: u64 = 60;

/// CPU per 100,000 connections with 25 s pings.
pub(super) fn idle(options: &Options) -> Result<Vec<Figure>> {
    let count = options.connections.unwrap_or(IDLE_CONNECTIONS);
    let world = world(count)?;
    let time = options.seconds.unwrap_or(IDLE_SECONDS).to_string();
    let args = ["-n", &count.to_string(), "--seconds", &time, "--subscribe", "tick-{n%1000}"];
    let load = Load::run(&world, "idle", true, &args)?;
    let each = load.figure("server CPU per 100000 connections")?;
    Ok(vec![
        Figure::told("connections", count as f64, ""),
        Figure::told("CPU per 100,000 connections", each, "% of a core"),
    ])
}

/// Everybody stays and everybody gets a publication at the end.
pub(super) fn hold(options: &Options) -> Result<Vec<Figure>> {
    let count = options.connections.unwrap_or(HOLD_CONNECTIONS);
    let world = world(count)?;
    let time = options.seconds.unwrap_or(HOLD_SECONDS).to_string();
    let args = ["-n", &count.to_string(), "--seconds", &time, "--subscribe", "tick-all"];
    // A machine that does both ends gains nothing from more handshakes at once than it can work on.
    let end = ["--final-broadcast", "--patience", "120", "--opening", "16"];
    let load = Load::attempt(&world, "idle", true, &[args.as_slice(), &end].concat())?;
    if !load.broken().is_empty() {
        println!("{}", load.broken());
    }
    let all = count as f64;
    let told = load.figure("final broadcast received by").unwrap_or(0.0);
    let last_ms = load.figure("final broadcast, last received after").unwrap_or(f64::NAN);
    Ok(vec![
        Figure::aimed("opened", load.figure("connections opened")?, "", Target::AtLeast(all)),
        Figure::aimed("lost", load.figure("connections lost")?, "", Target::AtMost(0.0)),
        Figure::aimed("reached at the end", told, "", Target::AtLeast(all)),
        Figure::told("last one reached after", last_ms / 1e3, "s"),
        Figure::told("opened per second", load.figure("opened per second")?, "/s"),
        Figure::told("gateway, private", world.gateway.private_bytes()? as f64 / 1e6, "MB"),
        Figure::told("gateway, CPU in all", world.gateway.cpu()?.as_secs_f64(), "s"),
    ])
}

/// A world with room for so many and a publisher.
fn world(count: usize) -> Result<World> {
    let room = count + count / 50 + 1_000;
    World::builder().gateway(&format!("[limits]\nconnections = {room}\n")).start()
}
