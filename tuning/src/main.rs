//! `headland-tuning`: prints what N connections need of this machine and what is missing. Changes nothing.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tuning::{CONNECTIONS_MAX, CONNECTIONS_REFERENCE, Host, Needs, Side};

/// Reads the kernel's limits and says what N connections need.
#[derive(Parser)]
#[command(name = "headland-tuning", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print every limit beside what is needed, with the command that mends it. Exit 0: nothing is too low; 1: something is;
    /// 2: the limits cannot be read.
    Check {
        #[command(flatten)]
        size: Size,
        /// New connections per second. Without it, all of them may come at once.
        #[arg(long, default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(u64).range(0..=CONNECTIONS_MAX))]
        rate: u64,
        /// Shards of the gateway (threads of a load generator), each with a file table of its own. Without it, one per core.
        #[arg(long, visible_alias = "tables", value_parser = clap::value_parser!(u64).range(1..=4096))]
        shards: Option<u64>,
        /// The connections are opened here rather than accepted, from this many source addresses.
        #[arg(long, value_name = "SOURCES", value_parser = clap::value_parser!(u64).range(1..))]
        generator: Option<u64>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a sysctl.conf for an edge with N connections.
    #[command(visible_alias = "render")]
    Sysctl {
        #[command(flatten)]
        size: Size,
    },
}

#[derive(clap::Args)]
struct Size {
    /// Connections at once.
    #[arg(long, value_name = "N", default_value_t = CONNECTIONS_REFERENCE, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    connections: u64,
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Check { size, rate, shards, generator, json } => {
            let host = Host::default();
            let tables = shards.unwrap_or_else(|| host.cores());
            let side = generator.map_or(Side::Edge, |sources| Side::Generator { sources });
            check(&host, &Needs { connections: size.connections, rate, tables, side }, json)
        }
        Command::Sysctl { size } => {
            print(&tuning::sysctl(&Needs::edge(size.connections, 1)));
            ExitCode::SUCCESS
        }
    }
}

fn check(host: &Host, needs: &Needs, json: bool) -> ExitCode {
    match tuning::survey(host, needs) {
        Ok(survey) => {
            let said = if json { tuning::json(&survey, needs) } else { tuning::text(&survey, needs) };
            print(&said);
            ExitCode::from(u8::from(!survey.fits()))
        }
        Err(error) => {
            eprintln!("headland-tuning: {error}");
            ExitCode::from(2)
        }
    }
}

/// A reader that has seen enough (`| head`) is no error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
