//! The beginning of a session: who it is, and the channels that the server subscribes it to before it hears of anything else.
//!
//! Owns the order of a beginning: what comes in those channels meanwhile waits behind the reply to `connect`, in which they stand.

use std::sync::Arc;

use wire::{
    backend::{Given, Outcome},
    code::{self, ErrorCode},
    link::{Position, ToRelay, ToShard},
    token::{Claims, Kind, Overrides, Sub},
};

use super::{
    Shard,
    answers::Top,
    tokens::{Verdict, second},
};
use crate::{
    client::{
        command::{Connect, Subscribe},
        reply::{Connected, Reply, Subscribed},
        rights::{self, Caller, Grant},
    },
    connection::{Flags, Identity, Phase, Word},
    framing::Framing,
    opening::{Opening, Slot},
    pending::{Asker, Question, Wish},
    places::{Maker, Refresh, Terms},
    time::Now,
};

/// A channel that a session is to begin with.
struct Planned {
    sub: Sub,
    maker: Maker,
    wish: Wish,
    epoch: String,
    /// Unix seconds at which a node is asked about it again; 0 never.
    ask_at: u32,
}

impl Shard {
    pub(super) fn connect(&mut self, now: Now, index: usize, id: u32, connect: &Connect<'_>) {
        let waited = self.connections[index].hot.as_mut().and_then(|hot| hot.claims.take());
        if let Some(claims) = waited {
            return self.channels_listed(now, index, id, connect, *claims);
        }
        let fresh = self.connections[index].phase == Phase::Fresh;
        let hot = self.connections[index].hot.as_mut();
        let headers = hot.map(|hot| std::mem::take(&mut hot.headers)).unwrap_or_default();
        if connect.token.is_empty() {
            return match self.policy.settings.backend.connect {
                true => self.connect_by_backend(now, index, id, connect, &headers),
                false => self.connect_anonymously(now, index, id, connect),
            };
        }
        match self.verdict(now, index, id, Kind::Connection, &connect.token) {
            None if self.connections[index].flags.has(Flags::PAUSED) => self.enter(index, Phase::Connecting),
            None if fresh && self.connections[index].is_open() => self.enter(index, Phase::Unusable),
            None => {}
            Some(Verdict::Genuine(claims)) => {
                let refused = self.policy.settings.client.disallow_anonymous_connection_tokens;
                if refused && claims.user.is_empty() {
                    return self.close(now, index, code::CLOSE_PERMISSION_DENIED);
                }
                if self.policy.settings.backend.channels && !claims.user.is_empty() {
                    return self.ask_channels(now, index, id, claims);
                }
                self.begin_session(now, index, id, connect, (Given { claims, ..Given::default() }, None));
            }
            Some(Verdict::Expired) => self.connect_failed(now, index, id, code::TOKEN_EXPIRED),
            Some(Verdict::Invalid) => self.close(now, index, code::INVALID_TOKEN),
            Some(Verdict::Unknown(error)) => self.connect_failed(now, index, id, error),
        }
    }

    /// Which channels does the user's session begin with? The `connect` waits, and is then run again.
    fn ask_channels(&mut self, now: Now, index: usize, id: u32, claims: Claims) {
        let generation = self.connections[index].generation;
        let asker = Asker { connection: index as u32, generation, id, question: Question::Backend };
        let asked = self.question(now, asker, |request| ToRelay::Channels { request, user: &claims.user });
        if let Err(error) = asked {
            return self.connect_failed(now, index, id, error);
        }
        if self.connections[index].phase == Phase::Fresh {
            self.enter(index, Phase::Connecting);
        }
        let connection = &mut self.connections[index];
        connection.flags.set(Flags::PAUSED);
        let hot = connection.hot(&mut self.pool);
        (hot.again, hot.claims) = (true, Some(Box::new(claims)));
    }

    /// The answer to that.
    fn channels_listed(&mut self, now: Now, index: usize, id: u32, connect: &Connect<'_>, claims: Claims) {
        let word = self.connections[index].hot.as_mut().and_then(|hot| hot.word.take());
        match word.map(|word| *word) {
            Some(Word::Backend(Ok(Outcome::Granted(grant)))) => {
                let given = (Given { claims, ..Given::default() }, Some(grant.claims));
                self.begin_session(now, index, id, connect, given);
            }
            Some(Word::Backend(Err(error))) => self.connect_failed(now, index, id, error),
            _ => self.connect_failed(now, index, id, code::INTERNAL),
        }
    }

    /// Without a token, and nobody who knows the client.
    pub(super) fn connect_anonymously(&mut self, now: Now, index: usize, id: u32, connect: &Connect<'_>) {
        if rights::connect_anonymously(&self.policy.settings.client) {
            self.begin_session(now, index, id, connect, (Given::default(), None));
        } else {
            // As the ecosystem's server answers a client without credentials.
            self.close(now, index, code::CLOSE_BAD_REQUEST);
        }
    }

    /// An error reply to `connect`, after which the connection is good for nothing.
    pub(super) fn connect_failed(&mut self, now: Now, index: usize, id: u32, error: ErrorCode) {
        self.connect_refused(now, index, id, &Reply::Error(error));
    }

    /// The same with any refusal.
    pub(super) fn connect_refused(&mut self, now: Now, index: usize, id: u32, refusal: &Reply<'_>) {
        self.leave_channels(index);
        self.enter(index, Phase::Unusable);
        self.reply(now, index, id, refusal);
    }

    /// `given` is what a token or a backend says, and the channels that a node lists beside.
    pub(super) fn begin_session(
        &mut self,
        now: Now,
        index: usize,
        id: u32,
        connect: &Connect<'_>,
        given: (Given, Option<Claims>),
    ) {
        let (Given { claims, data }, listed) = given;
        let kept = if self.policy.settings.backend.meta { &claims.meta[..] } else { &[] };
        let Some(identity) = Identity::new(&claims.user, &claims.info, kept) else {
            self.close(now, index, code::INVALID_TOKEN);
            return;
        };
        let planned = match self.plan(connect, &claims.user, claims.subs, listed.unwrap_or_default()) {
            Ok(planned) => planned,
            Err(error) => return self.connect_failed(now, index, id, error),
        };
        let random = self.random.bytes();
        let insecure = self.policy.settings.client.insecure;
        let connection = &mut self.connections[index];
        // One that a backend was told already stays.
        if connection.client == wire::ClientId::default() {
            connection.client = wire::ClientId::from_random(random);
        }
        connection.identity = identity;
        connection.expire_at = if insecure { 0 } else { second(claims.expire_at) };
        let options = &self.policy.settings.client;
        let limited = options.single_connection || options.user_connection_limit > 0;
        let user = Some(claims.user.as_str()).filter(|user| limited && !user.is_empty());
        if planned.is_empty() && user.is_none() {
            self.session_begins(now, index, id, &[], &data);
        } else {
            self.open(now, index, Opening { id, data, ..Opening::default() }, planned, user);
        }
    }

    /// The channels of the token, the personal one and, as far as there is room, those that a node lists, each with where the client was in it.
    fn plan(
        &self,
        connect: &Connect<'_>,
        user: &str,
        subs: Vec<Sub>,
        listed: Claims,
    ) -> Result<Vec<Planned>, ErrorCode> {
        let settings = &self.policy.settings;
        let mut wanted: Vec<(Sub, Maker)> = subs.into_iter().map(|sub| (sub, Maker::Token)).collect();
        if let Some(namespace) = settings.client.personal_channel.as_deref().filter(|_| !user.is_empty()) {
            let channel = settings.boundaries.personal(namespace, user);
            wanted.retain(|(sub, _)| sub.channel != channel);
            wanted.push((Sub { channel, ..Sub::default() }, Maker::Personal));
        }
        if wanted.len() > settings.client.channel_limit as usize {
            return Err(code::LIMIT_EXCEEDED);
        }
        let room = settings.client.channel_limit as usize - wanted.len();
        let named = |sub: &Sub| wanted.iter().any(|(other, _)| other.channel == sub.channel);
        let more: Vec<_> = listed.subs.into_iter().filter(|sub| !named(sub)).take(room).collect();
        let more = more.into_iter().map(|sub| (sub, Maker::Server));
        let plan = |(sub, maker): (Sub, Maker)| {
            let was = connect.subs.iter().find(|resume| resume.channel == sub.channel);
            let asked = Subscribe {
                channel: sub.channel.as_str().into(),
                recover: was.is_some_and(|was| was.recover),
                offset: was.map_or(0, |was| was.offset),
                ..Subscribe::default()
            };
            let personal = Overrides::default();
            let overrides = if maker == Maker::Token { &sub.overrides } else { &personal };
            let again = settings.namespace(&sub.channel).is_some_and(|options| options.sub_refresh_proxy);
            let ask_at = if again && maker == Maker::Server { second(listed.expire_at) } else { 0 };
            let caller = Caller { user, subscribed: false };
            let granted = rights::subscribe(settings, caller, &asked, Grant::Token(overrides))?;
            let wish = granted.wish(&asked);
            let epoch = was.map(|was| was.epoch.to_string()).unwrap_or_default();
            Ok(Planned { wish, epoch, sub, maker, ask_at })
        };
        let mut planned = wanted.into_iter().map(plan).collect::<Result<Vec<_>, _>>()?;
        // One that cannot be here is no reason to turn the user away.
        planned.extend(more.filter_map(|more| plan(more).ok()));
        Ok(planned)
    }

    /// Asks whether a beginning session may be, and subscribes it to its channels. It is answered when all is.
    fn open(
        &mut self,
        now: Now,
        index: usize,
        opening: Opening,
        planned: Vec<Planned>,
        counted: Option<&str>,
    ) {
        let id = opening.id;
        if self.connections[index].phase == Phase::Fresh {
            self.enter(index, Phase::Connecting);
        }
        let connection = &mut self.connections[index];
        connection.flags.set(Flags::DAMMED);
        connection.flags.set(Flags::BLOCKED);
        let encoding = connection.encoding;
        let hot = connection.hot(&mut self.pool);
        hot.outbox.end_batch(encoding);
        let before = hot.outbox.begin_anew();
        let waiting = planned.len() + usize::from(counted.is_some());
        hot.opening = Some(Box::new(Opening { before, waiting, ..opening }));
        if let Some(user) = counted
            && let Err(error) = self.arrive(now, index, user)
        {
            return self.connect_failed(now, index, id, error);
        }
        for planned in planned {
            if let Err(error) = self.open_channel(now, index, planned) {
                return self.connect_failed(now, index, id, error);
            }
        }
        match self.connections[index].hot.as_ref().and_then(|hot| hot.opening.as_ref()) {
            Some(opening) if opening.waiting == 0 => self.all_opened(now, index),
            Some(_) => self.connections[index].flags.set(Flags::PAUSED),
            None => {}
        }
    }

    fn arrive(&mut self, now: Now, index: usize, user: &str) -> Result<u32, ErrorCode> {
        let (session, generation) = (self.token(index), self.connections[index].generation);
        let asker = Asker { connection: index as u32, generation, id: 0, question: Question::Arrival };
        let message = |request| ToRelay::Arrive { request: Some(request), session, user };
        let asked = self.question(now, asker, message)?;
        self.connections[index].flags.set(Flags::COUNTED);
        Ok(asked)
    }

    /// The relay's word on a session of a user that may have only so many.
    pub(super) fn arrival_answered(&mut self, now: Now, index: usize, answer: Result<(), ErrorCode>) {
        let connection = &mut self.connections[index];
        let opening = connection.hot.as_mut().and_then(|hot| hot.opening.as_mut());
        let Some(opening) = opening.filter(|_| connection.phase == Phase::Connecting) else { return };
        opening.waiting -= 1;
        let (id, all) = (opening.id, opening.waiting == 0);
        match answer {
            Ok(()) if all => {
                self.all_opened(now, index);
                self.go_on(now, index);
            }
            Ok(()) => {}
            Err(error) if error == code::LIMIT_EXCEEDED => self.close(now, index, code::CONNECTION_LIMIT),
            Err(error) => {
                self.connect_failed(now, index, id, error);
                self.go_on(now, index);
            }
        }
    }

    /// The relay counts the session no more, whether it was admitted or not.
    pub(super) fn depart(&mut self, index: usize) {
        if self.connections[index].flags.has(Flags::COUNTED) {
            self.connections[index].flags.clear(Flags::COUNTED);
            let session = self.token(index);
            self.tell(&ToRelay::Depart { session });
        }
    }

    fn open_channel(&mut self, now: Now, index: usize, planned: Planned) -> Result<(), ErrorCode> {
        let Planned { sub, maker, wish, epoch, ask_at } = planned;
        let channel = self.hub.reserve(&sub.channel);
        let terms = Terms {
            channel,
            maker,
            expire_at: ask_at,
            refresh: if ask_at > 0 { Refresh::Backend } else { Refresh::Client },
            overrides: sub.overrides,
            info: sub.info.into(),
            data: sub.data.into(),
        };
        let Some(opening) = self.connections[index].hot.as_mut().and_then(|hot| hot.opening.as_mut()) else {
            self.release(channel);
            return Err(code::INTERNAL);
        };
        let slot = opening.slots.len();
        opening.slots.push(Slot { channel, wish, terms, answer: Vec::new() });
        let entry = self.hub.channel(channel);
        let unknown = wish.positioned && entry.epoch.is_empty();
        if entry.live && !wish.recover && !unknown {
            let (offset, epoch) = (entry.offset, entry.epoch.clone());
            let top = Top { offset, epoch: &epoch, recovered: false, publications: &[] };
            self.channel_opened(index, slot, &top);
            return Ok(());
        }
        self.restore_before(now, channel);
        let recover = wish.recover.then_some(Position { offset: wish.offset, epoch: &epoch });
        let connection = &self.connections[index];
        // Bounded by the channels of one connection, so by less than a slot's number holds.
        let question = Question::Opening { channel, slot: slot as u16 };
        let asker = Asker { connection: index as u32, generation: connection.generation, id: 0, question };
        let asked = self.question(now, asker, |request| ToRelay::Subscribe {
            request,
            channel: &sub.channel,
            recover,
            latest: wish.latest,
        });
        if asked.is_err() {
            self.release(channel);
        }
        asked.map(|_| ())
    }

    /// The relay's answer for one of the channels. `None`: it has none to give.
    pub(super) fn opening_answered(
        &mut self,
        now: Now,
        index: Option<usize>,
        place: (u32, u16),
        answer: Result<&Top<'_>, ErrorCode>,
    ) {
        let (channel, slot) = place;
        let opening = index.and_then(|index| {
            let hot = self.connections[index].hot.as_ref()?;
            hot.opening.as_ref().map(|opening| (index, opening.id))
        });
        let (index, id) = match opening {
            Some(opening) if self.connections[opening.0].phase == Phase::Connecting => opening,
            _ => return self.release(channel),
        };
        match answer {
            Ok(top) => {
                self.channel_opened(index, slot.into(), top);
                let opening = self.connections[index].hot.as_ref().and_then(|hot| hot.opening.as_ref());
                if opening.is_some_and(|opening| opening.waiting == 0) {
                    self.all_opened(now, index);
                    self.go_on(now, index);
                }
            }
            Err(error) => {
                self.release(channel);
                self.connect_failed(now, index, id, error);
                self.go_on(now, index);
            }
        }
    }

    /// The session is in the channel from here on.
    fn channel_opened(&mut self, index: usize, slot: usize, top: &Top<'_>) {
        let bound = self.policy.settings.client.queue_max_size as usize / 2;
        let connection = &mut self.connections[index];
        let Some(opening) = connection.hot.as_mut().and_then(|hot| hot.opening.as_mut()) else { return };
        let message = |recovered: bool| ToShard::Subscribed {
            request: 0,
            offset: top.offset,
            epoch: top.epoch,
            recovered,
            publications: if recovered { top.publications.to_vec() } else { Vec::new() },
        };
        // All channels together fit what may wait for a client; what does not was not recovered.
        let bytes: usize = top.publications.iter().map(|publication| publication.data.len()).sum();
        let recovered = top.recovered && opening.bytes + bytes <= bound;
        if opening.answered(slot, &message(recovered)).is_err() {
            let kept = opening.answered(slot, &message(false));
            debug_assert!(kept.is_ok(), "a position fits a frame");
        }
        opening.waiting -= 1;
        let Slot { channel, wish, ref mut terms, .. } = opening.slots[slot];
        let terms = std::mem::take(terms);
        connection.places.set_terms(terms);
        self.join(index, channel, wish);
    }

    /// Every channel is there: the reply to `connect`, then what came in them meanwhile.
    fn all_opened(&mut self, now: Now, index: usize) {
        let connection = &mut self.connections[index];
        connection.flags.clear(Flags::DAMMED);
        connection.flags.clear(Flags::BLOCKED);
        let encoding = connection.encoding;
        let hot = connection.hot(&mut self.pool);
        let Some(opening) = hot.opening.take() else { return };
        let Opening { id, slots, before, data, .. } = *opening;
        hot.outbox.end_batch(encoding);
        let meanwhile = std::mem::replace(&mut hot.outbox, before);
        let names: Vec<_> =
            slots.iter().map(|slot| Arc::<str>::from(&*self.hub.channel(slot.channel).name)).collect();
        let promises: Vec<_> = slots.iter().map(|slot| self.promise(now, index, slot.channel)).collect();
        let answers: Vec<_> = slots.iter().map(Slot::answer).collect();
        let subs: Vec<(&str, Subscribed<'_>)> = slots
            .iter()
            .zip(&names)
            .zip(&promises)
            .zip(&answers)
            .map(|(((slot, name), (expiry, data)), answer)| {
                let mut reply = match answer {
                    Some(ToShard::Subscribed { offset, epoch, recovered, publications, .. }) => {
                        let top = Top { offset: *offset, epoch, recovered: *recovered, publications };
                        top.reply(slot.wish)
                    }
                    _ => Subscribed::default(),
                };
                (reply.expiry, reply.data) = (*expiry, data);
                (&**name, reply)
            })
            .collect();
        self.session_begins(now, index, id, &subs, &data);
        if let Some(hot) = &mut self.connections[index].hot {
            hot.outbox.append(encoding, meanwhile);
        }
        self.check_backlog(now, index);
    }

    /// The reply to `connect`: from here on the session is one.
    fn session_begins(
        &mut self,
        now: Now,
        index: usize,
        id: u32,
        subs: &[(&str, Subscribed<'_>)],
        data: &[u8],
    ) {
        self.enter(index, Phase::Ready);
        let policy = Arc::clone(&self.policy);
        let options = &policy.settings.client;
        let (session, node) = self.names(index);
        let connection = &self.connections[index];
        let pinged = options.ping_interval_ms > 0 && connection.framing != Framing::Poll;
        let reply = Reply::Connect(Connected {
            client: connection.client,
            version: &policy.settings.version,
            expiry: self.expiry(now, index),
            data,
            subs,
            ping_s: if pinged { options.ping_interval_ms.div_ceil(1000) } else { 0 },
            pong: pinged && options.pong_timeout_ms > 0 && connection.framing != Framing::Uni,
            session: &session,
            node: &node,
        });
        self.start_pings(now, index);
        self.reply(now, index, id, &reply);
    }

    /// A session that ends before it has begun is owed nothing of its channels.
    pub(super) fn give_up_opening(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if !connection.flags.has(Flags::DAMMED) {
            return;
        }
        connection.flags.clear(Flags::DAMMED);
        connection.flags.clear(Flags::BLOCKED);
        if let Some(hot) = &mut connection.hot
            && let Some(opening) = hot.opening.take()
        {
            hot.outbox = opening.before;
        }
    }
}
