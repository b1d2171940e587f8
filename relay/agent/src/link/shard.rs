//! A shard's connection: what it says goes to the bus, what waits for it there is written.

use std::sync::Arc;

use relay::{LinkId, Transmit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use wire::frame::Greeting;

use super::{Ended, Who};
use crate::limits::READ_BYTES;
use crate::log::log;
use crate::state::Relay;

pub(super) async fn serve(
    relay: &Arc<Relay>,
    mut stream: UnixStream,
    greeting: &Greeting,
    who: &Who,
) -> Result<(), Ended> {
    let (link, waker) = relay.open(greeting);
    let opened = Opened { relay, link };
    log!("{who} is up");
    let drained = Notify::new();
    let (read, write) = stream.split();
    tokio::select! {
        ended = reader(&opened, read, &drained) => ended,
        ended = writer(&opened, write, &waker, &drained) => ended,
    }
}

/// Closes the link in the bus however the connection's task ends.
struct Opened<'a> {
    relay: &'a Arc<Relay>,
    link: LinkId,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.relay.close(self.link);
    }
}

/// Reads while the link's own queue has room: a gateway that asks faster than it listens waits.
async fn reader(opened: &Opened<'_>, mut read: ReadHalf<'_>, drained: &Notify) -> Result<(), Ended> {
    let Opened { relay, link } = opened;
    // Bounded: a frame over the bound is refused before its body is awaited.
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        while relay.congested(*link) {
            drained.notified().await;
        }
        buffer.reserve(READ_BYTES);
        if read.read_buf(&mut buffer).await? == 0 {
            return Err(Ended::ByGateway);
        }
        let taken = relay.receive(*link, &buffer)?;
        buffer.drain(..taken);
        if buffer.is_empty() && buffer.capacity() > 4 * READ_BYTES {
            buffer = Vec::with_capacity(READ_BYTES);
        }
    }
}

/// Writes all that waits at once: what comes during a write goes out with the next.
async fn writer(
    opened: &Opened<'_>,
    mut write: WriteHalf<'_>,
    waker: &Notify,
    drained: &Notify,
) -> Result<(), Ended> {
    let Opened { relay, link } = opened;
    let mut out = Vec::new();
    loop {
        match relay.transmit(*link, &mut out) {
            Transmit::Write => {
                write.write_all(&out).await?;
                out.clear();
                drained.notify_one();
            }
            Transmit::Idle => {
                drained.notify_one();
                waker.notified().await;
            }
            Transmit::Close => return Err(Ended::Behind),
        }
    }
}
