//! Runs several programs as one: logs to files, signals by pid, and the first to end ends the rest.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long a program may take to end after it was asked to.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Lines of a dead program's log that are shown.
const LAST_LINES: usize = 20;
/// Makes a child end when this process is killed in a way that leaves it no time.
const SETPRIV: &str = "/usr/bin/setpriv";

/// Why the programs do not all run any more.
pub(crate) enum End {
    /// Somebody asked, with Ctrl-C or SIGTERM.
    Asked,
    /// A program ended by itself.
    Died { name: &'static str, status: ExitStatus, last: String },
}

enum Event {
    Signal,
    Exit(&'static str, ExitStatus),
}

/// The running programs. Dropping it stops them.
pub(crate) struct Programs {
    running: Vec<Program>,
    events: Receiver<Event>,
    sender: Sender<Event>,
}

struct Program {
    name: &'static str,
    pid: Pid,
    log: PathBuf,
}

impl Programs {
    /// No programs yet; from now on Ctrl-C is an event and no longer the end of this process.
    pub(crate) fn new() -> Result<Self> {
        let (sender, events) = channel();
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals cannot be taken")?;
        let asked = sender.clone();
        thread::spawn(move || {
            for _ in signals.forever() {
                if asked.send(Event::Signal).is_err() {
                    return;
                }
            }
        });
        Ok(Self { running: Vec::new(), events, sender })
    }

    /// Starts a program with its output in `log`.
    pub(crate) fn start(
        &mut self,
        name: &'static str,
        program: &Path,
        args: &[&str],
        log: PathBuf,
    ) -> Result<()> {
        let out = File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        let mut command = if Path::new(SETPRIV).exists() {
            let mut command = Command::new(SETPRIV);
            command.args(["--pdeathsig", "TERM", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(args).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        // A group of its own, so that Ctrl-C reaches it through this process only, and once.
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("{} does not start", program.display()))?;
        let pid = Pid::from_child(&child);
        let exits = self.sender.clone();
        thread::spawn(move || {
            if let Ok(status) = child.wait() {
                let _ = exits.send(Event::Exit(name, status));
            }
        });
        self.running.push(Program { name, pid, log });
        Ok(())
    }

    /// Waits until `ready` holds; `Some` when the programs ended before. `None` in `within` is an error that names `what`.
    pub(crate) fn until(
        &mut self,
        what: &str,
        within: Duration,
        ready: impl Fn() -> bool,
    ) -> Result<Option<End>> {
        const PAUSE: Duration = Duration::from_millis(50);
        let deadline = crate::step::now() + within;
        while !ready() {
            match self.events.recv_timeout(PAUSE) {
                Ok(event) => return Ok(Some(self.ended(&event))),
                Err(RecvTimeoutError::Timeout) if crate::step::now() < deadline => {}
                Err(_) => {
                    let logs: Vec<String> = self.running.iter().map(|p| tail(&p.log)).collect();
                    anyhow::bail!("{what} did not come within {within:?}\n{}", logs.join("\n"));
                }
            }
        }
        Ok(None)
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> End {
        self.events.recv().map_or(End::Asked, |event| self.ended(&event))
    }

    fn ended(&mut self, event: &Event) -> End {
        let &Event::Exit(name, status) = event else { return End::Asked };
        let log = self.running.iter().find(|p| p.name == name).map(|p| tail(&p.log));
        self.running.retain(|program| program.name != name);
        End::Died { name, status, last: log.unwrap_or_default() }
    }

    /// Asks every program to end, the last started first; insists when one does not.
    fn stop(&mut self) {
        // SIGTERM would drain; SIGINT ends at once.
        for signal in [Signal::INT, Signal::KILL] {
            for program in self.running.iter().rev() {
                let _ = kill_process(program.pid, signal);
            }
            let deadline = crate::step::now() + STOP_WITHIN;
            while !self.running.is_empty() {
                let left = deadline.saturating_duration_since(crate::step::now());
                match self.events.recv_timeout(left) {
                    Ok(Event::Exit(name, _)) => self.running.retain(|program| program.name != name),
                    Ok(Event::Signal) => {}
                    Err(_) => break,
                }
            }
        }
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        self.stop();
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
