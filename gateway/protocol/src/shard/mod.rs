//! One shard's whole state machine: connections, hub, door, the link to the relay. Sockets and clocks are the shell's.
//!
//! Owns every decision about a connection from accept to close. The verbs: what came from sockets goes in by `receive`, what came
//! from the relay by `hear`, time by `expire`; what is owed comes out by `transmit`, `take_job`, `link_out` and `take_closed`. Never
//! blocks, and every verb's work is bounded by its input or by a named budget.

mod answers;
mod backend;
mod closing;
mod echo;
mod emulate;
mod events;
mod flush;
mod http;
mod input;
mod listen;
mod meters;
mod opening;
mod restore;
mod session;
mod special;
mod survey;
mod sweep;
#[cfg(test)]
mod tests;
mod tokens;
mod ways;

pub use echo::Echo;
pub(crate) use http::Exchange;

use std::{collections::VecDeque, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use slab::Slab;
use wire::{
    settings::{Settings, Tokens},
    stats::ShardStats,
    token::Kind,
};

use crate::{
    admission::{Admission, Caps, Lists, Refused},
    client::{encoding::Encoding, token::Keys},
    connection::{Connection, Flags, Hot, Identity, Phase},
    filter::Filter,
    framing::Framing,
    hub::{Frames, Hub},
    pending::Pending,
    places::Places,
    random::Random,
    time::{Now, Tick},
    tls::{Begun, Failure, Handshake, Progress, SealingKeys, Unsigned, Wanted},
    upgrade::Rules,
    ws::{Deflater, Limits, Reader},
};

/// What the operator of the gateway sets.
#[derive(Clone, Debug)]
pub struct Options {
    /// This shard's share of the caps.
    pub caps: Caps,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout_ms: u32,
    /// From there to the end of the HTTP upgrade.
    pub upgrade_timeout_ms: u32,
    /// Largest WebSocket message.
    pub message_bytes_max: usize,
    /// Paths, origins and subprotocols.
    pub rules: Rules,
    /// Whether each listener speaks TLS.
    pub tls: Vec<bool>,
    /// Listeners for conformance tests.
    pub echo: Echo,
}

/// What the relay set, made ready for use. Replaced whole.
pub struct Policy {
    /// As it came.
    pub settings: Settings,
    /// Public keys that tokens are verified with.
    pub keys: Keys,
    /// Those of subscription tokens, where they are others.
    pub subscription_keys: Option<Keys>,
    /// Certificates and TLS parameters; `None` only where no listener speaks TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl Policy {
    /// How tokens of one kind are verified.
    fn tokens(&self, kind: Kind) -> (&Keys, &Tokens) {
        match (kind, &self.subscription_keys) {
            (Kind::Subscription, Some(keys)) => (keys, self.settings.subscription_tokens()),
            _ => (&self.keys, &self.settings.tokens),
        }
    }
}

/// A flight of a TLS handshake that needs a signature from elsewhere. Goes back by [`Shard::job_done`].
pub struct Job {
    /// Of the connection.
    token: u64,
    handshake: Box<Handshake>,
    input: Vec<u8>,
    output: Vec<u8>,
    outcome: Option<Result<Progress, Failure>>,
}

/// A descriptor to be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    /// The descriptor.
    pub handle: i32,
    /// By reset: the peer has misbehaved or does not read.
    pub reset: bool,
}

/// See the module.
pub struct Shard {
    options: Options,
    policy: Arc<Policy>,
    connections: Slab<Connection>,
    /// Deadline by connection index.
    due: Vec<Tick>,
    generation: u32,
    hub: Hub,
    door: Admission,
    pending: Pending,
    dirty: Vec<u32>,
    resumed: Vec<u32>,
    closed: Vec<Closed>,
    jobs: VecDeque<Job>,
    link: LinkState,
    #[expect(clippy::vec_box, reason = "the boxes themselves are what the pool keeps")]
    pool: Vec<Box<Hot>>,
    /// Plaintext on its way into a record.
    scratch: Vec<u8>,
    /// One encoded message on its way into frames.
    message: Vec<u8>,
    /// Filters of subscriptions that wait for the relay.
    filters: Slab<Box<Filter>>,
    /// The ping frame of each encoding.
    pings: Frames,
    sweep: sweep::Sweep,
    surveys: survey::Surveys,
    meters: meters::Meters,
    drain: Option<closing::Drain>,
    random: Random,
    name: emulate::Name,
    stats: Counters,
    broadcast: Broadcast,
    deflater: Deflater,
}

/// What is kept while many connections are sent to in every turn.
#[derive(Default)]
struct Broadcast {
    /// In this turn.
    now: bool,
    last: Duration,
    keys: SealingKeys,
}

/// The shard's end of the link.
#[derive(Default)]
struct LinkState {
    up: bool,
    out: Vec<u8>,
    restore: Option<restore::Restoring>,
    /// Who is present is told anew after settings have changed.
    reappear: Option<restore::Reappearing>,
    /// When the relay was last told of a token with an unknown key, by kind.
    unknown_key: [Option<Duration>; 2],
}

/// Counters and levels that [`Shard::stats`] reports.
#[derive(Default)]
struct Counters {
    shard: ShardStats,
    phases: [u64; 8],
    ways: ways::Ways,
    held: usize,
}

impl Job {
    /// Does the work up to the signature; `None`: it needs none and is done. Otherwise [`Self::finish`] has to follow.
    pub fn begin(&mut self) -> Option<&Wanted> {
        match self.handshake.begin(&mut self.input, &mut self.output) {
            Ok(Begun::Unsigned) => self.handshake.wanted(),
            Ok(Begun::Progress(progress)) => {
                self.outcome = Some(Ok(progress));
                None
            }
            Err(failure) => {
                self.outcome = Some(Err(failure));
                None
            }
        }
    }

    /// The signature that [`Self::finish`] waits for.
    pub fn wanted(&self) -> Option<&Wanted> {
        self.handshake.wanted()
    }

    /// Does the rest, with the signature that [`Self::begin`] wanted.
    pub fn finish(&mut self, signature: Result<Vec<u8>, Unsigned>) {
        self.outcome = Some(self.handshake.signed(signature, &mut self.input, &mut self.output));
    }
}

impl Shard {
    /// An empty shard. `seed` makes client ids and the phases of pings; in production 16 random bytes.
    pub fn new(options: Options, policy: Arc<Policy>, seed: [u8; 16]) -> Self {
        let mut pings = Frames::default();
        for encoding in Encoding::ALL {
            let mut frame = Vec::new();
            crate::ws::frame(encoding.frame_opcode(), encoding.ping(), &mut frame);
            pings.0[encoding.index()] = Some(Rc::from(frame));
        }
        let mut meters = meters::Meters::default();
        meters.set(&policy.settings.admission.commands);
        Self {
            door: Admission::new(options.caps, Lists::new(&policy.settings.admission)),
            meters,
            connections: Slab::new(),
            due: Vec::new(),
            generation: 0,
            hub: Hub::default(),
            pending: Pending::default(),
            dirty: Vec::new(),
            resumed: Vec::new(),
            closed: Vec::new(),
            jobs: VecDeque::new(),
            link: LinkState::default(),
            pool: Vec::new(),
            scratch: Vec::new(),
            message: Vec::new(),
            filters: Slab::new(),
            pings,
            sweep: sweep::Sweep::default(),
            surveys: survey::Surveys::default(),
            drain: None,
            random: Random::new(seed),
            name: emulate::Name::new(0, 0, &<_>::default()),
            stats: Counters::default(),
            broadcast: Broadcast::default(),
            deflater: Deflater::new(options.rules.compression.unwrap_or_default()),
            options,
            policy,
        }
    }

    /// Takes a connection in, or says why not; then the shell closes it by reset. Returns its token.
    pub fn accept(&mut self, now: Now, handle: i32, peer: SocketAddr, listener: u8) -> Result<u64, Refused> {
        let entered =
            if self.drain.is_some() { Err(Refused::Total) } else { self.door.enter(now.at, peer.ip()) };
        let source = entered.inspect_err(|refused| self.refuse(*refused))?;
        self.stats.shard.accepted += 1;
        // Generation 0 is left to the shell's own tokens.
        self.generation = self.generation.wrapping_add(1).max(1);
        let tls = self.options.tls.get(usize::from(listener)).copied().unwrap_or(true);
        let (phase, wait_ms) = if tls {
            (Phase::Handshake, self.options.handshake_timeout_ms)
        } else {
            (Phase::Upgrade, self.options.upgrade_timeout_ms)
        };
        let index = self.connections.insert(Connection {
            handle,
            generation: self.generation,
            source,
            client: wire::ClientId::default(),
            identity: Identity::default(),
            places: Places::None,
            traffic: None,
            hot: None,
            reader: Reader::new(),
            expire_at: 0,
            ping: Tick::NEVER,
            asked: 0,
            phase,
            encoding: Encoding::Json,
            framing: Framing::WebSocket,
            flags: self.options.echo.flags(listener),
        });
        if self.due.len() <= index {
            self.due.resize(index + 1, Tick::NEVER);
        }
        self.due[index] = Tick::after(now, u64::from(wait_ms));
        self.stats.phases[phase as usize] += 1;
        Ok(self.token(index))
    }

    /// Counts a refusal that the shell made by itself (out of descriptors).
    pub fn refuse(&mut self, refused: Refused) {
        self.stats.shard.refused[refused as usize] += 1;
    }

    /// The connection of a token, or `None` when it has gone (its index may be another's).
    pub fn find(&self, token: u64) -> Option<usize> {
        let index = (token & u64::from(u32::MAX)) as usize;
        let connection = self.connections.get(index)?;
        (u64::from(connection.generation) == token >> 32).then_some(index)
    }

    /// The descriptor of a present connection.
    pub fn handle(&self, index: usize) -> Option<i32> {
        self.connections.get(index).map(|connection| connection.handle)
    }

    /// A connection paused for the relay's answer takes no input; [`Shard::take_resumed`] says when it does again.
    pub fn wants_input(&self, index: usize) -> bool {
        self.connections.get(index).is_some_and(|connection| !connection.flags.has(Flags::PAUSED))
    }

    /// A connection whose input may be read again.
    pub fn take_resumed(&mut self) -> Option<usize> {
        self.resumed.pop().map(|index| index as usize)
    }

    /// A descriptor to close.
    pub fn take_closed(&mut self) -> Option<Closed> {
        self.closed.pop()
    }

    /// A handshake flight to work on, of a connection that is still there.
    pub fn take_job(&mut self) -> Option<Job> {
        loop {
            let job = self.jobs.pop_front()?;
            if self.find(job.token).is_some() {
                return Some(job);
            }
        }
    }

    /// Whether [`Self::take_job`] has one.
    pub fn has_job(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// New settings; established connections keep theirs where they have begun, but appear to others by the new ones.
    pub fn apply(&mut self, policy: Arc<Policy>) {
        self.door.list(Lists::new(&policy.settings.admission));
        self.meters.set(&policy.settings.admission.commands);
        let before = std::mem::replace(&mut self.policy, policy);
        self.reappear(before);
    }

    /// Connections held.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Publications and other pushes handed to connections until now.
    pub fn delivered(&self) -> u64 {
        self.stats.ways.deliveries()
    }

    /// Sources whose rate is kept count of.
    pub const fn sources_counted(&self) -> usize {
        self.door.counted()
    }

    /// Whether it makes sense to read the link: publications that wait for fan-out are bounded by not reading more.
    pub fn wants_link_input(&self) -> bool {
        self.hub.bytes() < crate::limits::FANOUT_BYTES_MAX
    }

    /// Counters now; the shell adds what only it knows.
    pub fn stats(&self) -> ShardStats {
        let [handshaking, upgrading, fresh, connecting, established, unusable, closing, http] =
            self.stats.phases;
        ShardStats {
            handshaking,
            upgrading: upgrading + http,
            connecting: fresh + connecting + unusable,
            established,
            closing,
            subscriptions: self.hub.subscriptions() as u64,
            channels: self.hub.channels() as u64,
            backlog_bytes: self.stats.held as u64,
            fanout_bytes: self.hub.bytes() as u64,
            transports: self.stats.ways.stats(),
            ..self.stats.shard.clone()
        }
    }

    /// The token of a present connection.
    pub fn token_at(&self, index: usize) -> Option<u64> {
        self.connections.contains(index).then(|| self.token(index))
    }

    /// Sends the shell's completed counters to the relay.
    pub fn report(&mut self, stats: ShardStats) {
        if !self.link_is_full() {
            self.tell(&wire::link::ToRelay::Stats(Box::new(stats)));
        }
    }

    fn token(&self, index: usize) -> u64 {
        u64::from(self.connections[index].generation) << 32 | index as u64
    }

    fn enter(&mut self, index: usize, next: Phase) {
        let connection = &mut self.connections[index];
        let before = connection.phase;
        debug_assert!(legal(before, next), "{before:?} to {next:?}");
        if connection.at_the_door() && !matches!(next, Phase::Handshake | Phase::Upgrade) {
            self.door.upgraded();
        }
        connection.phase = next;
        let way = self.stats.ways.of(connection.framing, connection.encoding);
        way.sessions -= u64::from(before == Phase::Ready);
        way.sessions += u64::from(next == Phase::Ready);
        way.opened += u64::from(next == Phase::Ready);
        self.stats.phases[before as usize] -= 1;
        self.stats.phases[next as usize] += 1;
    }

    fn limits(&self, index: usize) -> Limits {
        let connection = &self.connections[index];
        let echo = connection.flags.has(Flags::ECHO);
        let Options { message_bytes_max, echo: Echo { message_bytes_max: echoed, .. }, .. } = self.options;
        let message_bytes_max = if echo { echoed } else { message_bytes_max };
        Limits { message_bytes_max, deflate: connection.framing == Framing::Deflate }
    }

    fn mark_dirty(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if !connection.flags.has(Flags::DIRTY) {
            connection.flags.set(Flags::DIRTY);
            self.dirty.push(index as u32);
        }
    }
}

/// The moves a connection may make.
const fn legal(from: Phase, to: Phase) -> bool {
    use Phase::{Closing, Connecting, Fresh, Handshake, Http, Ready, Unusable, Upgrade};
    matches!(
        (from, to),
        (Handshake, Upgrade | Closing)
            | (Upgrade, Fresh | Http | Closing)
            | (Http, Fresh | Closing)
            | (Fresh, Connecting | Ready | Unusable | Closing)
            | (Connecting, Ready | Unusable | Closing)
            | (Ready | Unusable, Http | Closing)
    )
}

/// The encoding that an upgrade rule's id stands for.
fn encoding_of(id: u8) -> Encoding {
    Encoding::ALL.into_iter().find(|encoding| encoding.index() == usize::from(id)).unwrap_or_default()
}

/// Adds one to the counter of a code in a list that holds only codes this program sends.
fn bump(counters: &mut Vec<(u16, u64)>, code: u16) {
    let known = counters.iter().position(|(known, _)| *known == code);
    // A peer may close with any code: when too many have been seen, the rest are counted as 0, "other".
    let room = counters.len() < CODES_COUNTED_MAX;
    match known.or_else(|| if room { None } else { counters.iter().position(|(known, _)| *known == 0) }) {
        Some(index) => counters[index].1 += 1,
        None => counters.push((if room { code } else { 0 }, 1)),
    }
}

/// Different codes counted; later ones share a counter.
const CODES_COUNTED_MAX: usize = 64;
