//! `headland-gateway`: the command line.
#![forbid(unsafe_code)]

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};
use gateway::{config, run};

/// Holds TLS WebSockets at the edge and relays their traffic to the headland-relay of the same box.
#[derive(Parser)]
#[command(version, name = "headland-gateway")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run until SIGTERM (which drains) or SIGINT.
    Run {
        /// The configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
    /// Check a configuration file and the environment, and say what is wrong.
    CheckConfig {
        /// The configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
    /// Print the default configuration with an explanation of each key.
    PrintDefaultConfig,
}

fn main() -> ExitCode {
    match start(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headland-gateway: {error:#}");
            if error.is::<wire::config::ConfigError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn start(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run { config } => run::run(&read(&config)?),
        Command::CheckConfig { config } => {
            read(&config)?;
            println!("{}: good", config.display());
            Ok(())
        }
        Command::PrintDefaultConfig => {
            print!("{}", wire::config::document::<config::Config>("Configuration of headland-gateway."));
            Ok(())
        }
    }
}

fn read(path: &PathBuf) -> anyhow::Result<config::Config> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.display().to_string();
    Ok(config::load(&name, &text, std::env::vars())?.value)
}
