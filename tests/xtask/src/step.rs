//! A step of the gate: one command whose output is shown as it comes, whose time is taken and whose test results are counted.

use std::io::{BufRead, BufReader, Read, Write, stderr, stdout};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What a step, or several, came to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Count {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// The finished steps.
#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<String>,
    total: Count,
}

impl Report {
    /// Runs one step. A step that reports no tests of its own counts as one.
    pub(crate) fn step(&mut self, name: &str, mut command: Command) -> Result<bool> {
        println!("\n== {name}");
        let started = now();
        let (success, mut count) = run(&mut command).with_context(|| format!("{name} could not start"))?;
        let alone = count == Count::default();
        if success && alone {
            count.passed = 1;
        } else if !success && count.failed == 0 {
            count.failed = 1;
        }
        self.note(name, count, started.elapsed());
        Ok(success)
    }

    /// Notes a step that was done by other means.
    pub(crate) fn note(&mut self, name: &str, count: Count, took: Duration) {
        let verdict = if count.failed == 0 { "ok" } else { "FAILED" };
        let line = format!(
            "{verdict:6} {name:28} {:7.1} s   {} passed, {} failed",
            took.as_secs_f64(),
            count.passed,
            count.failed
        );
        println!("{line}");
        self.total.add(count);
        self.lines.push(line);
    }

    /// Prints all steps and the sum as the last line; whether all is well.
    pub(crate) fn finish(self) -> bool {
        println!();
        for line in &self.lines {
            println!("{line}");
        }
        println!("{} passed, {} failed", self.total.passed, self.total.failed);
        self.total.failed == 0
    }
}

/// The clock of this tool.
#[allow(clippy::disallowed_methods, reason = "a shell that times its steps; nothing here is simulated")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn run(command: &mut Command) -> Result<(bool, Count)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let out = child.stdout.take().expect("invariant: stdout was piped above");
    let err = child.stderr.take().expect("invariant: stderr was piped above");
    let errors = thread::spawn(move || copy(err, stderr()));
    let count = copy(out, stdout());
    let _ = errors.join();
    Ok((child.wait()?.success(), count))
}

/// Shows lines as they come and counts the test results among them.
fn copy(from: impl Read, mut to: impl Write) -> Count {
    let mut count = Count::default();
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let _ = to.write_all(&line);
        let _ = to.flush();
        count.add(results(&String::from_utf8_lossy(&line)));
        line.clear();
    }
    count
}

/// The counts of a line in which libtest sums up one program: `test result: ok. 3 passed; 0 failed; ...`.
fn results(line: &str) -> Count {
    let mut count = Count::default();
    let Some(summary) = line.trim_start().strip_prefix("test result: ") else { return count };
    for part in summary.split(['.', ';']) {
        let mut words = part.split_whitespace();
        let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
        match (number.parse::<usize>(), what) {
            (Ok(n), "passed") => count.passed = n,
            (Ok(n), "failed") => count.failed = n,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_summaries_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s";
        assert_eq!(results(line), Count { passed: 12, failed: 3 });
        assert_eq!(results("test some::name ... ok"), Count::default());
    }
}
