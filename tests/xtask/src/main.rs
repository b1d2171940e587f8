//! `cargo xtask`: the one tool of this repository. It starts cargo, the programs and the client libraries, and says how it went;
//! what is tested and measured lives in the `tests` package.
#![forbid(unsafe_code)]

mod bench;
mod conformance;
mod fuzz;
mod gate;
mod install;
mod paths;
mod sim;
mod soak;
mod step;
mod supervise;
mod tidy;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, runs, tests and measures Headland.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_flag = false)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Start a secure edge on this machine: release build, development certificate, relay and gateway. One Ctrl-C stops all.
    Up(up::Args),
    /// Install what is missing, then run everything that must pass: format, lints, unit and tidy tests, 64 seeds, end to end.
    Test(gate::Args),
    /// Run the simulator: some seeds, or one again (SIM_SEED=.. cargo xtask sim).
    Sim(sim::Args),
    /// Measure. Without a name, list what can be measured.
    Bench(bench::Args),
    /// Run a large suite of other people's, installing what it needs. Without a name, list them.
    Conformance(conformance::Args),
    /// Run the fuzz targets for long, with coverage, installing what that needs.
    Fuzz(fuzz::Args),
    /// Run edges on one bus for long while faults strike: `soak bus --bus redis --seed 7 --minutes 10`.
    Soak(soak::Args),
    /// Check the arrows between crates and the other rules that a compiler does not know.
    Tidy,
}

fn main() -> ExitCode {
    let outcome = match Args::parse().task {
        Task::Up(args) => up::run(&args),
        Task::Test(args) => gate::run(&args),
        Task::Sim(args) => sim::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Conformance(args) => conformance::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Tidy => tidy::run(),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
