//! What the control groups of this process leave it: memory and tasks, the least over all groups above it.

use crate::Host;
use crate::limits::GROUPS_DEEP_MAX;

/// Bytes that may still be taken, page cache that the kernel would drop counted as free. `None` without a limit.
pub(crate) fn memory_left(host: &Host) -> Option<u64> {
    let second = left(host, "", "memory.max", |folder| {
        let used = host.number(&format!("{folder}/memory.current"))?;
        Some(used.saturating_sub(cache(host, folder, "inactive_file")))
    });
    let first = left(host, "memory", "memory.limit_in_bytes", |folder| {
        let used = host.number(&format!("{folder}/memory.usage_in_bytes"))?;
        Some(used.saturating_sub(cache(host, folder, "total_inactive_file")))
    });
    [second, first].into_iter().flatten().min()
}

/// Tasks (processes and threads) that may still be started. `None` without a limit.
pub(crate) fn tasks_left(host: &Host) -> Option<u64> {
    let used = |folder: &str| host.number(&format!("{folder}/pids.current"));
    let versions = ["", "pids"].map(|controller| left(host, controller, "pids.max", used));
    versions.into_iter().flatten().min()
}

/// The least of limit minus use over a group and those above it; `controller` is empty for the second version.
fn left(host: &Host, controller: &str, limit: &str, used: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let of_group = |folder: &str| {
        let limit = host.number(&format!("{folder}/{limit}"))?;
        // The first version writes no limit as the largest multiple of a page.
        let limited = limit < i64::MAX as u64 - 0xffff;
        limited.then(|| limit.saturating_sub(used(folder).unwrap_or(0)))
    };
    let mounts: &[&str] = if controller.is_empty() { &["", "/unified"] } else { &[""] };
    let path = group(host, controller)?;
    let groups = std::iter::successors(Some(path.as_str()), |path| Some(path.rsplit_once('/')?.0));
    let folders = groups.take(GROUPS_DEEP_MAX).flat_map(|path| {
        let path = path.trim_end_matches('/');
        let mounted = |mount: &&str| match controller {
            "" => format!("sys/fs/cgroup{mount}{path}"),
            controller => format!("sys/fs/cgroup{mount}/{controller}{path}"),
        };
        mounts.iter().map(mounted).collect::<Vec<_>>()
    });
    folders.filter_map(|folder| of_group(&folder)).min()
}

/// The group of this process, as a path that begins with a slash.
fn group(host: &Host, controller: &str) -> Option<String> {
    let text = host.text("proc/self/cgroup")?;
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        controllers.split(',').any(|name| name == controller).then(|| path.to_owned())
    })
}

fn cache(host: &Host, folder: &str, line: &str) -> u64 {
    let text = host.text(&format!("{folder}/memory.stat")).unwrap_or_default();
    let of_line = |found: &str| found.strip_prefix(line)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(of_line).unwrap_or(0)
}
