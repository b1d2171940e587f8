//! User-space memory of the gateway per idle, authenticated connection with one subscription: the slope of its private memory
//! between two levels, so that what a process needs anyway does not count; and the same at twice as many.

use anyhow::Result;

use super::load::Load;
use super::{Figure, Options, Target};
use crate::world::World;

/// Where the slope begins and ends, and where it is taken again.
const LEVELS: [usize; 3] = [20_000, 100_000, 200_000];
/// One subscription each, a thousand channels in all.
const CHANNEL: &str = "tick-{n%1000}";

pub(super) fn run(options: &Options) -> Result<Vec<Figure>> {
    let scale = options.connections.unwrap_or(LEVELS[2]);
    let levels = LEVELS.map(|level| level * scale / LEVELS[2]);
    let (secure, whole) = slopes(levels, true, CHANNEL)?;
    let (plain, _) = slopes(levels, false, CHANNEL)?;
    let (alone, _) = slopes(levels, true, "tick-{n}")?;
    Ok(vec![
        Figure::aimed("TLS", secure, "B/conn", Target::AtMost(384.0)),
        Figure::aimed("TLS at twice as many", whole, "B/conn", Target::AtMost(384.0)),
        Figure::aimed("plain", plain, "B/conn", Target::AtMost(256.0)),
        Figure::told("TLS, a channel each", alone, "B/conn"),
    ])
}

/// The slopes from the first level to the second and to the third, in a world of its own.
fn slopes(levels: [usize; 3], secure: bool, channel: &str) -> Result<(f64, f64)> {
    let world =
        World::builder().gateway(&format!("[limits]\nconnections = {}\n", levels[2] + 1_000)).start()?;
    let count = levels[2].to_string();
    let steps = levels.map(|level| level.to_string()).join(",");
    let args = ["-n", &count, "--steps", &steps, "--subscribe", channel, "--settle", "5", "--seconds", "1"];
    let load = Load::run(&world, "idle", secure, &args)?;
    let at = |level: usize| load.figure(&format!("server private bytes at {level} connections"));
    let slope = |from: usize, to: usize| Ok::<_, anyhow::Error>((at(to)? - at(from)?) / (to - from) as f64);
    Ok((slope(levels[0], levels[1])?, slope(levels[0], levels[2])?))
}
