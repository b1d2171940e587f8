//! What the loop is given in a simulation: [`Sys`] over the fake kernel, with bugs planted on request; orders
//! from outside.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    rc::Rc,
    time::Duration,
};

use gateway::reactor::{Order, Outside};
use sys::{Handle, Ready, Sys};

use super::{doorman::Doorman, kernel::Kernel, plant::Plant, random::Random};

/// See the module.
pub(super) struct SimSys {
    /// Its number.
    pub(super) shard: usize,
    pub(super) kernel: Rc<RefCell<Kernel>>,
    pub(super) plant: Plant,
    pub(super) random: Random,
    pub(super) doorman: Rc<RefCell<Doorman>>,
}

impl SimSys {
    fn strikes(&mut self, plant: Plant) -> bool {
        self.plant == plant && self.random.chance(20)
    }
}

impl Sys for SimSys {
    fn now(&mut self) -> Duration {
        self.kernel.borrow().now
    }

    fn unix(&mut self) -> u64 {
        let kernel = self.kernel.borrow();
        kernel.unix + kernel.now.as_secs()
    }

    fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Duration) -> io::Result<()> {
        self.kernel.borrow_mut().wait(self.shard, ready, timeout);
        if !ready.is_empty() && self.strikes(Plant::MissedEdge) {
            let index = self.random.index(ready.len());
            ready.remove(index);
        }
        Ok(())
    }

    fn accept(&mut self, listener: Handle) -> io::Result<(Handle, SocketAddr)> {
        let (handle, peer) = self.kernel.borrow_mut().accept(self.shard, listener)?;
        self.doorman.borrow_mut().accepted(handle, peer.ip());
        Ok((handle, peer))
    }

    fn connect(&mut self, _path: &Path) -> io::Result<Handle> {
        // Port 0 marks the relay's end of a link.
        self.kernel.borrow_mut().connect_link(self.shard, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    fn watch(&mut self, handle: Handle, token: u64) -> io::Result<()> {
        let mut kernel = self.kernel.borrow_mut();
        if let Err(crime) = self.doorman.borrow_mut().watched(kernel.now, handle) {
            kernel.crime.get_or_insert(crime);
        }
        kernel.watch(self.shard, handle, token)
    }

    fn receive(&mut self, handle: Handle, buffer: &mut [u8]) -> io::Result<usize> {
        self.kernel.borrow_mut().receive(self.shard, handle, buffer)
    }

    fn send(&mut self, handle: Handle, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > 1 && self.strikes(Plant::DroppedByte) {
            return self.kernel.borrow_mut().send(self.shard, handle, &bytes[1..]).map(|count| count + 1);
        }
        if self.plant == Plant::ReorderedOffset
            && let Some(swapped) = exchanged(bytes)
        {
            return self.kernel.borrow_mut().send(self.shard, handle, &swapped);
        }
        self.kernel.borrow_mut().send(self.shard, handle, bytes)
    }

    fn close(&mut self, handle: Handle) {
        if !self.strikes(Plant::LeakedDescriptor) {
            self.kernel.borrow_mut().close(self.shard, handle, false);
        }
    }

    fn reset(&mut self, handle: Handle) {
        let mut kernel = self.kernel.borrow_mut();
        self.doorman.borrow_mut().reset(kernel.now, handle);
        kernel.close(self.shard, handle, true);
    }

    fn fill_random(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.random.next() as u8;
        }
    }
}

/// The same with its first two frames exchanged, if both are whole publications of a stream.
fn exchanged(bytes: &[u8]) -> Option<Vec<u8>> {
    let frame = |bytes: &[u8]| {
        let header = match bytes {
            [0x81, 0..126, ..] => 2 + usize::from(bytes[1]),
            [0x81, 126, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
            _ => return None,
        };
        let text = str::from_utf8(bytes.get(..header)?.get(2..)?).ok()?;
        text.contains("\"push\"").then_some(header).filter(|_| text.contains("\"offset\""))
    };
    let first = frame(bytes)?;
    let second = frame(&bytes[first..])?;
    let (one, rest) = bytes.split_at(first);
    Some([&rest[..second], one, &rest[second..]].concat())
}

/// Orders that wait for the loop.
#[derive(Clone, Default)]
pub(super) struct SimOutside {
    pub(super) orders: Rc<RefCell<VecDeque<Order>>>,
}

impl Outside for SimOutside {
    fn order(&mut self) -> Option<Order> {
        self.orders.borrow_mut().pop_front()
    }

    fn process(&mut self) -> (u64, u64) {
        (0, 0)
    }

    fn trim(&mut self) {}

    fn say(&mut self, _text: &str) {}
}
