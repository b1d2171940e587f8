//! The world of one seed: the gateway's real loop on the fake kernel, a relay, clients; its faults, its turns and its checks.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::Ipv6Addr,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use gateway::reactor::{Order, Reactor, Setup};
use protocol::{
    admission::{Caps, Rate, Refused},
    client::token::Keys,
    http::{Transports, UNI_WEBSOCKET_PATH},
    shard::{Echo, Options, Policy},
    upgrade::{Origin, Rules},
    ws::Compression,
};
use relay::Limits;
use wire::{
    admission::{Admission, CommandKind, CommandRate, CommandRates, Prefix},
    settings::{ClientOptions, Namespace, Settings, Tokens},
    stats::ShardStats,
};

use super::{
    client::{Channel, Client, EXPIRED_GRACE_S, POLL_TIMEOUT, Phase, Surroundings, USERS, user},
    doorman::Doorman,
    echoed::{ECHO_BYTES_MAX, Echoed},
    http::ORIGIN,
    kernel::Kernel,
    ledger::Ledger,
    plan::{Plan, Ways},
    plant::Plant,
    random::Random,
    relay::Relay,
    secure::Secure,
    system::{SimOutside, SimSys},
    trace::Trace,
    view::EXPIRED_SUB_GRACE_S,
};

/// A shard's link and its signing connection.
pub(super) const LINKS: usize = 2;

/// See the module.
pub(super) struct World {
    pub(super) plan: Rc<Plan>,
    random: Random,
    pub(super) kernel: Rc<RefCell<Kernel>>,
    pub(super) cores: Vec<Core>,
    pub(super) relay: Relay,
    pub(super) clients: Vec<Client>,
    pub(super) echoes: Vec<Echoed>,
    pub(super) around: Surroundings,
    settings: Settings,
    secure: Option<Secure>,
    pub(super) trace: Trace,
    pub(super) step: u32,
    relay_back_at: Option<Duration>,
}

/// A shard and what is its own.
pub(super) struct Core {
    pub(super) reactor: Reactor<SimSys, SimOutside>,
    orders: SimOutside,
    doorman: Rc<RefCell<Doorman>>,
    /// The loop has ended after a drain.
    pub(super) drained: bool,
}

/// Of a drain.
pub(super) const DRAIN_WINDOW_MS: u64 = 500;
/// A reload may widen the bound of a backlog so many times.
const QUEUE_TIMES_MAX: u64 = 3;
/// Most of what one connection holds beside its backlog: a message, a record, a handshake flight.
const HELD_BESIDE_BYTES: u64 = 256 * 1024;

impl World {
    /// Everything that the seed decides, with nobody connected yet.
    pub(super) fn new(seed: u64, plant: Plant, trace: &Trace) -> Result<Self, String> {
        let mut random = Random::new(seed ^ 0x5eed_5eed_5eed_5eed);
        let plan = Rc::new(Plan::new(&mut random));
        trace.say(&format!("{plan:?}"));
        let mut kernel = Kernel::new(random.fork(), plan.shards, plan.descriptors, trace.clone());
        let options = options(&plan);
        let listeners: Vec<Vec<_>> = (0..plan.shards)
            .map(|shard| options.tls.iter().map(|_| kernel.listen(shard)).collect())
            .collect();
        kernel.rates = plan.rates;
        kernel.latency = plan.latency;
        let kernel = Rc::new(RefCell::new(kernel));
        let secure = plan.listeners.contains(&true).then(Secure::new).transpose()?;
        let settings = plant.bend(settings(&plan));
        let policy = policy(&settings, secure.as_ref())?;
        let mut cores = Vec::new();
        for (shard, listeners) in listeners.into_iter().enumerate() {
            let doorman = Rc::new(RefCell::new(Doorman::new([plan.source_rate, plan.site_rate, plan.rate])));
            let sys = SimSys {
                shard,
                kernel: Rc::clone(&kernel),
                plant,
                random: random.fork(),
                doorman: Rc::clone(&doorman),
            };
            let orders = SimOutside::default();
            let setup = Setup {
                options: options.clone(),
                policy: Arc::clone(&policy),
                listeners,
                link: PathBuf::from("/run/sim.sock"),
                gateway: 7,
                shard: shard as u16,
            };
            let reactor = Reactor::new(sys, orders.clone(), setup).map_err(|error| error.to_string())?;
            cores.push(Core { reactor, orders, doorman, drained: false });
        }
        let limits = Limits {
            link_publications_bytes: plan.link_bytes,
            link_bytes: plan.link_bytes.max(1 << 22) * 2,
            ..Limits::default()
        };
        let mut relay = Relay::new(
            Rc::clone(&kernel),
            settings.clone(),
            limits,
            secure.as_ref().map(|secure| Arc::clone(&secure.signer)),
            random.fork(),
            trace.clone(),
        );
        relay.doubles = plant == Plant::DoubledCommand;
        let around = Surroundings {
            kernel: Rc::clone(&kernel),
            plan: Rc::clone(&plan),
            plant,
            ledger: Ledger::new(!plan.durable && plan.rates.relay_gone > 0),
            trace: trace.clone(),
            channels: channels(&plan),
            tls: secure.as_ref().map(|secure| Arc::clone(&secure.client)),
            phase: Phase::Busy,
            stalled: None,
            calm_at: None,
            sessions: BTreeMap::new(),
        };
        let mut clients = Vec::new();
        for number in 0..plan.clients {
            clients.push(Client::new(number, false, random.fork(), &around));
        }
        let echoes = (0..plan.ways.echoes).map(|number| Echoed::new(number, random.fork())).collect();
        Ok(Self {
            plan,
            random,
            kernel,
            cores,
            relay,
            clients,
            echoes,
            around,
            settings,
            secure,
            trace: trace.clone(),
            step: 0,
            relay_back_at: None,
        })
    }

    /// One turn of everybody.
    pub(super) fn turn(&mut self) -> Result<(), String> {
        self.elapse()?;
        for number in 0..self.cores.len() {
            let pace = self.pace();
            self.kernel.borrow_mut().pace = pace;
            let core = &mut self.cores[number];
            if !core.drained {
                let goes_on = core.reactor.turn().map_err(|error| format!("the loop fails: {error}"))?;
                core.drained = !goes_on;
            }
        }
        if let Some(crime) = self.kernel.borrow_mut().crime.take() {
            return Err(crime);
        }
        (0..self.cores.len()).try_for_each(|shard| self.check(shard))
    }

    /// All loops have ended after a drain.
    pub(super) fn is_drained(&self) -> bool {
        self.cores.iter().all(|core| core.drained)
    }

    /// Of all shards.
    pub(super) fn stats(&self) -> ShardStats {
        let mut sum = ShardStats::default();
        for core in &self.cores {
            let stats = core.reactor.shard().stats();
            sum.established += stats.established;
            sum.subscriptions += stats.subscriptions;
            sum.channels += stats.channels;
            sum.backlog_bytes += stats.backlog_bytes;
            sum.fanout_bytes += stats.fanout_bytes;
        }
        sum
    }

    /// Held by all shards.
    pub(super) fn connections(&self) -> usize {
        self.cores.iter().map(|core| core.reactor.shard().connections()).sum()
    }

    fn order(&self, order: impl Fn() -> Order) {
        for core in &self.cores {
            core.orders.orders.borrow_mut().push_back(order());
        }
    }

    /// What happens beside the loop.
    fn elapse(&mut self) -> Result<(), String> {
        self.step += 1;
        let now = self.kernel.borrow().now;
        self.trace.stand(self.step, now);
        self.kernel.borrow_mut().deliver();
        self.relay.step()?;
        self.around.sessions = self.sessions();
        let first = self.random.index(self.clients.len());
        for turn in 0..self.clients.len() {
            let number = (first + turn) % self.clients.len();
            self.clients[number].step(&mut self.around)?;
        }
        self.echoes.iter_mut().try_for_each(|echoed| echoed.step(&self.around))
    }

    /// By user, as the clients see it.
    pub(super) fn sessions(&self) -> BTreeMap<String, usize> {
        let mut sessions = BTreeMap::new();
        for user in self.clients.iter().filter(|client| client.is_ready()).filter_map(|client| client.user())
        {
            *sessions.entry(user.to_owned()).or_default() += 1;
        }
        sessions
    }

    fn pace(&mut self) -> Duration {
        let longest =
            if self.around.phase == Phase::Busy { self.plan.pace } else { self.plan.pace.max(LULL) };
        match self.random.below(8) {
            0 => Duration::ZERO,
            1 | 2 => Duration::from_millis(1).min(longest),
            3..=5 => longest / 4,
            _ => longest,
        }
    }

    /// Perhaps something goes wrong.
    pub(super) fn trouble(&mut self) -> Result<(), String> {
        let rates = self.plan.rates;
        let now = self.kernel.borrow().now;
        if self.relay_back_at.is_some_and(|at| at <= now) {
            self.relay_back_at = None;
            let remembers = self.plan.durable;
            self.relay.come(remembers);
        }
        if self.relay_back_at.is_none() && self.random.chance(rates.relay_gone) {
            self.relay.go();
            let away = self.random.pick(&[0, 50, 1000, 4000]);
            self.relay_back_at = Some(now + Duration::from_millis(self.random.below(away + 1)));
        }
        if self.random.chance(rates.relay_slow) {
            let long = self.random.pick(&[100, 1000, 7000]);
            self.relay.stopped_until = now + Duration::from_millis(self.random.below(long));
            self.trace.note("relay stops", 0, long);
        }
        if self.random.chance(rates.wall) {
            let jump = self.random.between(1, 100);
            let mut kernel = self.kernel.borrow_mut();
            kernel.unix = if self.random.chance(500) { kernel.unix + jump } else { kernel.unix - jump };
            self.trace.note("wall clock", 0, kernel.unix);
        }
        if self.random.chance(rates.apply) {
            self.apply()?;
        }
        if let Some(secure) = &self.secure
            && self.random.chance(rates.signer)
        {
            secure.signer.away.fetch_xor(true, Ordering::Relaxed);
        }
        if self.plan.storm > 0 && self.step == self.plan.turns / 2 {
            self.trace.note("storm", 0, self.plan.storm as u64);
            for _ in 0..self.plan.storm {
                let number = self.clients.len();
                let random = self.random.fork();
                self.clients.push(Client::new(number, true, random, &self.around));
            }
        }
        if self.random.chance(rates.stall) {
            self.stall()?;
        }
        Ok(())
    }

    /// The loop gets no turn for a while, everybody else does.
    fn stall(&mut self) -> Result<(), String> {
        let seconds = self.random.between(1, 6);
        self.trace.note("stall", 0, seconds);
        for _ in 0..10 {
            self.elapse()?;
            self.kernel.borrow_mut().now += Duration::from_millis(seconds * 100);
        }
        self.around.stalled = Some(self.kernel.borrow().now);
        self.elapse()
    }

    /// Settings as they are, or with other bounds.
    fn apply(&mut self) -> Result<(), String> {
        if self.random.chance(500) {
            self.settings.client.queue_max_size =
                self.plan.queue_bytes * self.random.between(1, QUEUE_TIMES_MAX) as u32;
            self.settings.client.stale_close_delay_ms = self.random.pick(&[1000, 4000]);
        }
        if self.plan.lists && self.random.chance(500) {
            self.list();
        }
        self.trace.note("settings", 0, u64::from(self.settings.client.queue_max_size));
        let policy = policy(&self.settings, self.secure.as_ref())?;
        self.order(|| Order::Apply(Arc::clone(&policy)));
        Ok(())
    }

    /// Other lists: some of the clients' prefixes are turned away, some are let in whatever else is said.
    fn list(&mut self) {
        let mut lists = [Vec::new(), Vec::new()];
        for list in &mut lists {
            for _ in 0..self.random.below(3) {
                let address = self.plan.address(self.random.index(self.plan.clients));
                let bits = if self.plan.ipv6 {
                    self.random.pick(&[128, 64, 48])
                } else {
                    self.random.pick(&[32, 31, 24])
                };
                let Ok(one) = address.to_string().parse::<Prefix>() else { continue };
                let rest = one.range().0 & (u128::MAX << ((if self.plan.ipv6 { 128 } else { 32 }) - bits));
                let first = Ipv6Addr::from_bits(rest).to_canonical();
                list.extend(format!("{first}/{bits}").parse::<Prefix>());
            }
        }
        let [allow, deny] = lists;
        self.trace.note("lists", allow.len() as u64, deny.len() as u64);
        self.enlist(Admission { allow, deny, ..self.settings.admission.clone() });
    }

    /// The lists hold from the loop's next turn on, as nobody comes in before.
    fn enlist(&mut self, lists: Admission) {
        for core in &self.cores {
            core.doorman.borrow_mut().lists.clone_from(&lists);
        }
        self.settings.admission = lists;
    }

    /// Faults end; what is away comes back, and nobody is turned away any more.
    pub(super) fn calm(&mut self) -> Result<(), String> {
        self.trace.note("calm", 0, 0);
        self.around.calm_at = Some(self.kernel.borrow().now);
        self.kernel.borrow_mut().rates = <_>::default();
        self.kernel.borrow_mut().latency = Duration::ZERO;
        self.relay.stopped_until = Duration::ZERO;
        if self.relay_back_at.take().is_some() {
            let remembers = self.plan.durable;
            self.relay.come(remembers);
        }
        if let Some(secure) = &self.secure {
            secure.signer.away.store(false, Ordering::Relaxed);
        }
        let commands = self.settings.admission.commands;
        self.enlist(Admission { commands, ..Admission::default() });
        let policy = policy(&self.settings, self.secure.as_ref())?;
        self.order(|| Order::Apply(Arc::clone(&policy)));
        Ok(())
    }

    /// Sends everybody away.
    pub(super) fn drain(&mut self) {
        self.trace.note("drain", 0, DRAIN_WINDOW_MS);
        self.around.phase = Phase::Draining;
        self.order(|| Order::Drain { window_ms: DRAIN_WINDOW_MS });
    }

    /// What holds after every turn.
    fn check(&self, shard: usize) -> Result<(), String> {
        let (listeners, links, connections) = self.kernel.borrow().open_files(shard);
        let Core { reactor, doorman, .. } = &self.cores[shard];
        let shard = reactor.shard();
        let held = shard.connections();
        if connections != held {
            return Err(format!("{connections} descriptors are open for {held} connections"));
        }
        if links > LINKS {
            return Err(format!("{links} descriptors are open for links to one relay"));
        }
        let draining = self.around.phase == Phase::Draining;
        if listeners != self.plan.listener(1, 0) && !(draining && listeners == 0) {
            return Err(format!("{listeners} listeners are open"));
        }
        let stats = shard.stats();
        let phases =
            stats.handshaking + stats.upgrading + stats.connecting + stats.established + stats.closing;
        if phases != held as u64 {
            return Err(format!("{phases} connections are counted by phase, {held} are held"));
        }
        let doorman = doorman.borrow();
        let refused: u64 = stats.refused.iter().sum();
        let counted = [Refused::SourceRate, Refused::Rate, Refused::Denied];
        let otherwise = refused - counted.map(|why| stats.refused[why as usize]).iter().sum::<u64>();
        if doorman.refused_within > otherwise {
            let within = doorman.refused_within;
            return Err(format!("{within} within their rate were refused, {otherwise} for another reason"));
        }
        if shard.sources_counted() > doorman.sources() {
            return Err(format!("{} sources are kept count of", shard.sources_counted()));
        }
        let queue = u64::from(self.plan.queue_bytes) * QUEUE_TIMES_MAX;
        let bound = held as u64 * (queue + HELD_BESIDE_BYTES);
        if stats.backlog_bytes > bound {
            return Err(format!("{} bytes are held, {bound} are allowed", stats.backlog_bytes));
        }
        let sessions = stats.established + stats.connecting;
        if stats.subscriptions > sessions * self.around.channels.len() as u64 {
            return Err(format!(
                "{} subscriptions in {} channels by {sessions} sessions",
                stats.subscriptions,
                self.around.channels.len(),
            ));
        }
        Ok(())
    }
}

/// Of a request's body.
const BODY_BYTES_MAX: usize = 200_000;
/// Longest sleep when nothing is wrong.
const LULL: Duration = Duration::from_millis(25);

fn options(plan: &Plan) -> Options {
    let Ways { http, uni, deflate, echoes } = plan.ways;
    let tls = plan.listeners.iter().copied().chain((echoes > 0).then_some(false)).collect();
    let everywhere = Transports {
        poll_timeout_ms: POLL_TIMEOUT.as_millis() as u32,
        keep_alive_ms: 3000,
        uni_websocket: None,
        ..Transports::everywhere(BODY_BYTES_MAX)
    };
    let uni_websocket = uni.then(|| UNI_WEBSOCKET_PATH.to_owned());
    let transports = if http { everywhere } else { Transports::default() };
    let rules = Rules {
        origins: Origin::parse(ORIGIN).into_iter().collect(),
        transports: Transports { uni_websocket, ..transports },
        compression: deflate.then_some(Compression { bytes_min: 60, level: 1 }),
        ..Rules::default()
    };
    let rate = |(rate, burst): (u32, u32)| Rate::new(rate, Duration::from_secs(1), burst);
    Options {
        caps: Caps {
            total: plan.descriptors as u32,
            per_source: 0,
            handshaking: plan.handshaking,
            source_rate: rate(plan.source_rate),
            site_rate: rate(plan.site_rate),
            rate: rate(plan.rate),
            ..Caps::default()
        },
        handshake_timeout_ms: 1500,
        upgrade_timeout_ms: 1500,
        message_bytes_max: 65_536,
        rules,
        tls,
        echo: Echo {
            listeners: plan.listeners.iter().map(|_| false).chain([true]).collect(),
            message_bytes_max: ECHO_BYTES_MAX,
        },
    }
}

/// The channels of a world, of every kind.
fn channels(plan: &Plan) -> Vec<Channel> {
    let kinds = [
        ("hist", true, false, false),
        ("room", true, true, false),
        ("fast", false, false, false),
        ("soft", true, false, true),
    ];
    let features = plan.features;
    let mut channels = Vec::new();
    for number in 0..plan.channels {
        for (kind, history, presence, optional) in kinds {
            let name = format!("{kind}:{number}");
            channels.push(Channel { name, history, presence, optional, ..Channel::default() });
        }
    }
    let more = [
        (features.private, Channel { name: "$priv:0".to_owned(), private: true, ..Channel::default() }),
        (features.delta, Channel { name: "diff:0".to_owned(), delta: true, ..Channel::default() }),
        (features.tags, Channel { name: "tags:0".to_owned(), tags: true, ..Channel::default() }),
    ];
    for (there, channel) in more {
        channels.extend(there.then_some(Channel { history: true, ..channel }));
    }
    for number in 0..if features.personal { USERS } else { 0 } {
        let owner = Some(user(number));
        let name = format!("mine:#{}", user(number));
        channels.push(Channel { name, history: true, owner, ..Channel::default() });
    }
    channels
}

fn settings(plan: &Plan) -> Settings {
    let open = |name: &str| Namespace {
        name: name.to_owned(),
        allow_subscribe_for_client: true,
        allow_subscribe_for_anonymous: true,
        allow_publish_for_client: true,
        allow_publish_for_anonymous: true,
        allow_history_for_client: true,
        allow_history_for_anonymous: true,
        allow_presence_for_client: true,
        allow_presence_for_anonymous: true,
        ..Namespace::default()
    };
    let kept = |name: &str| Namespace {
        history_size: plan.history,
        history_ttl_ms: 300_000,
        allow_recovery: true,
        allow_positioning: true,
        ..open(name)
    };
    let forced = |name: &str| Namespace { force_recovery: true, force_positioning: true, ..kept(name) };
    let compact = |namespace: Namespace| Namespace { allow_channel_compaction: true, ..namespace };
    let entered = |name: &str| Namespace { allow_subscribe_for_client: false, ..forced(name) };
    let features = plan.features;
    Settings {
        version: "sim".to_owned(),
        client: ClientOptions {
            allow_anonymous_connect_without_token: true,
            ping_interval_ms: plan.ping_ms,
            pong_timeout_ms: plan.pong_ms,
            stale_close_delay_ms: 2000,
            expired_close_delay_ms: EXPIRED_GRACE_S as u32 * 1000,
            expired_sub_close_delay_ms: EXPIRED_SUB_GRACE_S as u32 * 1000,
            personal_channel: features.personal.then(|| "mine".to_owned()),
            single_connection: features.single,
            user_connection_limit: features.user_limit,
            queue_max_size: plan.queue_bytes,
            ..ClientOptions::default()
        },
        namespaces: vec![
            compact(Namespace { allow_delta_fossil: true, delta_publish: true, ..forced("diff") }),
            open("fast"),
            compact(forced("hist")),
            entered("mine"),
            entered("priv"),
            Namespace { presence: true, join_leave: true, force_push_join_leave: true, ..forced("room") },
            kept("soft"),
            compact(Namespace { allow_tags_filter: true, ..forced("tags") }),
        ],
        admission: Admission {
            commands: CommandRates::default()
                .with(CommandKind::Total, CommandRate { rate: plan.commands, interval_ms: 1000 })
                .with(CommandKind::Refused, CommandRate { rate: plan.refused, interval_ms: 1000 }),
            ..Admission::default()
        },
        tokens: Tokens { hmac: true, ..Tokens::default() },
        ..Settings::default()
    }
}

fn policy(settings: &Settings, secure: Option<&Secure>) -> Result<Arc<Policy>, String> {
    let keys = Keys::parse("").map_err(|error| error.to_string())?;
    let tls = secure.map(|secure| Arc::clone(&secure.server));
    Ok(Arc::new(Policy { settings: settings.clone(), keys, subscription_keys: None, tls }))
}
