//! Sockets by number: listening, accepting, connecting, closing. Sets options once, at birth; never keeps a handle.

#[cfg(test)]
mod tests;

use std::io;
use std::mem::ManuallyDrop;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::limits::LINGER_RESET;
use crate::{Handle, checked};

/// How to listen. What concerns connections is inherited by each accepted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that wait to be accepted; the kernel takes the smaller of this and `net.core.somaxconn`.
    pub backlog: u32,
    /// Several listeners share the port, each with a backlog of its own, and the kernel spreads connections over them.
    pub reuse_port: bool,
    /// Sends at once rather than gathering small writes.
    pub nodelay: bool,
    /// Reports room to send only while fewer unsent bytes than this are queued, so that a backlog stays in the program's accounts.
    pub notsent_lowat: Option<u32>,
    /// Gives up on a peer that has acknowledged nothing for this long while data was in flight.
    pub user_timeout_ms: Option<u32>,
    /// An IPv6 listener does not take IPv4 connections.
    pub v6only: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 4096,
            reuse_port: false,
            nodelay: true,
            notsent_lowat: None,
            user_timeout_ms: None,
            v6only: true,
        }
    }
}

/// Listens on `addr`; port 0 lets the system choose, see [`local_addr`].
pub fn listen(addr: SocketAddr, options: &ListenOptions) -> io::Result<Handle> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    if addr.is_ipv6() {
        socket.set_only_v6(options.v6only)?;
    }
    socket.set_tcp_nodelay(options.nodelay)?;
    if let Some(bytes) = options.notsent_lowat {
        socket.set_tcp_notsent_lowat(bytes)?;
    }
    if let Some(ms) = options.user_timeout_ms {
        socket.set_tcp_user_timeout(Some(Duration::from_millis(u64::from(ms))))?;
    }
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into_raw_fd())
}

/// Begins a TCP connection to `dest`, from `source` when given. The port is chosen at connect time, so that one address serves
/// as many connections as it has ports *per destination*. The outcome is an edge: writable, then [`take_error`].
///
/// `EADDRNOTAVAIL` means that no port of `source` is left for this destination.
pub fn connect_from(source: Option<IpAddr>, dest: SocketAddr) -> io::Result<Handle> {
    let socket = Socket::new(Domain::for_address(dest), Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        set_option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, &1i32)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&dest.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket.into_raw_fd()),
    }
}

/// The pending error of `handle`, which this clears.
pub fn take_error(handle: Handle) -> io::Result<Option<io::Error>> {
    borrow(handle).take_error()
}

/// Where `handle` is bound.
pub fn local_addr(handle: Handle) -> io::Result<SocketAddr> {
    borrow(handle).local_addr()?.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
}

pub(crate) fn accept(listener: Handle) -> io::Result<(Handle, SocketAddr)> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `try_init` hands out storage of at least `length` bytes for the kernel to fill, and what it fills is an address.
    let (handle, addr) = unsafe {
        SockAddr::try_init(|addr, length| checked(libc::accept4(listener, addr.cast(), length, flags)))
    }?;
    match addr.as_socket() {
        Some(addr) => Ok((handle, addr)),
        None => {
            close(handle);
            Err(io::Error::from(io::ErrorKind::Unsupported))
        }
    }
}

pub(crate) fn connect_unix(path: &Path) -> io::Result<Handle> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into_raw_fd())
}

/// Ends a stream in order, or a listener. For whoever holds no [`crate::Sys`]: at set-up.
pub fn close(handle: Handle) {
    // SAFETY: no pointer is passed. The number is the caller's to close, once.
    let result = unsafe { libc::close(handle) };
    debug_assert_eq!(result, 0, "handle {handle} closed twice, or in a table without it");
}

pub(crate) fn reset(handle: Handle) {
    let linger = libc::linger { l_onoff: 1, l_linger: LINGER_RESET };
    // A failure leaves an ordinary close.
    let _ = set_option(handle, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
    close(handle);
}

/// For the options that socket2 does not name; `T` is what the option's manual page says.
fn set_option<T>(handle: Handle, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("invariant: a few bytes");
    let value = std::ptr::from_ref(value).cast();
    // SAFETY: the pointer and length are those of a value that outlives the call.
    checked(unsafe { libc::setsockopt(handle, level, name, value, length) }).map(drop)
}

/// The socket of `handle` for a call or two, without closing it afterwards.
fn borrow(handle: Handle) -> ManuallyDrop<Socket> {
    // SAFETY: the wrapper is never dropped, so the number stays the caller's; an invalid number makes its calls fail.
    ManuallyDrop::new(unsafe { Socket::from_raw_fd(handle) })
}
