//! The control connection to the relay: settings, first and on every reload. Blocking, with a timeout, on the main thread.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use sys::Opener;
use wire::{
    frame::{self, FrameError, GREETING_BYTES, Greeting, Purpose, VERSION, Welcome},
    settings::Settings,
};

use crate::{
    limits::{GREETING_TIMEOUT, SIGNAL_POLL},
    sandbox,
};

/// See the module.
pub(crate) struct Control {
    path: PathBuf,
    opener: Option<Opener>,
    gateway: u64,
    stream: Option<UnixStream>,
    buffer: Vec<u8>,
    /// The last failure, so that each is said once.
    told: Option<String>,
}

impl Control {
    pub(crate) const fn new(path: PathBuf, opener: Option<Opener>, gateway: u64) -> Self {
        Self { path, opener, gateway, stream: None, buffer: Vec::new(), told: None }
    }

    /// Waits up to [`SIGNAL_POLL`] for the next settings, connecting first if need be. Says on standard error, once, what is wrong.
    pub(crate) fn next(&mut self) -> Option<Settings> {
        match self.receive() {
            Ok(settings) => {
                if settings.is_some() && self.told.take().is_some() {
                    eprintln!("headland-gateway: the relay at {} is there again", self.path.display());
                }
                settings
            }
            Err(error) => {
                self.stream = None;
                self.buffer.clear();
                let text = error.to_string();
                if self.told.as_ref() != Some(&text) {
                    eprintln!(
                        "headland-gateway: no relay at {}: {text}. Start headland-relay with this [link] path; trying again until it is there",
                        self.path.display()
                    );
                    self.told = Some(text);
                }
                #[allow(
                    clippy::disallowed_methods,
                    reason = "the main thread has nothing else to wait for between tries"
                )]
                std::thread::sleep(SIGNAL_POLL);
                None
            }
        }
    }

    fn receive(&mut self) -> io::Result<Option<Settings>> {
        if self.stream.is_none() {
            self.stream = Some(self.connect()?);
        }
        let Some(stream) = &mut self.stream else { return Ok(None) };
        loop {
            if let Some((body, rest)) = frame::split(&self.buffer).map_err(invalid)? {
                let settings = frame::decode(body).map_err(invalid)?;
                let used = self.buffer.len() - rest.len();
                self.buffer.drain(..used);
                return Ok(Some(settings));
            }
            let before = self.buffer.len();
            self.buffer.resize(before + 16 * 1024, 0);
            let received = stream.read(&mut self.buffer[before..]);
            self.buffer.truncate(before + received.as_ref().map_or(0, |count| *count));
            match received {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the relay has closed the connection",
                    ));
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let mut stream = sandbox::connect(self.opener.as_ref(), &self.path)?;
        stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
        stream.set_write_timeout(Some(GREETING_TIMEOUT))?;
        let greeting =
            Greeting { version: VERSION, purpose: Purpose::Control, gateway: self.gateway, shard: 0 };
        stream.write_all(&greeting.encode())?;
        let mut welcome = [0; GREETING_BYTES];
        stream.read_exact(&mut welcome).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the relay refused the connection: this program must run as a user that the relay's [link] allows",
            ),
            _ => error,
        })?;
        Welcome::decode(&welcome).map_err(invalid)?;
        stream.set_read_timeout(Some(SIGNAL_POLL))?;
        Ok(stream)
    }
}

fn invalid(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
