//! A model client: connects, subscribes and recovers, publishes, asks, and misbehaves as its plan says; checks whatever it is told.

mod acts;
mod answers;
mod identity;
mod post;
mod ways;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use protocol::{client::encoding::Encoding, ws::Opcode};

use serde_json::Value;

pub(super) use self::ways::POLL_TIMEOUT;
use self::{
    post::Post,
    ways::{Exchange, Way},
};
use super::{
    kernel::{Kernel, Line},
    ledger::Ledger,
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
    way: Way,
    exchange: Exchange,
    post: Post,
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
/// How long one that polls rests when it asked for too much at once.
const POLL_REST: Duration = Duration::from_secs(1);
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
            encoding: Encoding::Json,
            way: Way::Socket { deflates: false },
            exchange: Exchange::default(),
            post: Post::default(),
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
                && self.post.is_settled()
                && self.views.iter().all(|view| match view.stand {
                    Stand::On => view.wanted,
                    Stand::Off(_) => !self.wants(view),
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

    /// Whether it has a connection for its commands beside that of its session.
    pub(super) const fn posts(&self) -> bool {
        self.post.is_open()
    }

    /// Who only listens enters nothing by itself.
    fn wants(&self, view: &View) -> bool {
        view.wanted && (self.way != Way::Uni || view.entry == Entry::Server)
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
        self.step_post(now, around)
    }

    fn come(&mut self, now: Duration, around: &mut Surroundings) -> Result<(), String> {
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
        let plan = Rc::clone(&around.plan);
        let (shard, listener) = (self.random.index(plan.shards), self.random.index(plan.listeners.len()));
        let source = SocketAddr::from((plan.address(self.number), 9));
        let (up, down) = (plan.socket_bytes, plan.socket_bytes);
        let line = around.kernel.borrow_mut().connect(plan.listener(shard, listener), source, up, down);
        let Some(line) = line else {
            self.retry_at = now + Duration::from_millis(100);
            return Ok(());
        };
        let tls = around.tls.as_ref().filter(|_| plan.listeners[listener]);
        self.way = Way::of(around, &mut self.random);
        let protobuf = !self.way.is_json() && self.random.chance(400);
        self.encoding = if protobuf { Encoding::Protobuf } else { Encoding::Json };
        let mut wire = Wire::new(tls, self.encoding, self.way.shape(), &mut self.random)?;
        self.manner = self.manners(around);
        self.excused = self.manner.deaf || self.manner.mute || self.manner.slow || self.manner.idle > 0;
        let mut opened = false;
        if self.manner.idle == 1 {
            wire.out.clear();
        } else if tls.is_none() {
            opened = wire.begin();
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
        self.exchange = Exchange::default();
        if opened {
            self.hear(now, around, Word::Opened)?;
        }
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
                let open = open && (self.way.is_socket() || self.exchange.responding);
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
        self.post.end(around);
        self.exchange = Exchange::default();
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
                let deflates = self.wire.as_ref().is_some_and(Wire::deflates);
                around.trace.note("opened", self.number as u64, u64::from(deflates));
                if self.manner.idle == 2 || self.way == Way::Poll {
                    return Ok(());
                }
                self.connect(now, around);
                self.end_batch();
            }
            Word::Head { status, last } => {
                around.trace.note("response", self.number as u64, u64::from(status));
                self.response_begins(status, last)?;
            }
            Word::Last => self.response_ends(now)?,
            Word::Echo(..) => return Err("an echo".to_owned()),
            Word::Refused(status) => around.trace.note("refused", self.number as u64, u64::from(status)),
            // Who only listens shows by this alone that it is there.
            Word::Ping(_) if self.manner.mute && self.way == Way::Uni => {}
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
                let message = if self.way == Way::Uni { ways::wrapped(&message) } else { message };
                let polls = self.way == Way::Poll;
                let message = self.mangler.mangle(around.plant, self.encoding, polls, message);
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
            // Pongs that come by requests of their own may have to wait for a connection.
            if !self.excused && code == 3012 && around.plan.prompt && !self.way.is_emulated() {
                return Err("closed for want of a pong that it never owed for long".to_owned());
            }
            if let Some(wire) = self.wire.as_mut().filter(|_| self.way.is_socket()) {
                wire.close(Some(code), &mut self.random);
                wire.notify();
            }
        }
        self.excused = true;
        Ok(())
    }
}
