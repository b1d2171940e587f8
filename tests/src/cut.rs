//! A TCP connection that can be cut: a listener that passes bytes on to another address, until it is told not to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

/// It. Dropping it cuts for good.
#[derive(Debug)]
pub struct Cut {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    cut: AtomicBool,
    silent: Mutex<bool>,
    heard: Condvar,
    streams: Mutex<Vec<TcpStream>>,
}

impl Cut {
    /// Listens on loopback; what connects there is connected to `to`.
    pub fn to(to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                if accepting.cut.load(Ordering::Acquire) {
                    continue;
                }
                if let Ok(onward) = TcpStream::connect(to) {
                    let _ = Shared::join(&accepting, &from, &onward);
                }
            }
        });
        Ok(Self { address, shared })
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection, and every further one at once.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::Release);
        let mut streams = self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Passes nothing on any more, and ends nothing: a network that swallows packets.
    pub fn silence(&self) {
        *self.shared.silent.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Lets connections be again, those of before a silence too.
    pub fn heal(&self) {
        self.shared.cut.store(false, Ordering::Release);
        *self.shared.silent.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.shared.heard.notify_all();
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.cut();
        self.heal();
    }
}

impl Shared {
    fn join(shared: &Arc<Self>, from: &TcpStream, onward: &TcpStream) -> std::io::Result<()> {
        let mut streams = shared.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for (one, other) in [(from, onward), (onward, from)] {
            one.set_nodelay(true)?;
            streams.push(one.try_clone()?);
            let (mut read, mut write) = (one.try_clone()?, other.try_clone()?);
            let shared = Arc::clone(shared);
            thread::spawn(move || {
                let mut buffer = [0; 16 * 1024];
                while let Ok(count @ 1..) = read.read(&mut buffer) {
                    let mut silent = shared.silent.lock().unwrap_or_else(PoisonError::into_inner);
                    while *silent {
                        silent = shared.heard.wait(silent).unwrap_or_else(PoisonError::into_inner);
                    }
                    drop(silent);
                    if write.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                let _ = write.shutdown(Shutdown::Both);
            });
        }
        Ok(())
    }
}
