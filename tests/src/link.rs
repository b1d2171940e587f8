//! A shard's link to a relay without a gateway: says what a shard would say, and hands on what it would hear.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wire::frame::{self, GREETING_BYTES, Greeting, Purpose, VERSION, Welcome};
use wire::link::{ToRelay, ToShard};

/// How long the other side may stay silent while something is awaited.
const WITHIN: Duration = Duration::from_secs(60);
/// What one read takes at most.
const READ_BYTES: usize = 256 * 1024;

/// One connection.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    unread: Vec<u8>,
    out: Vec<u8>,
}

impl Link {
    /// Connects as the first shard of a gateway of this number.
    pub fn open(socket: &Path, gateway: u64) -> Result<Self> {
        let mut stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
        stream.set_read_timeout(Some(WITHIN))?;
        stream
            .write_all(&Greeting { version: VERSION, purpose: Purpose::Shard, gateway, shard: 0 }.encode())?;
        let mut welcome = [0; GREETING_BYTES];
        stream.read_exact(&mut welcome)?;
        Welcome::decode(&welcome)?;
        Ok(Self { stream, unread: Vec::new(), out: Vec::new() })
    }

    /// A second hand on the same connection: one may speak while the other listens.
    pub fn speaker(&self) -> Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, unread: Vec::new(), out: Vec::new() })
    }

    /// Queues a message.
    pub fn say(&mut self, message: &ToRelay<'_>) -> Result<()> {
        Ok(frame::encode(message, &mut self.out)?)
    }

    /// Sends what is queued.
    pub fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Reads once and hands on every whole message.
    pub fn hear(&mut self, mut each: impl FnMut(&ToShard<'_>)) -> Result<()> {
        let start = self.unread.len();
        self.unread.resize(start + READ_BYTES, 0);
        let read = self.stream.read(&mut self.unread[start..]);
        self.unread.truncate(start + *read.as_ref().unwrap_or(&0));
        ensure!(read? > 0, "the relay closed the link");
        let mut used = 0;
        while let Some((body, rest)) = frame::split(&self.unread[used..])? {
            each(&frame::decode(body)?);
            used = self.unread.len() - rest.len();
        }
        self.unread.drain(..used);
        Ok(())
    }
}
