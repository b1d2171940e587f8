//! `cargo xtask tidy`: runs the tidy test alone.

use anyhow::Result;

use crate::paths;
use crate::step::Report;

pub(crate) fn run() -> Result<bool> {
    let mut report = Report::default();
    report.step("tidy", paths::cargo(["test", "--package", "tests", "--test", "tidy"]))?;
    Ok(report.finish())
}
