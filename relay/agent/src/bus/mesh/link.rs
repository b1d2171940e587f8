//! One connection to another edge, both sides known: what it says goes to the mesh, what waits for it there is written.

use std::io;
use std::sync::Arc;

use relay::bus::EdgeId;
use relay::mesh::Stranger;
use relay::{LinkId, Transmit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use wire::frame::FrameError;

use super::{Handle, MeshBus};
use crate::limits::READ_BYTES;
use crate::log::log;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the other edge has closed it, or is gone")]
    ByPeer,
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Stranger(#[from] Stranger),
    #[error("nothing was heard for too long, it was too far behind, or there is a newer one")]
    GivenUp,
}

/// Serves the connection until it ends.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(
    bus: &MeshBus,
    stream: S,
    name: &str,
    edge: EdgeId,
) -> Ended {
    let (link, handle) = match bus.open(name, edge) {
        Ok(opened) => opened,
        Err(stranger) => return stranger.into(),
    };
    bus.book.forget(name);
    log!("the link to edge {name} is up");
    let opened = Opened { bus, link };
    let (read, write) = tokio::io::split(stream);
    tokio::select! {
        ended = reader(&opened, read) => ended.err().unwrap_or(Ended::ByPeer),
        ended = writer(&opened, write, &handle) => ended.err().unwrap_or(Ended::GivenUp),
        () = handle.closed.notified() => Ended::GivenUp,
    }
}

/// Closes the link in the mesh however its task ends.
struct Opened<'a> {
    bus: &'a MeshBus,
    link: LinkId,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.bus.close(self.link);
    }
}

async fn reader<S: AsyncRead>(opened: &Opened<'_>, mut read: ReadHalf<S>) -> Result<(), Ended> {
    // Bounded: a frame over the bound is refused before its body is awaited.
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        buffer.reserve(READ_BYTES);
        match read.read_buf(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // A process that ends does not say so in TLS; nothing is lost by that: frames have lengths.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let taken = opened.bus.receive(opened.link, &buffer)?;
        buffer.drain(..taken);
        if buffer.is_empty() && buffer.capacity() > 4 * READ_BYTES {
            buffer = Vec::with_capacity(READ_BYTES);
        }
    }
}

/// Writes all that waits at once: what comes during a write goes out with the next.
async fn writer<S: AsyncWrite>(
    opened: &Opened<'_>,
    mut write: WriteHalf<S>,
    handle: &Arc<Handle>,
) -> Result<(), Ended> {
    let mut out = Vec::new();
    loop {
        match opened.bus.transmit(opened.link, &mut out) {
            Transmit::Write => {
                write.write_all(&out).await?;
                write.flush().await?;
                out.clear();
            }
            Transmit::Idle => handle.ready.notified().await,
            Transmit::Close => return Ok(()),
        }
    }
}
