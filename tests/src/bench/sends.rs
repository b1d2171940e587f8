//! What a fan-out costs at least: a bare loop of `send` of the same bytes to as many plain sockets, which another process drains the
//! way the load generator drains its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mio::{Events, Interest, Poll, Token};

use super::handshake::connect;
use crate::{process, wait};

/// What the drain sleeps before it waits for more, like the load generator at full speed.
const NAP: Duration = Duration::from_millis(2);

/// Deliveries per CPU-second of the sending thread, one message in flight, over so much time.
pub(super) fn per_cpu_second(sockets: usize, bytes: usize, time: Duration) -> Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut drain = Drain::start(listener.local_addr()?, sockets, bytes)?;
    let rate = send(&listener, sockets, bytes, time)?;
    drain.end()?;
    Ok(rate)
}

fn send(listener: &TcpListener, sockets: usize, bytes: usize, time: Duration) -> Result<f64> {
    let (mut control, _) = listener.accept()?;
    let mut readers = Vec::with_capacity(sockets);
    for _ in 0..sockets {
        let (reader, _) = listener.accept()?;
        reader.set_nonblocking(true)?;
        reader.set_nodelay(true)?;
        readers.push(reader);
    }
    let message = vec![0x17; bytes];
    let mut all_have_it = [0];
    let mut round = |readers: &mut [TcpStream]| -> Result<()> {
        for reader in readers {
            let sent = reader.write(&message).context("a drained socket takes a message")?;
            ensure!(sent == message.len(), "a drained socket took {sent} of {} bytes", message.len());
        }
        Ok(control.read_exact(&mut all_have_it)?)
    };
    for _ in 0..5 {
        round(&mut readers)?;
    }
    let (started, before) = (wait::now(), process::thread_cpu()?);
    let mut deliveries = 0;
    while started.elapsed() < time {
        round(&mut readers)?;
        deliveries += sockets;
    }
    let cpu = process::thread_cpu()? - before;
    Ok(deliveries as f64 / cpu.as_secs_f64())
}

/// The draining process: this program again, with an option that nobody types.
struct Drain(Child);

impl Drain {
    fn start(address: SocketAddr, sockets: usize, bytes: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--drain").arg(format!("{address},{sockets},{bytes}")).stdin(Stdio::null());
        Ok(Self(command.spawn().context("the draining process does not start")?))
    }

    fn end(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Connects, drains, and reports each time that all sockets together have had another message; ends when killed. One thread, like
/// the load generator that it is compared with.
pub fn drain(spec: &str) -> Result<()> {
    let mut parts = spec.split(',');
    let mut part = || parts.next().context("ADDRESS,SOCKETS,BYTES");
    let (address, sockets, bytes): (SocketAddr, usize, u64) =
        (part()?.parse()?, part()?.parse()?, part()?.parse()?);
    let mut control = TcpStream::connect(address)?;
    control.set_nodelay(true)?;
    let mut poll = Poll::new()?;
    let mut streams = Vec::with_capacity(sockets);
    for index in 0..sockets {
        let stream = connect(address, index % 16)?;
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
        streams.push(stream);
    }
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; 256 * 1024];
    let mut owed = bytes * sockets as u64;
    loop {
        wait::pause(NAP);
        poll.poll(&mut events, None)?;
        for event in &events {
            let Some(stream) = streams.get_mut(event.token().0) else { continue };
            let Some(read) = take(stream, &mut scratch)? else { return Ok(()) };
            owed = owed.checked_sub(read as u64).context("more came than was owed")?;
        }
        if owed == 0 {
            control.write_all(&[1])?;
            owed = bytes * sockets as u64;
        }
    }
}

/// Reads what is there; `None` at the end.
fn take(stream: &mut mio::net::TcpStream, scratch: &mut [u8]) -> Result<Option<usize>> {
    let mut sum = 0;
    loop {
        match stream.read(scratch) {
            Ok(0) => return Ok(None),
            Ok(read) => {
                sum += read;
                if read < scratch.len() {
                    return Ok(Some(sum));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(sum)),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn every_message_is_sent_and_drained() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || drain(&format!("{address},50,180")));
        assert!(send(&listener, 50, 180, Duration::from_millis(50)).unwrap() > 0.0);
    }
}
