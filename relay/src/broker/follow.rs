//! Channels of a shared bus: who wants them, who waits for their position, what shards ask that only the bus can answer.

use std::sync::Arc;
use std::time::Duration;

use wire::bus as words;
use wire::code::{self, ErrorCode};
use wire::frame;
use wire::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use wire::link::{Position, Publication, ToShard};
use wire::settings::Namespace;

use super::Broker;
use super::answer::{HistoryQuestion, Recovery};
use super::deliver::Publishing;
use crate::LinkId;
use crate::bus::{Ask, Tell, Ticket};
use crate::follow::{Asked, Follow, Following, Waiter, Wanted};
use crate::limits::PUBLICATION_BYTES_MAX;
use crate::remote::{Asker, Errand, Pending, Question, Remote};
use crate::store;
use crate::stream::Kept;

impl Broker {
    /// Follows a bus that others share, instead of being one.
    #[must_use]
    pub fn following(mut self, times: Following) -> Self {
        debug_assert!(self.channels.len() == 0, "it begins with the first channel");
        self.remote = Some(Box::new(Remote::new(times, true)));
        self
    }

    /// What the bus is to do next. Ask after each of the verbs until `None`.
    pub fn ask(&mut self) -> Option<Ask> {
        // Between words and what is asked of the bus there is no order.
        self.words.pop_front().or_else(|| self.remote.as_mut()?.take())
    }

    /// Takes what the bus says.
    pub fn tell(&mut self, now: Duration, tell: &Tell<'_>) {
        match *tell {
            Tell::Joined { channel } => self.joined(now, channel),
            Tell::Parted { channel } => self.parted(channel),
            Tell::PartedAll => self.parted_all(),
            Tell::Publication { channel, offset, epoch, body } => {
                self.heard_on_bus(now, channel, (offset, epoch), body);
            }
            Tell::Presence { channel, joined, info } => self.appeared(channel, joined, info),
            Tell::MembersForgotten => self.say_again(),
            Tell::Published { ticket, offset, epoch, duplicate } => {
                if let Some(Pending::Publish { link, request }) = self.answered(ticket) {
                    self.counters.publications += u64::from(!duplicate);
                    self.counters.duplicates += u64::from(duplicate);
                    self.queue_message(link, &ToShard::Published { request, offset, epoch, duplicate });
                }
            }
            Tell::Page { ticket, offset, epoch, ref publications } => match self.answered(ticket) {
                Some(Pending::History { askers, .. }) => {
                    self.page_for(&askers, (offset, epoch), publications);
                }
                Some(Pending::Read { index, since, limit, reverse, was }) => {
                    let page = super::mirror::Page { ticket, top: offset, epoch, since, limit, reverse, was };
                    self.read(now, index, page, publications);
                }
                _ => {}
            },
            Tell::Members { ticket, ref members } => {
                if let Some(Pending::Presence { link, request }) = self.answered(ticket) {
                    let mut frame = Vec::new();
                    let members = members.clone();
                    let encoded = frame::encode(&ToShard::Presence { request, members }, &mut frame);
                    self.queue_or_fail(link, request, encoded, frame);
                }
            }
            Tell::Count { ticket, clients, users } => {
                if let Some(Pending::PresenceStats { link, request }) = self.answered(ticket) {
                    self.queue_message(link, &ToShard::PresenceStats { request, clients, users });
                }
            }
            Tell::Failed { ticket, code } => self.failed(now, ticket, code),
            Tell::Done { ticket } => {
                if let Some(Pending::Remove { link, request }) = self.answered(ticket) {
                    self.queue_message(link, &ToShard::Done { request });
                }
            }
            Tell::Edges(edges) => self.edges_are(now, edges),
            Tell::Message { from, body } => self.message(now, from, body),
        }
        self.pump(now);
        self.check();
    }

    fn answered(&mut self, ticket: Ticket) -> Option<Pending> {
        self.remote.as_mut()?.answered(ticket)
    }

    /// Whoever asked learns that there is no answer.
    fn failed(&mut self, now: Duration, ticket: Ticket, error: ErrorCode) {
        self.counters.bus_failures += 1;
        match self.answered(ticket) {
            Some(
                Pending::Publish { link, request }
                | Pending::Presence { link, request }
                | Pending::PresenceStats { link, request }
                | Pending::Remove { link, request },
            ) => self.fail(link, request, error),
            Some(Pending::History { askers, .. }) => {
                for Asker { link, request, .. } in askers {
                    self.fail(link, request, error);
                }
            }
            Some(Pending::Read { index, .. }) => self.read_failed(now, index, ticket),
            None => {}
        }
    }

    /// Puts a question, or answers that there are too many already.
    pub(super) fn question<E: Into<Errand>>(
        &mut self,
        now: Duration,
        asker: (LinkId, u32),
        pending: Pending,
        ask: impl FnOnce(Ticket) -> E,
    ) {
        let Some(remote) = &mut self.remote else { return };
        if remote.question(now, pending, ask).is_none() {
            self.fail(asker.0, asker.1, code::TOO_MANY_REQUESTS);
        }
    }

    pub(super) fn publish_remote(
        &mut self,
        now: Duration,
        link: LinkId,
        request: u32,
        wanted: &Publishing<'_>,
    ) {
        let asked = self.remote_publication(wanted);
        match asked {
            Ok((body, kept)) => {
                let (channel, key) = (Arc::from(wanted.channel), Box::from(wanted.key));
                let ask = |ticket| Ask::Publish { ticket, channel, body, key, kept };
                self.question(now, (link, request), Pending::Publish { link, request }, ask);
            }
            Err(error) => self.fail(link, request, error),
        }
    }

    fn remote_publication(&self, wanted: &Publishing<'_>) -> Result<(Vec<u8>, Option<Kept>), ErrorCode> {
        if wanted.key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            return Err(code::BAD_REQUEST);
        }
        let namespace = self.admit(wanted.channel)?;
        let delta = wanted.publication.delta || namespace.delta_publish;
        let publication = Publication { delta, ..wanted.publication };
        let body = words::body(&publication).map_err(|_| code::LIMIT_EXCEEDED)?;
        if body.len() + wanted.channel.len() + 32 > PUBLICATION_BYTES_MAX {
            return Err(code::LIMIT_EXCEEDED);
        }
        Ok((body, Self::kept(namespace).filter(|_| !wanted.skip_history)))
    }

    pub(super) fn remove_remote(&mut self, now: Duration, link: LinkId, request: u32, channel: &str) {
        match self.admit(channel).map(Namespace::has_history) {
            // What nodes have stored is not forgotten by way of an edge.
            Ok(true) if !self.is_stored(channel) => {
                let channel = channel.into();
                let ask = |ticket| Ask::Remove { ticket, channel };
                self.question(now, (link, request), Pending::Remove { link, request }, ask);
            }
            Ok(_) => self.fail(link, request, code::NOT_AVAILABLE),
            Err(error) => self.fail(link, request, error),
        }
    }

    pub(super) fn history_remote(&mut self, now: Duration, link: LinkId, question: &HistoryQuestion<'_>) {
        let HistoryQuestion { request, channel, since, limit, reverse } = *question;
        let kept = match self.admit(channel).map(Self::kept) {
            Ok(Some(kept)) => kept,
            Ok(None) => return self.fail(link, request, code::NOT_AVAILABLE),
            Err(error) => return self.fail(link, request, error),
        };
        let most = self.settings.client.history_max_publication_limit as usize;
        let limit = usize::try_from(limit).map_or(most, |limit| limit.min(most));
        let channel: Arc<str> = channel.into();
        let (epoch, since) = (since.map_or("", |at| at.epoch).into(), since.map(|at| at.offset));
        let question = Question { channel: Arc::clone(&channel), since, limit, reverse };
        let asker = Asker { link, request, epoch, since };
        let stored = self.is_stored(&channel);
        let Some(remote) = &mut self.remote else { return };
        let Err(asker) = remote.share(&question, asker) else {
            self.counters.queries_shared += 1;
            return;
        };
        let pending = Pending::History { question, askers: vec![asker] };
        let ask = |ticket| reading(stored, (ticket, channel), Wanted { since, limit, reverse }, kept);
        self.counters.bus_reads += 1;
        self.question(now, (link, request), pending, ask);
    }

    /// One page for everybody who asked for it.
    fn page_for(&mut self, askers: &[Asker], (top, epoch): (u64, &str), publications: &[(u64, &[u8])]) {
        let bytes_max = self.answer_bytes_max();
        let mut bytes = 0;
        let fits = |(_, body): &&(u64, &[u8])| {
            bytes += body.len();
            bytes <= bytes_max
        };
        let fitting = publications.iter().take_while(fits);
        let publications: Vec<Publication<'_>> =
            fitting.filter_map(|(offset, body)| words::publication(*offset, body).ok()).collect();
        for Asker { link, request, epoch: believed, since } in askers {
            let other = !believed.is_empty() && **believed != *epoch;
            if since.is_some_and(|since| other || since > top) {
                self.fail(*link, *request, code::UNRECOVERABLE_POSITION);
                continue;
            }
            let publications = publications.clone();
            let message = ToShard::History { request: *request, offset: top, epoch, publications };
            let mut frame = Vec::new();
            let encoded = frame::encode(&message, &mut frame);
            self.queue_or_fail(*link, *request, encoded, frame);
        }
    }

    pub(super) fn presence_remote(&mut self, now: Duration, link: LinkId, request: u32, channel: &str) {
        match self.has_presence(channel) {
            Ok(()) => {
                let channel = channel.into();
                let ask = |ticket| Ask::Presence { ticket, channel };
                self.question(now, (link, request), Pending::Presence { link, request }, ask);
            }
            Err(error) => self.fail(link, request, error),
        }
    }

    pub(super) fn presence_stats_remote(&mut self, now: Duration, link: LinkId, request: u32, channel: &str) {
        match self.has_presence(channel) {
            Ok(()) => {
                let channel = channel.into();
                let ask = |ticket| Ask::PresenceStats { ticket, channel };
                self.question(now, (link, request), Pending::PresenceStats { link, request }, ask);
            }
            Err(error) => self.fail(link, request, error),
        }
    }

    /// `Subscribe` where the stream lives elsewhere: at once if the mirror knows, else when it does.
    pub(super) fn subscribe_remote(
        &mut self,
        now: Duration,
        link: LinkId,
        request: u32,
        channel: &str,
        recover: Option<Recovery<'_>>,
    ) {
        let index = match self.admit(channel).map(|_| ()).and_then(|()| self.open(channel)) {
            Ok(index) => index,
            Err(error) => return self.fail(link, request, error),
        };
        self.want(now, index);
        let Some(remote) = &mut self.remote else { return };
        let asked = recover.map(|Recovery { position: Position { offset, epoch }, latest }| Asked {
            offset,
            epoch: epoch.into(),
            latest,
        });
        let (until, born) = (now.saturating_add(remote.times.answer_timeout), remote.next());
        let waiter = Waiter { link, request, asked, until, born, interested: true };
        if self.can_answer(index, &waiter) {
            self.answer_waiter(index, &waiter);
        } else if self.remote.as_mut().is_some_and(|remote| remote.wait(until, index)) {
            self.with_follow(index, |follow| follow.waiters.push_back(waiter));
            self.read_soon(index, true);
        } else {
            self.fail(link, request, code::TOO_MANY_REQUESTS);
        }
        self.pump(now);
    }

    /// A shard wants no more of the channel. What it asked for before is still answered.
    pub(super) fn unsubscribe_remote(&mut self, link: LinkId, index: u32) {
        self.with_follow(index, |follow| {
            for waiter in follow.waiters.iter_mut().filter(|waiter| waiter.link == link) {
                waiter.interested = false;
            }
        });
    }

    /// Subscribes on the bus, unless that is so.
    fn want(&mut self, now: Duration, index: u32) {
        let Some(remote) = &mut self.remote else { return };
        let mut alone = None;
        self.channels.change(index, |channel| match &mut channel.follow {
            Some(follow) => follow.abandoned = None,
            None => {
                channel.follow = Some(Box::new(Follow::new(now)));
                match remote.shared {
                    true => remote.put(Ask::Want { channel: Arc::clone(&channel.name) }),
                    false => alone = Some(Arc::clone(&channel.name)),
                }
            }
        });
        // What nodes announce to the only edge comes, from now on.
        if let Some(channel) = alone {
            self.joined(now, &channel);
        }
    }

    pub(super) fn with_follow<R>(&mut self, index: u32, change: impl FnOnce(&mut Follow) -> R) -> Option<R> {
        self.channels.change(index, |channel| channel.follow.as_deref_mut().map(change))?
    }

    /// Whether the channel's positions mean anything.
    pub(super) fn is_kept(&self, name: &str) -> bool {
        self.settings.namespace(name).is_some_and(|namespace| namespace.has_history())
    }

    fn can_answer(&self, index: u32, waiter: &Waiter) -> bool {
        let most = self.settings.client.recovery_max_publication_limit as usize;
        self.channels.channel(index).is_some_and(|channel| {
            channel.follow.as_deref().is_some_and(|follow| {
                if self.is_kept(&channel.name) {
                    follow.answers(channel.stream.as_deref(), waiter, most)
                } else {
                    follow.joined
                }
            })
        })
    }

    fn answer_waiter(&mut self, index: u32, waiter: &Waiter) {
        let Waiter { link, request, ref asked, interested, .. } = *waiter;
        if !self.links.contains_key(&link) {
            return;
        }
        if interested {
            self.channels.change(index, |channel| {
                if !channel.links.contains(&link) {
                    channel.links.push(link);
                }
            });
        }
        // The answer's position includes everything so far, so a gap must be closed before it, whatever room that takes.
        self.repair_channel(link, index, usize::MAX);
        let kept = self.channels.channel(index).is_some_and(|channel| self.is_kept(&channel.name));
        let recover = asked.as_ref().map(|asked| Recovery {
            position: Position { offset: asked.offset, epoch: &asked.epoch },
            latest: asked.latest,
        });
        self.answer_subscribed(link, request, index, kept, recover);
    }

    /// Answers those who can be; a read is due for the others.
    pub(super) fn serve(&mut self, index: u32) {
        let waiters =
            self.with_follow(index, |follow| std::mem::take(&mut follow.waiters)).unwrap_or_default();
        let (ready, rest): (Vec<_>, Vec<_>) =
            waiters.into_iter().partition(|waiter| self.can_answer(index, waiter));
        let waiting = !rest.is_empty();
        self.with_follow(index, |follow| follow.waiters.extend(rest));
        for waiter in &ready {
            self.answer_waiter(index, waiter);
        }
        if waiting {
            self.read_soon(index, true);
        }
    }

    /// Shards whose time is over get a temporary error.
    fn waited_too_long(&mut self, now: Duration, index: u32) {
        let over = self.with_follow(index, |follow| {
            let over = follow.waiters.iter().take_while(|waiter| waiter.until <= now).count();
            follow.waiters.drain(..over).collect::<Vec<_>>()
        });
        for Waiter { link, request, .. } in over.into_iter().flatten() {
            self.counters.waited_in_vain += 1;
            self.fail(link, request, code::INTERNAL);
        }
    }

    /// Deadlines, retries, and members that have to be said again.
    pub(super) fn tick_remote(&mut self, now: Duration) {
        while let Some(ticket) = self.remote.as_ref().and_then(|remote| remote.overdue(now)) {
            self.failed(now, ticket, code::INTERNAL);
        }
        while let Some(index) = self.remote.as_mut().and_then(|remote| remote.waited(now)) {
            self.waited_too_long(now, index);
        }
        while let Some(index) = self.remote.as_mut().and_then(|remote| remote.retried(now)) {
            self.read_soon(index, true);
        }
        self.say_some_again();
        self.pump(now);
    }

    /// Whether a followed channel is abandoned for long enough, or is to be checked.
    pub(super) fn visit_remote(&mut self, now: Duration, index: u32) {
        let Some(remote) = &self.remote else { return };
        let times = remote.times;
        let Some(channel) = self.channels.channel(index) else { return };
        let Some(follow) = channel.follow.as_deref() else { return };
        let unwanted = channel.links.is_empty() && follow.waiters.is_empty();
        let since = if unwanted { Some(follow.abandoned.unwrap_or(now)) } else { None };
        let over = since.is_some_and(|since| now.saturating_sub(since) >= times.linger);
        let quiet = now.saturating_sub(follow.checked) >= times.position_check;
        let check = follow.joined && !unwanted && self.is_kept(&channel.name) && (quiet || !follow.level);
        let name = Arc::clone(&channel.name);
        if over {
            if let Some(remote) = self.remote.as_mut().filter(|remote| remote.shared) {
                remote.put(Ask::Unwant { channel: name });
            }
            self.channels.change(index, |channel| (channel.follow, channel.stream) = (None, None));
            return;
        }
        if since != follow.abandoned || check {
            self.with_follow(index, |follow| {
                follow.abandoned = since;
                follow.checked = if check { now } else { follow.checked };
            });
        }
        if check {
            self.read_soon(index, false);
        }
    }
}

/// A read, by who is to answer it.
pub(super) fn reading(
    stored: bool,
    (ticket, channel): (Ticket, Arc<str>),
    Wanted { since, limit, reverse }: Wanted,
    kept: Kept,
) -> Errand {
    if stored {
        store::Ask::Read { ticket, channel, since, limit, reverse }.into()
    } else {
        Ask::Read { ticket, channel, since, limit, reverse, kept }.into()
    }
}
