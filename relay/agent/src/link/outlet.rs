//! The way out of a shard's link: whoever has something for a link that waited writes at once what the socket takes; the link's own task
//! is woken for the rest alone.
//!
//! One writes at a time. The turn begins with [`relay::Event::Ready`], which the broker tells nobody again until [`relay::Transmit::Idle`]
//! has ended it; in between it may be handed to the link's task. Never asks the broker itself.
//!
//! A unix socket that is watched for room wakes who watches with everything that the other side reads. So it is watched only while a write
//! waits for room.

use std::io::{self, Write as _};
use std::mem;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::Notify;

/// A socket to write to, and what is said between those who do.
#[derive(Debug)]
pub(crate) struct Outlet {
    socket: UnixStream,
    state: Mutex<State>,
    /// The turn is the link's task's.
    handed: Notify,
    /// There may be room in the link's queue again.
    pub(crate) drained: Notify,
    /// The link is to be closed.
    closing: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The buffer of the last turn, for the next.
    spare: Vec<u8>,
    /// What the link's task is to write first; its turn has not begun yet.
    rest: Option<Vec<u8>>,
}

/// What became of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    All,
    /// So many bytes. The socket takes no more now, or none ever again.
    Part(usize),
}

impl Outlet {
    /// Of a socket that does not block.
    pub(crate) fn new(socket: UnixStream) -> Self {
        let (handed, drained, closing) = (Notify::new(), Notify::new(), Notify::new());
        Self { socket, state: Mutex::default(), handed, drained, closing }
    }

    /// A buffer for a turn that begins.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        mem::take(&mut self.state().spare)
    }

    /// The turn is over; its buffer is for the next.
    pub(crate) fn done(&self, buffer: Vec<u8>) {
        self.state().spare = buffer;
    }

    /// Writes what the socket takes without waiting.
    pub(crate) fn write(&self, bytes: &[u8]) -> Written {
        let mut from = 0;
        while from < bytes.len() {
            match (&self.socket).write(&bytes[from..]) {
                Ok(written) if written > 0 => from += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What is wrong the link's task finds out, and ends the link.
                _ => return Written::Part(from),
            }
        }
        Written::All
    }

    /// The link's task is to write these bytes and then to go on with the turn.
    pub(crate) fn hand(&self, rest: Vec<u8>) {
        let before = self.state().rest.replace(rest);
        debug_assert!(before.is_none(), "one writes at a time");
        self.handed.notify_one();
    }

    /// Waits until the turn is the task's: what it is to write first.
    pub(super) async fn turn(&self) -> Vec<u8> {
        loop {
            if let Some(rest) = self.state().rest.take() {
                return rest;
            }
            self.handed.notified().await;
        }
    }

    /// Writes all of it, however long that takes.
    pub(super) async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let Written::Part(from) = self.write(bytes) else { return Ok(()) };
        // Tokio watches its sockets both ways and its pipes one way; to a pipe of its own this is as good a descriptor.
        let mut watched = pipe::Sender::from_owned_fd_unchecked(self.socket.try_clone()?.into())?;
        watched.write_all(&bytes[from..]).await
    }

    /// The link is to be closed.
    pub(crate) fn close(&self) {
        self.closing.notify_one();
    }

    /// Waits for that.
    pub(super) async fn closed(&self) {
        self.closing.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn what_a_socket_does_not_take_is_written_by_the_task_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let outlet = Outlet::new(ours);
        let bytes: Vec<u8> = (0..4_000_000_u32).map(|number| (number % 251) as u8).collect();
        let Written::Part(written) = outlet.write(&bytes) else { panic!("more than a socket takes") };
        outlet.hand(bytes[written..].to_vec());
        let wanted = bytes.clone();
        let reader = std::thread::spawn(move || {
            let mut heard = vec![0; wanted.len()];
            theirs.read_exact(&mut heard).unwrap();
            assert!(heard == wanted);
        });
        outlet.write_all(&outlet.turn().await).await.unwrap();
        reader.join().unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_is_gone_is_the_tasks_to_find_out() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let outlet = Outlet::new(ours);
        assert_eq!(outlet.write(b"heard"), Written::All);
        drop(theirs);
        assert_eq!(outlet.write(b"unheard"), Written::Part(0));
        assert!(outlet.write_all(b"unheard").await.is_err());
    }
}
