//! A signing connection: a thread of its own that reads a request, signs and answers, with one system call each way.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream as BlockingStream;
use std::sync::Arc;
use std::thread;

use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use wire::frame::{self, FrameError};
use wire::limits::SIGN_MESSAGE_BYTES_MAX;
use wire::sign::SignRequest;

use super::Ended;
use crate::limits::SIGNER_STACK_BYTES;
use crate::log::log;
use crate::state::{Relay, encode_signature};

/// A request: the message, and a few numbers around it.
const REQUEST_BYTES_MAX: usize = SIGN_MESSAGE_BYTES_MAX + 32;

/// Hands the connection to a thread, which keeps the permits until it ends.
pub(super) fn serve(
    relay: Arc<Relay>,
    stream: UnixStream,
    permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
) -> Result<(), Ended> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    thread::Builder::new().name("sign".to_owned()).stack_size(SIGNER_STACK_BYTES).spawn(move || {
        let _permits = permits;
        match requests(&relay, stream) {
            Ok(()) | Err(Ended::ByGateway) => {}
            Err(ended) => log!("a signing link ended: {ended}"),
        }
    })?;
    Ok(())
}

fn requests(relay: &Relay, mut stream: BlockingStream) -> Result<(), Ended> {
    let mut buffer = [0; 2 * REQUEST_BYTES_MAX];
    let mut filled = 0;
    let mut out = Vec::with_capacity(1024);
    loop {
        while let Some((body, rest)) = frame::split(&buffer[..filled])? {
            let request: SignRequest<'_> = frame::decode(body)?;
            let signed = relay.sign(request.key, request.scheme, request.message);
            encode_signature(signed.as_deref().map_err(|refusal| *refusal), &mut out)?;
            stream.write_all(&out)?;
            let rest = filled - rest.len()..filled;
            filled = rest.len();
            buffer.copy_within(rest, 0);
        }
        if filled > REQUEST_BYTES_MAX {
            return Err(FrameError::TooLarge { bytes: filled }.into());
        }
        match stream.read(&mut buffer[filled..])? {
            0 => return Err(Ended::ByGateway),
            read => filled += read,
        }
    }
}
