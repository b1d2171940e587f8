//! Measures one thing and says whether it reaches its target; started by `cargo xtask bench`.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tests::bench::{BENCHES, Options, drain, measure};

#[derive(Parser)]
struct Args {
    /// What to measure; without it, the list.
    name: Option<String>,
    /// Also write the result here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Be the other end of a bare loop of `send`.
    #[arg(long, hide = true)]
    drain: Option<String>,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(spec) = &args.drain {
        return drain(spec).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let Some(name) = args.name else {
        BENCHES.iter().for_each(|bench| println!("{:12} {}", bench.name, bench.about));
        return ExitCode::SUCCESS;
    };
    let Some(bench) = BENCHES.iter().find(|bench| bench.name == name) else {
        let names: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        eprintln!("nothing called `{name}` can be measured; there is: {}", names.join(", "));
        return ExitCode::FAILURE;
    };
    match measure(bench, &args.options, args.json.as_deref()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{name}: not measured: {error:#}");
            ExitCode::FAILURE
        }
    }
}
