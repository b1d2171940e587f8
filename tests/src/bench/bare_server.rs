//! A server that does nothing but TLS handshakes: rustls with the key in the process, on an epoll loop per core. What a handshake
//! costs at least with real clients beside it, which the sum of its parts, each measured alone, does not know.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::{ServerConfig, ServerConnection};
use socket2::{Domain, Socket, Type};

use crate::process;

const LISTENER: Token = Token(usize::MAX);
/// How long a loop sleeps before it looks whether it is over.
const PATIENCE: Duration = Duration::from_millis(20);
const BACKLOG: i32 = 1024;

/// Running loops on one port.
pub(super) struct BareServer {
    pub(super) address: SocketAddr,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Duration>>>,
}

impl BareServer {
    pub(super) fn start(config: &Arc<ServerConfig>) -> Result<Self> {
        let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let over = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for core in sys::cores()? {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_reuse_port(true)?;
            socket.set_nonblocking(true)?;
            socket.set_tcp_nodelay(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            address = socket.local_addr()?.as_socket().context("an address of the internet")?;
            let (config, over) = (Arc::clone(config), Arc::clone(&over));
            threads.push(thread::spawn(move || {
                sys::pin_to_core(core)?;
                serve(TcpListener::from_std(socket.into()), &config, &over)
            }));
        }
        Ok(Self { address, over, threads })
    }

    /// Ends it; the CPU time of all loops.
    pub(super) fn stop(self) -> Result<Duration> {
        self.over.store(true, Ordering::Relaxed);
        let mut sum = Duration::ZERO;
        for thread in self.threads {
            sum += thread.join().map_err(|_| anyhow::anyhow!("the bare server panicked"))??;
        }
        Ok(sum)
    }
}

fn serve(mut listener: TcpListener, config: &Arc<ServerConfig>, over: &AtomicBool) -> Result<Duration> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut open: HashMap<Token, (TcpStream, ServerConnection)> = HashMap::new();
    let mut next = 0;
    let before = process::thread_cpu()?;
    while !over.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(PATIENCE))?;
        for event in &events {
            if event.token() != LISTENER {
                let Some((stream, tls)) = open.get_mut(&event.token()) else { continue };
                if !turn(stream, tls) {
                    open.remove(&event.token());
                }
                continue;
            }
            loop {
                let mut stream = match listener.accept() {
                    Ok((stream, _)) => stream,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                };
                let token = Token(next);
                next += 1;
                poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                open.insert(token, (stream, ServerConnection::new(Arc::clone(config))?));
            }
        }
    }
    Ok(process::thread_cpu()? - before)
}

/// Reads what is there and answers it; false when the connection is over.
fn turn(stream: &mut TcpStream, tls: &mut ServerConnection) -> bool {
    let mut more = true;
    while more {
        let mut count = 0;
        let read = tls.read_tls(&mut Counted { stream, count: &mut count });
        match read {
            Ok(0) => return false,
            // An empty socket makes a new edge; a full buffer of the library may have left some.
            Ok(_) => more = count == LIBRARY_READ_BYTES,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
        if tls.process_new_packets().is_err() {
            return false;
        }
        while tls.wants_write() {
            if tls.write_tls(stream).is_err() {
                return false;
            }
        }
    }
    true
}

/// Bytes that the library asks a socket for at once.
const LIBRARY_READ_BYTES: usize = 4096;

/// Tells how much one read brought.
struct Counted<'a> {
    stream: &'a mut TcpStream,
    count: &'a mut usize,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let room = buffer.len().min(LIBRARY_READ_BYTES);
        *self.count = self.stream.read(&mut buffer[..room])?;
        Ok(*self.count)
    }
}
