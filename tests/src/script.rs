//! Runs a script of `tests/e2e` with the unmodified client library it is about, and talks with it: one word per line.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::wait;
use crate::world::{SECRET, World};

/// How long a whole scenario may take.
const WITHIN: Duration = Duration::from_secs(120);

/// A running script. Dropping it ends it.
#[derive(Debug)]
pub struct Script {
    name: String,
    child: Child,
    stdin: ChildStdin,
    words: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

impl Script {
    /// Starts a scenario of `file` (`sdk.mjs`, `sdk.py`, ..) against a URL of the world. Words after the scenario's name are
    /// arguments.
    pub fn start(world: &World, file: &str, scenario: &str, url: &str) -> Result<Self> {
        let clients = clients()?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e").join(file);
        let mut command = match source.extension().and_then(|extension| extension.to_str()) {
            Some("mjs") => Command::new("node"),
            Some("py") => Command::new(clients.join("python/bin/python")),
            _ => bail!("nothing runs {file}"),
        };
        command.arg(source).args(scenario.split(' ')).env("HEADLAND_URL", url).env("HEADLAND_SECRET", SECRET);
        command.env("HEADLAND_CLIENTS", &clients).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("HEADLAND_CA", world.file("ca.pem")).env("NODE_EXTRA_CA_CERTS", world.file("ca.pem"));
        Self::spawn(format!("{file} {scenario}"), command)
    }

    /// Starts any program that talks in words; `name` is for errors.
    pub fn spawn(name: String, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{name} does not start"))?;
        let stdin = child.stdin.take().context("stdin was piped")?;
        let stdout = BufReader::new(child.stdout.take().context("stdout was piped")?);
        let mut stderr = child.stderr.take().context("stderr was piped")?;
        let (sender, words) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Self { name, child, stdin, words, errors: Some(errors) })
    }

    /// Waits for a word of the script.
    pub fn hear(&mut self, word: &str) -> Result<()> {
        match self.words.recv_timeout(WITHIN) {
            Ok(said) => ensure!(said == word, "{}: wanted the word {word}, heard {said}", self.name),
            Err(_) => self.end().and_then(|()| bail!("{} ended without the word {word}", self.name))?,
        }
        Ok(())
    }

    /// The script's next word, whatever it is.
    pub fn listen(&mut self) -> Result<String> {
        match self.words.recv_timeout(WITHIN) {
            Ok(said) => Ok(said),
            Err(_) => self.end().and_then(|()| bail!("{} ended without a word", self.name)),
        }
    }

    /// Tells the script a word.
    pub fn say(&mut self, word: &str) -> Result<()> {
        Ok(writeln!(self.stdin, "{word}")?)
    }

    /// Waits for the script's end; its failure is an error with what it wrote.
    pub fn end(&mut self) -> Result<()> {
        let ended = wait::until(&format!("the end of {}", self.name), WITHIN, || {
            self.child.try_wait().ok().flatten()
        });
        if ended.is_err() {
            self.child.kill()?;
        }
        let errors = self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default();
        let status = ended.with_context(|| errors.clone())?;
        ensure!(status.success(), "{}: {status}\n{errors}", self.name);
        Ok(())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a scenario to its end.
pub fn run(world: &World, file: &str, scenario: &str, url: &str) -> Result<()> {
    Script::start(world, file, scenario, url)?.end()
}

/// Where the client libraries are: `HEADLAND_CLIENTS`, or beside the built programs.
pub fn clients() -> Result<PathBuf> {
    let folder = match std::env::var_os("HEADLAND_CLIENTS") {
        Some(folder) => PathBuf::from(folder),
        None => crate::process::programs()?.parent().context("programs lie in the build folder")?.join("e2e"),
    };
    let there =
        folder.join("node/node_modules/centrifuge").exists() && folder.join("python/bin/python").exists();
    ensure!(there, "the client libraries are not in {}: `cargo xtask test` installs them", folder.display());
    Ok(folder)
}
