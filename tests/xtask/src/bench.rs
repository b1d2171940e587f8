//! `cargo xtask bench`: builds the programs and the bench program in release and hands over to it.

use std::path::PathBuf;

use anyhow::Result;

use crate::step::Report;
use crate::{install, paths};

/// Those that start Redis or PostgreSQL.
const WITH_SERVERS: &[&str] = &["bus", "recovery", "messages", "history"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure; without it, the list.
    name: Option<String>,
    /// Also write the result here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Options of the bench itself (`cargo xtask bench hold --connections 1000000`).
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    let servers = args.name.as_deref().is_some_and(|name| WITH_SERVERS.contains(&name));
    let mut report = Report::default();
    if servers && !install::soak(&mut report)? {
        return Ok(report.finish());
    }
    let mut build = paths::cargo(["build", "--release", "--bins"]);
    for package in ["tests", "gateway", "agent", "nodes", "loadgen"] {
        build.args(["--package", package]);
    }
    if args.name.is_some() && !build.status()?.success() {
        return Ok(false);
    }
    let mut bench =
        paths::cargo(["run", "--quiet", "--release", "--package", "tests", "--bin", "bench", "--"]);
    bench.env("HEADLAND_PROGRAMS", paths::target().join("release")).args(&args.name);
    if let Some(json) = &args.json {
        bench.arg("--json").arg(std::path::absolute(json)?);
    }
    Ok(bench.args(&args.rest).status()?.success())
}
