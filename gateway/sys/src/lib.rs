//! The system calls of the gateway and the load generator behind one trait, [`Sys`], so that a loop runs on the kernel or in a
//! simulator. Owns the only `unsafe` and the only `libc` of the workspace; never decides anything about connections.
//!
//! Sockets are plain [`Handle`]s, because a connection table that holds millions of them stores four bytes each. Whoever
//! stores a handle owns it and passes it to [`Sys::close`] or [`Sys::reset`] exactly once; a number used after that may name
//! another connection, which is why tables pair it with a generation.

mod kernel;
mod limits;
mod opener;
mod process;
pub mod sandbox;
mod socket;
mod thread;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

pub use kernel::{Kernel, WAKE, Waker};
pub use limits::{EVENTS_DEFAULT, LINGER_RESET};
pub use opener::Opener;
pub use process::{
    Meter, disable_thp, private_bytes, process_cpu, process_private_bytes, raise_nofile, soft_nofile,
    trim_heap,
};
pub use socket::{ListenOptions, close, connect_from, listen, local_addr, take_error};
pub use thread::{close_others, cores, lower_priority, pin_to_core, thread_cpu, unshare_files};

/// A descriptor of the calling thread's file table.
pub type Handle = i32;

/// What an edge said about one watched handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// As given to [`Sys::watch`], or [`WAKE`].
    pub token: u64,
    /// There may be bytes (or connections) to take.
    pub readable: bool,
    /// There may be room to send.
    pub writable: bool,
    /// The peer will send no more, or the socket failed: reading to the end says which.
    pub closed: bool,
}

/// What a loop needs from the system; [`Kernel`] in production, a simulator in tests.
///
/// Every socket is non-blocking: a call that cannot go on returns [`io::ErrorKind::WouldBlock`].
pub trait Sys {
    /// Monotonic, since this value was made.
    fn now(&mut self) -> Duration;

    /// Seconds of the wall clock since 1970.
    fn unix(&mut self) -> u64;

    /// Clears `ready` and fills it with what changed since each handle was last reported, waiting up to `timeout` for the
    /// first. An interrupted wait is an empty one. At most one batch is returned: more may be waiting.
    fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Duration) -> io::Result<()>;

    /// Takes one connection. Out of descriptors is `EMFILE` or `ENFILE`, said even of an empty backlog, and a connection that
    /// waits there causes no new edge: the caller stops accepting until it has closed something, and then tries by itself.
    fn accept(&mut self, listener: Handle) -> io::Result<(Handle, SocketAddr)>;

    /// Connects a stream to the unix socket at `path`. A full backlog there is `WouldBlock`.
    fn connect(&mut self, path: &Path) -> io::Result<Handle>;

    /// Reports readable, writable and hung-up edges of `handle` as `token` until it is closed; called once per handle.
    fn watch(&mut self, handle: Handle, token: u64) -> io::Result<()>;

    /// Zero is the end of the stream.
    fn receive(&mut self, handle: Handle, buffer: &mut [u8]) -> io::Result<usize>;

    /// May take fewer bytes than offered. A peer that is gone is an error, never a signal.
    fn send(&mut self, handle: Handle, bytes: &[u8]) -> io::Result<usize>;

    /// Ends the stream in order (FIN after what is queued).
    fn close(&mut self, handle: Handle);

    /// Ends the stream at once (RST; what is queued is dropped, and no TIME_WAIT stays).
    fn reset(&mut self, handle: Handle);

    /// Fills `bytes` from the system's generator.
    fn fill_random(&mut self, bytes: &mut [u8]);
}

/// `result` of a C call that says -1 for "see errno".
fn checked(result: i32) -> io::Result<i32> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Like [`checked`] for calls that return a byte count.
fn counted(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
