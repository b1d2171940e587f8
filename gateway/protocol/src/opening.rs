//! A session that begins with channels which the server subscribes it to: what is known of them so far.
//!
//! Owns the answers until all are there and the reply to `connect` can be made of them. Never asks.

use wire::{
    frame::{self, FrameError},
    link::ToShard,
};

use crate::{outbox::Outbox, pending::Wish, places::Terms};

/// The channels of a beginning session.
#[derive(Debug, Default)]
pub struct Opening {
    /// Of the `connect` that will be answered.
    pub id: u32,
    /// In the order in which they were asked for.
    pub slots: Vec<Slot>,
    /// How many have no answer yet.
    pub waiting: usize,
    /// Bytes of the answers.
    pub bytes: usize,
    /// From the backend, for the client; empty when none.
    pub data: Vec<u8>,
    /// What was owed before, and goes before the reply.
    pub before: Outbox,
}

/// One of the channels.
#[derive(Debug)]
pub struct Slot {
    /// Its id in the hub.
    pub channel: u32,
    /// What it gets.
    pub wish: Wish,
    /// What is particular about it, until it is a subscription.
    pub terms: Terms,
    /// The relay's answer as it came over the link; empty before.
    pub answer: Vec<u8>,
}

impl Opening {
    /// Keeps the answer for one of the channels.
    pub fn answered(&mut self, slot: usize, answer: &ToShard<'_>) -> Result<(), FrameError> {
        let kept = &mut self.slots[slot].answer;
        debug_assert!(kept.is_empty(), "a channel is answered once");
        frame::encode(answer, kept)?;
        self.bytes += kept.len();
        Ok(())
    }
}

impl Slot {
    /// The answer again.
    pub fn answer(&self) -> Option<ToShard<'_>> {
        let (body, _) = frame::split(&self.answer).ok().flatten()?;
        frame::decode(body).ok()
    }
}
