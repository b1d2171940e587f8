//! The client protocol's commands: what each may do, what is asked of the relay for it, what can be answered at once.
//!
//! Owns the order of a session (connect first, once). Never formats: replies are given to the connection's encoding.

use std::rc::Rc;

use wire::{
    backend::Act,
    code::{self, ErrorCode},
    link::{Position, ToRelay},
    tags::Tags,
};

use super::{Shard, answers::Top, special};
use crate::{
    client::{
        call,
        command::{Command, History, Publish, Request, Subscribe},
        encoding::Encoding,
        reply::{Reply, Subscribed},
        rights::{self, Caller, Grant},
    },
    connection::{Connection, Flags, Phase},
    framing::Framing,
    hub::{Manner, Place},
    pending::{Asker, Question, Wish},
    places::{Maker, Refresh, Terms},
    time::Now,
};

impl Shard {
    /// One WebSocket message: its commands in order, until one ends the connection or must be waited for.
    pub(super) fn message_received(&mut self, now: Now, index: usize, message: &[u8]) {
        self.run_commands(now, index, message);
    }

    /// The command that waited for the relay, if it is to be run again, and those behind it.
    pub(super) fn run_waiting(&mut self, now: Now, index: usize) {
        let Some(hot) = &mut self.connections[index].hot else { return };
        let message = std::mem::take(&mut hot.waiting);
        if !message.is_empty() {
            self.run_commands(now, index, &message);
        }
    }

    fn run_commands(&mut self, now: Now, index: usize, message: &[u8]) {
        let Connection { generation, framing, encoding, .. } = self.connections[index];
        let mut commands = encoding.commands(message);
        let mut rest = commands.rest();
        while let Some(command) = commands.next() {
            self.stats.ways.of(framing, encoding).commands += 1;
            match command {
                Ok(command) => self.command(now, index, &command),
                Err(_) => self.close(now, index, code::CLOSE_BAD_REQUEST),
            }
            let Some(connection) = self.connections.get_mut(index) else { return };
            // A word on one command's token is for that command, whatever has become of it.
            if let Some(hot) = &mut connection.hot {
                hot.word = None;
            }
            // Commands behind a failed `connect` were sent before its answer could be known: they are dropped, not held against it.
            let failed = connection.phase == Phase::Unusable;
            if connection.generation != generation || !connection.is_open() || failed {
                return;
            }
            // A poll's commands come all at once, so each waits for the answer to the one before.
            let one_by_one = connection.framing == Framing::Poll && connection.asked > 0;
            if one_by_one || connection.flags.has(Flags::PAUSED) {
                let hot = connection.hot(&mut self.pool);
                if std::mem::take(&mut hot.again) {
                    self.stats.ways.of(framing, encoding).commands -= 1;
                    hot.waiting = rest.to_vec();
                } else if !commands.rest().is_empty() {
                    hot.waiting = commands.rest().to_vec();
                }
                return;
            }
            rest = commands.rest();
        }
    }

    /// Queues a reply and counts an error.
    pub(super) fn reply(&mut self, now: Now, index: usize, id: u32, reply: &Reply<'_>) {
        if let Reply::Error(ErrorCode { code, .. }) = reply {
            super::bump(&mut self.stats.shard.errors, *code);
        } else if let Reply::Refused(refusal) = reply {
            // A backend's own codes are counted as one.
            let known = u16::try_from(refusal.code).ok().filter(|code| *code < code::BACKEND_ERRORS);
            super::bump(&mut self.stats.shard.errors, known.unwrap_or(code::BACKEND_ERRORS));
        }
        match self.connections[index].framing {
            Framing::Uni => return self.tell_listener(now, index, reply),
            Framing::Poll => self.note_reply(index, reply),
            Framing::WebSocket | Framing::Deflate | Framing::Stream | Framing::Sse => {}
        }
        let connection = &mut self.connections[index];
        let encoding: Encoding = connection.encoding;
        connection.hot(&mut self.pool).outbox.push_message(encoding, |out| encoding.reply(id, reply, out));
        self.mark_dirty(index);
        self.check_backlog(now, index);
    }

    /// What no client has asked for (its id is 0) fails in silence.
    pub(super) fn reply_error(&mut self, now: Now, index: usize, id: u32, error: ErrorCode) {
        if id == 0 {
            return;
        }
        self.reply(now, index, id, &Reply::Error(error));
    }

    /// Ends a connection whose reader is too far behind.
    pub(super) fn check_backlog(&mut self, now: Now, index: usize) {
        let bound = self.policy.settings.client.queue_max_size as usize;
        let connection = &self.connections[index];
        if connection.is_open()
            && connection.flags.has(Flags::BLOCKED)
            && !connection.flags.has(Flags::ECHO)
            && connection.hot.as_ref().is_some_and(|hot| hot.backlog() > bound)
        {
            self.close(now, index, code::SLOW);
        }
    }

    fn command(&mut self, now: Now, index: usize, command: &Command<'_>) {
        let phase = self.connections[index].phase;
        match (&command.request, phase) {
            // While connecting, only the `connect` itself is run (again).
            (Request::Connect(connect), Phase::Fresh | Phase::Connecting) => {
                self.connect(now, index, command.id, connect);
            }
            (_, Phase::Ready) => {
                // One that is run again has been counted.
                let again = self.connections[index].hot.as_ref().is_some_and(|hot| hot.word.is_some());
                if again || self.within_rates(now, index, command) {
                    self.session_command(now, index, command);
                }
            }
            // Before `connect`, after a failed one, or a second one.
            _ => self.close(now, index, code::CLOSE_BAD_REQUEST),
        }
    }

    fn session_command(&mut self, now: Now, index: usize, command: &Command<'_>) {
        let id = command.id;
        match &command.request {
            Request::Connect(_) => self.close(now, index, code::CLOSE_BAD_REQUEST),
            Request::Pong => {
                let native = self.connections[index].flags.has(Flags::FRAME_PING);
                if native || !self.pong_received(index) {
                    self.close(now, index, code::CLOSE_BAD_REQUEST);
                }
            }
            Request::Subscribe(subscribe) => self.subscribe(now, index, id, subscribe),
            Request::Unsubscribe { channel } => self.unsubscribe(now, index, id, channel),
            Request::Publish(publish) => self.publish(now, index, id, publish),
            Request::Presence { channel } => {
                self.ask_presence(now, index, id, channel, Question::Presence);
            }
            Request::PresenceStats { channel } => {
                self.ask_presence(now, index, id, channel, Question::PresenceStats);
            }
            Request::History(history) => self.history(now, index, id, history),
            Request::Refresh { token } => self.refresh(now, index, id, token),
            // Messages to the backend have nowhere to go without one, and no reply to say so in.
            Request::Send { .. } => {}
            Request::Rpc(rpc) if rpc.method == call::PUBLISH => self.call_publish(now, index, id, rpc.data),
            Request::SubRefresh(refresh) => self.sub_refresh(now, index, id, refresh),
            Request::Rpc(rpc) if self.policy.settings.backend.calls => {
                self.call_backend(now, index, id, rpc);
            }
            Request::Rpc(_) | Request::Ping => {
                self.reply_error(now, index, id, code::NOT_AVAILABLE);
            }
        }
    }

    fn subscribe(&mut self, now: Now, index: usize, id: u32, asked: &Subscribe<'_>) {
        let policy = std::sync::Arc::clone(&self.policy);
        let channel = asked.channel.as_ref();
        if let Err(error) = rights::namespace(&policy.settings, channel) {
            return self.reply_error(now, index, id, error);
        }
        let places = &self.connections[index].places;
        if self.hub.find(channel).is_some_and(|known| places.find(known).is_some()) {
            return self.reply_error(now, index, id, code::ALREADY_SUBSCRIBED);
        }
        if places.as_slice().len() >= policy.settings.client.channel_limit as usize {
            return self.reply_error(now, index, id, code::LIMIT_EXCEEDED);
        }
        let mut token = None;
        if !asked.token.is_empty() {
            token = self.subscription_token(now, index, id, channel, &asked.token);
            if token.is_none() {
                return;
            }
        } else if rights::asks_backend(&policy.settings, asked) {
            token = self.subscription_by_backend(now, index, id, asked);
            if token.is_none() {
                return;
            }
        }
        let grant = token.as_ref().map_or(Grant::Options, |(sub, _)| Grant::Token(&sub.overrides));
        let granted = match rights::subscribe(&policy.settings, self.caller(index, channel), asked, grant) {
            Ok(granted) => granted,
            Err(error) => return self.reply_error(now, index, id, error),
        };
        let Some(manner) = special::manner(self.connections[index].encoding, granted, asked) else {
            return self.reply_error(now, index, id, code::BAD_REQUEST);
        };
        let wish = granted.wish(asked);
        let known = self.hub.reserve(channel);
        if let Some((sub, expire_at)) = token {
            let refreshed =
                policy.settings.namespace(channel).is_some_and(|options| options.sub_refresh_proxy);
            let terms = Terms {
                channel: known,
                expire_at: super::tokens::second(expire_at),
                maker: Maker::Client,
                refresh: if refreshed { Refresh::Backend } else { Refresh::Client },
                overrides: sub.overrides,
                info: sub.info.into(),
                data: sub.data.into(),
            };
            // A grant without anything particular costs nothing to remember.
            if (Terms { refresh: Refresh::Client, ..terms.clone() }) != self.terms_of(index, known) {
                self.connections[index].places.set_terms(terms);
            }
        }
        self.begin_in(now, index, id, (known, wish), &asked.epoch, manner);
    }

    /// A subscription begins in a reserved channel: at once, or when the relay has answered. `id` is 0 where no client asked for it. False
    /// when the relay cannot be asked now.
    pub(super) fn begin_in(
        &mut self,
        now: Now,
        index: usize,
        id: u32,
        to: (u32, Wish),
        epoch: &str,
        manner: Manner,
    ) -> bool {
        let (known, wish) = to;
        let entry = self.hub.channel(known);
        // While a lost position is being asked for, the hub has none to give.
        let unknown = wish.positioned && entry.epoch.is_empty();
        if entry.live && !wish.recover && !unknown {
            self.subscribe_here(now, index, id, to, manner);
            self.enlisted(wish.survey, Ok(()));
            return true;
        }
        let name = Rc::clone(&entry.name);
        let wish = self.keep_manner(manner, wish);
        self.restore_before(now, known);
        let recover = wish.recover.then_some(Position { offset: wish.offset, epoch });
        let question = Question::Subscribe { channel: known, wish };
        let mut number = 0;
        let sent = self.ask(now, index, id, question, |request| {
            number = request;
            ToRelay::Subscribe { request, channel: &name, recover, latest: wish.latest }
        });
        if sent {
            self.connections[index].places.insert(Place::waiting(known, number));
        } else {
            self.take_manner(wish);
            self.connections[index].places.remove(known);
            self.hub.release(known);
        }
        sent
    }

    /// The channel's publications are coming already, and the hub knows its position: nothing needs to be asked.
    fn subscribe_here(&mut self, now: Now, index: usize, id: u32, to: (u32, Wish), manner: Manner) {
        let (channel, wish) = to;
        let entry = self.hub.channel(channel);
        let (offset, epoch) = (entry.offset, entry.epoch.clone());
        self.join(index, channel, wish);
        let top = Top { offset, epoch: &epoch, recovered: false, publications: &[] };
        let (expiry, data) = self.promise(now, index, channel);
        let (delta, number) = (manner.delta, self.number_for(channel, &manner));
        let reply = Subscribed { expiry, data: &data, delta, number, ..top.reply(wish) };
        self.specialize(index, channel, manner, None);
        self.schedule(index);
        self.tell_subscribed(now, index, id, channel, reply);
    }

    /// A reservation becomes a subscription, and the relay learns who has entered.
    pub(super) fn join(&mut self, index: usize, channel: u32, wish: Wish) {
        let Connection { encoding, framing, .. } = self.connections[index];
        // Polls come and go: told of each other, each would end all others.
        let joins = wish.joins && framing != Framing::Poll;
        let place = self.hub.subscribe(channel, index as u32, encoding, joins);
        let places = &mut self.connections[index].places;
        if places.find(channel).is_some() {
            places.update(place);
        } else {
            places.insert(place);
        }
        self.tell_entered(index, channel);
    }

    fn unsubscribe(&mut self, now: Now, index: usize, id: u32, channel: &str) {
        if let Some(known) = self.hub.find(channel)
            && let Some(place) = self.connections[index].places.remove(known)
        {
            self.leave_channel(index, place);
        }
        self.reply(now, index, id, &Reply::Unsubscribe);
    }

    fn publish(&mut self, now: Now, index: usize, id: u32, publish: &Publish<'_>) {
        let saying = Saying { channel: &publish.channel, data: publish.data, ..Saying::default() };
        self.say(now, index, id, Question::Publish, &saying);
    }

    /// The call `publish`: the same rights as the command, but idempotent, and answered with the publication's position.
    fn call_publish(&mut self, now: Now, index: usize, id: u32, arguments: &[u8]) {
        let Some(publish) = call::Publish::read(arguments) else {
            return self.reply_error(now, index, id, code::BAD_REQUEST);
        };
        let tags = publish.tags.as_tags();
        let saying = Saying { channel: &publish.channel, data: publish.data, key: &publish.key, tags };
        self.say(now, index, id, Question::PublishCall, &saying);
    }

    fn say(&mut self, now: Now, index: usize, id: u32, question: Question, saying: &Saying<'_>) {
        let Saying { channel, data, key, tags } = *saying;
        let settings = &self.policy.settings;
        let proxied = settings.namespace(channel).is_some_and(|options| options.publish_proxy);
        let allowed = match proxied {
            true => Ok(()),
            false => rights::publish(settings, self.caller(index, channel), channel),
        };
        if let Err(error) = allowed.and_then(|()| rights::publication(settings, channel, data)) {
            return self.reply_error(now, index, id, error);
        }
        let identity = self.connections[index].identity.clone();
        let places = &self.connections[index].places;
        let terms =
            self.hub.find(channel).and_then(|known| places.terms(known)).map(|terms| terms.info.clone());
        let chan_info = terms.unwrap_or_default();
        if proxied {
            let (conn_info, call) = (identity.info(), question == Question::PublishCall);
            let act = Act::Publish { channel, data, conn_info, chan_info: &chan_info, tags, key };
            return self.publish_by_backend(now, index, id, call, act);
        }
        let info = Some(super::events::info(self.connections[index].client, &identity, &chan_info));
        let message = |request| ToRelay::Publish {
            request,
            channel,
            data,
            info,
            tags,
            key,
            skip_history: false,
            delta: false,
        };
        self.ask(now, index, id, question, message);
    }

    fn history(&mut self, now: Now, index: usize, id: u32, history: &History<'_>) {
        let channel = history.channel.as_ref();
        if let Err(error) = rights::history(&self.policy.settings, self.caller(index, channel), channel) {
            return self.reply_error(now, index, id, error);
        }
        let since = history.since.as_ref().map(|s| Position { offset: s.offset, epoch: &s.epoch });
        self.ask(now, index, id, Question::History, |request| ToRelay::History {
            request,
            channel,
            since,
            limit: history.limit,
            reverse: history.reverse,
        });
    }

    fn ask_presence(&mut self, now: Now, index: usize, id: u32, channel: &str, question: Question) {
        if let Err(error) = rights::presence(&self.policy.settings, self.caller(index, channel), channel) {
            return self.reply_error(now, index, id, error);
        }
        self.ask(now, index, id, question, |request| match question {
            Question::PresenceStats => ToRelay::PresenceStats { request, channel },
            _ => ToRelay::Presence { request, channel },
        });
    }

    /// Puts a question to the relay. When that cannot be, the client has its (temporary) error already. True when it is asked.
    pub(super) fn ask<'a>(
        &mut self,
        now: Now,
        index: usize,
        id: u32,
        question: Question,
        message: impl FnOnce(u32) -> ToRelay<'a>,
    ) -> bool {
        let generation = self.connections[index].generation;
        let asker = Asker { connection: index as u32, generation, id, question };
        let asked = self.question(now, asker, message);
        if let Err(error) = asked {
            self.reply_error(now, index, id, error);
        }
        asked.is_ok()
    }

    /// Puts a connection's question to the relay, or says why that cannot be.
    pub(super) fn question<'a>(
        &mut self,
        now: Now,
        asker: Asker,
        message: impl FnOnce(u32) -> ToRelay<'a>,
    ) -> Result<u32, ErrorCode> {
        if !self.link.up {
            return Err(code::INTERNAL);
        }
        let index = asker.connection as usize;
        let asked = usize::from(self.connections[index].asked);
        if asked >= crate::limits::PENDING_PER_CONNECTION_MAX || self.link_is_full() {
            return Err(code::TOO_MANY_REQUESTS);
        }
        let request = self.pending.ask(now.at, asker).map_err(|_| code::TOO_MANY_REQUESTS)?;
        if !self.tell(&message(request)) {
            self.pending.answer(request);
            return Err(code::LIMIT_EXCEEDED);
        }
        self.connections[index].asked += 1;
        Ok(request)
    }

    fn caller(&self, index: usize, channel: &str) -> Caller<'_> {
        let connection = &self.connections[index];
        let place = self.hub.find(channel).and_then(|known| connection.places.find(known));
        Caller { user: connection.identity.user(), subscribed: place.is_some_and(Place::is_active) }
    }
}

/// A publication on its way to the relay.
#[derive(Default)]
struct Saying<'a> {
    channel: &'a str,
    data: &'a [u8],
    /// Idempotency key; empty when none.
    key: &'a str,
    tags: Tags<'a>,
}
