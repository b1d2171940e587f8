//! What a figure was measured on: processor, memory, kernel, limits, commit.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

/// Kernel limits that decide how many connections there can be and how fast they come.
const LIMITS: &[&str] = &[
    "fs/nr_open",
    "fs/file-max",
    "net/core/somaxconn",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/tcp_mem",
];

/// This machine.
pub(super) fn describe() -> Value {
    let limits: serde_json::Map<String, Value> = LIMITS
        .iter()
        .filter_map(|path| {
            let text = fs::read_to_string(format!("/proc/sys/{path}")).ok()?;
            let words: Vec<&str> = text.split_whitespace().collect();
            Some((path.replace('/', "."), json!(words.join(" "))))
        })
        .chain(line("/proc/self/limits", "Max open files").map(|value| ("nofile".to_owned(), json!(value))))
        .collect();
    json!({
        "processor": line("/proc/cpuinfo", "model name").map(|text| text.trim_start_matches([':', ' ']).to_owned()),
        "cores": std::thread::available_parallelism().map(usize::from).ok(),
        "memory": line("/proc/meminfo", "MemTotal:"),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()).ok(),
        "limits": limits,
    })
}

/// The commit that is checked out, with a mark when files differ from it.
pub(super) fn commit() -> String {
    let git = |args: &[&str]| {
        let out = Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if changed { format!("{commit} with changes") } else { commit }
}

/// The rest of a file's first line that begins so, with single spaces.
fn line(file: &str, start: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(start))?;
    Some(rest.split_whitespace().collect::<Vec<_>>().join(" "))
}
