//! File tables of their own, cores and priorities, each tried in a thread made for it.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::{Kernel, ListenOptions, Sys, WAKE, Waker, connect_from, listen, local_addr};

fn is_open(handle: Handle) -> bool {
    // SAFETY: no pointer is passed.
    unsafe { libc::fcntl(handle, libc::F_GETFD) != -1 }
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/thread-self/fd").unwrap().count()
}

/// Runs `body` in a thread with a file table of its own, in which only `keep` is open.
fn apart<T: Send>(keep: &[Handle], body: impl FnOnce() -> T + Send) -> T {
    let keep = keep.to_vec();
    thread::scope(|scope| {
        let run = move || {
            unshare_files().unwrap();
            close_others(&keep).unwrap();
            body()
        };
        scope.spawn(run).join().unwrap()
    })
}

#[test]
fn an_unshared_thread_closes_and_opens_without_the_others_seeing_it() {
    let file = File::open("/dev/null").unwrap();
    let handle = file.as_raw_fd();
    let (opened, same_number_open) = apart(&[], move || {
        assert!(!is_open(handle), "closed in this table");
        let opened = File::open("/dev/zero").unwrap().into_raw_fd();
        (opened, is_open(opened))
    });
    assert!(same_number_open);
    assert!(is_open(handle), "still open in the first table");
    assert!(opened > libc::STDERR_FILENO);
}

#[test]
fn close_others_keeps_exactly_what_it_is_told_and_the_standard_streams() {
    let files: Vec<File> = (0..6).map(|_| File::open("/dev/null").unwrap()).collect();
    let handles: Vec<Handle> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let keep = [handles[4], handles[1], handles[1], 0];
    let open = apart(&keep, || handles.iter().map(|&handle| is_open(handle)).collect::<Vec<_>>());
    assert_eq!(open, [false, true, false, false, true, false]);
    assert!(apart(&[], || (0..3).all(is_open) && open_files() <= 4));
}

#[test]
fn a_waker_made_before_unsharing_wakes_a_kernel_in_the_other_table() {
    let waker = Waker::new().unwrap();
    let (ready_to_wait, started) = mpsc::channel();
    thread::scope(|scope| {
        let theirs = waker.clone();
        let woken = scope.spawn(move || {
            unshare_files().unwrap();
            close_others(&[theirs.handle()]).unwrap();
            let mut kernel = Kernel::with_waker(8, theirs).unwrap();
            ready_to_wait.send(()).unwrap();
            let mut ready = Vec::new();
            let deadline = kernel.now() + Duration::from_secs(10);
            while ready.is_empty() && kernel.now() < deadline {
                kernel.wait(&mut ready, Duration::from_millis(200)).unwrap();
            }
            ready.first().map(|ready| ready.token)
        });
        started.recv().unwrap();
        waker.wake();
        assert_eq!(woken.join().unwrap(), Some(WAKE));
    });
}

#[test]
fn out_of_descriptors_is_an_error_that_leaves_the_connection_waiting() {
    // In a child table nothing but this test's files count against the limit, so the limit is filled, not lowered.
    let listener = listen("127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap();
    apart(&[listener], || {
        let mut kernel = Kernel::new(8).unwrap();
        let peer = connect_from(None, local_addr(listener).unwrap()).unwrap();
        kernel.watch(listener, 1).unwrap();
        let mut fill = Vec::new();
        let full = loop {
            // SAFETY: no pointer is passed.
            match checked(unsafe { libc::dup(peer) }) {
                Ok(handle) => fill.push(handle),
                Err(error) => break error,
            }
        };
        assert_eq!(full.raw_os_error(), Some(libc::EMFILE));
        let mut ready = Vec::new();
        kernel.wait(&mut ready, Duration::from_secs(10)).unwrap();
        assert_eq!(ready.len(), 1);
        let refused = kernel.accept(listener).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EMFILE));
        kernel.wait(&mut ready, Duration::ZERO).unwrap();
        assert_eq!(ready, [], "no new edge: the caller must remember");

        kernel.close(fill.pop().unwrap());
        let (accepted, _) = kernel.accept(listener).unwrap();
        let still_full = kernel.accept(listener).unwrap_err();
        assert_eq!(still_full.raw_os_error(), Some(libc::EMFILE), "said before the backlog is looked at");
        kernel.close(fill.pop().unwrap());
        assert_eq!(kernel.accept(listener).unwrap_err().kind(), ErrorKind::WouldBlock);
        for handle in fill.into_iter().chain([accepted, peer]) {
            kernel.close(handle);
        }
    });
    // SAFETY: no pointer is passed.
    unsafe { libc::close(listener) };
}

#[test]
fn a_thread_runs_only_on_the_core_it_is_pinned_to() {
    let all = cores().unwrap();
    assert!(!all.is_empty());
    let core = *all.last().unwrap();
    let after = thread::spawn(move || {
        pin_to_core(core).unwrap();
        cores().unwrap()
    });
    assert_eq!(after.join().unwrap(), [core]);
    assert_eq!(cores().unwrap(), all, "other threads keep theirs");
    assert_eq!(pin_to_core(usize::MAX).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_lowered_priority_is_that_thread_s_alone() {
    // SAFETY: no pointer is passed.
    let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let before = nice();
    let lowered = thread::spawn(move || {
        lower_priority(before + 1).unwrap();
        nice()
    });
    assert_eq!(lowered.join().unwrap(), before + 1);
    assert_eq!(nice(), before);
}

#[test]
fn thread_cpu_grows_with_work() {
    let before = thread_cpu();
    while thread_cpu() - before < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
}
