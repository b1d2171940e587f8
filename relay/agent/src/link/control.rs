//! A control connection: settings go to the gateway when it opens and whenever they change. Nothing comes back.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Ended, Who};
use crate::log::log;
use crate::state::Relay;

pub(super) async fn serve(relay: &Relay, mut stream: UnixStream, who: &Who) -> Result<(), Ended> {
    let mut settings = relay.settings();
    log!("{who} is up");
    loop {
        let frame = settings.borrow_and_update().clone();
        stream.write_all(&frame).await?;
        let mut byte = [0];
        tokio::select! {
            changed = settings.changed() => if changed.is_err() { return Ok(()) },
            read = stream.read(&mut byte) => match read? {
                0 => return Err(Ended::ByGateway),
                _ => return Err(Ended::Unexpected),
            },
        }
    }
}
