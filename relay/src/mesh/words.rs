//! The words that edges have between themselves beside questions and answers: lists, tables, messages, and streams that move.

use std::sync::Arc;
use std::time::Duration;

use wire::code;
use wire::frame::{self, FrameError};
use wire::link::ToShard;
use wire::mesh::{self, Class, Place, Word};

use super::{Mesh, Told};
use crate::Epoch;
use crate::bus::Tell;

impl Mesh {
    pub(super) fn word(
        &mut self,
        now: Duration,
        index: usize,
        body: &[u8],
        told: &mut Told<'_>,
    ) -> Result<(), FrameError> {
        match frame::decode::<Word<'_>>(body)? {
            Word::Alive => {}
            Word::List { digest, heard } => {
                // Said again, it means that the other side begins anew.
                self.disagree(now, index, told);
                let connection = self.peers[index].connection.as_mut();
                if connection.is_some_and(|connection| connection.digest.replace(digest).is_none()) {
                    self.answer_lent(index, heard);
                }
                self.agree(index);
            }
            Word::Message { body } => {
                if let Some(connection) = &self.peers[index].connection {
                    self.counters.messages += 1;
                    told(Tell::Message { from: connection.edge, body });
                }
            }
            Word::Stream(part) => self.stream(now, index, &part),
            Word::Taken { channel } => {
                if self.peers[index].leaving.answered(channel) {
                    self.counters.streams_left += 1;
                    // Though the list may have given it back: the edge has it, and hands it over.
                    self.home.forget(channel);
                }
            }
            Word::Left { channel } => {
                if self.peers[index].leaving.answered(channel) {
                    self.hand_over(channel.into());
                }
            }
            // The rest is of an agreement, and of none when that is over.
            _ if self.peers[index].home().is_none() => self.counters.stale += 1,
            Word::Table { version, anew, unwanted, wanted } => {
                self.place(now, index, (version, anew), &unwanted, &wanted);
            }
            Word::Placed { version, places } => self.placed(now, index, version, &places, told),
            Word::Again { .. } => {
                let mut parted = Vec::new();
                self.peers[index].interest.reset(|channel| parted.push(Arc::clone(channel)));
                parted.iter().for_each(|channel| self.tell_parted(channel, told));
            }
            Word::Remove { request, channel } => self.remove(index, request, channel),
            Word::Removed { request } => {
                self.tell_answer(index, request, told, |ticket| Tell::Done { ticket });
            }
            Word::Renew { channel, epoch } => {
                if self.serves(channel)
                    && let Some(epoch) = Epoch::parse(epoch)
                {
                    self.home.renew(now, channel, epoch);
                }
            }
            Word::Settled => {
                self.unsettled.remove(&self.peers[index].name);
            }
        }
        Ok(())
    }

    fn placed(
        &mut self,
        now: Duration,
        index: usize,
        version: u64,
        places: &[Place<'_>],
        told: &mut Told<'_>,
    ) {
        let mut decided = Vec::new();
        let places = places.iter().map(|place| match place {
            Place::At { epoch } => Ok(Epoch::parse(epoch)),
            Place::Refused { code } => Err(code::error(*code)),
        });
        self.peers[index]
            .interest
            .placed(now, version, places, |channel, joined| decided.push((Arc::clone(channel), joined)));
        decided.iter().for_each(|(channel, joined)| self.tell_decided(channel, *joined, told));
    }

    fn remove(&mut self, index: usize, request: u32, channel: &str) {
        let Some(link) = self.peers[index].home() else { return };
        let removed =
            if self.serves(channel) { self.home.remove_history(channel) } else { Err(code::INTERNAL) };
        match removed {
            Ok(()) => {
                let mut frame = Vec::new();
                let encoded = mesh::encode(Class::Word, &Word::Removed { request }, &mut frame);
                debug_assert!(encoded.is_ok(), "a number fits a frame");
                self.home.pass(link, &frame);
            }
            Err(error) => self.home.answer(link, &ToShard::Failed { request, code: error.code }),
        }
    }
}
