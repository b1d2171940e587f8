//! What backends decide: connections without a token, subscriptions, publications, calls, and more time for what is over.
//!
//! Owns what they are asked, through the relay, and what their word or their silence means. A command that waits for it is run again
//! with it, as with a token's; nothing of it has to be kept but its bytes.

use wire::{
    ClientId,
    backend::{Act, Event, Given, Outcome, Transport},
    code::{self, ErrorCode},
    link::ToRelay,
    token::Sub,
};

use super::{Shard, tokens::second};
use crate::{
    client::{
        command::{Connect, Rpc, Subscribe},
        encoding::Encoding,
        reply::Reply,
    },
    connection::{Decided, Flags, Identity, Phase, Word},
    framing::Framing,
    hub::Place,
    limits::{PROXIED_PER_CONNECTION_MAX, REFRESH_AGAIN_S},
    pending::{Asker, Question},
    places::Refresh,
    time::Now,
    upgrade,
};

impl Shard {
    /// A `connect` without a token.
    pub(super) fn connect_by_backend(
        &mut self,
        now: Now,
        index: usize,
        id: u32,
        connect: &Connect<'_>,
        headers: &[u8],
    ) {
        // The backend is told the id that the session will have.
        if self.connections[index].client == ClientId::default() {
            self.connections[index].client = ClientId::from_random(self.random.bytes());
        }
        let fresh = self.connections[index].phase == Phase::Fresh;
        let act = Act::Connect {
            name: &connect.name,
            version: &connect.version,
            data: connect.data,
            channels: connect.subs.iter().map(|sub| sub.channel.as_ref()).collect(),
            headers,
        };
        match self.consult(now, index, id, act) {
            None if self.connections[index].flags.has(Flags::PAUSED) => self.enter(index, Phase::Connecting),
            None if fresh && self.connections[index].is_open() => self.enter(index, Phase::Unusable),
            None => {}
            Some(Ok(Outcome::Granted(grant))) => self.begin_session(now, index, id, connect, (*grant, None)),
            Some(Ok(Outcome::Nothing)) => self.connect_anonymously(now, index, id, connect),
            Some(Ok(Outcome::Refused(refusal))) => {
                self.connect_refused(now, index, id, &Reply::Refused(&refusal));
            }
            Some(Ok(Outcome::Disconnect { code, reason })) => self.close_with(now, index, code, &reason),
            Some(Ok(Outcome::Expired | Outcome::Returned(_))) => {
                self.connect_failed(now, index, id, code::INTERNAL);
            }
            Some(Err(error)) => self.connect_failed(now, index, id, error),
        }
    }

    /// What a backend grants to a `subscribe`, and until when. `None`: the command waits, or has its answer.
    pub(super) fn subscription_by_backend(
        &mut self,
        now: Now,
        index: usize,
        id: u32,
        asked: &Subscribe<'_>,
    ) -> Option<(Sub, u64)> {
        match self.consult(now, index, id, Act::Subscribe { channel: &asked.channel, data: asked.data })? {
            Ok(Outcome::Granted(grant)) => {
                let sub = grant.claims.subs.into_iter().next().unwrap_or_default();
                return Some((sub, grant.claims.expire_at));
            }
            other => self.deny(now, index, id, other),
        }
        None
    }

    /// A publication that goes out only if the backend lets it. What is behind it waits, so that order is kept.
    pub(super) fn publish_by_backend(&mut self, now: Now, index: usize, id: u32, call: bool, act: Act<'_>) {
        if self.ask_backend(now, index, id, Question::PublishProxied { call }, act) {
            self.connections[index].flags.set(Flags::PAUSED);
        }
    }

    /// A call. What is behind it does not wait.
    pub(super) fn call_backend(&mut self, now: Now, index: usize, id: u32, rpc: &Rpc<'_>) {
        let act = Act::Call { method: &rpc.method, data: rpc.data };
        self.ask_backend(now, index, id, Question::Call, act);
    }

    /// A session's time is over.
    pub(super) fn ask_refresh(&mut self, now: Now, index: usize) {
        match self.put(now, index, 0, Question::Refresh, Act::Refresh) {
            Ok(_) => self.connections[index].flags.set(Flags::REFRESHING),
            Err(_) => self.connections[index].expire_at = self.again(now),
        }
        self.schedule(index);
    }

    /// A subscription's time is over.
    pub(super) fn ask_sub_refresh(&mut self, now: Now, index: usize, channel: u32) {
        let name = std::rc::Rc::clone(&self.hub.channel(channel).name);
        let asked =
            self.put(now, index, 0, Question::SubRefresh { channel }, Act::SubRefresh { channel: &name });
        let again = self.again(now);
        if let Some(terms) = self.connections[index].places.terms_mut(channel) {
            match asked {
                Ok(_) => terms.refresh = Refresh::Asked,
                Err(_) => terms.expire_at = again,
            }
        }
        self.schedule(index);
    }

    /// The relay has a backend's word, or says why there is none.
    pub(super) fn decided(&mut self, now: Now, asker: Asker, index: usize, decided: Decided) {
        let ready = self.connections[index].phase == Phase::Ready;
        match (asker.question, decided) {
            (Question::Backend, decided) => self.hear_word(now, index, Word::Backend(decided)),
            (Question::Refresh, decided) if ready => self.refreshed(now, index, decided),
            (Question::SubRefresh { channel }, decided) if ready => {
                self.sub_refreshed(now, index, channel, decided);
            }
            (Question::Call, Ok(Outcome::Returned(data))) if ready => {
                self.reply(now, index, asker.id, &Reply::Rpc { data: &data });
            }
            (Question::Call, other) if ready => self.deny(now, index, asker.id, other),
            (Question::PublishProxied { .. }, other) => {
                if ready {
                    self.deny(now, index, asker.id, other);
                }
                self.go_on_behind(now, index);
            }
            (_, _) => {}
        }
    }

    /// What waited behind a publication goes on.
    pub(super) fn go_on_behind(&mut self, now: Now, index: usize) {
        let connection = &self.connections[index];
        if connection.is_open() && connection.flags.has(Flags::PAUSED) {
            self.go_on(now, index);
        }
    }

    /// Keeps the fields of a request that a backend is to be told when the session begins.
    pub(super) fn keep_headers(&mut self, index: usize, request: &[u8]) {
        let backend = &self.policy.settings.backend;
        if backend.connect && !backend.headers.is_empty() {
            let lines = upgrade::lines(request, &backend.headers);
            self.connections[index].hot(&mut self.pool).headers = lines;
        }
    }

    /// What the backend says to a command. `None`: the command waits, or has its error already.
    fn consult(&mut self, now: Now, index: usize, id: u32, act: Act<'_>) -> Option<Decided> {
        let word = self.connections[index].hot.as_mut().and_then(|hot| hot.word.take());
        if let Some(Word::Backend(decided)) = word.map(|word| *word) {
            return Some(decided);
        }
        if self.ask_backend(now, index, id, Question::Backend, act) {
            let connection = &mut self.connections[index];
            connection.flags.set(Flags::PAUSED);
            connection.hot(&mut self.pool).again = true;
        }
        None
    }

    /// Asks for a command. When that cannot be, the client has its (temporary) error already. True when it is asked.
    fn ask_backend(&mut self, now: Now, index: usize, id: u32, question: Question, act: Act<'_>) -> bool {
        let asked = self.put(now, index, id, question, act);
        if let Err(error) = asked {
            self.reply_error(now, index, id, error);
        }
        asked.is_ok()
    }

    fn put(
        &mut self,
        now: Now,
        index: usize,
        id: u32,
        question: Question,
        act: Act<'_>,
    ) -> Result<u32, ErrorCode> {
        let connection = &self.connections[index];
        if usize::from(connection.asked) >= PROXIED_PER_CONNECTION_MAX {
            return Err(code::TOO_MANY_REQUESTS);
        }
        let identity = connection.identity.clone();
        let asker = Asker { connection: index as u32, generation: connection.generation, id, question };
        let event = Event {
            client: connection.client,
            user: identity.user(),
            transport: transport(connection.framing),
            binary: connection.encoding == Encoding::Protobuf,
            meta: identity.meta(),
            act,
        };
        self.question(now, asker, |request| ToRelay::Proxy { request, event })
    }

    /// A word that grants nothing, told to a command.
    fn deny(&mut self, now: Now, index: usize, id: u32, decided: Decided) {
        match decided {
            Ok(Outcome::Refused(refusal)) => self.reply(now, index, id, &Reply::Refused(&refusal)),
            Ok(Outcome::Disconnect { code, reason }) => self.close_with(now, index, code, &reason),
            Ok(Outcome::Granted(_) | Outcome::Nothing | Outcome::Expired | Outcome::Returned(_)) => {
                self.reply_error(now, index, id, code::INTERNAL);
            }
            Err(error) => self.reply_error(now, index, id, error),
        }
    }

    /// A backend's word on a session whose time is over. Its silence gives it a minute more.
    fn refreshed(&mut self, now: Now, index: usize, decided: Decided) {
        self.connections[index].flags.clear(Flags::REFRESHING);
        match more_time(now, decided) {
            More::Until(grant) => {
                self.connections[index].expire_at = second(grant.claims.expire_at);
                self.rename(index, &grant);
            }
            More::AskAgain => self.connections[index].expire_at = self.again(now),
            More::No => return self.close(now, index, code::CONNECTION_EXPIRED),
            More::Disconnect { code, reason } => return self.close_with(now, index, code, &reason),
        }
        self.schedule(index);
    }

    /// The same of a subscription, if it is still there.
    fn sub_refreshed(&mut self, now: Now, index: usize, channel: u32, decided: Decided) {
        let again = self.again(now);
        let places = &mut self.connections[index].places;
        let active = places.find(channel).is_some_and(Place::is_active);
        let Some(terms) = places.terms_mut(channel).filter(|terms| active && terms.refresh == Refresh::Asked)
        else {
            return;
        };
        terms.refresh = Refresh::Backend;
        match more_time(now, decided) {
            More::Until(grant) => {
                terms.expire_at = second(grant.claims.expire_at);
                let info = grant.claims.info;
                if !info.is_empty() && *info != *terms.info {
                    terms.info = info.into();
                    self.tell_entered(index, channel);
                }
            }
            More::AskAgain => terms.expire_at = again,
            More::No => {
                self.end_subscription(now, index, channel, code::SUBSCRIPTION_EXPIRED);
                if self.connections[index].phase != Phase::Ready {
                    return;
                }
            }
            More::Disconnect { code, reason } => return self.close_with(now, index, code, &reason),
        }
        self.schedule(index);
    }

    /// A refreshed session may be shown otherwise, and may have other things kept for the backend.
    fn rename(&mut self, index: usize, grant: &Given) {
        let before = self.connections[index].identity.clone();
        let keeps = self.policy.settings.backend.meta;
        let given = |new: &[u8], old: &[u8]| if new.is_empty() { old.to_vec() } else { new.to_vec() };
        let info = given(&grant.claims.info, before.info());
        let meta = given(if keeps { &grant.claims.meta } else { &[] }, before.meta());
        let Some(identity) = Identity::new(before.user(), &info, &meta) else { return };
        self.connections[index].identity = identity;
        if *info != *before.info() {
            let places = self.connections[index].places.as_slice().to_vec();
            for place in places.into_iter().filter(|place| place.is_active()) {
                self.tell_entered(index, place.channel);
            }
        }
    }

    /// When a backend that does not answer is asked again: not by everybody at once.
    fn again(&mut self, now: Now) -> u32 {
        second(now.unix + REFRESH_AGAIN_S + self.random.below(REFRESH_AGAIN_S / 2))
    }
}

/// What a backend's word means for something whose time is over.
enum More {
    Until(Box<Given>),
    AskAgain,
    No,
    Disconnect { code: u16, reason: String },
}

fn more_time(now: Now, decided: Decided) -> More {
    match decided {
        Ok(Outcome::Granted(grant)) => match grant.claims.expire_at {
            at if at > 0 && at <= now.unix => More::No,
            _ => More::Until(grant),
        },
        Ok(Outcome::Disconnect { code, reason }) => More::Disconnect { code, reason },
        Ok(Outcome::Refused(refusal)) if refusal.temporary => More::AskAgain,
        Ok(Outcome::Expired | Outcome::Nothing | Outcome::Returned(_) | Outcome::Refused(_)) => More::No,
        Err(_) => More::AskAgain,
    }
}

/// How a client is connected, as backends are told.
const fn transport(framing: Framing) -> Transport {
    match framing {
        Framing::WebSocket | Framing::Deflate => Transport::WebSocket,
        Framing::Uni => Transport::UniWebSocket,
        Framing::Stream => Transport::HttpStream,
        Framing::Sse => Transport::Sse,
        Framing::Poll => Transport::Poll,
    }
}
