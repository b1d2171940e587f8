//! `cargo xtask soak bus`: edges on one bus under a mixed load while faults strike.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tests::soak::{self, Options};

/// Long runs with faults.
#[derive(Parser)]
#[command(name = "cargo xtask soak")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Publishers, subscribers who stay and some who wander, on some edges; whoever is acknowledged must have been heard.
    Bus(Options),
}

fn main() -> ExitCode {
    let What::Bus(options) = Args::parse().what;
    match soak::run(&options) {
        Ok(outcome) => {
            print!("{}", outcome.text);
            if outcome.verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}
