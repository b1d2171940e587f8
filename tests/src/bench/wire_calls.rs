//! The bare system calls of a TLS handshake: accept, read, write, epoll and close of a loop that does nothing else, with flights
//! of the real sizes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use anyhow::{Context, Result};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::handshake::{CLIENTS, connect};
use crate::process;

const LISTENER: Token = Token(usize::MAX);

/// Bytes of the four flights: ClientHello; ServerHello to Finished; the client's Finished; session tickets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Flights {
    pub(super) hello: usize,
    pub(super) answer: usize,
    pub(super) finished: usize,
    pub(super) tickets: usize,
}

/// CPU of the serving thread per connection.
pub(super) fn cpu_us(flights: Flights, count: usize) -> Result<f64> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || serve(listener, flights, count));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let share = count / CLIENTS + usize::from(client < count % CLIENTS);
            thread::spawn(move || {
                (0..share).try_for_each(|number| exchange(address, client * 16 + number % 16, flights))
            })
        })
        .collect();
    for client in clients {
        client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    let cpu = server.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    Ok(cpu * 1e6 / count as f64)
}

fn exchange(address: SocketAddr, source: usize, flights: Flights) -> Result<()> {
    let mut tcp = connect(address, source)?;
    let mut bytes = vec![0; flights.answer.max(flights.hello).max(flights.tickets)];
    tcp.write_all(&bytes[..flights.hello])?;
    tcp.read_exact(&mut bytes[..flights.answer])?;
    tcp.write_all(&bytes[..flights.finished])?;
    tcp.read_exact(&mut bytes[..flights.tickets])?;
    Ok(())
}

struct Connection {
    stream: TcpStream,
    received: usize,
    answered: usize,
}

/// Serves `count` connections; the CPU seconds of this thread.
fn serve(mut listener: TcpListener, flights: Flights, count: usize) -> Result<f64> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut open: Vec<Option<Connection>> = Vec::new();
    let mut scratch = vec![0; 16 * 1024];
    let mut closed = 0;
    let before = process::thread_cpu()?;
    while closed < count {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut open)?;
                continue;
            }
            let slot = open.get_mut(event.token().0).context("an event of nobody")?;
            if slot.as_mut().is_some_and(|connection| turn(connection, flights, &mut scratch)) {
                *slot = None;
                closed += 1;
            }
        }
    }
    Ok((process::thread_cpu()? - before).as_secs_f64())
}

fn accept(listener: &TcpListener, poll: &Poll, open: &mut Vec<Option<Connection>>) -> Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let token = Token(open.len());
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        open.push(Some(Connection { stream, received: 0, answered: 0 }));
    }
}

/// Reads what is there and answers the flights that are complete; whether the connection is over.
fn turn(connection: &mut Connection, flights: Flights, scratch: &mut [u8]) -> bool {
    loop {
        match connection.stream.read(scratch) {
            Ok(0) => return true,
            Ok(read) => {
                connection.received += read;
                let owed = match connection.received {
                    n if n >= flights.hello + flights.finished => flights.answer + flights.tickets,
                    n if n >= flights.hello => flights.answer,
                    _ => 0,
                };
                let answer = owed - connection.answered;
                if answer > 0 && connection.stream.write(&scratch[..answer]).is_err() {
                    return true;
                }
                connection.answered = owed;
                if read < scratch.len() {
                    return false;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
}
