//! `cargo xtask bench`: builds the programs and the bench program in release and hands over to it.

use std::path::PathBuf;

use anyhow::Result;

use crate::paths;

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
    let build = ["build", "--release", "--package", "tests", "--package", "gateway", "--package", "agent"];
    let mut build = paths::cargo(build);
    build.args(["--package", "loadgen", "--bins"]);
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
