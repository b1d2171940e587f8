//! `cargo xtask soak`: builds the programs and the soak in release, installs what it strikes with, and hands over to it.

use anyhow::Result;

use crate::step::Report;
use crate::{install, paths};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to soak and how (`cargo xtask soak bus --bus mesh --seed 7 --minutes 10`).
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    let mut report = Report::default();
    if !install::soak(&mut report)? {
        return Ok(report.finish());
    }
    let mut build = paths::cargo(["build", "--release", "--bins"]);
    for package in ["tests", "gateway", "agent", "nodes"] {
        build.args(["--package", package]);
    }
    if !build.status()?.success() {
        return Ok(false);
    }
    let mut soak = paths::cargo(["run", "--quiet", "--release", "--package", "tests", "--bin", "soak", "--"]);
    soak.env("HEADLAND_PROGRAMS", paths::target().join("release"));
    Ok(soak.args(&args.rest).status()?.success())
}
