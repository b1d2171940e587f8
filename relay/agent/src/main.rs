//! The command line of `headland-relay`.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use agent::StartError;
use clap::{Parser, Subcommand};

/// Headland's relay: bus, credentials and metrics of an edge box.
#[derive(Parser)]
#[command(name = "headland-relay", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run until SIGTERM; SIGHUP reads the configuration, certificates and keys again.
    Run {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Check a configuration with the certificates and keys it names, and exit.
    CheckConfig {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Print every key with its default and what it is for.
    PrintDefaultConfig,
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Run { config } => agent::run(&config),
        Command::CheckConfig { config } => agent::check_config(&config).map(|summary| println!("{summary}")),
        Command::PrintDefaultConfig => {
            print!("{}", agent::config::document());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headland-relay: {error}");
            ExitCode::from(code(&error))
        }
    }
}

/// 2 when the configuration must be changed, 1 when the machine must.
const fn code(error: &StartError) -> u8 {
    if error.is_config() { 2 } else { 1 }
}
