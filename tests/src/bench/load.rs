//! Runs the load generator against a world and reads its report.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process;
use crate::world::{SECRET, World};

/// A report of the load generator: figures by name.
#[derive(Debug)]
pub(super) struct Load(Value);

impl Load {
    /// Runs a mode against one of the world's listeners; whatever did not go as asked is an error.
    pub(super) fn run(world: &World, mode: &str, secure: bool, args: &[&str]) -> Result<Self> {
        let load = Self::attempt(world, mode, secure, args)?;
        let broken = load.broken();
        ensure!(broken.is_empty(), "headland-loadgen {mode}: {broken}\n{}", world.gateway.last_lines());
        Ok(load)
    }

    /// The same, where connections that fail or publications that do not arrive are what is measured.
    pub(super) fn attempt(world: &World, mode: &str, secure: bool, args: &[&str]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let json = world.file(&format!("load-{}.json", COUNT.fetch_add(1, Ordering::Relaxed)));
        let url = if secure { world.wss() } else { world.ws() };
        let mut command = Command::new(process::programs()?.join("headland-loadgen"));
        command.args([mode, "--url", &url, "--token-hmac-secret", SECRET]).args(args);
        command.arg("--json").arg(&json).arg("--server-pid").arg(world.gateway.pid().to_string());
        if secure {
            command.arg("--ca").arg(world.file("ca.pem"));
        }
        let out = command.output().context("headland-loadgen does not start")?;
        let said =
            || format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        let text = fs::read_to_string(&json)
            .with_context(|| format!("headland-loadgen {mode}: {}\n{}", out.status, said()))?;
        Ok(Self(serde_json::from_str(&text)?))
    }

    /// What did not go as asked, in the load generator's words; figures that it withheld are not part of it.
    pub(super) fn broken(&self) -> String {
        let first = self.0["broke_first"].as_str();
        let shortfalls = self.0["shortfalls"].as_array().into_iter().flatten().filter_map(Value::as_str);
        first.into_iter().chain(shortfalls).collect::<Vec<_>>().join(" ")
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
