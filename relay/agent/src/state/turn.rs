//! What follows each piece of work of the broker: asks go to the bus, and links that have something new are written to.

use std::sync::{Arc, MutexGuard};

use relay::{Broker, Event, LinkId, Transmit};

use super::Relay;
use crate::limits::WRITE_ROUNDS;
use crate::link::{Outlet, Written};

impl Relay {
    /// Lets the broker go, then writes to the links it has something for.
    pub(crate) fn wake(&self, broker: MutexGuard<'_, Broker>) {
        let mut ready = self.settle(broker);
        let mut at = 0;
        while let Some(link) = ready.get(at).copied() {
            let outlet = self.lock_links().get(&link).map(|known| Arc::clone(&known.outlet));
            if let Some(outlet) = outlet {
                self.write(link, &outlet, &mut ready);
            }
            at += 1;
        }
    }

    /// Takes what the broker wants done and lets it go: the links that it has something for, or that are to be closed, which writing to
    /// them finds out. This program's own is woken.
    fn settle(&self, mut broker: MutexGuard<'_, Broker>) -> Vec<LinkId> {
        let mut ready = Vec::new();
        while let Some(event) = broker.event() {
            let (Event::Ready(link) | Event::Close(link)) = event;
            ready.push(link);
        }
        match self.node.get() {
            Some(node) => node.serve(&mut broker),
            // Namespaces of a reload that need nodes, in a relay that was started without: what is asked ends with its deadline.
            None => while broker.ask_store().is_some() {},
        }
        // Still under the lock: asks stay in the broker's order.
        if let Some(bus) = self.bus.get() {
            while let Some(ask) = broker.ask() {
                bus.ask(ask);
            }
        }
        drop(broker);
        ready.retain(|link| !self.line.wake(*link));
        ready
    }

    /// A turn of writing to a link: what its socket takes. What that costs is bounded by the socket's buffer, and by a shard that reads
    /// as fast as others write: after a few rounds its own task goes on.
    fn write(&self, link: LinkId, outlet: &Outlet, ready: &mut Vec<LinkId>) {
        let mut out = outlet.buffer();
        for _ in 0..WRITE_ROUNDS {
            let mut broker = self.broker();
            let transmit = broker.transmit(link, &mut out);
            ready.append(&mut self.settle(broker));
            match transmit {
                Transmit::Idle => return outlet.done(out),
                Transmit::Close => return outlet.close(),
                Transmit::Write => {}
            }
            if let Written::Part(written) = outlet.write(&out) {
                out.drain(..written);
                return outlet.hand(out);
            }
            outlet.drained.notify_one();
        }
        out.clear();
        outlet.hand(out);
    }
}
