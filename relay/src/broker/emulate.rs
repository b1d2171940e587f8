//! Commands that reached the edge at another shard than their session's: passed on, and the answer passed back.
//!
//! Keeps nothing: who asked travels with the message and its answer.

use wire::code;
use wire::frame;
use wire::link::{SESSION_BYTES, ToShard};

use super::Broker;
use crate::LinkId;

impl Broker {
    /// Passes commands on to a shard by its address, unless that is not connected or does not keep up.
    pub(super) fn emulate(
        &mut self,
        link: LinkId,
        request: u32,
        address: (u64, u16),
        session: [u8; SESSION_BYTES],
        data: &[u8],
    ) {
        // A shard that has connected again is known twice until its old connection is closed: the newest is it.
        let owner = self.links.iter().rev().find(|(_, outbound)| outbound.address == Some(address));
        let Some((&owner, _)) = owner else {
            return self.fail(link, request, code::NOT_AVAILABLE);
        };
        let mut frame = Vec::new();
        let message = ToShard::Emulate { asker: link.0, request, session, data };
        if frame::encode(&message, &mut frame).is_err() {
            return self.fail(link, request, code::LIMIT_EXCEEDED);
        }
        let limits = &self.limits;
        let taken = self.links.get_mut(&owner).is_some_and(|outbound| outbound.offer_loose(&frame, limits));
        if taken {
            self.announce(owner);
        } else {
            self.fail(link, request, code::TOO_MANY_REQUESTS);
        }
    }

    /// Passes the answer back to who asked, if that is still connected.
    pub(super) fn emulated(&mut self, asker: LinkId, request: u32, found: bool) {
        if self.links.contains_key(&asker) {
            self.queue_message(asker, &ToShard::Emulated { request, found });
        }
    }
}
