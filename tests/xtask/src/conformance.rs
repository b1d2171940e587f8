//! `cargo xtask conformance`: suites too large for the gate, each with what it needs installed first.

use std::process::Command;

use anyhow::{Result, bail};

use crate::step::Report;
use crate::{install, paths};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which suite; without it, the list.
    name: Option<String>,
}

/// A suite: its name, what it shows, and how it is run.
struct Suite {
    name: &'static str,
    about: &'static str,
    run: fn(&mut Report) -> Result<()>,
}

const SUITES: &[Suite] = &[
    Suite {
        name: "sdks",
        about: "unmodified SDKs for Go, Java (Protobuf only) and Rust against a real edge",
        run: sdks,
    },
    Suite {
        name: "tls",
        about: "sslyze and testssl.sh against a gateway, some four minutes; what they say is kept in tests/conformance/tls.txt",
        run: tls,
    },
    Suite {
        name: "slow",
        about: "slowhttptest beside a well-behaved client, some two minutes; what both saw is kept in tests/conformance/slow.txt",
        run: slow,
    },
    Suite {
        name: "websocket",
        about: "the 517 cases of the Autobahn suite against a gateway that echoes, some two minutes; verdicts are kept in tests/conformance/websocket.txt",
        run: websocket,
    },
];

pub(crate) fn run(args: &Args) -> Result<bool> {
    let Some(name) = &args.name else {
        for suite in SUITES {
            println!("{:10} {}", suite.name, suite.about);
        }
        return Ok(true);
    };
    let Some(suite) = SUITES.iter().find(|suite| suite.name == name) else {
        bail!("no suite {name}: `cargo xtask conformance` lists them");
    };
    let mut report = Report::default();
    (suite.run)(&mut report)?;
    Ok(report.finish())
}

fn sdks(report: &mut Report) -> Result<()> {
    let programs = ["build", "--package", "gateway", "--package", "agent", "--bins"];
    if install::sdks(report)? && report.step("build", paths::cargo(programs))? {
        let mut suite = paths::cargo(["test", "--package", "tests", "--features", "sdks", "--test", "sdks"]);
        suite.env("HEADLAND_PROGRAMS", paths::target().join("debug"));
        suite.env("HEADLAND_CLIENTS", install::clients()).args(["--", "--test-threads=2"]);
        report.step("sdks", suite)?;
    }
    Ok(())
}

fn slow(report: &mut Report) -> Result<()> {
    let build = ["build", "--package", "gateway", "--package", "agent", "--package", "tests", "--bins"];
    if install::attackers(report)? && report.step("build", paths::cargo(build))? {
        let mut attacks = Command::new(paths::target().join("debug/conformance"));
        attacks.env("HEADLAND_PROGRAMS", paths::target().join("debug"));
        attacks.arg("--results").arg(paths::root().join("tests/conformance")).arg("slow");
        attacks.args(["--slowhttptest", "slowhttptest"]);
        report.step("slow", attacks)?;
    }
    Ok(())
}

fn websocket(report: &mut Report) -> Result<()> {
    let build = ["build", "--package", "gateway", "--package", "agent", "--package", "tests", "--bins"];
    if report.step("build", paths::cargo(build))? {
        let mut cases = Command::new(paths::target().join("debug/conformance"));
        cases.env("HEADLAND_PROGRAMS", paths::target().join("debug"));
        cases.arg("--results").arg(paths::root().join("tests/conformance")).arg("websocket");
        report.step("websocket", cases)?;
    }
    Ok(())
}

fn tls(report: &mut Report) -> Result<()> {
    let Some(python) = install::scanners(report)? else { return Ok(()) };
    let build = ["build", "--package", "gateway", "--package", "agent", "--package", "tests", "--bins"];
    if report.step("build", paths::cargo(build))? {
        let mut scan = Command::new(paths::target().join("debug/conformance"));
        scan.env("HEADLAND_PROGRAMS", paths::target().join("debug"));
        scan.arg("--results").arg(paths::root().join("tests/conformance")).arg("tls");
        scan.arg("--python").arg(python).args(["--testssl", "testssl"]);
        report.step("tls", scan)?;
    }
    Ok(())
}
