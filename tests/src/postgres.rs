//! Real PostgreSQL for tests and benches: servers as child processes, each with a cluster of its own in a folder of its own.
//! Owns how they are made, started, stopped and asked by `psql`; knows nothing of Headland.
//!
//! PostgreSQL does not run as root: there it runs as Debian's user `postgres`.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::folder::Folder;
use crate::process::Program;
use crate::wait;

/// Where Debian's package `postgresql-15` has its programs.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// Becomes another user.
const SETPRIV: &str = "/usr/bin/setpriv";
/// Whom servers run as, when tests run as root.
const USER: &str = "postgres";
/// How long a server may take until it answers, or has ended.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often another port is tried when somebody else took the first.
const TRIES: usize = 5;

/// What every server here has: loopback only, nobody else's files, and commits that are on the disk as in production.
const SETTINGS: &str = "listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 256MB
fsync = on
synchronous_commit = on
max_wal_size = 2GB
log_min_messages = warning
";

/// One server with its cluster. Dropping it ends it, and the cluster goes.
#[derive(Debug)]
pub struct Server {
    port: u16,
    program: Option<Program>,
    folder: Folder,
    /// Databases that were made.
    databases: AtomicU32,
}

impl Server {
    /// Makes a cluster and starts its server.
    pub fn start() -> Result<Self> {
        Self::start_with("")
    }

    /// The same with lines for `postgresql.conf`, in which `{folder}` is the server's folder.
    pub fn start_with(lines: &str) -> Result<Self> {
        let mut last = None;
        for _ in 0..TRIES {
            let mut server = Self {
                port: free_port()?,
                program: None,
                folder: Folder::new()?,
                databases: AtomicU32::new(0),
            };
            server.make(lines)?;
            match server.run() {
                Ok(()) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no try was made")?)
    }

    /// Makes an empty database; its URL.
    pub fn database(&self) -> Result<String> {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(&name))
    }

    /// Where a database is.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// What `psql` prints for a statement, values only.
    pub fn sql(&self, database: &str, statement: &str) -> Result<String> {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, &self.url(database)]);
        let output = command.output().context("is psql installed? apt-get install postgresql-15")?;
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        if !output.status.success() {
            bail!("psql {statement:?}: {text} {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }

    /// Makes a folder the server's own.
    pub fn give(&self, folder: &Path) -> Result<()> {
        if rustix::process::geteuid().is_root() {
            let (user, group) = ids()?;
            chown(folder, Some(user), Some(group))?;
        }
        Ok(())
    }

    /// The process, while it runs.
    pub fn program(&self) -> Option<&Program> {
        self.program.as_ref()
    }

    /// A file of its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.file(name)
    }

    /// Kills it at once (SIGKILL); what it had started ends by itself, seeing that it is gone.
    pub fn kill(&mut self) -> Result<()> {
        match self.program.take() {
            Some(mut program) => program.kill(),
            None => Ok(()),
        }
    }

    /// Ends it, and every session, as an operator would who is in a hurry (SIGINT: "fast").
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut program) = self.program.take() else { return Ok(()) };
        program.signal(Signal::INT)?;
        program.ended(READY_WITHIN).map(|_| ())
    }

    /// Starts it again on its port with what its folder holds, and waits until it answers.
    pub fn run(&mut self) -> Result<()> {
        let data = self.file("data").display().to_string();
        // What a killed server had started may still be ending, and keeps the folder until then.
        wait::until("the last server to be gone", READY_WITHIN, || {
            let (path, words) = as_user("postgres", &["-D", &data]);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let started = Program::start(&path, &words, self.file("postgres.log"));
            self.program = started.ok();
            self.ready().ok()
        })
        .with_context(|| fs::read_to_string(self.file("postgres.log")).unwrap_or_default())
    }

    fn ready(&mut self) -> Result<()> {
        let mut ended = None;
        let answers = wait::until("PostgreSQL to answer", READY_WITHIN, || {
            ended = self.program.as_mut()?.check().err();
            (ended.is_some() || self.sql("postgres", "SELECT 1").is_ok()).then_some(())
        });
        match ended {
            Some(error) => Err(error),
            None => answers,
        }
    }

    fn make(&self, lines: &str) -> Result<()> {
        let data = self.file("data");
        fs::create_dir(&data)?;
        self.give(&data)?;
        self.give(data.parent().unwrap_or(&data))?;
        let data = data.display().to_string();
        let words = ["-D", &data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"];
        let (path, words) = as_user("initdb", &words);
        let output = Command::new(path).args(words).output();
        let output = output.context("is PostgreSQL installed? apt-get install postgresql-15")?;
        if !output.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&output.stderr));
        }
        let conf = self.file("data/postgresql.conf");
        let text = fs::read_to_string(&conf)?;
        let lines = self.folder.fill(lines);
        Ok(fs::write(&conf, format!("{text}\n{SETTINGS}port = {}\n{lines}", self.port))?)
    }
}

/// A program of PostgreSQL as a user who is not root: what to start, and with what words.
fn as_user(program: &str, args: &[&str]) -> (PathBuf, Vec<String>) {
    let path = Path::new(PROGRAMS).join(program);
    let mut words: Vec<String> = Vec::new();
    let root = rustix::process::geteuid().is_root();
    if root {
        words.extend(["--reuid", USER, "--regid", USER, "--clear-groups", "--"].map(String::from));
        words.push(path.display().to_string());
    }
    words.extend(args.iter().map(ToString::to_string));
    (if root { SETPRIV.into() } else { path }, words)
}

/// User and group of [`USER`].
fn ids() -> Result<(u32, u32)> {
    let text = fs::read_to_string("/etc/passwd")?;
    let line = text.lines().find_map(|line| line.strip_prefix("postgres:"));
    let mut fields = line.context("there is no user `postgres`")?.split(':').skip(1);
    let mut number = || fields.next().and_then(|field| field.parse().ok()).context("/etc/passwd");
    Ok((number()?, number()?))
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
