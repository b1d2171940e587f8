//! Commands that reached the edge at another shard than their session's: passed on, and the answer passed back.
//!
//! Keeps nothing here: who asked travels with the message and its answer. What is for another edge is a survey of the edges.

use std::time::Duration;

use wire::code;
use wire::frame;
use wire::link::ToShard;
use wire::survey::Answer;

use super::Broker;
use super::survey::Emulation;
use crate::LinkId;

impl Broker {
    /// Passes commands on to a shard by its address, unless that is not connected or does not keep up.
    pub(super) fn emulate(&mut self, now: Duration, link: LinkId, request: u32, emulation: &Emulation<'_>) {
        let Some(owner) = self.owner(emulation.address) else {
            if !self.emulate_elsewhere(now, link, request, emulation) {
                self.fail(link, request, code::NOT_AVAILABLE);
            }
            return;
        };
        let mut frame = Vec::new();
        let (session, data) = (emulation.session, emulation.data);
        let message = ToShard::Emulate { asker: link.0, request, session, data };
        if frame::encode(&message, &mut frame).is_err() {
            return self.fail(link, request, code::LIMIT_EXCEEDED);
        }
        if !self.offer(owner, &frame) {
            self.fail(link, request, code::TOO_MANY_REQUESTS);
        }
    }

    /// Passes the answer back to who asked, if that is still connected; 0 is another relay.
    pub(super) fn emulated(&mut self, now: Duration, link: LinkId, asker: u32, request: u32, found: bool) {
        if asker == 0 {
            let answer = Answer { sessions: found.into(), ..Answer::default() };
            self.surveys.shard_answered(request, link, answer);
            self.finish_surveys(now);
        } else if self.links.contains_key(&LinkId(asker)) {
            self.queue_message(LinkId(asker), &ToShard::Emulated { request, found });
        }
    }
}
