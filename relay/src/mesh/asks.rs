//! The asker's side: what this edge's broker wants becomes questions to owners, and their answers what the broker is told.

use std::sync::Arc;
use std::time::Duration;

use wire::code;
use wire::frame::{self, FrameError};
use wire::link::{Position, Publication, ToRelay, ToShard};
use wire::mesh::{self, Class, Word};

use super::interest::Part;
use super::peer::Connection;
use super::questions::About;
use super::{Mesh, Told};
use crate::bus::{Ask, Member, Tell, Ticket};
use crate::{Appearance, Epoch};

impl Mesh {
    /// Takes what this edge's broker wants done.
    pub fn ask(&mut self, now: Duration, ask: Ask, told: &mut Told<'_>) {
        self.take(ask, told);
        self.finish(now, told);
    }

    /// The same of several, with less work for each.
    pub fn ask_all(&mut self, now: Duration, asks: impl Iterator<Item = Ask>, told: &mut Told<'_>) {
        asks.for_each(|ask| self.take(ask, told));
        self.finish(now, told);
    }

    fn take(&mut self, ask: Ask, told: &mut Told<'_>) {
        match ask {
            Ask::Want { channel } => self.want(&channel),
            Ask::Unwant { channel } => {
                self.peers.iter_mut().for_each(|peer| {
                    peer.interest.unwant(&channel);
                });
                self.untold.remove(&channel);
            }
            Ask::Publish { ticket, channel, body, key, kept } => {
                self.publish(ticket, &channel, (&body, kept.is_none()), &key, told);
            }
            Ask::Read { ticket, channel, since, limit, reverse, .. } => {
                let question = |request| ToRelay::History {
                    request,
                    channel: &channel,
                    since: since.map(|offset| Position { offset, epoch: "" }),
                    limit: i32::try_from(limit).unwrap_or(i32::MAX),
                    reverse,
                };
                let owner = self.list.owner(&channel);
                let about = About::Read(Arc::clone(&channel));
                self.question(owner, ticket, about, limit, Class::Question, question, told);
            }
            Ask::Remove { ticket, channel } => {
                let owner = self.list.owner(&channel);
                let question = |request| Word::Remove { request, channel: &channel };
                self.question(owner, ticket, About::Small, 0, Class::Word, question, told);
            }
            Ask::Renew { channel, epoch } => {
                let owner = self.list.owner(&channel);
                self.peers[owner].say(&Word::Renew { channel: &channel, epoch: epoch.as_str() });
            }
            Ask::Enter { channel, member, appearance } => {
                let peer = &mut self.peers[self.list.owner(&channel)];
                if let Some(connection) =
                    peer.connection.as_mut().filter(|connection| connection.home.is_some())
                {
                    say_enter(connection, &channel, &member, appearance);
                }
                peer.present.enter(channel, member, appearance);
            }
            Ask::Leave { channel, member, .. } => {
                let peer = &mut self.peers[self.list.owner(&channel)];
                let was = peer.present.leave(&channel, member.client);
                if let Some(connection) =
                    peer.connection.as_mut().filter(|connection| was && connection.home.is_some())
                {
                    connection
                        .say(Class::Question, &ToRelay::Leave { channel: &channel, client: member.client });
                }
            }
            Ask::Presence { ticket, channel } => {
                let owner = self.list.owner(&channel);
                let question = |request| ToRelay::Presence { request, channel: &channel };
                self.question(owner, ticket, About::Presence, 0, Class::Question, question, told);
            }
            Ask::PresenceStats { ticket, channel } => {
                let owner = self.list.owner(&channel);
                let question = |request| ToRelay::PresenceStats { request, channel: &channel };
                self.question(owner, ticket, About::Small, 0, Class::Question, question, told);
            }
            Ask::Send { to, body } => {
                for peer in self.peers.iter_mut().filter(|peer| peer.name != self.me) {
                    let Some(connection) = &mut peer.connection else { continue };
                    if to.is_none_or(|to| to == connection.edge)
                        && !connection.offer(Class::Word, &Word::Message { body: &body })
                    {
                        self.counters.messages_lost += 1;
                    }
                }
            }
        }
    }

    /// The edges that a channel is wanted of: its owner, and, where nothing is kept, the one that publishers turn to without it.
    fn places(&self, channel: &str) -> impl Iterator<Item = usize> + use<> {
        let (owner, second) = self.list.owners(channel);
        let kept = self.settings.namespace(channel).is_none_or(wire::settings::Namespace::has_history);
        [Some(owner), second.filter(|_| !kept)].into_iter().flatten()
    }

    pub(super) fn want(&mut self, channel: &Arc<str>) {
        for place in self.places(channel) {
            self.peers[place].interest.want(channel);
        }
    }

    /// Has the owner publish a body, or pass it on without keeping it.
    fn publish(
        &mut self,
        ticket: Ticket,
        channel: &str,
        (body, skip_history): (&[u8], bool),
        key: &str,
        told: &mut Told<'_>,
    ) {
        let Ok(Publication { data, info, tags, delta, .. }) = wire::bus::publication(0, body) else {
            return told(Tell::Failed { ticket, code: code::BAD_REQUEST });
        };
        let first = self.list.owner(channel);
        let linked = self.places(channel).find(|place| self.peers[*place].home().is_some());
        let question =
            |request| ToRelay::Publish { request, channel, data, info, tags, key, skip_history, delta };
        self.counters.published += 1;
        let place = linked.unwrap_or(first);
        self.counters.forwarded += u64::from(self.peers[place].name != self.me);
        self.question(place, ticket, About::Small, 0, Class::Question, question, told);
    }

    /// Asks the edge at `place`, or says at once that it cannot be asked.
    #[allow(clippy::too_many_arguments, reason = "one question in one piece, used where its parts are known")]
    fn question<T: serde::Serialize>(
        &mut self,
        place: usize,
        ticket: Ticket,
        about: About,
        limit: usize,
        class: Class,
        question: impl FnOnce(u32) -> T,
        told: &mut Told<'_>,
    ) {
        let peer = &mut self.peers[place];
        let Some(connection) = peer.connection.as_mut().filter(|connection| connection.home.is_some()) else {
            self.counters.unreachable += 1;
            return told(Tell::Failed { ticket, code: code::INTERNAL });
        };
        let number = peer.questions.number();
        let mut frame = Vec::new();
        if mesh::encode(class, &question(number), &mut frame).is_err() {
            return told(Tell::Failed { ticket, code: code::LIMIT_EXCEEDED });
        }
        let bytes = about.bytes(limit);
        if !peer.questions.ask((number, ticket, about, bytes), frame, |frame| connection.pass(frame)) {
            self.counters.congested += 1;
            told(Tell::Failed { ticket, code: code::INTERNAL });
        }
    }

    /// Takes a message of an owner.
    pub(super) fn answer(
        &mut self,
        index: usize,
        body: &[u8],
        told: &mut Told<'_>,
    ) -> Result<(), FrameError> {
        if let Some((channel, offset, body)) = wire::bus::parts(body) {
            let own = self.peers[index].name == self.me;
            match self.peers[index].interest.joined(channel) {
                Some(epoch) => {
                    self.counters.received += u64::from(!own);
                    let epoch = epoch.as_ref().filter(|_| offset > 0).map_or("", Epoch::as_str);
                    told(Tell::Publication { channel, offset, epoch, body });
                }
                // On its way when the channel was given up, or before it was joined again.
                None => self.counters.unwanted += u64::from(!own),
            }
            return Ok(());
        }
        match frame::decode::<ToShard<'_>>(body)? {
            ToShard::Published { request, offset, epoch, duplicate } => {
                self.tell_answer(index, request, told, |ticket| Tell::Published {
                    ticket,
                    offset,
                    epoch,
                    duplicate,
                });
            }
            ToShard::History { request, offset, epoch, publications } => {
                let bodies: Vec<(u64, Vec<u8>)> = publications
                    .iter()
                    .filter_map(|publication| Some((publication.offset, wire::bus::body(publication).ok()?)))
                    .collect();
                let publications = bodies.iter().map(|(offset, body)| (*offset, &**body)).collect();
                self.tell_answer(index, request, told, |ticket| Tell::Page {
                    ticket,
                    offset,
                    epoch,
                    publications,
                });
            }
            ToShard::Presence { request, members } => {
                self.tell_answer(index, request, told, |ticket| Tell::Members { ticket, members });
            }
            ToShard::PresenceStats { request, clients, users } => {
                self.tell_answer(index, request, told, |ticket| Tell::Count { ticket, clients, users });
            }
            ToShard::Failed { request, code } => self.failed(index, request, code, told),
            ToShard::Join { channel, info } => self.tell_presence(index, channel, true, info, told),
            ToShard::Leave { channel, info } => self.tell_presence(index, channel, false, info, told),
            ToShard::Insufficient { channel } => {
                if self.peers[index].interest.interrupted(channel) {
                    self.tell_parted(channel, told);
                }
            }
            // Not a word between edges.
            _ => return Err(FrameError::Malformed),
        }
        Ok(())
    }

    pub(super) fn tell_answer<'a>(
        &mut self,
        index: usize,
        request: u32,
        told: &mut Told<'_>,
        tell: impl FnOnce(Ticket) -> Tell<'a>,
    ) {
        if let Some(question) = self.peers[index].questions.answered(request) {
            told(tell(question.ticket));
        }
    }

    fn failed(&mut self, index: usize, request: u32, number: u16, told: &mut Told<'_>) {
        let Some(question) = self.peers[index].questions.answered(request) else { return };
        let (ticket, code) = (question.ticket, code::error(number));
        match question.about {
            // The position asked from is past the top: the page is empty, and the top is to be told.
            About::Read(channel) if code == code::UNRECOVERABLE_POSITION => {
                let channel = &channel;
                let position =
                    |request| ToRelay::History { request, channel, since: None, limit: 0, reverse: false };
                let about = About::Read(Arc::clone(channel));
                self.question(index, ticket, about, 0, Class::Question, position, told);
            }
            _ => told(Tell::Failed { ticket, code }),
        }
    }

    fn tell_presence(
        &self,
        index: usize,
        channel: &str,
        joined: bool,
        info: wire::link::ClientInfo<'_>,
        told: &mut Told<'_>,
    ) {
        if self.peers[index].interest.joined(channel).is_some() {
            told(Tell::Presence { channel, joined, info });
        }
    }

    /// An edge has decided about a channel. The broker hears that it is joined once every edge that may pass its publications on has:
    /// before, one that goes by way of another would be lost knowingly.
    pub(super) fn tell_decided(&mut self, channel: &Arc<str>, joined: bool, told: &mut Told<'_>) {
        let first = joined && self.joined_at(channel) == 1;
        let waits = self.peers.iter().any(|peer| peer.home().is_some() && peer.interest.awaits(channel));
        if first && waits {
            self.untold.insert(Arc::clone(channel));
        } else if first || !waits && self.untold.remove(channel) {
            told(Tell::Joined { channel });
        }
    }

    /// It is joined at one edge less: the broker hears of the last.
    pub(super) fn tell_parted(&mut self, channel: &str, told: &mut Told<'_>) {
        if self.joined_at(channel) == 0 && !self.untold.remove(channel) {
            told(Tell::Parted { channel });
        }
    }

    /// An edge is not waited for any more.
    pub(super) fn tell_untold(&mut self, told: &mut Told<'_>) {
        let untold: Vec<Arc<str>> = self.untold.iter().cloned().collect();
        untold.iter().for_each(|channel| self.tell_decided(channel, false, told));
    }

    fn joined_at(&self, channel: &str) -> usize {
        self.peers.iter().filter(|peer| peer.interest.joined(channel).is_some()).count()
    }
}

/// Says a word of this edge's table.
pub(super) fn say_part(connection: &mut Connection, part: &Part) {
    fn names(channels: &[Arc<str>]) -> Vec<&str> {
        channels.iter().map(|channel| &**channel).collect()
    }
    let (unwanted, wanted) = (names(&part.unwanted), names(&part.wanted));
    connection.say(Class::Word, &Word::Table { version: part.version, anew: part.anew, unwanted, wanted });
}

/// Enters a member of this edge.
pub(super) fn say_enter(connection: &mut Connection, channel: &str, member: &Member, appearance: Appearance) {
    let Appearance { seen, announced } = appearance;
    let enter = ToRelay::Enter { channel, presence: seen, announced, info: member.info() };
    connection.say(Class::Question, &enter);
}
