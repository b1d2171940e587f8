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
    let load = hold_them(count, options.seconds.unwrap_or(IDLE_SECONDS), &["--subscribe", "tick-{n%1000}"])?;
    let cores = load.figure("server CPU while held")? / load.figure("held")?;
    Ok(vec![
        Figure::told("connections", count as f64, ""),
        Figure::told("CPU per 100,000 connections", cores * 100.0 * 100_000.0 / count as f64, "% of a core"),
    ])
}

/// Everybody stays and everybody gets a publication at the end.
pub(super) fn hold(options: &Options) -> Result<Vec<Figure>> {
    let count = options.connections.unwrap_or(HOLD_CONNECTIONS);
    let seconds = options.seconds.unwrap_or(HOLD_SECONDS);
    let args = ["--subscribe", "tick-all", "--final-broadcast", "--patience", "120"];
    let load = hold_them(count, seconds, &args)?;
    Ok(vec![
        Figure::aimed("held", load.figure("connections opened")?, "", Target::AtLeast(count as f64)),
        Figure::aimed("lost", load.figure("connections lost")?, "", Target::AtMost(0.0)),
        Figure::aimed(
            "received at the end",
            load.figure("received the final broadcast")?,
            "",
            Target::AtLeast(count as f64),
        ),
        Figure::told("final broadcast took", load.figure("final broadcast took")?, "s"),
        Figure::told("opened per second", load.figure("opened per second")?, "/s"),
    ])
}

fn hold_them(count: usize, seconds: u64, args: &[&str]) -> Result<Load> {
    let world = World::builder()
        .gateway(&format!("[limits]\nconnections = {}\n", count + count / 50 + 1_000))
        .start()?;
    let (connections, seconds) = (count.to_string(), seconds.to_string());
    let all = [&["-n", &connections, "--seconds", &seconds], args].concat();
    Load::run(&world, "idle", true, &all)
}
