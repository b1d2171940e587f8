//! A shard's connection: what it says goes to the bus, what waits for it there and found no room in the socket is written.

use std::sync::Arc;

use relay::{LinkId, Transmit};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use wire::frame::Greeting;

use super::{Ended, Outlet, Who};
use crate::limits::READ_BYTES;
use crate::log::log;
use crate::state::Relay;

pub(super) async fn serve(
    relay: &Arc<Relay>,
    stream: UnixStream,
    greeting: &Greeting,
    who: &Who,
) -> Result<(), Ended> {
    let socket = stream.into_std()?;
    let outlet = Arc::new(Outlet::new(socket.try_clone()?));
    // Watched for what comes alone: see there.
    let read = pipe::Receiver::from_owned_fd_unchecked(socket.into())?;
    let opened = Opened { relay, link: relay.open(greeting, &outlet) };
    log!("{who} is up");
    tokio::select! {
        ended = reader(&opened, read, &outlet) => ended,
        ended = writer(&opened, &outlet) => ended,
        () = outlet.closed() => Err(Ended::Behind),
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
async fn reader(opened: &Opened<'_>, mut read: pipe::Receiver, outlet: &Outlet) -> Result<(), Ended> {
    let Opened { relay, link } = opened;
    // Bounded: a frame over the bound is refused before its body is awaited.
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        while relay.congested(*link) {
            outlet.drained.notified().await;
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

/// Writes what the socket did not take at once, then all that waits: what comes during a write goes out with the next.
async fn writer(opened: &Opened<'_>, outlet: &Outlet) -> Result<(), Ended> {
    let Opened { relay, link } = opened;
    loop {
        let mut out = outlet.turn().await;
        outlet.write_all(&out).await?;
        loop {
            let transmit = relay.transmit(*link, &mut out);
            outlet.drained.notify_one();
            match transmit {
                Transmit::Write => outlet.write_all(&out).await?,
                Transmit::Idle => break,
                Transmit::Close => return Err(Ended::Behind),
            }
        }
        outlet.done(out);
    }
}
