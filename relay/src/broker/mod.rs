//! The local bus itself: messages of links in, frames for links out.
//!
//! Order contract of one link: publications of a channel in offset order, each once; an answer to `Subscribe` stands
//! exactly between the publications that its position includes and those after it.

mod answer;
mod deliver;
mod emulate;
mod enter;
mod follow;
mod home;
mod mirror;
mod stored;
mod survey;
mod sweep;
mod users;

#[cfg(test)]
mod tests;

pub use home::Moved;
pub use stored::Move;
pub use survey::Name;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use wire::frame;
use wire::link::{Publication, ToRelay, ToShard};
use wire::settings::{Delivery, Namespace, Settings};

use crate::bus::{Ask, EdgeId};
use crate::channels::Channels;
use crate::follow::Following;
use crate::limits::META_TTL_DEFAULT;
use crate::outbound::Outbound;
use crate::remote::Remote;
use crate::results::Results;
use crate::stream::{Epochs, Kept};
use crate::survey::Surveys;
use crate::{Appearance, Counters, Levels, Limits, LinkId, Transmit, Users};

/// What the shell must do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A link that had nothing to write has something: call [`Broker::transmit`] until it says [`Transmit::Idle`].
    Ready(LinkId),
    /// The link is too far behind: close the connection and say so with [`Broker::link_closed`].
    Close(LinkId),
}

/// The local bus. Times are durations since any one moment.
#[derive(Debug)]
pub struct Broker {
    settings: Settings,
    limits: Limits,
    channels: Channels,
    links: BTreeMap<LinkId, Outbound>,
    /// Lost links whose members are still counted as present.
    gone: BTreeMap<LinkId, sweep::Gone>,
    cursor: sweep::Cursor,
    /// Sessions of users that may have only so many.
    users: Users,
    /// The bus that others share and the nodes that store, if this one is not all there is.
    remote: Option<Box<Remote>>,
    /// Positions by idempotency key.
    results: Results,
    /// What this relay is called.
    name: Name,
    /// The other relays.
    edges: Vec<EdgeId>,
    /// Questions to all shards.
    surveys: Surveys,
    /// Words for other relays, oldest first.
    words: VecDeque<Ask>,
    /// Who was moved, oldest first.
    moves: VecDeque<Move>,
    events: VecDeque<Event>,
    counters: Counters,
    scratch: Vec<u8>,
}

impl Broker {
    /// An empty bus. `seed` makes the epochs: take it from a random source.
    pub fn new(settings: Settings, limits: Limits, seed: u64) -> Self {
        let remote = stores(&settings).then(|| Box::new(Remote::new(Following::default(), false)));
        Self {
            settings,
            limits,
            channels: Channels::new(Epochs::new(seed)),
            links: BTreeMap::new(),
            gone: BTreeMap::new(),
            cursor: sweep::Cursor::default(),
            users: Users::default(),
            remote,
            results: Results::default(),
            name: Name::default(),
            edges: Vec::new(),
            surveys: Surveys::default(),
            words: VecDeque::new(),
            moves: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            scratch: Vec::new(),
        }
    }

    /// Replaces namespaces and client options. What exists stays until its time is over.
    pub fn configure(&mut self, settings: Settings) {
        if self.remote.is_none() && stores(&settings) {
            self.remote = Some(Box::new(Remote::new(Following::default(), false)));
        }
        self.settings = settings;
        self.check();
    }

    /// A shard has connected, or somebody of this program's own who asks as a shard does: those are not named.
    pub fn link_opened(&mut self, link: LinkId) {
        debug_assert!(!self.gone.contains_key(&link), "a link's number is never used again");
        self.links.insert(link, Outbound::new());
        self.check();
    }

    /// Which shard of which gateway process is at the other end. Without it nobody reaches that shard's sessions from elsewhere.
    pub fn link_named(&mut self, link: LinkId, gateway: u64, shard: u16) {
        if let Some(outbound) = self.links.get_mut(&link) {
            outbound.address = Some((gateway, shard));
        }
    }

    /// A shard's connection is gone, whoever closed it. Its members stay present for the grace period.
    pub fn link_closed(&mut self, now: Duration, link: LinkId) {
        self.users.forget(link);
        self.surveys.link_closed(link);
        self.finish_surveys(now);
        if self.links.remove(&link).is_some_and(|outbound| outbound.entered) {
            let until = now.saturating_add(self.limits.presence_grace);
            self.gone.insert(link, sweep::Gone::until(until));
        }
        self.check();
    }

    /// Takes one message from a link. A question is always answered on the same link.
    ///
    /// `Verify`, `Proxy` and `Channels` are answered with "not available": no secret and no backend is known here, so the shell answers them before
    /// (with [`Broker::answer`]). `UnknownKey` and `Stats` are the shell's too and do nothing here.
    pub fn receive(&mut self, now: Duration, link: LinkId, message: &ToRelay<'_>) {
        if self.links.get(&link).is_none_or(Outbound::overflowed) {
            return;
        }
        match *message {
            ToRelay::Verify { request, .. }
            | ToRelay::Proxy { request, .. }
            | ToRelay::Channels { request, .. } => {
                self.fail(link, request, wire::code::NOT_AVAILABLE);
            }
            ToRelay::Subscribe { request, channel, recover, latest } => {
                let recover = recover.map(|position| answer::Recovery { position, latest });
                if self.follows(channel) {
                    self.subscribe_remote(now, link, request, channel, recover);
                } else {
                    self.subscribe(now, link, request, channel, recover);
                }
            }
            ToRelay::Unsubscribe { channel } => self.unsubscribe(link, channel),
            ToRelay::Enter { channel, presence, announced, info } => {
                let appearance = Appearance { seen: presence, announced };
                self.enter(now, link, channel, &info, appearance);
            }
            ToRelay::Leave { channel, client } => self.leave(link, channel, client),
            ToRelay::Publish { request, channel, data, info, tags, key, skip_history, delta } => {
                let publication = Publication { data, info, tags, delta, ..Publication::default() };
                let wanted = deliver::Publishing { channel, publication, key, skip_history };
                match self.publishes_by_node(link, channel) {
                    Err(error) => self.fail(link, request, error),
                    Ok(true) => self.publish_stored(now, link, request, &wanted),
                    Ok(false) if self.is_shared() => self.publish_remote(now, link, request, &wanted),
                    Ok(false) => self.publish(now, link, request, &wanted),
                }
            }
            ToRelay::History { request, channel, since, limit, reverse } => {
                let question = answer::HistoryQuestion { request, channel, since, limit, reverse };
                if self.follows(channel) {
                    self.history_remote(now, link, &question);
                } else {
                    self.history(now, link, &question);
                }
            }
            ToRelay::Presence { request, channel } => self.presence(now, link, request, channel),
            ToRelay::PresenceStats { request, channel } => self.presence_stats(now, link, request, channel),
            ToRelay::Arrive { request, session, user } => self.arrive(link, request, session, user),
            ToRelay::Depart { session } => self.users.depart((link, session)),
            ToRelay::UnknownKey { .. } | ToRelay::Stats(_) => {}
            ToRelay::Emulate { request, gateway, shard, session, data } => {
                let emulation = survey::Emulation { address: (gateway, shard), session, data };
                self.emulate(now, link, request, &emulation);
            }
            ToRelay::Emulated { asker, request, found } => self.emulated(now, link, asker, request, found),
            ToRelay::Remove { request, .. }
            | ToRelay::Survey { request, .. }
            | ToRelay::Announce { request, .. }
                if !self.is_own(link) =>
            {
                self.fail(link, request, wire::code::PERMISSION_DENIED);
            }
            ToRelay::Announce { request, channel, offset, epoch, body } => {
                self.announce_stored(now, (link, request), channel, (offset, epoch), body);
            }
            ToRelay::Remove { request, channel } => self.remove(now, link, request, channel),
            ToRelay::Survey { request, ref question } => self.survey(now, link, request, question),
            ToRelay::Surveyed { number, ref answer } => self.surveyed(now, link, number, answer),
        }
        self.check();
    }

    /// Whether a link is this program's own: what is for the server API is not for gateways, which face the internet.
    fn is_own(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|outbound| outbound.address.is_none())
    }

    /// Queues an answer of the shell's own.
    pub fn answer(&mut self, link: LinkId, message: &ToShard<'_>) {
        self.queue_message(link, message);
        self.check();
    }

    /// Lets time pass: call about ten times a second. Each call looks at a slice of the channels.
    pub fn expire(&mut self, now: Duration) {
        self.sweep(now);
        self.surveys.expire(now);
        self.finish_surveys(now);
        self.check();
    }

    /// Replaces `out`, whose bytes have been written, with what waits for `link`.
    pub fn transmit(&mut self, link: LinkId, out: &mut Vec<u8>) -> Transmit {
        let Some(outbound) = self.links.get_mut(&link) else { return Transmit::Close };
        if outbound.overflowed() {
            return Transmit::Close;
        }
        outbound.written();
        self.repair(link);
        let Some(outbound) = self.links.get_mut(&link) else { return Transmit::Close };
        let written = outbound.take(out);
        self.check();
        if written { Transmit::Write } else { Transmit::Idle }
    }

    /// Takes what the shell must do. Ask after each of the verbs above until `None`.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether a link's answers fill its queue so that it is wise not to read more questions from it until it is drained.
    pub fn congested(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|outbound| !outbound.has_room(0, &self.limits))
    }

    /// Totals since the start.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// What there is now. Costs a walk over the links.
    pub fn levels(&self) -> Levels {
        let totals = self.channels.totals();
        Levels {
            links: self.links.values().filter(|link| link.address.is_some()).count() as u64,
            questions: self.remote.as_deref().map_or(0, |remote| remote.pending() as u64),
            channels: self.channels.len() as u64,
            history_publications: totals.history_publications as u64,
            history_bytes: totals.history_bytes as u64,
            results: self.results.len() as u64,
            sessions: self.users.len() as u64,
            members: totals.members as u64,
            presence_bytes: totals.presence_bytes as u64,
            queued_bytes: self.links.values().map(|link| link.queued() as u64).sum(),
            gapped: self.links.values().map(|link| link.gaps.len() as u64).sum(),
        }
    }

    /// Queues an answer that is known to be small.
    fn queue_message(&mut self, link: LinkId, message: &ToShard<'_>) {
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        match frame::encode(message, &mut frame) {
            Ok(()) => self.queue_answer(link, &frame),
            Err(_) => debug_assert!(false, "small answers fit a frame"),
        }
        self.scratch = frame;
    }

    /// Queues a frame that must arrive, or gives the link up.
    fn queue_answer(&mut self, link: LinkId, frame: &[u8]) {
        let Some(outbound) = self.links.get_mut(&link) else { return };
        if !outbound.answer(frame, &self.limits) {
            self.overflow(link);
        }
        self.announce(link);
    }

    fn overflow(&mut self, link: LinkId) {
        let Some(outbound) = self.links.get_mut(&link) else { return };
        if !outbound.overflowed() {
            outbound.overflow();
            self.counters.links_overflowed += 1;
            self.events.push_back(Event::Close(link));
        }
    }

    fn announce(&mut self, link: LinkId) {
        if let Some(outbound) = self.links.get_mut(&link)
            && !outbound.overflowed()
            && outbound.announce()
        {
            self.events.push_back(Event::Ready(link));
        }
    }

    /// What the channel's namespace keeps in history; `None` when it keeps none.
    fn kept(namespace: &Namespace) -> Option<Kept> {
        namespace.has_history().then(|| Kept {
            size: namespace.history_size as usize,
            ttl: Duration::from_millis(namespace.history_ttl_ms),
            meta_ttl: match namespace.history_meta_ttl_ms {
                0 => META_TTL_DEFAULT,
                meta_ttl_ms => Duration::from_millis(meta_ttl_ms),
            },
        })
    }

    /// The sweep of debug builds. Whole only while there are few channels: tests of size must not become quadratic.
    fn check(&self) {
        if cfg!(debug_assertions) {
            if self.channels.len() <= 64 {
                self.channels.check();
            }
            let limits = &self.limits;
            assert!(self.channels.totals().history_bytes <= limits.history_bytes, "history is bounded");
            assert!(self.channels.totals().presence_bytes <= limits.presence_bytes, "presence is bounded");
            assert!(self.channels.len() <= limits.channels, "channels are bounded");
            for link in self.links.values() {
                assert!(link.queued() <= limits.link_bytes, "a link's queue is bounded");
            }
        }
    }
}

/// Whether nodes store the messages of some namespace.
fn stores(settings: &Settings) -> bool {
    let mut all = settings.namespaces.iter().chain([&settings.default_namespace]);
    all.any(|namespace| namespace.delivery != Delivery::Transient)
}
