//! A program under test or measurement as a child process: its log, its signals, what it costs.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// How long a program may take to end when asked.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// Lines of the log that errors show.
const LAST_LINES: usize = 40;
/// Ends a child whose test process is killed in a way that leaves it no time.
const SETPRIV: &str = "/usr/bin/setpriv";

/// The folder of the built programs: `HEADLAND_PROGRAMS`, or that of the profile which this program was built in.
pub fn programs() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("HEADLAND_PROGRAMS") {
        return Ok(folder.into());
    }
    let here = std::env::current_exe().context("this program's own path")?;
    let folder = here.ancestors().skip(1).find(|folder| folder.join("headland-gateway").exists());
    folder
        .map(Path::to_path_buf)
        .context("headland-gateway is not built: run `cargo build --bins`, or `cargo xtask test`")
}

/// A running child. Dropping it ends it.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a program with its output in a log file.
    pub fn start(path: &Path, args: &[&str], log: PathBuf) -> Result<Self> {
        Self::start_in(None, path, args, log)
    }

    /// The same in a network namespace, as root.
    pub fn start_in(namespace: Option<&str>, path: &Path, args: &[&str], log: PathBuf) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| log.display().to_string())?;
        let mut words: Vec<&OsStr> = Vec::new();
        if Path::new(SETPRIV).exists() {
            words.extend([SETPRIV, "--pdeathsig", "TERM", "--"].map(OsStr::new));
        }
        // `ip netns exec` becomes what it executes, so the process id stays the program's.
        words.extend(namespace.iter().flat_map(|name| ["ip", "netns", "exec", name]).map(OsStr::new));
        words.push(path.as_os_str());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(args).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().with_context(|| format!("{} does not start", path.display()))?;
        Ok(Self { name, child, log })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).with_context(|| format!("signal to {}", self.name))
    }

    /// Kills it at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    pub fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        wait::until(&what, within, || self.child.try_wait().ok().flatten())
    }

    /// Fails with the log's end when the program does not run any more.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended ({status}):\n{}", self.name, self.last_lines());
        }
        Ok(())
    }

    /// Everything it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of what it has said.
    pub fn last_lines(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// CPU time so far, of all its threads.
    pub fn cpu(&self) -> Result<Duration> {
        cpu(self.pid())
    }

    /// Private memory in bytes that it has written itself. Not its program text: pages of a file are private or shared by who
    /// else runs the same file at the moment.
    pub fn private_bytes(&self) -> Result<u64> {
        private_bytes(self.pid())
    }

    /// Makes what is resident now the peak that [`Self::peak_bytes`] tells.
    pub fn forget_peak(&self) -> Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").context("clear_refs")
    }

    /// The most memory in bytes that was resident at once, program text included: what came and went between two looks too.
    pub fn peak_bytes(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).context("status")?;
        Ok(kilobytes(&text, "VmHWM:")? * 1024)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.signal(Signal::CONT);
            // SIGTERM drains; SIGINT ends at once.
            let _ = self.signal(Signal::INT);
            if self.ended(STOP_WITHIN).is_err() {
                let _ = self.kill();
            }
        }
        if std::thread::panicking() {
            eprintln!("--- {} ({}):\n{}", self.name, self.log.display(), self.last_lines());
        }
    }
}

/// Whether a program ended because it was asked to with SIGTERM, or as if nothing had been wrong.
pub fn ended_well(status: ExitStatus) -> bool {
    status.success() || status.signal() == Some(Signal::TERM.as_raw())
}

/// CPU time of a process: that of its living threads in nanoseconds where the kernel says so, ticks otherwise.
pub fn cpu(pid: u32) -> Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        sum += task_cpu(&task.path().join("schedstat")).unwrap_or(0);
    }
    if sum > 0 {
        return Ok(Duration::from_nanos(sum));
    }
    const TICKS_PER_SECOND: u64 = 100;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// CPU time of the calling thread.
pub fn thread_cpu() -> Result<Duration> {
    task_cpu(Path::new("/proc/thread-self/schedstat")).map(Duration::from_nanos)
}

fn task_cpu(schedstat: &Path) -> Result<u64> {
    let text = fs::read_to_string(schedstat)?;
    text.split_whitespace().next().and_then(|n| n.parse().ok()).context("schedstat has another layout")
}

fn private_bytes(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("smaps_rollup")?;
    Ok((kilobytes(&text, "Private_Dirty:")? + kilobytes(&text, "Swap:")?) * 1024)
}

/// The number of a line `NAME:  N kB`.
fn kilobytes(text: &str, name: &str) -> Result<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    let number = rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("no {name} in what the kernel says of the process"))
}
