//! Real Redis for tests, soaks and benches: servers as child processes, each in a folder of its own on ports from the system.
//! Owns how they are started, stopped and spoken to by `redis-cli`; knows nothing of Headland.

mod cluster;
mod secured;
mod sentinels;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

pub use cluster::Cluster;
pub use secured::Secured;
pub use sentinels::Sentinels;

use crate::folder::Folder;
use crate::process::Program;
use crate::wait;

/// The server of Debian's package `redis-server`.
const SERVER: &str = "/usr/bin/redis-server";
/// Its command line client, of `redis-tools`.
const CLIENT: &str = "/usr/bin/redis-cli";
/// How long a server may take until it answers, and a cluster or sentinels until they agree.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often another port is tried when somebody else took the first.
const TRIES: usize = 5;
/// A cluster's bus port is the client port and this.
const CLUSTER_PORT: u16 = 10_000;

/// What every server here has: it answers on loopback only, and nothing that was answered is lost when it is killed (only when the
/// machine is): append-only, and no eviction. Not `appendfsync everysec`: while the disk is busy, that answers writes up to two
/// seconds before they are in the file.
const COMMON: &str = "bind 127.0.0.1\nprotected-mode no\ndaemonize no\nsave \"\"\nappendonly yes\nappendfsync no\n\
                      maxmemory-policy noeviction\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 1\n";

/// One running server. Dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct Server {
    port: u16,
    program: Option<Program>,
    folder: Folder,
    /// What `redis-cli` has to be told to get in.
    login: Vec<String>,
    sentinel: bool,
}

impl Server {
    /// A single server that keeps what it has: append-only file, no eviction.
    pub fn start() -> Result<Self> {
        Self::with("")
    }

    /// The same with more lines of `redis.conf`; those of the same name replace the usual ones.
    pub fn with(lines: &str) -> Result<Self> {
        Self::launch(lines, &[], false)
    }

    fn launch(lines: &str, login: &[String], sentinel: bool) -> Result<Self> {
        let mut last = None;
        for _ in 0..TRIES {
            let mut server = Self {
                port: free_port()?,
                program: None,
                folder: Folder::new()?,
                login: login.to_vec(),
                sentinel,
            };
            let common = if sentinel { "bind 127.0.0.1\nprotected-mode no\n" } else { COMMON };
            let place = server.folder.fill(&format!("port {}\ndir {{folder}}\n", server.port));
            let lines = server.folder.fill(lines);
            fs::write(server.file("redis.conf"), format!("{common}{place}{lines}"))?;
            match server.run() {
                Ok(()) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no try was made")?)
    }

    /// Where clients connect.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process, while it runs.
    pub fn program(&self) -> Option<&Program> {
        self.program.as_ref()
    }

    /// A file of its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.file(name)
    }

    /// Kills it at once (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        match self.program.take() {
            Some(mut program) => program.kill(),
            None => Ok(()),
        }
    }

    /// Ends it as an operator would.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut program) = self.program.take() else { return Ok(()) };
        program.signal(Signal::TERM)?;
        program.ended(READY_WITHIN).map(|_| ())
    }

    /// Stops all its threads, as a machine that hangs, until [`Self::resume`].
    pub fn pause(&self) -> Result<()> {
        self.program.as_ref().context("it does not run")?.signal(Signal::STOP)
    }

    /// See [`Self::pause`].
    pub fn resume(&self) -> Result<()> {
        self.program.as_ref().context("it does not run")?.signal(Signal::CONT)
    }

    /// Starts it again on its port with what its folder holds, and waits until it answers.
    pub fn run(&mut self) -> Result<()> {
        let conf = self.file("redis.conf").display().to_string();
        let mut args = vec![conf.as_str()];
        if self.sentinel {
            args.push("--sentinel");
        }
        let program = Program::start(Path::new(SERVER), &args, self.file("redis.log"));
        self.program = Some(program.context("is redis-server installed? apt-get install redis-server")?);
        self.ready()
    }

    /// Removes what it has kept; only while it does not run.
    pub fn forget(&mut self) -> Result<()> {
        anyhow::ensure!(self.program.is_none(), "it runs");
        let kept = self.file("appendonlydir");
        if kept.exists() {
            fs::remove_dir_all(kept)?;
        }
        Ok(())
    }

    /// What `redis-cli` prints for a command.
    pub fn command(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(CLIENT);
        command.args(["-p", &self.port.to_string(), "--no-auth-warning"]).args(&self.login).args(words);
        let output = command.output().context("is redis-cli installed? apt-get install redis-tools")?;
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        if !output.status.success() {
            bail!("redis-cli {words:?}: {text} {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }

    /// Waits until what `redis-cli` prints for a command is as wanted.
    pub fn until(&self, words: &[&str], wanted: impl Fn(&str) -> bool) -> Result<String> {
        let what = format!("{words:?} on port {}", self.port);
        wait::until(&what, READY_WITHIN, || self.command(words).ok().filter(|text| wanted(text)))
    }

    fn ready(&mut self) -> Result<()> {
        let mut ended = None;
        let answers = wait::until("redis-server to answer", READY_WITHIN, || {
            ended = self.program.as_mut()?.check().err();
            // A server that has not read all it keeps says LOADING.
            (ended.is_some() || self.command(&["ping"]).is_ok_and(|text| text == "PONG")).then_some(())
        });
        match ended {
            Some(error) => Err(error),
            None => answers,
        }
    }
}

/// A port that nobody has, nor the one of a cluster's bus above it.
fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = held.local_addr()?.port();
        let bus = port.checked_add(CLUSTER_PORT).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        if bus.is_some_and(|bus| TcpListener::bind(bus).is_ok()) {
            return Ok(port);
        }
    }
    bail!("no two free ports {CLUSTER_PORT} apart")
}
