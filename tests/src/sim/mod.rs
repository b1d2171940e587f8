//! The seeded simulator: the gateway's real loop on a fake kernel, with the relay's real broker behind a link of real frames, and
//! model clients that check everything they are told. One seed makes the world, its faults and its clock.
//!
//! Safety is checked after each turn; at the end faults stop, everybody reads, and all that is owed has to arrive.

mod client;
mod doorman;
mod echoed;
mod http;
mod kernel;
mod ledger;
mod meter;
mod plan;
mod plant;
pub(crate) mod random;
mod relay;
mod secure;
mod settle;
mod socket;
mod system;
mod token;
mod trace;
mod view;
mod wire;
mod world;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

pub use plant::Plant;
use trace::Trace;
use world::World;

/// How a seed went that held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Of the whole trace.
    pub hash: u64,
    /// Events in it.
    pub events: u64,
    /// Whether some listener spoke TLS.
    pub tls: bool,
}

/// What a seed has shown.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The turn of the loop.
    pub step: u32,
    /// What does not hold.
    pub what: String,
    /// The last events.
    pub events: Vec<String>,
}

/// Runs a seed, with a bug planted or not.
pub fn run(seed: u64, plant: Plant) -> Result<Run, Failure> {
    run_traced(seed, plant, &Trace::default())
}

/// Runs a seed and prints every event.
pub fn run_aloud(seed: u64) -> Result<Run, Failure> {
    let trace = Trace::default();
    trace.speak();
    run_traced(seed, Plant::Nothing, &trace)
}

fn run_traced(seed: u64, plant: Plant, trace: &Trace) -> Result<Run, Failure> {
    let outcome = catch_unwind(AssertUnwindSafe(|| live(seed, plant, trace)));
    let what = match outcome {
        Ok(Ok(tls)) => {
            let (hash, events) = trace.hash();
            return Ok(Run { hash, events, tls });
        }
        Ok(Err(what)) => what,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            format!("panic: {}", text.unwrap_or("without words"))
        }
    };
    Err(Failure { seed, step: trace.step(), what, events: trace.last() })
}

fn live(seed: u64, plant: Plant, trace: &Trace) -> Result<bool, String> {
    let mut world = World::new(seed, plant, trace)?;
    world.live()?;
    Ok(world.plan.listeners.contains(&true))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} fails in turn {}: {}", self.seed, self.step, self.what)?;
        writeln!(f, "the last events (turn, time, what, who: how much):")?;
        for event in &self.events {
            writeln!(f, "  {event}")?;
        }
        write!(f, "replay: SIM_SEED={} cargo xtask sim", self.seed)
    }
}
