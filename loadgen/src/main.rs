//! `headland-loadgen`: parses options, warns of what the machine lacks, runs the mode and prints its report.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use loadgen::mode::Mode;
use loadgen::options::Args;
use loadgen::report::Report;

/// A bad option, or a machine that cannot do what is asked; the same as the option parser's.
const UNFIT: u8 = 2;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(report) => ExitCode::from(report.outcome() as u8),
        Err(error) => {
            eprintln!("headland-loadgen: {error:#}");
            ExitCode::from(UNFIT)
        }
    }
}

fn run(args: &Args) -> Result<Report> {
    let mode = Mode::new(&args.mode).map_err(anyhow::Error::msg)?;
    let plan = mode.plan();
    let mut stopped = false;
    for (stops, sentence) in plan.lacks() {
        stopped |= stops;
        eprintln!("{}: {sentence}", if stops { "limit" } else { "note" });
    }
    if stopped && !plan.force {
        bail!("this machine's limits are too low for the run (--force runs it all the same)");
    }
    let report = mode.run().map_err(anyhow::Error::msg)?;
    show(&report, plan.json.as_deref())?;
    Ok(report)
}

/// The table goes to standard output, unless the JSON does.
fn show(report: &Report, json: Option<&Path>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match json {
        Some(path) if path == Path::new("-") => writeln!(out, "{}", report.json())?,
        Some(path) => {
            let mut file = File::create(path).with_context(|| path.display().to_string())?;
            writeln!(file, "{}", report.json())?;
            write!(out, "{}", report.table())?;
        }
        None => write!(out, "{}", report.table())?,
    }
    Ok(())
}
