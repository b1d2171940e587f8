//! `cargo xtask fuzz`: the long, coverage-guided runs of the fuzz targets, one after the other, with what they need installed first.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step::Report;
use crate::{install, paths};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which targets; without any, all of them.
    targets: Vec<String>,
    /// How long each is run.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
}

/// An input that makes a target need more memory has failed.
const MEMORY_MB_MAX: u64 = 2048;

pub(crate) fn run(args: &Args) -> Result<bool> {
    let all = targets()?;
    if let Some(unknown) = args.targets.iter().find(|name| !all.contains(name)) {
        bail!("no target {unknown}: there are {}", all.join(", "));
    }
    let chosen = if args.targets.is_empty() { &all } else { &args.targets };
    let mut report = Report::default();
    if !install::fuzzer(&mut report)? {
        return Ok(report.finish());
    }
    let mut seeds = nightly(&["run", "--bin", "seeds"]);
    seeds.current_dir(paths::root().join("tests/fuzz"));
    if report.step("seeds", seeds)? {
        for target in chosen {
            let mut fuzz = nightly(&["fuzz", "run", target, "--", "-print_final_stats=1"]);
            fuzz.arg(format!("-max_total_time={}", args.minutes * 60));
            fuzz.arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"));
            report.step(target, fuzz)?;
        }
    }
    Ok(report.finish())
}

/// The targets' names, sorted.
fn targets() -> Result<Vec<String>> {
    let folder = paths::root().join("tests/fuzz/fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        names.extend(path.file_stem().and_then(OsStr::to_str).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// `cargo` of the nightly toolchain, whatever toolchain runs this program.
fn nightly(args: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).args(args).current_dir(paths::root().join("tests"));
    command
}
