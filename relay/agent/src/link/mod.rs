//! The unix socket that gateways connect to: who may, what for, and how many at once.

mod control;
mod outlet;
mod shard;
mod sign;

pub(crate) use outlet::{Outlet, Written};

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time;
use wire::frame::{FrameError, GREETING_BYTES, Greeting, Purpose, VERSION, Welcome};

use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, GREETING_TIMEOUT, SIGNERS_MAX};
use crate::log::log;
use crate::state::Relay;

/// The socket, listening.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, so that only our own socket is removed in the end.
    identity: (u64, u64),
    uids: Vec<u32>,
}

/// Why there is no socket, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A relay answers there.
    #[error("another relay answers on {0}: stop it, or set link.path to another place")]
    Answered(String),
    /// Something that is not a socket.
    #[error("{0} exists and is not a socket: remove it, or set link.path to another place")]
    NotASocket(String),
    /// No folder.
    #[error("the folder of {0} does not exist: make it, owned by the user that runs headland-relay")]
    NoFolder(String),
    /// No right.
    #[error("this user may not make {0}: give its folder to the user that runs headland-relay")]
    Denied(String),
    /// Anything else.
    #[error("{0}: {1}")]
    Other(String, io::Error),
}

/// Why a link connection ended, for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("the gateway closed it")]
    ByGateway,
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("it was too far behind")]
    Behind,
    #[error("no greeting within {} s", GREETING_TIMEOUT.as_secs())]
    Silent,
    #[error("there are {SIGNERS_MAX} signing connections already")]
    Signers,
    #[error("it said something on a connection where only the relay speaks")]
    Unexpected,
}

impl Socket {
    /// Makes the socket. A socket file that nobody answers on is a dead relay's and is replaced.
    pub fn bind(path: &Path, allowed: &[u32]) -> Result<Self, SocketError> {
        let name = || path.display().to_string();
        make_way(path)?;
        let listener = UnixListener::bind(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SocketError::NoFolder(name()),
            io::ErrorKind::PermissionDenied => SocketError::Denied(name()),
            _ => SocketError::Other(name(), error),
        })?;
        let other = |error| SocketError::Other(name(), error);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(other)?;
        let made = std::fs::symlink_metadata(path).map_err(other)?;
        // The file is this process's own, so its owner is who we are.
        let mut uids = vec![0, made.uid()];
        uids.extend_from_slice(allowed);
        Ok(Self { listener, path: path.to_owned(), identity: (made.dev(), made.ino()), uids })
    }

    /// Serves connections until the task is dropped.
    pub(crate) async fn serve(&self, relay: Arc<Relay>) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let signers = Arc::new(Semaphore::new(SIGNERS_MAX));
        loop {
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => self.greet(&relay, stream, permit, &signers),
                Err(error) => {
                    log!("accepting a link failed: {error}");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn greet(
        &self,
        relay: &Arc<Relay>,
        stream: UnixStream,
        permit: OwnedSemaphorePermit,
        signers: &Arc<Semaphore>,
    ) {
        let uid = stream.peer_cred().map(|peer| peer.uid());
        match uid {
            Ok(uid) if self.uids.contains(&uid) => {}
            Ok(uid) => {
                relay.counters.link_refused();
                log!("user {uid} may not connect: if it runs the gateway, add it to link.allowed_uids");
                return;
            }
            Err(error) => {
                relay.counters.link_refused();
                log!("a link's user is not known: {error}");
                return;
            }
        }
        let (relay, signers) = (Arc::clone(relay), Arc::clone(signers));
        tokio::spawn(async move {
            let mut who = Who::default();
            let ended = connection(&relay, stream, permit, &signers, &mut who).await;
            if let Err(ended) = ended {
                log!("{who} ended: {ended}");
            }
        });
    }
}

impl Drop for Socket {
    /// Removes the file, unless another relay has already put its own there.
    fn drop(&mut self) {
        let found = std::fs::symlink_metadata(&self.path).map(|file| (file.dev(), file.ino()));
        if found.is_ok_and(|found| found == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket file that nobody answers on.
fn make_way(path: &Path) -> Result<(), SocketError> {
    let name = || path.display().to_string();
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(SocketError::NotASocket(name()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| SocketError::Other(name(), error))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(SocketError::Denied(name())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(SocketError::Other(name(), error)),
        Ok(_) => Err(SocketError::Answered(name())),
    }
}

/// Which connection, for the log.
#[derive(Debug, Default)]
struct Who(Option<Greeting>);

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Greeting { purpose, gateway, shard, .. }) = self.0 else { return f.write_str("a link") };
        match purpose {
            Purpose::Control => write!(f, "the control link of gateway {gateway:016x}"),
            Purpose::Shard => write!(f, "the link of shard {shard} of gateway {gateway:016x}"),
            Purpose::Sign => write!(f, "a signing link of shard {shard} of gateway {gateway:016x}"),
        }
    }
}

/// The greeting, then whatever the connection is for.
async fn connection(
    relay: &Arc<Relay>,
    mut stream: UnixStream,
    permit: OwnedSemaphorePermit,
    signers: &Arc<Semaphore>,
    who: &mut Who,
) -> Result<(), Ended> {
    let mut first = [0; GREETING_BYTES];
    time::timeout(GREETING_TIMEOUT, stream.read_exact(&mut first)).await.map_err(|_| Ended::Silent)??;
    let greeting = Greeting::decode(&first)?;
    who.0 = Some(greeting);
    stream.write_all(&Welcome { version: VERSION }.encode()).await?;
    if greeting.version != VERSION {
        return Err(FrameError::Version { theirs: greeting.version }.into());
    }
    match greeting.purpose {
        Purpose::Control => control::serve(relay, stream, who).await,
        Purpose::Shard => shard::serve(relay, stream, &greeting, who).await,
        Purpose::Sign => {
            let signer = Arc::clone(signers).try_acquire_owned().map_err(|_| Ended::Signers)?;
            sign::serve(Arc::clone(relay), stream, (permit, signer))
        }
    }
}
