//! The relay's side of the conversation: answers to requests, and what becomes of them when none come.

use wire::{
    code::{self, ErrorCode},
    frame,
    limits::LINK_TO_RELAY_BYTES_MAX,
    link::{Publication, ToRelay, ToShard},
};

use super::{Shard, special::Missed};
use crate::{
    client::{
        call,
        reply::{Push, Reply, Subscribed},
    },
    connection::{Phase, Word},
    limits::LINK_COMMANDS_EIGHTHS,
    pending::{Asker, Question, Wish},
    time::Now,
};

impl Shard {
    /// One message from the relay.
    pub fn hear(&mut self, now: Now, message: &ToShard<'_>) {
        match message {
            ToShard::Publication { channel, publication } => self.publication(channel, publication),
            ToShard::Join { channel, info } => self.presence_event(channel, &Push::Join(info)),
            ToShard::Leave { channel, info } => self.presence_event(channel, &Push::Leave(info)),
            ToShard::Insufficient { channel } => {
                if let Some(known) = self.hub.find(channel) {
                    self.lose_position(known);
                }
            }
            ToShard::Subscribed { request, offset, epoch, recovered, publications } => {
                let top = Top { offset: *offset, epoch, recovered: *recovered, publications };
                self.subscribed(now, *request, &top);
            }
            ToShard::Verified { request, claims } => {
                if let Some((_, index)) = self.answered(*request) {
                    self.hear_word(now, index, Word::Token(Ok(claims.clone())));
                }
            }
            ToShard::Admitted { request } => {
                if let Some((_, index)) = self.answered(*request) {
                    self.arrival_answered(now, index, Ok(()));
                }
            }
            ToShard::Disconnect { session, code: number } => {
                if let Some(index) = self.find(*session) {
                    self.connections[index].flags.clear(crate::connection::Flags::COUNTED);
                    self.close(now, index, code::close(*number));
                }
            }
            ToShard::Published { request, offset, epoch, duplicate } => {
                self.published(now, *request, &call::published(*offset, epoch, *duplicate));
            }
            ToShard::History { request, offset, epoch, publications } => {
                let reply = Reply::History { publications, epoch, offset: *offset };
                self.answer(now, *request, &reply);
            }
            ToShard::Presence { request, members } => self.answer(now, *request, &Reply::Presence(members)),
            ToShard::PresenceStats { request, clients, users } => {
                self.answer(now, *request, &Reply::PresenceStats { clients: *clients, users: *users });
            }
            ToShard::Emulate { asker, request, session, data } => {
                self.emulated_from(now, (*asker, *request), session, data);
            }
            ToShard::Emulated { request, found } => {
                if let Some((_, index)) = self.answered(*request) {
                    self.emulation_answered(now, index, Ok(*found));
                }
            }
            ToShard::Proxied { request, outcome } => {
                if let Some((asker, index)) = self.answered(*request) {
                    self.decided(now, asker, index, Ok(outcome.clone()));
                }
            }
            ToShard::Survey { number, question } => self.surveyed(*number, question),
            // For the server API, which is no shard.
            ToShard::Done { .. } | ToShard::Surveyed { .. } => {}
            ToShard::Failed { request, code: number } => {
                if let Some(asker) = self.pending.answer(*request) {
                    self.failed(now, *request, asker, code::error(*number));
                }
            }
        }
    }

    /// The link is there (again): what the hub holds is asked for anew.
    pub fn link_up(&mut self) {
        debug_assert!(!self.link.up);
        self.link.up = true;
        self.link.out.clear();
        self.start_restoring();
    }

    /// The link is lost: everybody who waits gets a temporary error, everybody stays.
    pub fn link_down(&mut self, now: Now) {
        self.link.up = false;
        self.link.out.clear();
        self.link.restore = None;
        self.link.reappear = None;
        self.forget_surveys();
        while let Some((request, asker)) = self.pending.lost() {
            self.failed(now, request, asker, code::INTERNAL);
        }
        self.forget_live();
    }

    /// Frames for the relay, to be sent and drained by the shell.
    pub fn link_out(&mut self) -> &mut Vec<u8> {
        &mut self.link.out
    }

    /// Requests the relay has not answered in time.
    pub(super) fn expire_requests(&mut self, now: Now) {
        while let Some((request, asker)) = self.pending.overdue(now.at) {
            self.failed(now, request, asker, code::INTERNAL);
        }
    }

    /// Queues a frame for the relay. False when it is larger than a frame may be, or the link is down.
    pub(super) fn tell(&mut self, message: &ToRelay<'_>) -> bool {
        self.link.up && frame::encode(message, &mut self.link.out).is_ok()
    }

    /// Commands are refused before departures are: those have the rest of the bound.
    pub(super) fn link_is_full(&self) -> bool {
        self.link.out.len() >= LINK_TO_RELAY_BYTES_MAX / 8 * LINK_COMMANDS_EIGHTHS
    }

    /// The relay does not read: nothing may be dropped in silence, so the link must be given up and made anew.
    pub fn link_is_stuck(&self) -> bool {
        self.link.out.len() > LINK_TO_RELAY_BYTES_MAX
    }

    /// Who asked, if the connection is still there.
    fn answered(&mut self, request: u32) -> Option<(Asker, usize)> {
        let asker = self.pending.answer(request)?;
        self.asker_index(asker).map(|index| (asker, index))
    }

    fn asker_index(&mut self, asker: Asker) -> Option<usize> {
        let index = asker.connection as usize;
        let connection = self.connections.get_mut(index)?;
        if connection.generation != asker.generation {
            return None;
        }
        connection.asked = connection.asked.saturating_sub(1);
        Some(index)
    }

    fn answer(&mut self, now: Now, request: u32, reply: &Reply<'_>) {
        let Some((asker, index)) = self.answered(request) else { return };
        if self.connections[index].phase == Phase::Ready {
            self.reply(now, index, asker.id, reply);
        }
    }

    fn published(&mut self, now: Now, request: u32, result: &[u8]) {
        let Some((asker, index)) = self.answered(request) else { return };
        if self.connections[index].phase == Phase::Ready {
            let reply = match asker.question {
                Question::PublishCall | Question::PublishProxied { call: true } => {
                    Reply::Rpc { data: result }
                }
                _ => Reply::Publish,
            };
            self.reply(now, index, asker.id, &reply);
        }
        if let Question::PublishProxied { .. } = asker.question {
            self.go_on_behind(now, index);
        }
    }

    /// A request ends in an error.
    fn failed(&mut self, now: Now, request: u32, asker: Asker, error: ErrorCode) {
        let index = self.asker_index(asker);
        match (asker.question, index) {
            (Question::Restore { channel }, _) => {
                // A link that is lost again is restored again; one that is there has no answer to give.
                if self.link.up {
                    self.lose_position(channel);
                }
                self.release(channel);
            }
            (Question::Subscribe { channel, wish }, index) => {
                self.enlisted(wish.survey, Err(error));
                self.take_manner(wish);
                if let Some(index) = index {
                    let places = &mut self.connections[index].places;
                    if places.find(channel).is_some_and(|place| place.waits_for(request)) {
                        places.remove(channel);
                    }
                    if self.connections[index].phase == Phase::Ready {
                        self.reply_error(now, index, asker.id, error);
                    }
                }
                self.release(channel);
            }
            (Question::Opening { channel, slot }, index) => {
                self.opening_answered(now, index, (channel, slot), Err(error));
            }
            (Question::Arrival, Some(index)) => self.arrival_answered(now, index, Err(error)),
            (Question::Emulate, Some(index)) => {
                self.emulation_answered(now, index, Err(error));
            }
            (Question::Token, Some(index)) => self.hear_word(now, index, Word::Token(Err(error))),
            (
                Question::Backend
                | Question::Call
                | Question::PublishProxied { .. }
                | Question::Refresh
                | Question::SubRefresh { .. },
                Some(index),
            ) => self.decided(now, asker, index, Err(error)),
            (_, Some(index)) if self.connections[index].phase == Phase::Ready => {
                self.reply_error(now, index, asker.id, error);
            }
            (_, _) => {}
        }
    }

    fn subscribed(&mut self, now: Now, request: u32, top: &Top<'_>) {
        let Some(asker) = self.pending.answer(request) else { return };
        let index = self.asker_index(asker);
        match asker.question {
            Question::Restore { channel } => self.restored(channel, top),
            Question::Opening { channel, slot } => {
                self.note_position(channel, top);
                self.opening_answered(now, index, (channel, slot), Ok(top));
            }
            Question::Subscribe { channel, wish } => {
                self.enlisted(wish.survey, Ok(()));
                self.note_position(channel, top);
                let waiting = index.filter(|index| {
                    let connection = &self.connections[*index];
                    connection.phase == Phase::Ready
                        && connection.places.find(channel).is_some_and(|place| place.waits_for(request))
                });
                match (waiting, index) {
                    (Some(index), _) => self.begin_subscription(now, index, asker.id, channel, wish, top),
                    (None, Some(index)) if self.connections[index].phase == Phase::Ready => {
                        // The client has unsubscribed before the answer came.
                        self.reply_error(now, index, asker.id, code::INTERNAL);
                        self.give_up(channel, wish);
                    }
                    _ => self.give_up(channel, wish),
                }
            }
            _ => {}
        }
    }

    fn begin_subscription(
        &mut self,
        now: Now,
        index: usize,
        id: u32,
        channel: u32,
        wish: Wish,
        top: &Top<'_>,
    ) {
        let manner = self.take_manner(wish);
        if wish.recover && !top.recovered && wish.reject_unrecovered {
            self.connections[index].places.remove(channel);
            self.release(channel);
            return self.reply_error(now, index, id, code::UNRECOVERABLE_POSITION);
        }
        let (expiry, data) = self.promise(now, index, channel);
        let reply = Subscribed { expiry, data: &data, ..top.reply(wish) };
        let encoding = self.connections[index].encoding;
        let missed = Missed::new(encoding, &manner, reply.publications);
        let last = reply.publications.last().map(|publication| publication.data);
        let reply = missed.in_reply(&manner, self.number_for(channel, &manner), reply);
        // The reply goes into the outbox before the subscription can put anything behind it.
        self.tell_subscribed(now, index, id, channel, reply);
        if self.connections.get(index).is_some_and(|c| c.phase == Phase::Ready) {
            self.join(index, channel, wish);
            self.specialize(index, channel, manner, last);
            self.schedule(index);
        } else {
            self.release(channel);
        }
    }

    /// The relay's word on a channel's position. On a live channel it cannot differ from what the hub has seen, by the link's order.
    pub(super) fn note_position(&mut self, channel: u32, top: &Top<'_>) {
        let entry = self.hub.channel(channel);
        let known = entry.subscribers() > 0 && !entry.epoch.is_empty();
        if known && (*entry.epoch != *top.epoch || entry.offset != top.offset) {
            self.lose_position(channel);
        }
        self.hub.channel_mut(channel).stands_at(top.offset, top.epoch);
    }

    /// A subscription that is not to be any more.
    fn give_up(&mut self, channel: u32, wish: Wish) {
        self.take_manner(wish);
        self.release(channel);
    }

    /// Gives a reservation back, and tells the relay if the channel went with it.
    pub(super) fn release(&mut self, channel: u32) {
        let name = std::rc::Rc::clone(&self.hub.channel(channel).name);
        if self.hub.release(channel) {
            self.tell(&ToRelay::Unsubscribe { channel: &name });
        }
    }
}

/// A channel's top as an answer tells it.
pub(super) struct Top<'a> {
    pub(super) offset: u64,
    pub(super) epoch: &'a str,
    pub(super) recovered: bool,
    pub(super) publications: &'a [Publication<'a>],
}

impl<'a> Top<'a> {
    /// What the client is told, expiry and data aside.
    pub(super) fn reply(&self, wish: Wish) -> Subscribed<'a> {
        let recovered = wish.recover && self.recovered;
        Subscribed {
            recoverable: wish.recoverable,
            positioned: wish.positioned,
            epoch: if wish.positioned { self.epoch } else { "" },
            offset: match (wish.positioned, recovered) {
                (true, true) => wish.offset,
                (true, false) => self.offset,
                (false, _) => 0,
            },
            recovered,
            publications: if recovered { self.publications } else { &[] },
            was_recovering: wish.recover,
            ..Subscribed::default()
        }
    }
}
