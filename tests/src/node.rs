//! A node for a test: one process on a port and in a folder of its own, with embedded SQLite unless told otherwise.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::folder::Folder;
use crate::metrics;
use crate::process::{self, Program};
use crate::wait;
use crate::world::{defaults, merge};

/// How long it may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// What relays and nodes show each other.
const KEY: &str = "a key between relays and nodes of tests";

/// A node that has an address and does not run yet, so that relays can be told of it first.
#[derive(Debug)]
pub struct Plan {
    /// Where it will be.
    pub http: SocketAddr,
    folder: Folder,
}

/// A running node. Dropping it ends the program and removes the folder.
#[derive(Debug)]
pub struct Node {
    /// The process.
    pub program: Program,
    /// REST, metrics and health.
    pub http: SocketAddr,
    folder: Folder,
}

impl Plan {
    /// Takes a free port.
    pub fn new() -> Result<Self> {
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        Ok(Self { http, folder: Folder::new()? })
    }

    /// What a relay's configuration says of the node: see [`relay`].
    pub fn relay(&self) -> String {
        relay(&[self.http])
    }

    /// A file of the node's folder.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.file(name)
    }

    /// Starts it; it tells these relays. `text` is TOML that is laid over its defaults.
    pub fn start(self, relays: &[SocketAddr], text: &str) -> Result<Node> {
        let relays: Vec<String> = relays.iter().map(|relay| format!("\"{relay}\"")).collect();
        let own = format!(
            "[http]\naddress = \"{}\"\n[relays]\naddresses = [{}]\napi_key = \"{KEY}\"\nkey = \"{KEY}\"\n\
             [store]\nfolder = \"{{folder}}/store\"\n",
            self.http,
            relays.join(", ")
        );
        let mut config = defaults(&own);
        merge(&mut config, defaults(text));
        let config = config.to_string();
        fs::write(self.folder.file("node.toml"), self.folder.fill(&config))?;
        let program = launch(&self.folder)?;
        let mut node = Node { program, http: self.http, folder: self.folder };
        node.ready()?;
        Ok(node)
    }
}

/// What a relay's configuration says of nodes: where they are, whose tokens are good, and the channels that they decide on.
pub fn relay(nodes: &[SocketAddr]) -> String {
    let addresses: Vec<String> = nodes.iter().map(|node| format!("\"http://{node}\"")).collect();
    let jwks = nodes.first().map_or_else(String::new, |node| {
        format!("[client.token]\njwks_public_endpoint = \"http://{node}/.well-known/jwks.json\"\n")
    });
    format!(
        "{CHANNELS}[http_api]\nkey = \"{KEY}\"\n[node]\naddresses = [{}]\nkey = \"{KEY}\"\nsubscribe_on_connect = true\n{jwks}",
        addresses.join(", "),
    )
}

/// What a node's configuration says of one database for everything.
pub fn store(url: &str) -> String {
    format!("[store]\ncontrol = \"{url}\"\n")
}

/// The channels that nodes use.
const CHANNELS: &str = include_str!("../../relay/nodes/edge.toml");

impl Node {
    /// One that tells nobody.
    pub fn alone(text: &str) -> Result<Self> {
        Plan::new()?.start(&[], text)
    }

    /// Kills it as a crash would and starts it again.
    pub fn restart(&mut self) -> Result<()> {
        self.program.kill()?;
        self.again()
    }

    /// Starts it again after it was killed.
    pub fn again(&mut self) -> Result<()> {
        self.program = launch(&self.folder)?;
        self.ready()
    }

    fn ready(&mut self) -> Result<()> {
        let answered = wait::until("the node to answer", READY_WITHIN, || {
            if self.program.check().is_err() {
                return Some(false);
            }
            let (status, _) = metrics::get(self.http, "/health").ok()?;
            (status == 200).then_some(true)
        });
        self.program.check()?;
        answered.with_context(|| self.program.last_lines())?;
        Ok(())
    }
}

fn launch(folder: &Folder) -> Result<Program> {
    let config = folder.file("node.toml").display().to_string();
    let program = process::programs()?.join("headland-node");
    Program::start(&program, &["run", "--config", &config], folder.file("node.log"))
}
