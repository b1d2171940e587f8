//! `cargo xtask test`: everything that must pass before a change lands, in one development build.

use std::process::Command;

use anyhow::Result;

use crate::step::Report;
use crate::{install, paths, sim};

/// Worlds of the end-to-end tests that run at a time: they mostly wait.
const WORLDS_AT_ONCE: &str = "--test-threads=4";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the end-to-end suites and what they install.
    #[arg(long)]
    no_e2e: bool,
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    let mut report = Report::default();
    let installed = args.no_e2e || install::all(&mut report)?;
    report.step("format", paths::cargo(["fmt", "--all", "--check"]))?;
    report.step("lints", lints())?;
    let built = report.step("build", paths::cargo(["build", "--workspace", "--bins"]))?;
    let mut unit = paths::cargo(["test", "--workspace", "--no-fail-fast"]);
    unit.env("SIM_SEEDS", "4");
    report.step("unit and tidy", unit)?;
    sim::step(&mut report, None, sim::GATE_SEEDS)?;
    if !args.no_e2e && installed && built {
        report.step("buses", end_to_end("bus"))?;
        report.step("redis", end_to_end("redis"))?;
        report.step("stores", end_to_end("stores"))?;
        report.step("rest", end_to_end("rest"))?;
        report.step("end to end", end_to_end("e2e"))?;
        report.step("short soaks", end_to_end("soak"))?;
    }
    Ok(report.finish())
}

fn lints() -> Command {
    let mut command = paths::cargo(["clippy", "--workspace", "--all-targets", "--features", "tests/e2e"]);
    command.args(["--", "--deny", "warnings"]);
    command
}

fn end_to_end(suite: &str) -> Command {
    let mut command = paths::cargo(["test", "--package", "tests", "--features", "e2e", "--test", suite]);
    command.args(["--", WORLDS_AT_ONCE]);
    command
        .env("HEADLAND_PROGRAMS", paths::target().join("debug"))
        .env("HEADLAND_CLIENTS", install::clients());
    command
}
