//! What a thread sets for itself at start: its file table, its core, its priority. Never undone.

#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use crate::process::clock;
use crate::{Handle, checked};

/// Gives the calling thread, and the threads it will start, a file table of their own.
///
/// From here on no lock or reference count of the table is shared with other threads, and the limit on open files counts for
/// this table alone. Every descriptor open now stays open in both tables under the same number and is closed in each by
/// number: what two threads both use (wake-ups, listeners handed over) must exist before, and [`close_others`] drops the rest.
/// Anything that closes itself when dropped, made before and dropped in a thread that has dropped the number, closes a stranger.
pub fn unshare_files() -> io::Result<()> {
    // SAFETY: no pointer is passed; the calling thread gets a copy of its own table.
    checked(unsafe { libc::unshare(libc::CLONE_FILES) }).map(drop)
}

/// Closes every descriptor of this thread's table above standard error but `keep`. Call it right after [`unshare_files`]:
/// in a shared table it would close other threads' files.
pub fn close_others(keep: &[Handle]) -> io::Result<()> {
    const FIRST: Handle = libc::STDERR_FILENO + 1;
    let mut keep: Vec<Handle> = keep.iter().copied().filter(|&handle| handle >= FIRST).collect();
    keep.sort_unstable();
    let mut from = FIRST;
    for handle in keep {
        close_range(from, handle - 1)?;
        from = from.max(handle.saturating_add(1));
    }
    close_range(from, Handle::MAX)
}

/// The cores this process may run on.
pub fn cores() -> io::Result<Vec<usize>> {
    // SAFETY: all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer and length are those of a value that outlives the call.
    checked(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) })?;
    let most = usize::try_from(libc::CPU_SETSIZE).expect("invariant: a small constant");
    // SAFETY: `core` is below the size of the set.
    Ok((0..most).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect())
}

/// Keeps the calling thread on `core`, one of [`cores`].
pub fn pin_to_core(core: usize) -> io::Result<()> {
    if core >= usize::try_from(libc::CPU_SETSIZE).expect("invariant: a small constant") {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `core` is below the size of the set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the pointer and length are those of a value that outlives the call; 0 is the calling thread.
    checked(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) }).map(drop)
}

/// Sets the calling thread's nice value: 0 is ordinary, 19 the last to run.
pub fn lower_priority(nice: i32) -> io::Result<()> {
    // SAFETY: no pointer is passed; on Linux 0 names the calling thread, not its process.
    checked(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

/// CPU time that the calling thread has used.
pub fn thread_cpu() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID).expect("invariant: every thread has this clock")
}

/// Closes the numbers `first..=last`, if there are any between.
fn close_range(first: Handle, last: Handle) -> io::Result<()> {
    let (Ok(from), Ok(to)) = (u32::try_from(first), u32::try_from(last)) else { return Ok(()) };
    if from > to {
        return Ok(());
    }
    // SAFETY: no pointer is passed. The numbers are the calling thread's to close, as its caller says.
    match unsafe { libc::syscall(libc::SYS_close_range, from, to, 0u32) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
