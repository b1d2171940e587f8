//! Runs the load generator against a world and reads its report.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;
use crate::world::{SECRET, World};

/// A report of the load generator: figures by name.
#[derive(Debug)]
pub(super) struct Load(Value);

/// Threads of the load generator, and of whatever stands in for it: the same on every machine.
pub(super) const THREADS: &str = "2";

impl Load {
    /// Runs a mode against one of the world's listeners and waits for its end.
    pub(super) fn run(world: &World, mode: &str, secure: bool, args: &[&str]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let json = world.file(&format!("load-{}.json", COUNT.fetch_add(1, Ordering::Relaxed)));
        let url = if secure { world.wss() } else { world.ws() };
        let mut command = Command::new(programs()?.join("headland-loadgen"));
        command.args([mode, "--url", &url, "--token-hmac-secret", SECRET, "--threads", THREADS]);
        command.arg("--ca").arg(world.file("ca.pem")).arg("--json").arg(&json);
        command.arg("--server-pid").arg(world.gateway.pid().to_string()).args(args);
        let out = command.output().context("headland-loadgen does not start")?;
        let said =
            || format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        let Ok(text) = std::fs::read_to_string(&json) else {
            bail!("headland-loadgen {mode}: {}\n{}", out.status, said())
        };
        // 3: it was itself the bottleneck, and only figures that rest on the clock are missing.
        if !matches!(out.status.code(), Some(0 | 3)) {
            bail!("headland-loadgen {mode}: {}\n{}\n{}", out.status, said(), world.gateway.last_lines());
        }
        Ok(Self(serde_json::from_str(&text)?))
    }

    /// A figure; not a number when the load generator withheld it.
    pub(super) fn figure(&self, name: &str) -> Result<f64> {
        let figures = self.0["figures"].as_array().context("a report has figures")?;
        let found = figures.iter().find(|figure| figure["name"] == name);
        let names =
            || figures.iter().filter_map(|figure| figure["name"].as_str()).collect::<Vec<_>>().join(", ");
        let figure =
            found.with_context(|| format!("the load generator has no figure `{name}`, but: {}", names()))?;
        Ok(figure["value"].as_f64().unwrap_or(f64::NAN))
    }
}

fn programs() -> Result<PathBuf> {
    process::programs()
}
