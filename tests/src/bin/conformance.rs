//! Lets tools of others judge a running edge; started by `cargo xtask conformance`, which installs them.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tests::conformance::{slow, tls, websocket};

#[derive(Parser)]
struct Args {
    /// Where results are written.
    #[arg(long)]
    results: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// sslyze and testssl.sh.
    Tls {
        /// A Python that has sslyze.
        #[arg(long)]
        python: PathBuf,
        /// testssl.sh.
        #[arg(long)]
        testssl: PathBuf,
    },
    /// slowhttptest.
    Slow {
        /// The program.
        #[arg(long)]
        slowhttptest: PathBuf,
    },
    /// The cases of the Autobahn suite.
    Websocket,
}

fn main() -> ExitCode {
    let Args { results, what } = Args::parse();
    let outcome = match what {
        What::Slow { slowhttptest } => slow::run(&slowhttptest, &results),
        What::Websocket => websocket::run(&results),
        What::Tls { python, testssl } => tls::run(&tls::Scanners { python, testssl }, &results),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {error:#}");
            ExitCode::FAILURE
        }
    }
}
