//! A model client: connects, subscribes and recovers, publishes, asks, and misbehaves as its plan says; checks whatever it is told.

mod identity;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use protocol::{
    client::{
        command::{Command, History, Publish, Request, Rpc, Since},
        encoding::Encoding,
        received::{Answer, Event, Received},
    },
    ws::Opcode,
};

use serde_json::Value;

use self::identity::unix;
use super::{
    kernel::{Kernel, Line},
    ledger::{Ledger, TAG, Words},
    meter::Meter,
    plan::Plan,
    plant::{Mangler, Plant},
    random::Random,
    socket::Got,
    trace::Trace,
    view::{Entry, Stand, View},
    wire::{Stage, Wire, Word},
};

/// What all clients have in common.
pub(super) struct Surroundings {
    pub(super) kernel: Rc<RefCell<Kernel>>,
    pub(super) plan: Rc<Plan>,
    pub(super) plant: Plant,
    pub(super) ledger: Ledger,
    pub(super) trace: Trace,
    pub(super) channels: Vec<Channel>,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) phase: Phase,
    /// When the loop last got no turn for seconds: closings whose time ran out meanwhile end without a word.
    pub(super) stalled: Option<Duration>,
    /// When faults ended.
    pub(super) calm_at: Option<Duration>,
    /// Sessions of each user.
    pub(super) sessions: BTreeMap<String, usize>,
}

/// A channel of the world.
#[derive(Clone, Debug, Default)]
pub(super) struct Channel {
    /// Its name.
    pub(super) name: String,
    /// It keeps history.
    pub(super) history: bool,
    /// Who is in it is kept.
    pub(super) presence: bool,
    /// Positions are for those who ask.
    pub(super) optional: bool,
    /// It is entered with a token.
    pub(super) private: bool,
    /// Differences may be asked for.
    pub(super) delta: bool,
    /// Publications may be filtered.
    pub(super) tags: bool,
    /// It is this user's personal channel.
    pub(super) owner: Option<String>,
}

impl Channel {
    /// Whether pushes may have its number.
    fn numbered(&self) -> bool {
        ["hist", "diff", "tags"].iter().any(|kind| self.name.starts_with(kind))
    }
}

/// What clients are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// New work and faults.
    Busy,
    /// No new work, everybody reads and comes back.
    Settling,
    /// Everybody goes.
    Leaving,
    /// The gateway sends everybody away.
    Draining,
}

/// Habits of one connection.
#[derive(Clone, Copy, Debug, Default)]
struct Manner {
    deaf: bool,
    mute: bool,
    slow: bool,
    drip: bool,
    /// Stops before that step of opening.
    idle: u8,
}

/// What a command asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Connect,
    Subscribe(usize),
    Unsubscribe(usize),
    Publish(u64),
    Presence,
    History(usize),
    Rpc,
    Refresh {
        expiry: Option<u64>,
        /// For other channels than before.
        other: bool,
    },
    SubRefresh(usize, Option<u64>),
}

/// What a call of `publish` answers.
#[derive(serde::Deserialize)]
struct Placed<'a> {
    offset: u64,
    epoch: &'a str,
}

/// See the module.
pub(super) struct Client {
    /// Its number.
    pub(super) number: usize,
    guest: bool,
    random: Random,
    encoding: Encoding,
    line: Option<Line>,
    wire: Option<Wire>,
    written: usize,
    /// In its last turn.
    now: Duration,
    manner: Manner,
    ready: bool,
    /// Has done something on this connection for which it may be dropped without a word.
    excused: bool,
    /// Has sent what is not the protocol: what it hears may answer that.
    babbled: bool,
    /// A close frame has come or gone.
    closed: bool,
    ended: bool,
    retry_at: Duration,
    leave_at: Duration,
    next_id: u32,
    pending: BTreeMap<u32, Asked>,
    pings: VecDeque<Vec<u8>>,
    batch: Vec<u8>,
    /// The session's id.
    pub(super) session: String,
    /// By channel.
    pub(super) views: Vec<View>,
    user: Option<String>,
    /// Channels that its tokens name, with their overrides.
    granted: Vec<(usize, Value)>,
    /// Unix seconds at which the connection expires, or (while connecting) will.
    expire_at: Option<u64>,
    /// Was told that its user has too many connections.
    turned_away: bool,
    /// When it sent `connect`, and how many commands were not refused since.
    commands: (Duration, u32),
    meter: Meter,
    mangler: Mangler,
}

/// How long after a stall its consequences may show.
const AFTER_STALL: Duration = Duration::from_millis(200);
/// A batch is sent when it is larger; with one more payload it is still a message that a server takes.
const BATCH_BYTES: usize = 20_000;
/// Close codes that a client which keeps to the protocol may be told.
const FAIR_CLOSES: &[u16] = &[3001, 3008, 3012, 3502];
/// Whole seconds after its expiry until which a connection may be refreshed.
pub(super) const EXPIRED_GRACE_S: u64 = 1;
/// Users there are.
pub(super) const USERS: usize = 3;

/// One of them.
pub(super) fn user(number: usize) -> String {
    format!("user-{}", number % USERS)
}

impl Client {
    /// Not yet connected. A guest comes once and goes soon.
    pub(super) fn new(number: usize, guest: bool, mut random: Random, surroundings: &Surroundings) -> Self {
        let now = surroundings.kernel.borrow().now;
        let channels = surroundings.channels.iter().enumerate();
        let features = surroundings.plan.features;
        let named = random.chance(if features.about_users() { 800 } else { 400 });
        let user = named.then(|| user(number));
        let granted = identity::granted(user.as_deref(), surroundings, &mut random);
        let views = channels.map(|(i, channel)| {
            let mut view =
                View::new(i, channel.history, identity::entry(i, channel, user.as_deref(), &granted));
            view.wanted = match view.entry {
                Entry::Server => true,
                Entry::Barred => false,
                Entry::Free | Entry::Token => random.chance(if guest { 200 } else { 700 }),
            };
            view.hidden =
                granted.iter().any(|(at, options)| *at == i && options["presence"]["value"] == false);
            view
        });
        let views: Vec<View> = views.collect();
        let delay = if guest { 0 } else { random.below(300) };
        Self {
            number,
            guest,
            line: None,
            wire: None,
            written: 0,
            now,
            manner: Manner::default(),
            ready: false,
            excused: false,
            babbled: false,
            closed: false,
            ended: false,
            retry_at: now + Duration::from_millis(delay),
            leave_at: now + Duration::from_millis(random.below(2000)),
            next_id: 1,
            pending: BTreeMap::new(),
            pings: VecDeque::new(),
            batch: Vec::new(),
            session: String::new(),
            views,
            user,
            granted,
            expire_at: None,
            turned_away: false,
            commands: (now, 0),
            meter: Meter::default(),
            mangler: Mangler::default(),
            encoding: if random.chance(400) { Encoding::Protobuf } else { Encoding::Json },
            random,
        }
    }

    /// Has no connection and will not make one.
    pub(super) const fn is_gone(&self) -> bool {
        self.line.is_none() && self.ended
    }

    /// Connected, and in every channel it wants, with nothing under way.
    pub(super) fn is_settled(&self, around: &Surroundings) -> bool {
        self.is_gone()
            || self.stays_away(around)
            || self.ready
                && self.pending.is_empty()
                && self.pings.is_empty()
                && self.views.iter().all(|view| match view.stand {
                    Stand::On => view.wanted,
                    Stand::Off(_) => !view.wanted,
                    Stand::Asking(_) | Stand::Leaving => false,
                })
    }

    /// For a report of what keeps it from settling.
    pub(super) fn condition(&self) -> String {
        let stands: Vec<_> = self.views.iter().map(|view| (view.wanted, &view.stand)).collect();
        format!(
            "client {} of {:?}: turned away {}, line {:?}, stage {:?}, ready {}, closed {}, excused {}, pending {:?}, views {stands:?}",
            self.number,
            self.user,
            self.turned_away,
            self.line,
            self.wire.as_ref().map(|wire| wire.stage),
            self.ready,
            self.closed,
            self.excused,
            self.pending
        )
    }

    /// Whether it has an open session.
    pub(super) const fn is_ready(&self) -> bool {
        self.ready
    }

    /// Subscriptions it has.
    pub(super) fn subscriptions(&self) -> usize {
        self.views.iter().filter(|view| view.stand == Stand::On).count()
    }

    /// One turn: reads, decides, writes.
    pub(super) fn step(&mut self, around: &mut Surroundings) -> Result<(), String> {
        let now = around.kernel.borrow().now;
        self.now = now;
        if self.line.is_none() {
            return self.come(now, around);
        }
        self.read(now, around)?;
        self.check_expiry(now, around)?;
        if self.line.is_some() {
            self.act(now, around);
            self.write(around);
        }
        Ok(())
    }

    fn come(&mut self, now: Duration, around: &Surroundings) -> Result<(), String> {
        if self.ended || now < self.retry_at {
            return Ok(());
        }
        let over = matches!(around.phase, Phase::Leaving | Phase::Draining);
        if over || self.guest && around.phase != Phase::Busy {
            self.ended = true;
            return Ok(());
        }
        if self.stays_away(around) {
            return Ok(());
        }
        let plan = &around.plan;
        let listener = self.random.index(plan.listeners.len());
        let source = SocketAddr::from((plan.address(self.number), 9));
        let (up, down) = (plan.socket_bytes, plan.socket_bytes);
        let line = around.kernel.borrow_mut().connect(listener, source, up, down);
        let Some(line) = line else {
            self.retry_at = now + Duration::from_millis(100);
            return Ok(());
        };
        let tls = around.tls.as_ref().filter(|_| plan.listeners[listener]);
        let mut wire = Wire::new(tls, self.encoding, &mut self.random)?;
        self.manner = self.manners(around);
        self.excused = self.manner.deaf || self.manner.mute || self.manner.slow || self.manner.idle > 0;
        if self.manner.idle == 1 {
            wire.out.clear();
        } else if tls.is_none() {
            wire.request();
        }
        around.trace.note("connects", self.number as u64, u64::from(line.0));
        self.meter = Meter::new(plan.commands, plan.refused);
        self.mangler = Mangler::default();
        self.line = Some(line);
        self.wire = Some(wire);
        self.written = 0;
        self.closed = false;
        self.babbled = false;
        self.ready = false;
        self.batch.clear();
        self.write(around);
        Ok(())
    }

    fn manners(&mut self, around: &Surroundings) -> Manner {
        if around.phase != Phase::Busy {
            return Manner::default();
        }
        let rates = &around.plan.rates;
        Manner {
            deaf: false,
            mute: self.random.chance(rates.mute),
            slow: self.random.chance(rates.slow),
            drip: self.random.chance(rates.drip),
            idle: if self.random.chance(rates.idle) { self.random.between(1, 2) as u8 } else { 0 },
        }
    }

    fn read(&mut self, now: Duration, around: &mut Surroundings) -> Result<(), String> {
        let Some(line) = self.line else { return Ok(()) };
        if around.phase != Phase::Busy {
            self.manner = Manner::default();
        }
        if self.manner.deaf {
            return Ok(());
        }
        let most = if self.manner.slow { self.random.between(1, 60) as usize } else { usize::MAX };
        let mut bytes = Vec::new();
        let got = around.kernel.borrow_mut().peer_receive(line, &mut bytes, most);
        match got {
            Got::Nothing => Ok(()),
            Got::Bytes(count) => {
                around.trace.note("reads", self.number as u64, count as u64);
                self.take(now, around, &bytes)
            }
            Got::End | Got::Reset => {
                around.trace.note("ends", self.number as u64, u64::from(got == Got::Reset));
                let open = self.wire.as_ref().is_some_and(|wire| wire.stage == Stage::Open);
                let stalled = around.stalled.is_some_and(|at| now < at + AFTER_STALL);
                // A goodbye may wait behind more than such a network carries in the time of a closing.
                let cut = got == Got::Reset && (stalled || !around.plan.is_swift());
                let fair = self.excused || self.closed || !open || cut;
                around.kernel.borrow_mut().peer_close(line);
                self.lose(now, around);
                if fair {
                    Ok(())
                } else {
                    Err(format!(
                        "the connection of client {} ends ({got:?}) without a close code",
                        self.number
                    ))
                }
            }
        }
    }

    fn lose(&mut self, now: Duration, around: &Surroundings) {
        self.line = None;
        self.wire = None;
        self.ready = false;
        self.pending.clear();
        self.pings.clear();
        self.session.clear();
        self.expire_at = None;
        for view in &mut self.views {
            view.lost(now);
        }
        self.ended |= self.guest || matches!(around.phase, Phase::Leaving | Phase::Draining);
        self.retry_at = now + Duration::from_millis(self.random.between(5, 400));
    }

    fn take(&mut self, now: Duration, around: &mut Surroundings, bytes: &[u8]) -> Result<(), String> {
        let mut words = Vec::new();
        let Some(wire) = &mut self.wire else { return Ok(()) };
        let read = wire.receive(bytes, &mut words);
        for word in words {
            let heard = self.hear(now, around, word);
            if !self.babbled {
                heard.map_err(|crime| format!("client {}: {crime}", self.number))?;
            }
        }
        if self.babbled {
            Ok(())
        } else {
            read.map_err(|crime| format!("client {} reads {crime}", self.number))
        }
    }

    fn hear(&mut self, now: Duration, around: &mut Surroundings, word: Word) -> Result<(), String> {
        match word {
            Word::Opened => {
                around.trace.note("opened", self.number as u64, 0);
                if self.manner.idle != 2 {
                    self.connect(now, around);
                }
            }
            Word::Refused(status) => around.trace.note("refused", self.number as u64, u64::from(status)),
            Word::Ping(payload) => {
                if let Some(wire) = &mut self.wire {
                    wire.control(Opcode::Pong, &payload, &mut self.random);
                }
            }
            Word::Pong(payload) => {
                if self.pings.pop_front() != Some(payload) {
                    return Err("a pong to no ping".to_owned());
                }
            }
            Word::Close(code) => self.told_to_close(now, around, code)?,
            Word::Ended => self.excused |= self.closed,
            Word::Message(message) => {
                let message = self.mangler.mangle(around.plant, self.encoding, message);
                for received in self.encoding.received(&message) {
                    let received =
                        received.map_err(|_| format!("not a message: {}", message.escape_ascii()))?;
                    self.told(now, around, received)?;
                }
            }
        }
        Ok(())
    }

    fn told_to_close(
        &mut self,
        now: Duration,
        around: &Surroundings,
        code: Option<u16>,
    ) -> Result<(), String> {
        around.trace.note("close", self.number as u64, u64::from(code.unwrap_or(0)));
        let answered = std::mem::replace(&mut self.closed, true);
        self.ready = false;
        if !answered {
            let Some(code) = code else { return Err("a close frame without a code".to_owned()) };
            let fair = FAIR_CLOSES.contains(&code) || self.is_fair(now, around, code);
            self.turned_away |= code == 3504;
            if code == 3001 && around.phase != Phase::Draining {
                return Err("sent away, though nobody drains".to_owned());
            }
            if !self.excused && !fair {
                return Err(format!("closed with {code}, though it kept to the protocol"));
            }
            if !self.excused && code == 3012 && around.plan.prompt {
                return Err("closed for want of a pong that it never owed for long".to_owned());
            }
            if let Some(wire) = &mut self.wire {
                wire.close(Some(code), &mut self.random);
                wire.notify();
            }
        }
        self.excused = true;
        Ok(())
    }

    fn told(&mut self, now: Duration, around: &mut Surroundings, word: Received<'_>) -> Result<(), String> {
        match word {
            Received::Ping => {
                if !self.manner.mute {
                    self.command(0, Request::Pong);
                }
                Ok(())
            }
            Received::Push { channel, number, event } => self.pushed(now, around, &channel, number, &event),
            Received::Reply { id, answer } => {
                let asked =
                    self.pending.remove(&id).ok_or_else(|| format!("a reply to {id}, which nobody asked"))?;
                around.trace.note("reply", self.number as u64, u64::from(id));
                self.count_command(now, around, (id, asked), &answer)?;
                self.answered(now, around, asked, &answer)
            }
        }
    }

    fn pushed(
        &mut self,
        now: Duration,
        around: &mut Surroundings,
        name: &str,
        shorthand: u32,
        event: &Event<'_>,
    ) -> Result<(), String> {
        let called = |view: &View| match shorthand {
            0 => around.channels[view.channel].name == name,
            _ => view.number == shorthand && matches!(view.stand, Stand::On | Stand::Leaving),
        };
        let number = self.views.iter().position(called);
        let number = number.ok_or_else(|| format!("a push in {name:?}, number {shorthand}"))?;
        let channel = &around.channels[number].name;
        let (json, unix) = (self.encoding == Encoding::Json, unix(now, around));
        let view = &mut self.views[number];
        let plainly = matches!(event, Event::Unsubscribe(_));
        if !plainly && shorthand != view.number {
            return Err(format!("a push in {channel} with number {shorthand}, not {}", view.number));
        }
        match event {
            Event::Publication(message) => {
                around.trace.note("publication", self.number as u64, message.offset);
                view.published(message, json, &mut around.ledger)
            }
            Event::Unsubscribe(ended) => {
                around.trace.note("unsubscribed", self.number as u64, u64::from(ended.code));
                view.ended(ended.code, now, unix)
            }
            Event::Join(_) | Event::Leave(_) => {
                let there = matches!(view.stand, Stand::On | Stand::Leaving);
                let may = there && around.channels[number].presence;
                if may { Ok(()) } else { Err(format!("{event:?} in {channel} while {:?}", view.stand)) }
            }
            _ => Err(format!("{event:?}")),
        }
        .map_err(|crime| format!("in {channel}: {crime}"))
    }

    fn answered(
        &mut self,
        now: Duration,
        around: &mut Surroundings,
        asked: Asked,
        answer: &Answer<'_>,
    ) -> Result<(), String> {
        // Where commands have a rate, whoever is refused does not insist.
        let longest = if around.plan.commands > 0 { 2000 } else { 300 };
        let later = now + Duration::from_millis(self.random.between(20, longest));
        match (asked, answer) {
            (Asked::Connect, Answer::Connect(session)) => {
                self.ready = true;
                self.turned_away = false;
                self.session = session.client.clone().into_owned();
                around.trace.note("session", self.number as u64, session.subs.len() as u64);
                self.session_began(now, around, session)
            }
            (Asked::Connect, Answer::Error(failure)) if matches!(failure.code, 100 | 109 | 111) => {
                self.leave(around, 0);
                Ok(())
            }
            (Asked::Subscribe(channel), Answer::Subscribe(reply)) => {
                let view = &mut self.views[channel];
                around.trace.note("subscribed", self.number as u64, reply.offset);
                view.subscribed(now, reply, self.encoding == Encoding::Json, &mut around.ledger)
                    .map_err(|crime| format!("in {}: {crime}", around.channels[channel].name))
            }
            (Asked::Subscribe(channel), Answer::Error(failure)) if failure.code == 112 => {
                let view = &mut self.views[channel];
                let asked = std::mem::replace(&mut view.stand, Stand::Off(later));
                let lost = view.position.take();
                let fair = view.manner.rejects && lost.is_some() && matches!(asked, Stand::Asking(Some(_)));
                if fair { Ok(()) } else { Err(format!("not recovered, though {asked:?}")) }
            }
            (Asked::Unsubscribe(channel), Answer::Error(failure)) if failure.code == 111 => {
                let view = &mut self.views[channel];
                view.wanted = true;
                view.stand = if view.over { Stand::Off(later) } else { Stand::On };
                Ok(())
            }
            (Asked::Subscribe(channel), Answer::Error(failure))
                if matches!(failure.code, 100 | 111)
                    || failure.code == 109 && self.views[channel].expire_at.is_some() =>
            {
                self.views[channel].stand = Stand::Off(later);
                Ok(())
            }
            (Asked::Unsubscribe(channel), Answer::Unsubscribe) => {
                self.views[channel].stand = Stand::Off(later);
                Ok(())
            }
            (Asked::Publish(serial), Answer::Publish) => {
                around.ledger.acknowledge(serial);
                Ok(())
            }
            (Asked::Publish(serial), Answer::Rpc { data }) => {
                let place: Placed<'_> = serde_json::from_slice(data).map_err(|error| error.to_string())?;
                around.ledger.acknowledge(serial);
                around.ledger.placed(serial, place.epoch, place.offset)
            }
            (Asked::History(channel), Answer::History(page)) => {
                let mut last = None;
                for message in &page.publications {
                    around.ledger.heard(channel, &page.epoch, message)?;
                    if last.is_some_and(|last| message.offset != last + 1) {
                        return Err(format!("history has {} after {last:?}", message.offset));
                    }
                    last = Some(message.offset);
                }
                Ok(())
            }
            (Asked::Presence, Answer::Presence(_) | Answer::PresenceStats(_)) => Ok(()),
            (Asked::Refresh { expiry, other: false }, Answer::Refresh(refreshed))
                if refreshed.expires == expiry.is_some() =>
            {
                self.expire_at = expiry;
                Ok(())
            }
            (Asked::SubRefresh(channel, expiry), Answer::SubRefresh(refreshed))
                if refreshed.expires == expiry.is_some() =>
            {
                self.views[channel].expire_at = expiry;
                Ok(())
            }
            (Asked::SubRefresh(channel, _), Answer::Error(failure)) if failure.code == 103 => {
                let there = self.views[channel].stand == Stand::On;
                if there { Err("no subscription to refresh, though there is one".to_owned()) } else { Ok(()) }
            }
            (Asked::Rpc, Answer::Error(failure)) if matches!(failure.code, 108 | 111) => Ok(()),
            (Asked::History(_), Answer::Error(failure)) if failure.code == 112 => Ok(()),
            (Asked::Refresh { .. } | Asked::SubRefresh(..), Answer::Error(failure))
                if failure.code == 110 =>
            {
                Ok(())
            }
            (
                Asked::Publish(_)
                | Asked::Presence
                | Asked::History(_)
                | Asked::Refresh { .. }
                | Asked::SubRefresh(..),
                Answer::Error(failure),
            ) if matches!(failure.code, 100 | 111) => Ok(()),
            _ => Err(format!("{asked:?} is answered with {answer:?}")),
        }
    }
}

/// What a client decides.
impl Client {
    fn ask(&mut self, asked: Asked, request: Request<'_>) {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, asked);
        self.command(id, request);
    }

    /// Joins the batch that goes out as one message.
    fn command(&mut self, id: u32, request: Request<'_>) {
        if self.batch.len() > BATCH_BYTES {
            self.end_batch();
        }
        if !self.batch.is_empty() {
            self.batch.extend_from_slice(self.encoding.separator());
        }
        if !matches!(request, Request::Pong | Request::Connect(_)) {
            self.meter.sends(self.now, id);
        }
        self.encoding.command(&Command { id, request }, &mut self.batch);
        if self.random.chance(400) {
            self.end_batch();
        }
    }

    fn end_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if let Some(wire) = self.wire.as_mut().filter(|_| !batch.is_empty() && !self.closed) {
            wire.message(&batch, &mut self.random);
        }
    }

    fn act(&mut self, now: Duration, around: &mut Surroundings) {
        let rates = around.plan.rates;
        match around.phase {
            Phase::Busy => {
                if self.guest && now >= self.leave_at {
                    let manner = self.random.below(4) as u8;
                    self.leave(around, manner);
                } else if self.random.chance(rates.reset) {
                    self.leave(around, 3);
                } else if self.random.chance(rates.half_close) {
                    self.leave(around, 2);
                } else if self.random.chance(rates.garbage) {
                    self.babble(around);
                } else if self.random.chance(rates.deaf) {
                    self.manner.deaf = true;
                    self.excused = true;
                }
            }
            // It has said no to something before: it starts afresh.
            Phase::Settling if self.excused && !self.closed => self.leave(around, 3),
            Phase::Settling if self.guest => self.leave(around, 0),
            Phase::Leaving if !self.closed => {
                let manner = self.random.below(4) as u8;
                self.leave(around, manner);
            }
            Phase::Settling | Phase::Leaving | Phase::Draining => {}
        }
        if self.ready && !self.closed {
            self.mind_channels(now, around);
            if around.phase == Phase::Busy {
                self.talk(now, around);
            }
        }
        self.end_batch();
    }

    fn mind_channels(&mut self, now: Duration, around: &Surroundings) {
        for channel in 0..self.views.len() {
            let view = &mut self.views[channel];
            match view.stand {
                Stand::Off(from) if view.wanted && now >= from => self.subscribe(now, around, channel),
                Stand::On if !view.wanted && view.entry != Entry::Server => {
                    view.stand = Stand::Leaving;
                    view.over = false;
                    let name = around.channels[channel].name.clone().into();
                    self.ask(Asked::Unsubscribe(channel), Request::Unsubscribe { channel: name });
                }
                _ => {}
            }
        }
    }

    fn talk(&mut self, now: Duration, around: &mut Surroundings) {
        let channel = self.random.index(self.views.len());
        let name = around.channels[channel].name.clone();
        match self.random.below(if self.guest { 40 } else { 100 }) {
            0..=7 => {
                let burst = if self.random.chance(if around.plan.flood { 150 } else { 30 }) {
                    60
                } else {
                    self.random.between(1, 4)
                };
                for _ in 0..burst {
                    self.publish(now, around, channel, &name);
                }
            }
            8 if matches!(self.views[channel].entry, Entry::Free | Entry::Token) => {
                self.views[channel].wanted = !self.views[channel].wanted;
            }
            9 if around.channels[channel].presence => {
                let request = if self.random.chance(500) {
                    Request::Presence { channel: name.into() }
                } else {
                    Request::PresenceStats { channel: name.into() }
                };
                self.ask(Asked::Presence, request);
            }
            10 if around.channels[channel].history => {
                let since = self.views[channel].position.clone().filter(|_| self.random.chance(500));
                let since = since.map(|(epoch, offset)| Since { offset, epoch: epoch.into() });
                let history = History { channel: name.into(), limit: 20, since, reverse: false };
                self.ask(Asked::History(channel), Request::History(history));
            }
            11 => self.ask(Asked::Rpc, Request::Rpc(Rpc { method: "m".into(), data: b"{}" })),
            12 => {
                let payload: Vec<u8> = (0..self.random.below(20)).map(|byte| byte as u8).collect();
                if let Some(wire) = &mut self.wire {
                    wire.control(Opcode::Ping, &payload, &mut self.random);
                }
                self.pings.push_back(payload);
            }
            13 => self.command(0, Request::Send { data: b"{}" }),
            14 => self.refresh(now, around),
            15 | 16 => self.sub_refresh(now, around, channel),
            _ => {}
        }
    }

    fn publish(&mut self, now: Duration, around: &mut Surroundings, channel: usize, name: &str) {
        let padding = self.random.below(around.plan.payload_bytes) as usize;
        // In Protobuf a payload may be anything.
        let raw = self.encoding == Encoding::Protobuf && self.random.chance(500);
        let Channel { delta, tags, .. } = around.channels[channel];
        let raw = raw && !tags;
        let tag = tags.then(|| self.random.below(8));
        let words = Words { padding, raw, alike: delta, tag };
        let (serial, data) = around.ledger.say(channel, self.number, &self.session, now, words);
        around.trace.note("publishes", self.number as u64, serial);
        if tags || !raw && self.random.chance(200) {
            // By a call, and perhaps again as if no answer had come: it is made once.
            let text = String::from_utf8_lossy(&data);
            let tags = tag.map(|tag| format!(r#","tags":{{"{TAG}":"{tag}"}}"#)).unwrap_or_default();
            let call = format!(r#"{{"channel":"{name}","data":{text},"idempotency_key":"{serial}"{tags}}}"#);
            for _ in 0..self.random.between(1, 3) {
                around.ledger.repeat(serial);
                let rpc = Rpc { method: "publish".into(), data: call.as_bytes() };
                self.ask(Asked::Publish(serial), Request::Rpc(rpc));
            }
            return;
        }
        let publish = Publish { channel: name.into(), data: &data };
        self.ask(Asked::Publish(serial), Request::Publish(publish));
    }

    /// Ends the connection in one of four ways.
    fn leave(&mut self, around: &Surroundings, manner: u8) {
        let (Some(line), Some(wire)) = (self.line, &mut self.wire) else { return };
        around.trace.note("leaves", self.number as u64, u64::from(manner));
        self.excused = true;
        let mut kernel = around.kernel.borrow_mut();
        match manner {
            0 | 1 if wire.stage == Stage::Open && !self.closed => {
                self.closed = true;
                self.ready = false;
                self.batch.clear();
                wire.close((manner == 0).then_some(1000), &mut self.random);
            }
            2 => {
                self.closed = true;
                self.ready = false;
                kernel.peer_shutdown(line);
            }
            0 | 1 | 3 if self.random.chance(300) => {
                kernel.peer_close(line);
                drop(kernel);
                self.lose_quietly(around);
            }
            _ => {
                kernel.peer_reset(line);
                drop(kernel);
                self.lose_quietly(around);
            }
        }
    }

    fn lose_quietly(&mut self, around: &Surroundings) {
        let now = around.kernel.borrow().now;
        self.lose(now, around);
    }

    /// Sends what no client may.
    fn babble(&mut self, around: &Surroundings) {
        let Some(wire) = &mut self.wire else { return };
        around.trace.note("babbles", self.number as u64, 0);
        self.excused = true;
        self.babbled = true;
        let mut bytes: Vec<u8> = (0..self.random.between(1, 80)).map(|_| self.random.next() as u8).collect();
        match (wire.stage, self.random.below(3)) {
            (Stage::Handshake, _) | (_, 0) => wire.out.append(&mut bytes),
            (Stage::Open, 1) => wire.message(b"{\"id\":1,\"connect\":{}}\n[", &mut self.random),
            _ => wire.seal(&bytes),
        }
    }

    fn write(&mut self, around: &Surroundings) {
        let (Some(line), Some(wire)) = (self.line, &mut self.wire) else { return };
        let rest = &wire.out[self.written..];
        if rest.is_empty() {
            wire.out.clear();
            self.written = 0;
            return;
        }
        let part = if self.manner.drip { &rest[..1] } else { rest };
        let shut = around.kernel.borrow().is_shut(line);
        let count = if shut { rest.len() } else { around.kernel.borrow_mut().peer_send(line, part) };
        self.written += count;
        if count > 0 {
            around.trace.note("writes", self.number as u64, count as u64);
        }
    }
}
