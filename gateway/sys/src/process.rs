//! What a process knows and sets of itself: descriptor limit, memory, CPU time. Reads `/proc` with bounded reads.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::checked;
use crate::limits::{PID_MAX, PROC_BYTES_MAX, ROLLUP_BYTES_MAX};

/// Raises the soft limit on open files to the hard one and returns (soft, hard) as they are now. With a file table per thread
/// ([`unshare_files`](crate::unshare_files)) the limit counts for each of them.
pub fn raise_nofile() -> io::Result<(u64, u64)> {
    let mut limit = nofile()?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the pointer is that of a value that outlives the call.
        checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    }
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// The soft limit on open files.
pub fn soft_nofile() -> io::Result<u64> {
    nofile().map(|limit| limit.rlim_cur)
}

/// Bytes of memory that only this process has, so that sharing a library or a page cache does not count.
pub fn process_private_bytes() -> io::Result<u64> {
    private_bytes_of("self")
}

/// Tells [`process_private_bytes`] from a file that was opened once: a confined process opens none.
#[derive(Debug)]
pub struct Meter(File);

impl Meter {
    /// Opens the file.
    pub fn open() -> io::Result<Self> {
        File::open("/proc/self/smaps_rollup").map(Self)
    }

    /// Bytes now.
    pub fn private_bytes(&self) -> io::Result<u64> {
        // The kernel makes the text anew for each read from the start.
        let mut text = [0; ROLLUP_BYTES_MAX];
        let count = self.0.read_at(&mut text, 0)?;
        Ok(sum_private(&String::from_utf8_lossy(&text[..count])))
    }
}

/// The same of another process, which takes its owner or a privileged caller.
pub fn private_bytes(pid: u32) -> io::Result<u64> {
    private_bytes_of(&pid.to_string())
}

/// CPU time in user and kernel mode that process `pid` has used, all threads together; this process when `None`.
pub fn process_cpu(pid: Option<u32>) -> io::Result<Duration> {
    let Some(pid) = pid else { return clock(libc::CLOCK_PROCESS_CPUTIME_ID) };
    if pid > PID_MAX {
        // The C library would shift such a number into another process's clock.
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let pid = i32::try_from(pid).expect("invariant: at most PID_MAX");
    let mut id = 0;
    // SAFETY: the pointer is that of a value that outlives the call.
    match unsafe { libc::clock_getcpuclockid(pid, &raw mut id) } {
        0 => clock(id),
        // This one returns its error instead of setting errno.
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Gives free heap pages back to the kernel; worth it after a storm of connections has passed.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointer is passed; the allocator locks itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Keeps the kernel from backing this process with huge pages, which would count sparse tables as full.
pub fn disable_thp() -> io::Result<()> {
    let (on, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: no pointer is passed; the kernel wants the unused arguments to be zero.
    checked(unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, on, unused, unused, unused) }).map(drop)
}

/// What clock `id` shows.
pub(crate) fn clock(id: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is that of a value that outlives the call.
    checked(unsafe { libc::clock_gettime(id, &raw mut time) })?;
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Ok(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0)))
}

fn nofile() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is that of a value that outlives the call.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    Ok(limit)
}

fn private_bytes_of(process: &str) -> io::Result<u64> {
    let mut text = String::new();
    File::open(format!("/proc/{process}/smaps_rollup"))?.take(PROC_BYTES_MAX).read_to_string(&mut text)?;
    Ok(sum_private(&text))
}

/// Adds up the `Private_*:  N kB` lines.
fn sum_private(rollup: &str) -> u64 {
    let kilobytes = |line: &str| -> Option<u64> {
        let (name, rest) = line.split_once(':')?;
        if !name.starts_with("Private_") {
            return None;
        }
        rest.split_whitespace().next()?.parse().ok()
    };
    rollup.lines().filter_map(kilobytes).map(|kb: u64| kb * 1024).sum()
}
