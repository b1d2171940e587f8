//! What the relay's tasks and threads share: the bus, the keys, the settings, and who is connected.
//!
//! Locks are held for one batch of synchronous work and never across an await.

mod turn;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use relay::bus::Tell;
use relay::{Broker, LinkId, Name, Transmit};
use tokio::sync::{Notify, Semaphore, watch};
use wire::code::ErrorCode;
use wire::frame::{self, FrameError, Greeting};
use wire::link::{ToRelay, ToShard};
use wire::settings::{Backend, DataFormat, Settings};
use wire::sign::SignReply;
use wire::stats::ShardStats;
use wire::token::Kind;

use crate::api::{self, Access, Line};
use crate::bus::{Bus, Health};
use crate::clock::Clock;
use crate::config::Checked;
use crate::counters::Counters;
use crate::fetch::Endpoint;
use crate::jwks;
use crate::keyring::{KeyError, Keyring};
use crate::limits::API_REQUESTS_MAX;
use crate::link::Outlet;
use crate::log::log;
use crate::node::Node;
use crate::proxy::Proxies;
use crate::signer::Refusal;
use crate::verify::Verifier;

/// The settings as control connections get them.
pub(crate) type SettingsFrame = Arc<[u8]>;

/// The relay.
#[derive(Debug)]
pub struct Relay {
    pub(crate) clock: Clock,
    broker: Mutex<Broker>,
    /// What edges share, once it is connected. Without it there is nothing to share.
    bus: OnceLock<Arc<dyn Bus>>,
    /// The nodes, where there are some.
    pub(crate) node: OnceLock<Arc<Node>>,
    links: Mutex<BTreeMap<LinkId, Link>>,
    last_link: AtomicU32,
    keyring: RwLock<Keyring>,
    verifier: RwLock<Arc<Verifier>>,
    published: Mutex<Published>,
    settings: watch::Sender<SettingsFrame>,
    /// Where keys are fetched, by kind of token.
    endpoints: watch::Sender<Endpoints>,
    /// Tokens came whose keys are unknown, by kind.
    unknown: [Notify; 2],
    /// Who decides on what clients do.
    proxies: RwLock<Arc<Proxies>>,
    pub(crate) counters: Counters,
    /// The server API's link into the bus.
    pub(crate) line: Line,
    access: RwLock<Arc<Access>>,
    pub(crate) api: api::Counters,
    pub(crate) api_permits: Semaphore,
}

type Endpoints = [Option<Endpoint>; 2];

/// What gateways are told.
#[derive(Debug)]
struct Published {
    /// Without what was fetched.
    settings: Settings,
    /// Fetched JWK sets, by kind of token.
    fetched: [String; 2],
}

impl Published {
    /// With what was fetched.
    fn whole(&self) -> Settings {
        let mut settings = self.settings.clone();
        let [connection, subscription] = &self.fetched;
        let own = settings.subscription_tokens.as_mut().map(|tokens| (tokens, subscription));
        for (tokens, fetched) in [(&mut settings.tokens, connection)].into_iter().chain(own) {
            if tokens.fetched && !fetched.is_empty() {
                let mut set = jwks::Set::default();
                set.add_finished(&tokens.jwks);
                set.add_finished(fetched);
                tokens.jwks = set.finish();
            }
        }
        settings
    }

    fn frame(&self) -> Result<SettingsFrame, ApplyError> {
        let mut frame = Vec::new();
        frame::encode(&self.whole(), &mut frame).map_err(|_| ApplyError::TooLarge)?;
        Ok(frame.into())
    }
}

/// One shard's connection.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) gateway: u64,
    pub(crate) shard: u16,
    /// Since when, counted from the start of the relay.
    pub(crate) since: Duration,
    pub(crate) stats: Option<Box<ShardStats>>,
    outlet: Arc<Outlet>,
}

/// Why a configuration that fits could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A certificate or key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// All certificates and namespaces together.
    #[error(
        "certificates and namespaces together are over the {} bytes that fit one message to a gateway",
        wire::limits::FRAME_BYTES_MAX
    )]
    TooLarge,
}

impl Relay {
    /// Reads keys and certificates and makes the bus. `seed` comes from a random source.
    pub fn new(checked: &Checked, seed: u64) -> Result<Self, ApplyError> {
        let clock = Clock::start();
        let mut keyring = Keyring::default();
        let settings = prepare(checked, clock.now(), &mut keyring)?;
        let published = Published { settings: settings.clone(), fetched: <_>::default() };
        let frame = published.frame()?;
        let mut broker = Broker::new(settings, checked.limits.clone(), seed);
        broker.introduce(name(checked));
        Ok(Self {
            clock,
            broker: Mutex::new(match checked.following {
                Some(times) => broker.following(times),
                None => broker,
            }),
            bus: OnceLock::new(),
            node: OnceLock::new(),
            links: Mutex::default(),
            last_link: AtomicU32::new(0),
            keyring: RwLock::new(keyring),
            verifier: RwLock::new(Arc::new(Verifier::new(&checked.config.client, &checked.settings))),
            published: Mutex::new(published),
            settings: watch::Sender::new(frame),
            endpoints: watch::Sender::new(checked.endpoints.clone()),
            unknown: <_>::default(),
            proxies: RwLock::new(Arc::new(checked.proxies.clone())),
            counters: Counters::default(),
            line: Line::default(),
            access: RwLock::new(Arc::new(Access::new(&checked.config.http_api))),
            api: api::Counters::default(),
            api_permits: Semaphore::new(API_REQUESTS_MAX),
        })
    }

    /// Takes a new configuration: keys, secrets and settings change together, or nothing does.
    pub fn apply(&self, checked: &Checked) -> Result<(), ApplyError> {
        let mut keyring = self.keyring.read().unwrap_or_else(PoisonError::into_inner).clone();
        let settings = prepare(checked, self.clock.now(), &mut keyring)?;
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        // Keys that were fetched stay until the endpoint has been asked again.
        let next = Published { settings: settings.clone(), fetched: published.fetched.clone() };
        let frame = next.frame()?;
        *published = next;
        drop(published);
        *self.keyring.write().unwrap_or_else(PoisonError::into_inner) = keyring;
        let verifier = Arc::new(Verifier::new(&checked.config.client, &checked.settings));
        *self.verifier.write().unwrap_or_else(PoisonError::into_inner) = verifier;
        *self.access.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Access::new(&checked.config.http_api));
        let mut proxies = self.proxies.write().unwrap_or_else(PoisonError::into_inner);
        *proxies = Arc::new(checked.proxies.after(&proxies));
        drop(proxies);
        self.broker().configure(settings);
        self.settings.send_replace(frame);
        self.endpoints.send_replace(checked.endpoints.clone());
        Ok(())
    }

    /// Where the keys of one kind of tokens are fetched.
    pub(crate) fn endpoint(&self, kind: Kind) -> Option<Endpoint> {
        self.endpoints.borrow()[kind as usize].clone()
    }

    /// Tells when that changes.
    pub(crate) fn endpoint_changes(&self) -> watch::Receiver<Endpoints> {
        self.endpoints.subscribe()
    }

    /// Waits for a token whose key is unknown.
    pub(crate) async fn unknown_key(&self, kind: Kind) {
        self.unknown[kind as usize].notified().await;
    }

    /// Takes a fetched JWK set. Says how many keys there are now, if they are others than before.
    pub(crate) fn keys_fetched(&self, kind: Kind, text: &str) -> Result<Option<usize>, String> {
        let mut set = jwks::Set::default();
        let useless = set.add_fetched(text)?;
        if useless > 0 {
            log!("{useless} fetched keys are of no use here");
        }
        let keys = set.len();
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut published.fetched[kind as usize], set.finish());
        if before == published.fetched[kind as usize] {
            return Ok(None);
        }
        match published.frame() {
            Ok(frame) => {
                self.settings.send_replace(frame);
                Ok(Some(keys))
            }
            Err(error) => {
                published.fetched[kind as usize] = before;
                Err(error.to_string())
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn tick(&self) {
        let mut broker = self.broker();
        broker.expire(self.clock.now());
        self.wake(broker);
    }

    /// Forgets replaced keys whose grace is over.
    pub(crate) fn retire_keys(&self) {
        self.keyring.write().unwrap_or_else(PoisonError::into_inner).retire(self.clock.now());
    }

    /// A shard has connected. From now on whoever has something for it writes to its outlet.
    pub(crate) fn open(&self, greeting: &Greeting, outlet: &Arc<Outlet>) -> LinkId {
        let link = LinkId(self.last_link.fetch_add(1, Ordering::Relaxed) + 1);
        let known = Link {
            gateway: greeting.gateway,
            shard: greeting.shard,
            since: self.clock.now(),
            stats: None,
            outlet: Arc::clone(outlet),
        };
        self.lock_links().insert(link, known);
        let mut broker = self.broker();
        broker.link_opened(link);
        broker.link_named(link, greeting.gateway, greeting.shard);
        link
    }

    /// A shard's connection is gone.
    pub(crate) fn close(&self, link: LinkId) {
        let mut broker = self.broker();
        broker.link_closed(self.clock.now(), link);
        self.wake(broker);
        self.lock_links().remove(&link);
    }

    /// Takes every whole frame in `bytes`; the result is how many bytes they were.
    pub(crate) fn receive(self: &Arc<Self>, link: LinkId, bytes: &[u8]) -> Result<usize, FrameError> {
        let now = self.clock.now();
        let mut rest = bytes;
        let mut held: Option<MutexGuard<'_, Broker>> = None;
        let result = loop {
            let (body, after) = match frame::split(rest) {
                Ok(Some(parts)) => parts,
                Ok(None) => break Ok(bytes.len() - rest.len()),
                Err(error) => break Err(error),
            };
            match frame::decode::<ToRelay<'_>>(body) {
                Ok(ToRelay::Verify { request, kind, token }) => {
                    drop(held.take());
                    self.verify(link, request, kind, token);
                }
                Ok(ToRelay::Proxy { request, event }) => {
                    drop(held.take());
                    self.ask_backend(link, request, &event);
                }
                Ok(ToRelay::Channels { request, user }) => {
                    drop(held.take());
                    self.ask_channels(link, request, user);
                }
                Ok(ToRelay::UnknownKey { kind }) => self.unknown[kind as usize].notify_one(),
                Ok(ToRelay::Stats(stats)) => {
                    drop(held.take());
                    self.lock_links().entry(link).and_modify(|known| known.stats = Some(stats));
                }
                Ok(message) => held.get_or_insert_with(|| self.broker()).receive(now, link, &message),
                Err(error) => break Err(error),
            }
            rest = after;
        };
        self.wake(held.unwrap_or_else(|| self.broker()));
        result
    }

    fn verify(&self, link: LinkId, request: u32, kind: Kind, token: &str) {
        let verifier = Arc::clone(&self.verifier.read().unwrap_or_else(PoisonError::into_inner));
        let answer = match verifier.verify(kind, token, self.clock.unix()) {
            Ok(claims) => {
                self.counters.verified();
                ToShard::Verified { request, claims }
            }
            Err(error) => {
                self.counters.token_refused();
                ToShard::Failed { request, code: error.code }
            }
        };
        self.broker().answer(link, &answer);
    }

    /// A link of this program's own: it is told to [`Line::wake`] and is no shard's.
    pub(crate) fn open_own(&self) -> LinkId {
        let link = LinkId(self.last_link.fetch_add(1, Ordering::Relaxed) + 1);
        self.broker().link_opened(link);
        link
    }

    /// Takes a message of such a link.
    pub(crate) fn say(&self, link: LinkId, message: &ToRelay<'_>) {
        let mut broker = self.broker();
        broker.receive(self.clock.now(), link, message);
        self.wake(broker);
    }

    /// What publications of a channel must be, or why there cannot be such a channel.
    pub(crate) fn format_of(&self, channel: &str) -> Result<DataFormat, ErrorCode> {
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.settings.channel(channel).map(|options| options.publication_data_format)
    }

    /// What is decided elsewhere.
    pub(crate) fn backend(&self) -> Backend {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).settings.backend.clone()
    }

    /// Who may use the server API.
    pub(crate) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives a shard an answer that is not the bus's.
    pub(crate) fn answer(&self, link: LinkId, message: &ToShard<'_>) {
        let mut broker = self.broker();
        broker.answer(link, message);
        self.wake(broker);
    }

    pub(crate) fn proxies(&self) -> Arc<Proxies> {
        Arc::clone(&self.proxies.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives what waits for a link to `out`, whose bytes have been written.
    pub(crate) fn transmit(&self, link: LinkId, out: &mut Vec<u8>) -> Transmit {
        let mut broker = self.broker();
        let transmit = broker.transmit(link, out);
        self.wake(broker);
        transmit
    }

    pub(crate) fn congested(&self, link: LinkId) -> bool {
        self.broker().congested(link)
    }

    /// Signs for a handshake, and counts how long that took.
    pub(crate) fn sign(&self, key: u32, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let began = self.clock.now();
        let signer = self.keyring.read().unwrap_or_else(PoisonError::into_inner).signer(key).cloned();
        let signed = signer.ok_or(Refusal::Key).and_then(|signer| signer.sign(scheme, message));
        match &signed {
            Ok(_) => self.counters.signed(self.clock.now().saturating_sub(began)),
            Err(refusal) => self.counters.sign_refused(*refusal),
        }
        signed
    }

    /// The settings, now and whenever they change.
    pub(crate) fn settings(&self) -> watch::Receiver<SettingsFrame> {
        self.settings.subscribe()
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.clock.now()
    }

    /// Every shard's connection.
    pub(crate) fn links(&self) -> Vec<Link> {
        self.lock_links().values().cloned().collect()
    }

    pub(crate) fn keys(&self) -> usize {
        self.keyring.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn bus(&self) -> (relay::Counters, relay::Levels) {
        let broker = self.broker();
        (broker.counters(), broker.levels())
    }

    /// From now on the broker's asks go there; those from before go first.
    pub(crate) fn connect(&self, bus: Arc<dyn Bus>) {
        let connected = self.bus.set(bus).is_ok();
        debug_assert!(connected, "a relay has one bus");
        self.wake(self.broker());
    }

    /// Takes what the bus says: `tells` is called once and hands on one after the other.
    pub fn tell(&self, tells: impl FnOnce(&mut dyn FnMut(&Tell<'_>))) {
        let now = self.clock.now();
        let mut broker = self.broker();
        tells(&mut |tell| broker.tell(now, tell));
        self.wake(broker);
    }

    /// The connections of the bus.
    pub(crate) fn bus_links(&self) -> Vec<Health> {
        self.bus.get().map(|bus| bus.links()).unwrap_or_default()
    }

    /// Sets what the bus has to say in `/metrics`.
    pub(crate) fn measure_bus(&self) {
        if let Some(bus) = self.bus.get() {
            bus.measure();
        }
    }

    pub(crate) fn broker(&self) -> MutexGuard<'_, Broker> {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_links(&self) -> MutexGuard<'_, BTreeMap<LinkId, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this relay is called among others: a random number of this run, and for people where it is.
fn name(checked: &Checked) -> Name {
    let mut uid = [0; 16];
    // Without a random source nothing else here would start.
    let _ = aws_lc_rs::rand::fill(&mut uid);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (host, port) = (host.trim(), checked.config.http.address.port());
    Name { uid: wire::ClientId::from_random(uid).to_string(), name: format!("{host}_{port}") }
}

/// Settings for the bus and for gateways, with certificates.
fn prepare(checked: &Checked, now: Duration, keyring: &mut Keyring) -> Result<Settings, ApplyError> {
    let certificates = keyring.replace(now, checked.config.certificate_files())?;
    Ok(Settings { certificates, ..checked.settings.clone() })
}

/// Appends the answer on a signing connection to `out`, as a frame.
pub(crate) fn encode_signature(signed: Result<&[u8], Refusal>, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let reply = signed.map_or(SignReply::Refused, SignReply::Signature);
    frame::encode(&reply, out)
}
