//! `headland-tuning`: prints what N connections need of this machine and what is missing. Changes nothing.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tuning::{CONNECTIONS_REFERENCE, Host, Needs, Side, Weight};

/// Reads the kernel's limits and says what N connections need.
#[derive(Parser)]
#[command(name = "headland-tuning", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print every limit beside what is needed; exit 1 when one would stop connections.
    Check {
        /// Connections at once.
        #[arg(long, default_value_t = CONNECTIONS_REFERENCE)]
        connections: u64,
        /// Threads with a file table each (shards of a gateway, threads of a load generator).
        #[arg(long, default_value_t = 1)]
        tables: u64,
        /// The connections are opened here rather than accepted, from this many source addresses.
        #[arg(long, value_name = "SOURCES")]
        generator: Option<u64>,
    },
    /// Print a sysctl.conf for an edge with N connections.
    Sysctl {
        /// Connections at once.
        #[arg(long, default_value_t = CONNECTIONS_REFERENCE)]
        connections: u64,
    },
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Check { connections, tables, generator } => {
            let side = generator.map_or(Side::Edge, |sources| Side::Generator { sources });
            let limits =
                tuning::limits(&Host::default(), &Needs { connections, tables: tables.max(1), side });
            print!("{}", tuning::table(&limits));
            let stopped = limits.iter().any(|limit| !limit.met() && limit.weight == Weight::Stops);
            ExitCode::from(u8::from(stopped))
        }
        Command::Sysctl { connections } => {
            print!("{}", tuning::sysctl(&Needs::edge(connections, 1)));
            ExitCode::SUCCESS
        }
    }
}
