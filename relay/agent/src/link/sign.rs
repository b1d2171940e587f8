//! A signing connection: a thread of its own that reads what requests there are, signs them all and answers, with one system
//! call each way.

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
use crate::limits::{SIGN_READ_BYTES, SIGNER_STACK_BYTES};
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
    let mut buffer = [0; SIGN_READ_BYTES];
    let mut filled = 0;
    let mut out = Vec::with_capacity(4096);
    loop {
        let mut rest = &buffer[..filled];
        while let Some((body, next)) = frame::split(rest)? {
            let request: SignRequest<'_> = frame::decode(body)?;
            let signed = relay.sign(request.key, request.scheme, request.message);
            encode_signature(signed.as_deref().map_err(|refusal| *refusal), &mut out)?;
            rest = next;
        }
        if rest.len() > REQUEST_BYTES_MAX {
            return Err(FrameError::TooLarge { bytes: rest.len() }.into());
        }
        let used = filled - rest.len();
        buffer.copy_within(used..filled, 0);
        filled -= used;
        if !out.is_empty() {
            stream.write_all(&out)?;
            out.clear();
        }
        match stream.read(&mut buffer[filled..])? {
            0 => return Err(Ended::ByGateway),
            read => filled += read,
        }
    }
}

const _: () = assert!(SIGN_READ_BYTES > 2 * REQUEST_BYTES_MAX);
