//! What the end-to-end tests need beside Rust: Debian packages, and the client libraries, pinned, in the build folder.
//! Nothing outside the build folder is changed except by apt-get.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::step::Report;

/// A program, how to see that it is there, and the Debian package that brings it.
struct Tool {
    package: &'static str,
    program: &'static str,
    probe: &'static [&'static str],
}

/// The package, and the service that it brings.
const REDIS: &str = "redis-server";

/// The same.
const POSTGRES: &str = "postgresql-15";

const TOOLS: &[Tool] = &[
    Tool { package: "openssl", program: "openssl", probe: &["version"] },
    Tool { package: "nodejs", program: "node", probe: &["--version"] },
    Tool { package: "npm", program: "npm", probe: &["--version"] },
    Tool { package: "chromium", program: "chromium", probe: &["--version"] },
    Tool { package: "python3-venv", program: "python3", probe: &["-c", "import ensurepip, venv"] },
    Tool { package: REDIS, program: "redis-server", probe: &["--version"] },
    Tool { package: POSTGRES, program: "/usr/lib/postgresql/15/bin/postgres", probe: &["--version"] },
    Tool { package: "iproute2", program: "ip", probe: &["-V"] },
    Tool { package: "nftables", program: "nft", probe: &["--version"] },
];

/// Those that a soak needs, and some benches.
const STRIKERS: &[&str] = &[REDIS, POSTGRES, "iproute2", "nftables"];

/// What the suite `sdks` is built with.
const SDK_TOOLS: &[Tool] = &[
    Tool { package: "golang-go", program: "go", probe: &["version"] },
    Tool { package: "default-jdk-headless", program: "javac", probe: &["-version"] },
    Tool { package: "maven", program: "mvn", probe: &["--version"] },
];

/// What the suite `tls` scans with.
const SCANNERS: &[Tool] = &[
    Tool { package: "python3-venv", program: "python3", probe: &["-c", "import ensurepip, venv"] },
    Tool { package: "testssl.sh", program: "testssl", probe: &["--version"] },
];

/// What the suite `slow` attacks with.
const ATTACKERS: &[Tool] =
    &[Tool { package: "slowhttptest", program: "sh", probe: &["-c", "command -v slowhttptest"] }];

/// The folder with `node_modules` and the Python environment.
pub(crate) fn clients() -> PathBuf {
    paths::target().join("e2e")
}

/// Installs what is missing; each part that had to be installed is a step of the report.
pub(crate) fn all(report: &mut Report) -> Result<bool> {
    components()?;
    Ok(debian(report)? && npm(report)? && pypi(report)?)
}

/// Installs what scans TLS; the Python that has sslyze, or `None` when a step of the report failed.
pub(crate) fn scanners(report: &mut Report) -> Result<Option<PathBuf>> {
    let folder = paths::target().join("conformance/python");
    let pins = paths::root().join("tests/conformance/requirements.txt");
    let done = tools(report, &SCANNERS.iter().collect::<Vec<_>>())? && python(report, &folder, &pins)?;
    Ok(done.then(|| folder.join("bin/python")))
}

/// Installs what attacks slowly.
pub(crate) fn attackers(report: &mut Report) -> Result<bool> {
    tools(report, &ATTACKERS.iter().collect::<Vec<_>>())
}

/// Installs what a soak strikes with, and the servers that benches start.
pub(crate) fn soak(report: &mut Report) -> Result<bool> {
    tools(report, &TOOLS.iter().filter(|tool| STRIKERS.contains(&tool.package)).collect::<Vec<_>>())
}

/// Installs the nightly toolchain and cargo-fuzz, by rustup and cargo.
pub(crate) fn fuzzer(report: &mut Report) -> Result<bool> {
    if !succeeds(Command::new("rustup").args(["run", "nightly", "cargo", "--version"])) {
        let mut toolchain = Command::new("rustup");
        toolchain.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
        if !report.step("rustup toolchain install", toolchain)? {
            return Ok(false);
        }
    }
    if succeeds(Command::new("rustup").args(["run", "nightly", "cargo", "fuzz", "--version"])) {
        return Ok(true);
    }
    let mut tool = Command::new("rustup");
    tool.args(["run", "nightly", "cargo", "install", "cargo-fuzz", "--locked"]);
    report.step("cargo install cargo-fuzz", tool)
}

/// The browser build of npm `centrifuge`, installed if it has to be; `None`, with a line that says why, where that is not possible.
pub(crate) fn library() -> Option<PathBuf> {
    let file = clients().join("node/node_modules/centrifuge/dist/centrifuge.js");
    let mut report = Report::default();
    let mut install = || -> Result<bool> {
        let node: Vec<&Tool> =
            TOOLS.iter().filter(|tool| ["nodejs", "npm"].contains(&tool.package)).collect();
        let there = fresh(&clients().join("node"), &NPM_PINS)? || tools(&mut report, &node)?;
        Ok(there && npm(&mut report)?)
    };
    match install() {
        Ok(true) if file.exists() => return Some(file),
        Ok(_) => eprintln!("npm could not install the client library: there will be no chat page"),
        Err(error) => eprintln!("there will be no chat page: {error:#}"),
    }
    None
}

/// rustfmt and clippy come with the toolchain file; without network rustup cannot fetch them.
fn components() -> Result<()> {
    for (command, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let mut probe = paths::cargo([command, "--version"]);
        if !succeeds(&mut probe) {
            bail!(
                "`cargo {command}` does not run: rustup could not add the component that rust-toolchain.toml names. \
                 Run `rustup component add {component}` while the machine is online."
            );
        }
    }
    Ok(())
}

/// Builds the programs of the suite `sdks`: Go's, Java's and Rust's SDKs, each at the version that its folder pins, into
/// [`clients`]`/sdks`.
pub(crate) fn sdks(report: &mut Report) -> Result<bool> {
    if !tools(report, &SDK_TOOLS.iter().collect::<Vec<_>>())? {
        return Ok(false);
    }
    let (from, to) = (paths::root().join("tests/tests/sdks"), clients().join("sdks"));
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(to.join("go/sdk")).arg(".").current_dir(from.join("go"));
    let mut java = Command::new("mvn");
    java.args(["--batch-mode", "--quiet", "--file"]).arg(from.join("java/pom.xml"));
    java.arg(format!("-DbuildDirectory={}", to.join("java/target").display()));
    java.args(["compile", "dependency:copy-dependencies"]);
    let mut rust = paths::cargo(["build", "--locked", "--manifest-path"]);
    rust.arg(from.join("rust/Cargo.toml")).arg("--target-dir").arg(to.join("rust"));
    Ok(report.step("Go SDK", go)? && report.step("Java SDK", java)? && report.step("Rust SDK", rust)?)
}

fn debian(report: &mut Report) -> Result<bool> {
    tools(report, &TOOLS.iter().collect::<Vec<_>>())
}

/// Installs the packages of those programs that do not run.
fn tools(report: &mut Report, tools: &[&Tool]) -> Result<bool> {
    let missing: Vec<&str> = tools
        .iter()
        .filter(|tool| !succeeds(Command::new(tool.program).args(tool.probe)))
        .map(|tool| tool.package)
        .collect();
    if missing.is_empty() {
        return Ok(true);
    }
    let by_hand = format!("sudo apt-get update && sudo apt-get install -y {}", missing.join(" "));
    if !succeeds(Command::new("apt-get").arg("--version")) {
        bail!("missing: {}. This machine has no apt-get; on Debian: {by_hand}", missing.join(", "));
    }
    let prefix: &[&str] = if rustix::process::geteuid().is_root() {
        &["env"]
    } else if succeeds(Command::new("sudo").args(["-n", "true"])) {
        &["sudo", "-n", "env"]
    } else {
        bail!("missing: {}. Neither root nor password-less sudo here. Run: {by_hand}", missing.join(", "));
    };
    let apt = |args: &[&str]| {
        let mut command = Command::new(prefix[0]);
        // RUNLEVEL=1: services that packages bring are not started; the tests start servers of their own.
        command
            .args(&prefix[1..])
            .args(["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"])
            .args(args);
        command
    };
    let install = [&["install", "-y", "--no-install-recommends"], missing.as_slice()].concat();
    let installed = report.step("apt-get update", apt(&["update", "-q"]))?
        && report.step(&format!("apt-get install {}", missing.join(" ")), apt(&install))?;
    for (package, service) in [(REDIS, REDIS), (POSTGRES, "postgresql")] {
        if installed && missing.contains(&package) {
            // Nor at the next boot. Without systemd there is nothing to be done.
            let off = ["systemctl", "disable", "--now", service];
            let _ = succeeds(Command::new(prefix[0]).args(&prefix[1..]).args(off));
        }
    }
    Ok(installed)
}

fn npm(report: &mut Report) -> Result<bool> {
    let folder = clients().join("node");
    let pins = NPM_PINS;
    if fresh(&folder, &pins)? {
        return Ok(true);
    }
    for name in pins {
        fs::copy(source().join(name), folder.join(name)).with_context(|| format!("copying {name}"))?;
    }
    let mut install = Command::new("npm");
    install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
    let done = report.step("npm ci", install)?;
    if done {
        stamp(&folder, &pins)?;
    }
    Ok(done)
}

fn pypi(report: &mut Report) -> Result<bool> {
    let schemathesis = paths::root().join("tests/rest/requirements.txt");
    Ok(python(report, &clients().join("python"), &source().join("requirements.txt"))?
        && python(report, &clients().join("schemathesis"), &schemathesis)?)
}

/// A Python environment in a folder, from a file of pins.
fn python(report: &mut Report, folder: &Path, pins: &Path) -> Result<bool> {
    if fresh(folder, &[pins])? {
        return Ok(true);
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(folder);
    let mut install = Command::new(folder.join("bin/python"));
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "-r",
    ]);
    install.arg(pins);
    let done = report.step("python3 -m venv", venv)? && report.step("pip install", install)?;
    if done {
        stamp(folder, &[pins])?;
    }
    Ok(done)
}

/// Where the pins are kept.
fn source() -> PathBuf {
    paths::root().join("tests/e2e")
}

/// Whether the folder was filled from these very pins. Makes the folder.
fn fresh(folder: &Path, pins: &[impl AsRef<Path>]) -> Result<bool> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let done = fs::read(folder.join(STAMP)).unwrap_or_default();
    Ok(done == wanted(pins)?)
}

fn stamp(folder: &Path, pins: &[impl AsRef<Path>]) -> Result<()> {
    fs::write(folder.join(STAMP), wanted(pins)?).with_context(|| format!("writing into {}", folder.display()))
}

fn wanted(pins: &[impl AsRef<Path>]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for name in pins {
        let path = source().join(name);
        text.extend(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
    }
    Ok(text)
}

/// The pins of the folder for npm.
const NPM_PINS: [&str; 2] = ["package.json", "package-lock.json"];

/// The pins a folder was filled from are kept in it under this name.
const STAMP: &str = ".pins";

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
