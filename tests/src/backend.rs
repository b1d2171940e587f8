//! The example backend of `tests/backend` as a process of a test: where it is, how it feels, and what it was asked.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::script::{self, Script};

/// A running backend. Dropping it ends it.
#[derive(Debug)]
pub struct Backend {
    script: Script,
    kind: &'static str,
    port: u16,
}

impl Backend {
    /// Starts one that speaks `http` or `grpc`, on a port of the system's.
    pub fn start(kind: &'static str) -> Result<Self> {
        Self::start_at(kind, 0)
    }

    /// The same at a port.
    pub fn start_at(kind: &'static str, port: u16) -> Result<Self> {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(script::clients()?.join("python/bin/python"));
        command.arg(tests.join("backend/backend.py")).arg(kind).arg(port.to_string());
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("HEADLAND_PROXY_PROTO", tests.join("../relay/proxy.proto"));
        let mut script = Script::spawn(format!("the {kind} backend"), command)?;
        let port = script.listen()?.parse().context("a backend says its port first")?;
        Ok(Self { script, kind, port })
    }

    /// Goes, and comes back at the same port.
    pub fn restart(self) -> Result<Self> {
        let Self { kind, port, .. } = self;
        Self::start_at(kind, port)
    }

    /// Where it is.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The endpoint of an event.
    pub fn endpoint(&self, event: &str) -> String {
        match self.kind {
            "grpc" => format!("grpc://127.0.0.1:{}", self.port),
            _ => format!("http://127.0.0.1:{}/{event}", self.port),
        }
    }

    /// From now on it is `slow`, talks `garbage`, fails with a `status`, or is `well`.
    pub fn feel(&mut self, mood: &str) -> Result<()> {
        self.script.say(mood)?;
        self.script.hear(mood)
    }

    /// How many requests of an event it has had.
    pub fn calls(&mut self, event: &str) -> Result<u64> {
        self.script.say("calls")?;
        let counts: Value = serde_json::from_str(&self.script.listen()?)?;
        Ok(counts[event].as_u64().unwrap_or(0))
    }

    /// The relay's configuration in which it decides on everything: connections, calls, and channels of the namespace `rooms`.
    pub fn config(&self) -> String {
        let at = |event: &str| {
            format!("endpoint = \"{}\"\ninclude_connection_meta = true\n", self.endpoint(event))
        };
        let key = "http.static_headers = { \"X-Key\" = \"edge\" }\n";
        format!(
            "[client.proxy.connect]\nenabled = true\nhttp_headers = [\"Cookie\", \"X-User\"]\n{}{key}\
             [client.proxy.refresh]\nenabled = true\n{}[channel.proxy.subscribe]\n{}[channel.proxy.publish]\n{}\
             [channel.proxy.sub_refresh]\n{}[rpc.without_namespace]\nproxy_enabled = true\nproxy_name = \"calls\"\n\
             [[proxies]]\nname = \"calls\"\n{}[[channel.namespaces]]\nname = \"rooms\"\nhistory_size = 10\n\
             history_ttl = \"1m\"\npresence = true\nallow_presence_for_subscriber = true\nallow_history_for_subscriber = true\n\
             subscribe_proxy_enabled = true\npublish_proxy_enabled = true\nsub_refresh_proxy_enabled = true\n",
            at("connect"),
            at("refresh"),
            at("subscribe"),
            at("publish"),
            at("sub_refresh"),
            at("rpc"),
        )
    }
}
