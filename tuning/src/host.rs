//! [`Host`]: reads limits as text files below `/proc` and `/sys`. Never caches: each answer is as of the call.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::limits::FILE_BYTES_MAX;

/// A machine, seen through its `/proc` and `/sys`.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self { root: PathBuf::from("/") }
    }
}

impl Host {
    /// A machine whose `/proc` and `/sys` are in `root`.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The numbers of sysctl `name` (`net.core.somaxconn`); `None` when this kernel has no such thing.
    pub fn sysctl(&self, name: &str) -> Option<Vec<u64>> {
        self.sysctl_text(name)?.split_whitespace().map(|word| word.parse().ok()).collect()
    }

    /// The text of sysctl `name`.
    pub fn sysctl_text(&self, name: &str) -> Option<String> {
        self.text(&format!("proc/sys/{}", name.replace('.', "/"))).map(|text| text.trim().to_owned())
    }

    /// The hard limit on open files of this process.
    pub fn hard_nofile(&self) -> Option<u64> {
        let text = self.text("proc/self/limits")?;
        let rest = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        match rest.split_whitespace().nth(1)? {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    }

    /// Bytes that programs could still take without swapping.
    pub fn available_bytes(&self) -> Option<u64> {
        self.meminfo("MemAvailable:")
    }

    /// Cores that this process may run on; at least 1.
    pub fn cores(&self) -> u64 {
        let status = self.text("proc/self/status").unwrap_or_default();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        list.map_or(1, listed).max(1)
    }

    /// Bytes of one line of `/proc/meminfo`.
    pub(crate) fn meminfo(&self, line: &str) -> Option<u64> {
        let text = self.text("proc/meminfo")?;
        let rest = text.lines().find_map(|found| found.strip_prefix(line))?;
        let kilobytes: u64 = rest.split_whitespace().next()?.parse().ok()?;
        Some(kilobytes.saturating_mul(1024))
    }

    /// A file below the root, as far as the bound on its size.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.root.join(path)).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        String::from_utf8(bytes).ok()
    }

    /// One number in a file; `max` is no limit.
    pub(crate) fn number(&self, path: &str) -> Option<u64> {
        match self.text(path)?.trim() {
            "max" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    }

    /// The sorted names in a folder below the root; none when it is not there.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The last part of what a symbolic link points at.
    pub(crate) fn target(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.root.join(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }
}

/// How many a list such as `0-3,8` names.
fn listed(list: &str) -> u64 {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.split(',').filter_map(range).fold(0, u64::saturating_add)
}
