//! A process of one purpose: it connects to the relay's socket and hands the connection over. With it, the process that faces the
//! internet needs no call that makes or connects a socket, not even to come back after the relay has restarted.
//!
//! Owns the sockets between the two. It is asked by one byte that means nothing, so there is nothing to lie to it about: the path
//! is its own. It ends when nobody is left to ask.

#[cfg(test)]
mod tests;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use socket2::{Domain, Socket, Type};

use crate::limits::OPENER_PATIENCE;
use crate::sandbox::{Calls, allow_only, give_up_privileges};
use crate::{Handle, checked, counted, socket};

/// An answer: zero, or the number of an error.
const ANSWER_BYTES: usize = size_of::<i32>();
/// Space for one descriptor beside an answer, aligned as the kernel wants it.
const CONTROL_WORDS: usize = 4;

/// One asker's end. Belongs to one thread.
#[derive(Debug)]
pub struct Opener(OwnedFd);

impl Opener {
    /// Starts the process with as many ends as there are to be askers. It is a copy of this one, under the rules of
    /// [`Calls::Opener`]: call it before anything is open that it should not have, and while there is one thread.
    pub fn start(path: &Path, askers: usize) -> io::Result<Vec<Self>> {
        if std::fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other("a process of several threads cannot be copied"));
        }
        let (mut asking, mut serving) = (Vec::new(), Vec::new());
        for _ in 0..askers {
            let (ours, theirs) = Socket::pair(Domain::UNIX, Type::SEQPACKET.cloexec(), None)?;
            ours.set_read_timeout(Some(OPENER_PATIENCE))?;
            asking.push(Self(ours.into()));
            serving.push(theirs);
        }
        // SAFETY: there is one thread, so the copy has no lock that another held, and may go on as an ordinary program.
        match checked(unsafe { libc::fork() })? {
            0 => {
                drop(asking);
                let code = i32::from(serve(path, serving).is_err());
                // SAFETY: ends this process without running what the original registered for its own end.
                unsafe { libc::_exit(code) }
            }
            _ => Ok(asking),
        }
    }

    /// A connection to the path, in the calling thread's file table, non-blocking.
    pub fn open(&self) -> io::Result<Handle> {
        // An answer that came too late to an earlier question: its connection has waited for nobody.
        while let Ok(late) = self.answer(libc::MSG_DONTWAIT) {
            let _ = late.map(socket::close);
        }
        let (none, flags) = (std::ptr::null::<libc::sockaddr>(), libc::MSG_NOSIGNAL);
        // SAFETY: the pointer and length are those of an array that outlives the call; connected sockets need no address.
        counted(unsafe { libc::sendto(self.handle(), [0u8].as_ptr().cast(), 1, flags, none, 0) })?;
        self.answer(0)?
    }

    /// The same as a stream whose calls wait.
    pub fn open_stream(&self) -> io::Result<UnixStream> {
        // SAFETY: the descriptor came just now and nothing else holds it.
        let stream = unsafe { UnixStream::from_raw_fd(self.open()?) };
        stream.set_nonblocking(false)?;
        Ok(stream)
    }

    /// The descriptor of this end.
    pub fn handle(&self) -> Handle {
        self.0.as_raw_fd()
    }

    /// The outer error is that of asking, the inner one that of connecting.
    fn answer(&self, flags: i32) -> io::Result<io::Result<Handle>> {
        let mut bytes = [0; ANSWER_BYTES];
        let mut control = [0u64; CONTROL_WORDS];
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let mut message = message(&mut part, &mut control);
        // SAFETY: the message points to values that outlive the call.
        let count = counted(unsafe {
            libc::recvmsg(self.handle(), &raw mut message, flags | libc::MSG_CMSG_CLOEXEC)
        })?;
        if count != ANSWER_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the process that connects to the relay is gone",
            ));
        }
        let code = i32::from_ne_bytes(bytes);
        if code != 0 {
            return Ok(Err(io::Error::from_raw_os_error(code)));
        }
        // SAFETY: the kernel has filled the control buffer that the message still points to.
        let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        // SAFETY: not null means that it lies in the control buffer, whole.
        let Some(found) = (unsafe { header.as_ref() }) else { return Err(io::ErrorKind::InvalidData.into()) };
        if (found.cmsg_level, found.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: a header of this type is followed by at least one descriptor, perhaps unaligned.
        Ok(Ok(unsafe { libc::CMSG_DATA(header).cast::<Handle>().read_unaligned() }))
    }
}

/// The other process, until the last asker has gone.
fn serve(path: &Path, mut askers: Vec<Socket>) -> io::Result<()> {
    // SAFETY: the pointer is that of a constant text with its end.
    checked(unsafe { libc::prctl(libc::PR_SET_NAME, c"opener".as_ptr()) })?;
    // What could not be done will be said by the original, of itself.
    drop(give_up_privileges());
    allow_only(Calls::Opener)?;
    while !askers.is_empty() {
        let mut ready: Vec<libc::pollfd> = askers
            .iter()
            .map(|asker| libc::pollfd { fd: asker.as_raw_fd(), events: libc::POLLIN, revents: 0 })
            .collect();
        let count = ready.len() as libc::nfds_t;
        // SAFETY: the pointer and length are those of a vector that outlives the call.
        match checked(unsafe { libc::poll(ready.as_mut_ptr(), count, -1) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let mut asked = ready.iter().map(|one| one.revents != 0);
        askers.retain(|asker| !asked.next().unwrap_or(false) || answer(path, asker).is_ok());
    }
    Ok(())
}

/// One question's answer; an error when its asker has gone.
fn answer(path: &Path, asker: &Socket) -> io::Result<()> {
    let mut question = [MaybeUninit::uninit(); 1];
    if asker.recv(&mut question)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // SAFETY: the descriptor was made just now and nothing else holds it.
    let made = socket::connect_unix(path).map(|handle| unsafe { OwnedFd::from_raw_fd(handle) });
    let code = match &made {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
    };
    let mut bytes = code.to_ne_bytes();
    let mut control = [0u64; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut message = message(&mut part, &mut control);
    match &made {
        Ok(handle) => {
            const HANDLE_BYTES: u32 = size_of::<Handle>() as u32;
            // SAFETY: sizes only. One descriptor fits the control buffer, which the test below asserts by use.
            message.msg_controllen = unsafe { libc::CMSG_SPACE(HANDLE_BYTES) } as _;
            // SAFETY: the message points to a control buffer that is large enough for a header and a descriptor.
            unsafe {
                let header = libc::CMSG_FIRSTHDR(&raw const message);
                (*header).cmsg_level = libc::SOL_SOCKET;
                (*header).cmsg_type = libc::SCM_RIGHTS;
                (*header).cmsg_len = libc::CMSG_LEN(HANDLE_BYTES) as _;
                libc::CMSG_DATA(header).cast::<Handle>().write_unaligned(handle.as_raw_fd());
            }
        }
        Err(_) => message.msg_controllen = 0,
    }
    // SAFETY: the message points to values that outlive the call.
    counted(unsafe { libc::sendmsg(asker.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) }).map(drop)
}

/// A message of one part, with room for a descriptor.
fn message(part: &mut libc::iovec, control: &mut [u64; CONTROL_WORDS]) -> libc::msghdr {
    // SAFETY: all zeroes is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(control) as _;
    message
}
