//! `cargo xtask sim`: the seeded simulator, which is a test program of the `tests` package.

use anyhow::Result;

use crate::paths;
use crate::step::Report;

/// Seeds of the gate.
pub(crate) const GATE_SEEDS: u64 = 64;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run this one seed and print its trace.
    #[arg(long, env = "SIM_SEED")]
    seed: Option<u64>,
    /// How many seeds to run.
    #[arg(long, env = "SIM_SEEDS", default_value_t = GATE_SEEDS)]
    seeds: u64,
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    let mut report = Report::default();
    step(&mut report, args.seed, args.seeds)?;
    Ok(report.finish())
}

/// The simulator as a step.
pub(crate) fn step(report: &mut Report, seed: Option<u64>, seeds: u64) -> Result<bool> {
    let mut command = paths::cargo(["test", "--package", "tests", "--test", "sim"]);
    command.env("SIM_SEEDS", seeds.to_string());
    let name = match seed {
        Some(seed) => {
            command.env("SIM_SEED", seed.to_string()).args(["--", "--nocapture"]);
            format!("sim, seed {seed}")
        }
        None => format!("sim, {seeds} seeds"),
    };
    report.step(&name, command)
}
