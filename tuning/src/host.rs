//! [`Host`]: reads limits as text files below `/proc`. Never caches: each answer is as of the call.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::limits::PROC_BYTES_MAX;

/// A machine, seen through its `/proc`.
#[derive(Debug, Clone)]
pub struct Host {
    proc: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self { proc: PathBuf::from("/proc") }
    }
}

impl Host {
    /// A machine whose `/proc` is at `path`.
    pub fn at(path: &Path) -> Self {
        Self { proc: path.to_owned() }
    }

    /// The numbers of sysctl `name` (`net.core.somaxconn`); `None` when this kernel has no such thing.
    pub fn sysctl(&self, name: &str) -> Option<Vec<u64>> {
        let text = self.text(&format!("sys/{}", name.replace('.', "/")))?;
        text.split_whitespace().map(|word| word.parse().ok()).collect()
    }

    /// The hard limit on open files of this process.
    pub fn hard_nofile(&self) -> Option<u64> {
        let text = self.text("self/limits")?;
        let rest = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        match rest.split_whitespace().nth(1)? {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    }

    /// Bytes that programs could still take without swapping.
    pub fn available_bytes(&self) -> Option<u64> {
        let text = self.text("meminfo")?;
        let rest = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let kilobytes: u64 = rest.split_whitespace().next()?.parse().ok()?;
        Some(kilobytes.saturating_mul(1024))
    }

    fn text(&self, path: &str) -> Option<String> {
        let mut text = String::new();
        File::open(self.proc.join(path)).ok()?.take(PROC_BYTES_MAX).read_to_string(&mut text).ok()?;
        Some(text)
    }
}
