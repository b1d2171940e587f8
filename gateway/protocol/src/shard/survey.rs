//! What the relay asks of all sessions at once: things to do with those of a user, and counts.
//!
//! Owns the walks: one over the connections does all that waited when it began, some connections in each turn, so that neither an idle
//! connection nor a busy loop pays for it. Another does the same over channels.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::Arc,
};

use wire::{
    code::{self, ErrorCode, Unsubscribe},
    link::ToRelay,
    pattern::Pattern,
    survey::{Act, Answer, CHANNEL_BYTES, Command, Question, Subscribe as Wanted, Users},
};

use super::{Shard, tokens};
use crate::{
    client::{
        command::Subscribe,
        reply::{Push, Reply, Subscribed},
        rights::{self, Caller, Grant},
    },
    connection::{Identity, Phase},
    framing::Framing,
    hub::{Manner, Place},
    limits::{SURVEY_CHANNELS_PER_TURN, SURVEY_VISITS_PER_TURN, SURVEYS_BYTES_MAX, SURVEYS_MAX},
    pending::Wish,
    places::{Maker, Refresh, Terms},
    time::Now,
};

/// The questions of one shard.
#[derive(Default)]
pub(super) struct Surveys {
    /// Wait for the next walk over connections.
    waiting: VecDeque<(u32, Task)>,
    walk: Option<Box<Walk>>,
    /// Questions about channels, one walk after the other.
    channels: VecDeque<Channels>,
    /// Of all these.
    bytes: usize,
    /// Commands whose subscriptions wait for the relay, by number.
    enlisting: HashMap<u32, Enlisting>,
}

/// What becomes of the subscriptions of one command.
#[derive(Default)]
struct Enlisting {
    waiting: u32,
    failed: u32,
    /// Of one that has failed.
    error: u16,
    /// The sessions that the command was for, once the walk is over.
    found: Option<u32>,
}

enum Task {
    Command(Command),
    Census,
}

/// One walk over the connections.
struct Walk {
    cursor: usize,
    tasks: Vec<Aboard>,
    /// Commands by user.
    users: HashMap<Box<str>, Vec<u32>>,
    /// Some task counts all sessions.
    counts: bool,
    clients: u32,
    seen: Users,
    /// Some task asks the relay something.
    asks: bool,
}

/// A task on a walk.
struct Aboard {
    number: u32,
    task: Task,
    /// The only connection it is for, where its session was named.
    only: Option<Option<usize>>,
    found: u32,
}

/// One walk over the channels.
struct Channels {
    number: u32,
    pattern: Option<Pattern>,
    next: u32,
    answer: Answer,
    bytes: usize,
}

impl Task {
    fn bytes(&self) -> usize {
        let Self::Command(command) = self else { return size_of::<Self>() };
        let act = match &command.act {
            Act::Subscribe(wanted) => wanted.channel.len() + wanted.info.len() + wanted.data.len(),
            Act::Unsubscribe { channel, reason, .. } => channel.len() + reason.len(),
            Act::Disconnect { reason, keep, .. } => reason.len() + size_of_val(&keep[..]),
            Act::Refresh { info, .. } => info.as_ref().map_or(0, Vec::len),
        };
        size_of::<Self>() + command.user.len() + act
    }
}

impl Surveys {
    fn takes(&self, bytes: usize) -> bool {
        self.waiting.len() + self.channels.len() < SURVEYS_MAX && self.bytes + bytes <= SURVEYS_BYTES_MAX
    }
}

impl Shard {
    /// A question for all sessions or channels. It waits its turn, or is refused at once.
    pub(super) fn surveyed(&mut self, number: u32, question: &Question) {
        let task = match question {
            Question::Command(command) => Task::Command(command.clone()),
            Question::Census => Task::Census,
            Question::Channels(pattern) => {
                if !self.surveys.takes(0) {
                    return self.answer_survey(number, Answer::failure(code::TOO_MANY_REQUESTS.code));
                }
                let (pattern, answer) = (pattern.clone(), Answer::default());
                self.surveys.channels.push_back(Channels { number, pattern, next: 0, answer, bytes: 0 });
                return;
            }
        };
        let bytes = task.bytes();
        if !self.surveys.takes(bytes) {
            return self.answer_survey(number, Answer::failure(code::TOO_MANY_REQUESTS.code));
        }
        self.surveys.bytes += bytes;
        self.surveys.waiting.push_back((number, task));
    }

    /// Works on questions within one turn's budget. True when more can be done at once.
    pub fn survey(&mut self, now: Now) -> bool {
        let more = self.walk_connections(now);
        self.walk_channels() || more
    }

    /// The relay that asked is gone: nobody wants to know, and what was not done will be asked for again.
    pub(super) fn forget_surveys(&mut self) {
        self.surveys = Surveys::default();
    }

    fn walk_connections(&mut self, now: Now) -> bool {
        let Some(mut walk) = self.surveys.walk.take().or_else(|| self.board()) else { return false };
        for _ in 0..SURVEY_VISITS_PER_TURN {
            if walk.cursor >= self.due.len() {
                self.arrived(*walk);
                return !self.surveys.waiting.is_empty();
            }
            if walk.asks && (self.link_is_full() || self.pending.is_full()) {
                self.surveys.walk = Some(walk);
                return false;
            }
            self.visit(now, &mut walk);
            walk.cursor += 1;
        }
        self.surveys.walk = Some(walk);
        true
    }

    /// A new walk with all that waits.
    fn board(&mut self) -> Option<Box<Walk>> {
        if self.surveys.waiting.is_empty() {
            return None;
        }
        let mut walk = Walk {
            cursor: 0,
            tasks: Vec::new(),
            users: HashMap::new(),
            counts: false,
            clients: 0,
            seen: Users::default(),
            asks: false,
        };
        for (number, task) in std::mem::take(&mut self.surveys.waiting) {
            self.surveys.bytes -= task.bytes();
            let mut only = None;
            match &task {
                Task::Census => walk.counts = true,
                Task::Command(command) => {
                    let place = walk.tasks.len() as u32;
                    walk.users.entry(command.user.as_str().into()).or_default().push(place);
                    walk.asks |= matches!(command.act, Act::Subscribe(_));
                    only = command.session.map(|session| self.named(&session));
                }
            }
            walk.tasks.push(Aboard { number, task, only, found: 0 });
        }
        Some(Box::new(walk))
    }

    fn visit(&mut self, now: Now, walk: &mut Walk) {
        let index = walk.cursor;
        let Some(connection) = self.connections.get(index) else { return };
        let generation = connection.generation;
        let begun = connection.phase == Phase::Ready;
        if !begun && connection.phase != Phase::Connecting {
            return;
        }
        let user = connection.identity.user();
        if walk.counts && begun {
            walk.clients += 1;
            walk.seen.insert(user);
        }
        let Some(places) = walk.users.get(user) else { return };
        for place in places {
            let aboard = &mut walk.tasks[*place as usize];
            let Task::Command(command) = &aboard.task else { continue };
            let Some(connection) = self.connections.get(index) else { return };
            let meant = connection.generation == generation
                && command.client.is_none_or(|client| client == connection.client)
                && aboard.only.is_none_or(|only| only == Some(index));
            if meant && self.act(now, index, aboard.number, &command.act) {
                aboard.found += 1;
            }
        }
    }

    /// Does what is to be done with a session; false when it is not for this one.
    fn act(&mut self, now: Now, index: usize, number: u32, act: &Act) -> bool {
        let connection = &self.connections[index];
        match (act, connection.phase) {
            (Act::Disconnect { keep, .. }, Phase::Ready | Phase::Connecting)
                if keep.contains(&connection.client) =>
            {
                return false;
            }
            (Act::Disconnect { code, reason, .. }, Phase::Ready | Phase::Connecting) => {
                self.close_with(now, index, *code, reason);
            }
            (Act::Subscribe(wanted), Phase::Ready) => {
                return self.server_subscribes(now, index, number, wanted);
            }
            (Act::Unsubscribe { channel, code, reason }, Phase::Ready) => {
                self.server_unsubscribes(now, index, channel, Unsubscribe { code: *code, reason });
            }
            // A node has listed its channels before, and the client will be listed them anew.
            (Act::Subscribe(wanted), Phase::Connecting)
                if self.is_opening(index, &wanted.channel) == Some(false) =>
            {
                self.close(now, index, code::CLOSE_INSUFFICIENT_STATE);
            }
            (Act::Unsubscribe { channel, .. }, Phase::Connecting)
                if self.is_opening(index, channel) == Some(true) =>
            {
                self.close(now, index, code::CLOSE_INSUFFICIENT_STATE);
            }
            (Act::Refresh { expire_at, info }, Phase::Ready) => {
                self.server_refreshes(now, index, *expire_at, info.as_deref());
            }
            _ => return false,
        }
        true
    }

    /// Whether a channel is among those that a node has listed for a session that begins. `None`: nothing was listed.
    fn is_opening(&self, index: usize, channel: &str) -> Option<bool> {
        let opening = self.connections[index].hot.as_ref()?.opening.as_ref()?;
        if !self.policy.settings.backend.channels {
            return None;
        }
        let known = self.hub.find(channel);
        Some(known.is_some_and(|known| opening.slots.iter().any(|slot| slot.channel == known)))
    }

    /// Whether the session is in the channel now, or is on its way there.
    fn server_subscribes(&mut self, now: Now, index: usize, number: u32, wanted: &Wanted) -> bool {
        let policy = Arc::clone(&self.policy);
        let places = &self.connections[index].places;
        if self.hub.find(&wanted.channel).is_some_and(|known| places.find(known).is_some()) {
            return true;
        }
        if places.as_slice().len() >= policy.settings.client.channel_limit as usize {
            return false;
        }
        let (offset, epoch) = wanted.recover.as_ref().map_or((0, ""), |(offset, epoch)| (*offset, epoch));
        let asked = Subscribe {
            channel: wanted.channel.as_str().into(),
            recover: wanted.recover.is_some(),
            offset,
            epoch: epoch.into(),
            ..Subscribe::default()
        };
        let caller = Caller { user: self.connections[index].identity.user(), subscribed: false };
        let grant = Grant::Token(&wanted.overrides);
        let Ok(granted) = rights::subscribe(&policy.settings, caller, &asked, grant) else { return false };
        let known = self.hub.reserve(&wanted.channel);
        let asks =
            policy.settings.namespace(&wanted.channel).is_some_and(|options| options.sub_refresh_proxy);
        self.connections[index].places.set_terms(Terms {
            channel: known,
            expire_at: tokens::second(wanted.expire_at),
            maker: Maker::Server,
            refresh: if asks { Refresh::Backend } else { Refresh::Client },
            overrides: wanted.overrides,
            info: wanted.info.as_slice().into(),
            data: wanted.data.as_slice().into(),
        });
        let wish = Wish { survey: number, ..granted.wish(&asked) };
        self.surveys.enlisting.entry(number).or_default().waiting += 1;
        if !self.begin_in(now, index, 0, (known, wish), epoch, Manner::default()) {
            self.enlisted(number, Err(code::TOO_MANY_REQUESTS));
        }
        true
    }

    /// What has become of a subscription that a command made. The command is answered when nothing of it waits any more.
    pub(super) fn enlisted(&mut self, number: u32, outcome: Result<(), ErrorCode>) {
        let Some(all) = self.surveys.enlisting.get_mut(&number) else { return };
        all.waiting -= 1;
        if let Err(error) = outcome {
            all.failed += 1;
            all.error = error.code;
        }
        self.answer_enlisting(number);
    }

    fn answer_enlisting(&mut self, number: u32) {
        let Some(Enlisting { waiting: 0, failed, error, found: Some(sessions) }) =
            self.surveys.enlisting.get(&number)
        else {
            return;
        };
        let answer = Answer { sessions: *sessions, missing: *failed, failed: *error, ..Answer::default() };
        self.surveys.enlisting.remove(&number);
        self.answer_survey(number, answer);
    }

    /// Ends a subscription, or all of them, whoever made it.
    fn server_unsubscribes(&mut self, now: Now, index: usize, channel: &str, why: Unsubscribe<'_>) {
        let places = self.connections[index].places.as_slice();
        let ended: Vec<Place> = match (channel, self.hub.find(channel)) {
            ("", _) => places.to_vec(),
            (_, Some(known)) => self.connections[index].places.find(known).into_iter().collect(),
            (_, None) => Vec::new(),
        };
        let decided = self.policy.settings.namespace(channel).is_some_and(|options| options.subscribe_proxy);
        for place in ended {
            let Some(connection) = self.connections.get_mut(index).filter(|c| c.phase == Phase::Ready) else {
                return;
            };
            let by_server =
                connection.places.terms(place.channel).is_some_and(|terms| terms.maker == Maker::Server);
            // What a client is asking for just now comes after this, unless somebody else has decided on it before.
            if !place.is_active() && !by_server && !decided {
                continue;
            }
            connection.places.remove(place.channel);
            if place.is_active() {
                let name = Rc::clone(&self.hub.channel(place.channel).name);
                self.leave_channel(index, place);
                self.push(now, index, &name, &Push::Unsubscribe(why));
            }
        }
    }

    fn server_refreshes(&mut self, now: Now, index: usize, expire_at: u64, info: Option<&[u8]>) {
        let expire_at = if self.policy.settings.client.insecure { 0 } else { expire_at };
        let connection = &mut self.connections[index];
        connection.expire_at = tokens::second(expire_at);
        let renamed =
            info.and_then(|info| Identity::new(connection.identity.user(), info, connection.identity.meta()));
        if let Some(identity) = renamed {
            connection.identity = identity;
            let places = connection.places.as_slice().to_vec();
            for place in places.into_iter().filter(|place| place.is_active()) {
                self.tell_entered(index, place.channel);
            }
        }
        self.schedule(index);
        // Other clients know from their own token when to come with the next.
        if self.connections[index].framing == Framing::Uni {
            self.push(now, index, "", &Push::Refresh(tokens::remaining(expire_at, now.unix)));
        }
    }

    /// Tells a session of its subscription: the reply to its command, or a push if the server made it.
    pub(super) fn tell_subscribed(
        &mut self,
        now: Now,
        index: usize,
        id: u32,
        channel: u32,
        reply: Subscribed<'_>,
    ) {
        if id > 0 {
            return self.reply(now, index, id, &Reply::Subscribe(reply));
        }
        let name = Rc::clone(&self.hub.channel(channel).name);
        let told = Subscribed { publications: &[], recovered: false, was_recovering: false, ..reply };
        self.push(now, index, &name, &Push::Subscribe(told));
        for publication in reply.publications {
            if self.connections.get(index).is_some_and(|c| c.phase == Phase::Ready) {
                self.push(now, index, &name, &Push::Publication(publication));
            }
        }
    }

    /// Says something to one session that it has not asked for.
    pub(super) fn push(&mut self, now: Now, index: usize, channel: &str, push: &Push<'_>) {
        let connection = &mut self.connections[index];
        let encoding = connection.encoding;
        connection.hot(&mut self.pool).outbox.push_message(encoding, |out| encoding.push(channel, push, out));
        self.mark_dirty(index);
        self.check_backlog(now, index);
    }

    /// The end of a walk: everybody on it is answered.
    fn arrived(&mut self, walk: Walk) {
        let subscriptions = u32::try_from(self.hub.subscriptions()).unwrap_or(u32::MAX);
        for Aboard { number, task, found, .. } in walk.tasks {
            let mut answer = Answer::default();
            match task {
                Task::Command(_) => match self.surveys.enlisting.get_mut(&number) {
                    Some(all) => {
                        all.found = Some(found);
                        self.answer_enlisting(number);
                        continue;
                    }
                    None => answer.sessions = found,
                },
                Task::Census => {
                    answer.census.clients = walk.clients;
                    answer.census.subscriptions = subscriptions;
                    answer.census.users = walk.seen.clone();
                }
            }
            self.answer_survey(number, answer);
        }
    }

    fn walk_channels(&mut self) -> bool {
        let Some(mut walk) = self.surveys.channels.pop_front() else { return false };
        for _ in 0..SURVEY_CHANNELS_PER_TURN {
            let Some((id, channel)) = self.hub.channel_from(walk.next) else {
                self.answer_survey(walk.number, walk.answer);
                return !self.surveys.channels.is_empty();
            };
            walk.next = id + 1;
            let wanted = walk.pattern.as_ref().is_none_or(|pattern| pattern.matches(&channel.name));
            if channel.subscribers() == 0 || !wanted {
                continue;
            }
            walk.bytes += channel.name.len() + CHANNEL_BYTES;
            if walk.bytes > wire::limits::SURVEY_BYTES_MAX {
                self.answer_survey(walk.number, Answer::failure(code::LIMIT_EXCEEDED.code));
                return !self.surveys.channels.is_empty();
            }
            // Bounded by the connections of a shard.
            walk.answer.channels.insert(channel.name.to_string(), channel.subscribers() as u32);
        }
        self.surveys.channels.push_front(walk);
        true
    }

    fn answer_survey(&mut self, number: u32, answer: Answer) {
        self.tell(&ToRelay::Surveyed { number, answer: Box::new(answer) });
    }
}
