//! A model client: connects, subscribes and recovers, publishes, asks, and misbehaves as its plan says; checks whatever it is told.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use protocol::{
    client::{
        command::{Command, Connect, History, Publish, Request, Rpc, Since, Subscribe},
        encoding::Encoding,
        received::{Answer, Event, Received},
    },
    ws::Opcode,
};

use super::{
    kernel::{Kernel, Line},
    ledger::Ledger,
    plan::Plan,
    random::Random,
    relay::GENUINE,
    socket::Got,
    trace::Trace,
    view::{Stand, View},
    wire::{Stage, Wire, Word},
};

/// What all clients have in common.
pub(super) struct Surroundings {
    pub(super) kernel: Rc<RefCell<Kernel>>,
    pub(super) plan: Rc<Plan>,
    pub(super) ledger: Ledger,
    pub(super) trace: Trace,
    pub(super) channels: Vec<Channel>,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) phase: Phase,
    /// When the loop last got no turn for seconds: closings whose time ran out meanwhile end without a word.
    pub(super) stalled: Option<Duration>,
}

/// A channel of the world.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    /// Its name.
    pub(super) name: String,
    /// It keeps history.
    pub(super) history: bool,
    /// Who is in it is kept.
    pub(super) presence: bool,
    /// Positions are for those who ask.
    pub(super) optional: bool,
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
    Refresh,
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
}

/// How long after a stall its consequences may show.
const AFTER_STALL: Duration = Duration::from_millis(200);
/// A batch is sent when it is larger; with one more payload it is still a message that a server takes.
const BATCH_BYTES: usize = 20_000;
/// Close codes that a client which keeps to the protocol may be told.
const FAIR_CLOSES: &[u16] = &[3001, 3008, 3012, 3502];

impl Client {
    /// Not yet connected. A guest comes once and goes soon.
    pub(super) fn new(number: usize, guest: bool, mut random: Random, surroundings: &Surroundings) -> Self {
        let now = surroundings.kernel.borrow().now;
        let channels = surroundings.channels.iter().enumerate();
        let mut views: Vec<View> = channels.map(|(i, channel)| View::new(i, channel.history)).collect();
        for view in &mut views {
            view.wanted = random.chance(if guest { 200 } else { 700 });
        }
        let delay = if guest { 0 } else { random.below(300) };
        Self {
            number,
            guest,
            line: None,
            wire: None,
            written: 0,
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
            user: random.chance(400).then(|| format!("user-{}", number % 3)),
            encoding: if random.chance(400) { Encoding::Protobuf } else { Encoding::Json },
            random,
        }
    }

    /// Has no connection and will not make one.
    pub(super) const fn is_gone(&self) -> bool {
        self.line.is_none() && self.ended
    }

    /// Connected, and in every channel it wants, with nothing under way.
    pub(super) fn is_settled(&self) -> bool {
        self.is_gone()
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
            "client {}: line {:?}, stage {:?}, ready {}, closed {}, excused {}, pending {:?}, views {stands:?}",
            self.number,
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
        if self.line.is_none() {
            return self.come(now, around);
        }
        self.read(now, around)?;
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
        let plan = &around.plan;
        let listener = self.random.index(plan.listeners.len());
        let place = self.number % plan.sources;
        let source = SocketAddr::from((Ipv4Addr::new(10, 0, (place / 250) as u8, (place % 250) as u8), 9));
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
            Word::Close(code) => self.told_to_close(around, code)?,
            Word::Ended => self.excused |= self.closed,
            Word::Message(message) => {
                for received in self.encoding.received(&message) {
                    let received =
                        received.map_err(|_| format!("not a message: {}", message.escape_ascii()))?;
                    self.told(now, around, received)?;
                }
            }
        }
        Ok(())
    }

    fn told_to_close(&mut self, around: &Surroundings, code: Option<u16>) -> Result<(), String> {
        around.trace.note("close", self.number as u64, u64::from(code.unwrap_or(0)));
        let answered = std::mem::replace(&mut self.closed, true);
        self.ready = false;
        if !answered {
            let Some(code) = code else { return Err("a close frame without a code".to_owned()) };
            let expired = code == 3005 && self.user.is_some();
            if code == 3001 && around.phase != Phase::Draining {
                return Err("sent away, though nobody drains".to_owned());
            }
            if !self.excused && !FAIR_CLOSES.contains(&code) && !expired {
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
            Received::Push { channel, event, .. } => self.pushed(now, around, &channel, &event),
            Received::Reply { id, answer } => {
                let asked =
                    self.pending.remove(&id).ok_or_else(|| format!("a reply to {id}, which nobody asked"))?;
                around.trace.note("reply", self.number as u64, u64::from(id));
                self.answered(now, around, asked, &answer)
            }
        }
    }

    fn pushed(
        &mut self,
        now: Duration,
        around: &mut Surroundings,
        channel: &str,
        event: &Event<'_>,
    ) -> Result<(), String> {
        let number = around.channels.iter().position(|known| known.name == channel);
        let number = number.ok_or_else(|| format!("a push in {channel:?}"))?;
        let view = &mut self.views[number];
        match event {
            Event::Publication(message) => {
                around.trace.note("publication", self.number as u64, message.offset);
                view.published(message, &mut around.ledger)
            }
            Event::Unsubscribe(ended) => {
                around.trace.note("unsubscribed", self.number as u64, u64::from(ended.code));
                view.ended(ended.code, now)
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
        let later = now + Duration::from_millis(self.random.between(20, 300));
        match (asked, answer) {
            (Asked::Connect, Answer::Connect(session)) => {
                self.ready = true;
                self.session = session.client.clone().into_owned();
                around.trace.note("session", self.number as u64, 0);
                Ok(())
            }
            (Asked::Connect, Answer::Error(failure)) if matches!(failure.code, 100 | 109 | 111) => {
                self.leave(around, 0);
                Ok(())
            }
            (Asked::Subscribe(channel), Answer::Subscribe(reply)) => {
                let view = &mut self.views[channel];
                around.trace.note("subscribed", self.number as u64, reply.offset);
                view.subscribed(now, reply, &mut around.ledger)
                    .map_err(|crime| format!("in {}: {crime}", around.channels[channel].name))
            }
            (Asked::Subscribe(channel), Answer::Error(failure)) if matches!(failure.code, 100 | 111) => {
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
            (Asked::Presence, Answer::Presence(_) | Answer::PresenceStats(_))
            | (Asked::Refresh, Answer::Refresh(_)) => Ok(()),
            (Asked::Rpc, Answer::Error(failure)) if failure.code == 108 => Ok(()),
            (Asked::History(_), Answer::Error(failure)) if failure.code == 112 => Ok(()),
            (Asked::Refresh, Answer::Error(failure)) if failure.code == 110 => Ok(()),
            (
                Asked::Publish(_) | Asked::Presence | Asked::History(_) | Asked::Refresh,
                Answer::Error(failure),
            ) if matches!(failure.code, 100 | 111) => Ok(()),
            _ => Err(format!("{asked:?} is answered with {answer:?}")),
        }
    }
}

/// What a client decides.
impl Client {
    fn connect(&mut self, now: Duration, around: &Surroundings) {
        let token = self.user.clone().map(|user| {
            let unix = around.kernel.borrow().unix + now.as_secs();
            let expiry = self.random.chance(100).then(|| unix + self.random.between(5, 60));
            token(&user, expiry)
        });
        let connect = Connect { token: token.unwrap_or_default().into(), ..Connect::default() };
        self.ask(Asked::Connect, Request::Connect(connect));
        if self.random.chance(300) {
            // Some do not wait for the answer.
            let view = self.random.index(self.views.len());
            if self.views[view].wanted {
                self.subscribe(around, view);
            }
        }
    }

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
                Stand::Off(from) if view.wanted && now >= from => self.subscribe(around, channel),
                Stand::On if !view.wanted => {
                    view.stand = Stand::Leaving;
                    let name = around.channels[channel].name.clone().into();
                    self.ask(Asked::Unsubscribe(channel), Request::Unsubscribe { channel: name });
                }
                _ => {}
            }
        }
    }

    fn subscribe(&mut self, around: &Surroundings, channel: usize) {
        let view = &mut self.views[channel];
        if !matches!(view.stand, Stand::Off(_)) {
            return;
        }
        let optional = around.channels[channel].optional;
        let recover = view.position.clone().filter(|_| !self.random.chance(100));
        let positioned = !optional || recover.is_some() || self.random.chance(500);
        let asked = Subscribe {
            channel: around.channels[channel].name.clone().into(),
            recover: recover.is_some(),
            epoch: recover.as_ref().map(|(epoch, _)| epoch.clone()).unwrap_or_default().into(),
            offset: recover.as_ref().map_or(0, |(_, offset)| *offset),
            positioned: optional && positioned,
            recoverable: optional && positioned,
            ..Subscribe::default()
        };
        view.stand = Stand::Asking(recover);
        self.ask(Asked::Subscribe(channel), Request::Subscribe(asked));
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
            8 => self.views[channel].wanted = !self.views[channel].wanted,
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
            14 => {
                if let Some(user) = self.user.clone() {
                    let unix = around.kernel.borrow().unix + now.as_secs();
                    let expiry = self.random.chance(500).then(|| unix + self.random.between(5, 60));
                    let token = token(&user, expiry).into();
                    self.ask(Asked::Refresh, Request::Refresh { token });
                }
            }
            _ => {}
        }
    }

    fn publish(&mut self, now: Duration, around: &mut Surroundings, channel: usize, name: &str) {
        let padding = self.random.below(around.plan.payload_bytes) as usize;
        // In Protobuf a payload may be anything.
        let raw = self.encoding == Encoding::Protobuf && self.random.chance(500);
        let (serial, data) = around.ledger.say(channel, self.number, &self.session, now, padding, raw);
        around.trace.note("publishes", self.number as u64, serial);
        if !raw && self.random.chance(200) {
            // By a call, and perhaps again as if no answer had come: it is made once.
            let text = String::from_utf8_lossy(&data);
            let call = format!(r#"{{"channel":"{name}","data":{text},"idempotency_key":"{serial}"}}"#);
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

/// A token that the relay of a simulation finds genuine.
fn token(user: &str, expiry: Option<u64>) -> String {
    let mut claims = serde_json::json!({ "sub": user });
    if let Some(expiry) = expiry {
        claims["exp"] = expiry.into();
    }
    let header = encode(br#"{"alg":"HS256"}"#);
    format!("{header}.{}.{GENUINE}", encode(claims.to_string().as_bytes()))
}

/// Base64url without padding (RFC 4648 §5).
fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(word >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    text
}
