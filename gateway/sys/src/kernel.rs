//! [`Kernel`]: the real [`Sys`], over one edge-triggered epoll. Owns its epoll and wake-up descriptors, never the sockets.

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::limits::RANDOM_RETRIES_MAX;
use crate::{Handle, Opener, Ready, Sys, checked, counted, socket};

/// The token under which a [`Waker`] reports; never give it to [`Sys::watch`].
pub const WAKE: u64 = u64::MAX;

// Tokens carry an index and a generation, and mio keeps them in a usize.
const _: () = assert!(size_of::<usize>() == size_of::<u64>());

/// The kernel, as seen by one thread.
#[derive(Debug)]
pub struct Kernel {
    birth: Instant,
    poll: Poll,
    events: Events,
    waker: Waker,
    opener: Option<Opener>,
}

/// Ends another thread's wait, or its next one.
///
/// A wake-up is a write to a descriptor, by number. A thread that calls [`unshare_files`](crate::unshare_files) is woken
/// through a waker made *before* that call, which it then keeps open: [`Waker::handle`], [`Kernel::with_waker`].
#[derive(Debug, Clone)]
pub struct Waker(Arc<OwnedFd>);

impl Kernel {
    /// Reports up to `events` edges per wait, and is woken by a waker of its own.
    ///
    /// # Panics
    /// When `events` is zero.
    pub fn new(events: usize) -> io::Result<Self> {
        Self::with_waker(events, Waker::new()?)
    }

    /// Like [`Kernel::new`], woken by a waker that exists already; one waker wakes one kernel.
    ///
    /// # Panics
    /// When `events` is zero.
    #[allow(clippy::disallowed_methods, reason = "the one monotonic clock of a loop starts here")]
    pub fn with_waker(events: usize, waker: Waker) -> io::Result<Self> {
        assert!(events > 0, "a wait without room for an event never ends");
        let poll = Poll::new()?;
        let token = Token(usize::MAX);
        poll.registry().register(&mut SourceFd(&waker.handle()), token, Interest::READABLE)?;
        Ok(Self { birth: Instant::now(), poll, events: Events::with_capacity(events), waker, opener: None })
    }

    /// Lets another process make the connections that [`Sys::connect`] asks for; the path is then that process's.
    #[must_use]
    pub fn opened_by(mut self, opener: Option<Opener>) -> Self {
        self.opener = opener;
        self
    }

    /// A way for other threads to end a wait.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl Sys for Kernel {
    fn now(&mut self) -> Duration {
        self.birth.elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "the one wall clock of a loop is read here")]
    fn unix(&mut self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Duration) -> io::Result<()> {
        ready.clear();
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        ready.extend(self.events.iter().map(|event| Ready {
            token: event.token().0 as u64,
            readable: event.is_readable(),
            writable: event.is_writable(),
            closed: event.is_read_closed() || event.is_error(),
        }));
        Ok(())
    }

    fn accept(&mut self, listener: Handle) -> io::Result<(Handle, SocketAddr)> {
        socket::accept(listener)
    }

    fn connect(&mut self, path: &Path) -> io::Result<Handle> {
        match &self.opener {
            Some(opener) => opener.open(),
            None => socket::connect_unix(path),
        }
    }

    fn watch(&mut self, handle: Handle, token: u64) -> io::Result<()> {
        debug_assert_ne!(token, WAKE, "the waker's token");
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut SourceFd(&handle), Token(token as usize), interest)
    }

    fn receive(&mut self, handle: Handle, buffer: &mut [u8]) -> io::Result<usize> {
        // The C library's `recv` and `send` are cancellation points, which costs two atomic operations per call.
        let (none, flags) = (std::ptr::null::<libc::c_void>(), 0);
        // SAFETY: the pointer and length are those of a slice that outlives the call; the address pointers are null, which is allowed.
        counted(unsafe {
            libc::syscall(libc::SYS_recvfrom, handle, buffer.as_mut_ptr(), buffer.len(), flags, none, none)
        } as isize)
    }

    fn send(&mut self, handle: Handle, bytes: &[u8]) -> io::Result<usize> {
        let (none, flags) = (std::ptr::null::<libc::c_void>(), libc::MSG_NOSIGNAL);
        // SAFETY: the pointer and length are those of a slice that outlives the call; the address is null, as connected sockets have it.
        counted(unsafe {
            libc::syscall(libc::SYS_sendto, handle, bytes.as_ptr(), bytes.len(), flags, none, 0)
        } as isize)
    }

    fn close(&mut self, handle: Handle) {
        socket::close(handle);
    }

    fn reset(&mut self, handle: Handle) {
        socket::reset(handle);
    }

    fn fill_random(&mut self, bytes: &mut [u8]) {
        let mut filled = 0;
        for _ in 0..RANDOM_RETRIES_MAX {
            let rest = &mut bytes[filled..];
            if rest.is_empty() {
                return;
            }
            // SAFETY: the pointer and length are those of a slice that outlives the call.
            let count = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
            filled += counted(count).unwrap_or(0);
        }
        assert_eq!(filled, bytes.len(), "the system's generator gives bytes once the system is up");
    }
}

impl Waker {
    /// A waker for a [`Kernel::with_waker`] made later, perhaps in another thread.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointer is passed.
        let handle = checked(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor was made just now and nothing else holds it.
        Ok(Self(Arc::new(unsafe { OwnedFd::from_raw_fd(handle) })))
    }

    /// Ends the wait; the next [`Sys::wait`] reports [`WAKE`]. Several wake-ups may be reported as one.
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the pointer and length are those of an array that outlives the call.
        let written = unsafe { libc::write(self.handle(), one.as_ptr().cast(), one.len()) };
        // It fails only when 2^64 - 2 wake-ups are pending, and then the reader is awake anyway.
        debug_assert_eq!(written, 8, "a waker is open wherever it is used");
    }

    /// The descriptor under which this waker is known in the table of the thread that made it, and in every copy of that table.
    pub fn handle(&self) -> Handle {
        self.0.as_raw_fd()
    }
}
