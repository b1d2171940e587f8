//! The mesh: relays that keep links to each other over the private network and need no other server.
//!
//! Owns tasks, sockets and files around [`relay::mesh::Mesh`], which decides everything. Never blocks the relay: its asks are queued here.

mod book;
mod dial;
mod link;
mod proof;
mod tls;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{counter, gauge};
use relay::bus::{Ask, EdgeId, Tell, Ticket};
use relay::mesh::{Mesh, PeerState, Stranger, Told};
use relay::{Event, LinkId, Transmit};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time;
use wire::frame::FrameError;
use wire::settings::Settings;

use super::{Bus, Health};
use crate::config::{Checked, MeshError};
use crate::limits::{MESH_ASKS_BYTES_MAX, TICK};
use crate::log::log;
use crate::state::Relay;
pub use book::BookError;
pub(crate) use book::{Book, Entry, is_address};
pub(crate) use tls::Identity;
pub use tls::IdentityError;

/// What an operator says of this edge and the others.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) book: Book,
    pub(crate) identity: Identity,
    /// Public addresses are dialed, too.
    pub(crate) public: bool,
}

/// The mesh of this edge.
#[derive(Debug)]
pub(crate) struct MeshBus {
    relay: Arc<Relay>,
    /// Taken before the relay's own lock, never after it.
    mesh: Mutex<Mesh>,
    asks: Mutex<Asks>,
    asked: Notify,
    handles: Mutex<BTreeMap<LinkId, Arc<Handle>>>,
    book: Book,
    identity: Identity,
    public: bool,
    run: u64,
}

/// What the broker wants, until the mesh has time.
#[derive(Debug, Default)]
struct Asks {
    queue: VecDeque<Ask>,
    bytes: usize,
    /// Those that had no room.
    refused: Vec<Ticket>,
}

/// What wakes the two halves of a link.
#[derive(Debug, Default)]
pub(super) struct Handle {
    /// There is something to write.
    pub(super) ready: Notify,
    /// It is over.
    pub(super) closed: Notify,
}

/// Begins to listen and to dial.
pub(crate) fn start(
    checked: &Checked,
    relay: &Arc<Relay>,
    numbers: (u64, u64),
) -> Result<Arc<dyn Bus>, MeshError> {
    let config = &checked.config.bus.mesh;
    let prepared = config.prepare()?;
    let listen = || {
        let listener = std::net::TcpListener::bind(config.address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    let listener = listen().map_err(|error| MeshError::Listen(config.address, error))?;
    log!("edge {} of {} on {}", config.name, prepared.book.list().names().len(), config.address);
    let bus = MeshBus::new(relay, &checked.settings, &checked.limits, prepared, numbers);
    tokio::spawn(Arc::clone(&bus).serve(listener));
    Ok(bus)
}

impl MeshBus {
    /// The edge, not yet connected to anybody. `numbers` come from a random source.
    pub(crate) fn new(
        relay: &Arc<Relay>,
        settings: &Settings,
        limits: &relay::Limits,
        prepared: Prepared,
        numbers: (u64, u64),
    ) -> Arc<Self> {
        let Prepared { book, identity, public } = prepared;
        let mesh = Mesh::new(relay.uptime(), book.me(), book.list(), settings, limits, numbers);
        Arc::new(Self {
            relay: Arc::clone(relay),
            mesh: Mutex::new(mesh),
            asks: Mutex::default(),
            asked: Notify::new(),
            handles: Mutex::default(),
            book,
            identity,
            public,
            run: numbers.0,
        })
    }

    /// Serves until the task is dropped: asks, time, settings, the list, and links both ways.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        tokio::join!(
            self.asking(),
            self.ticking(),
            self.settings(),
            watch::watch(&self),
            dial::accept(&self, listener),
            async { dial::dial_all(&self) },
        );
    }

    async fn asking(&self) {
        loop {
            self.asked.notified().await;
            let Asks { queue, refused, .. } = std::mem::take(&mut *lock(&self.asks));
            self.act(|mesh, now, told| {
                mesh.ask_all(now, queue.into_iter(), told);
                for ticket in refused {
                    told(Tell::Failed { ticket, code: wire::code::INTERNAL });
                }
            });
        }
    }

    async fn ticking(&self) {
        let mut ticks = time::interval(TICK);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.act(|mesh, now, told| mesh.expire(now, told));
        }
    }

    /// Follows the relay's settings.
    async fn settings(&self) {
        let mut changes = self.relay.settings();
        while changes.changed().await.is_ok() {
            let frame = Arc::clone(&changes.borrow_and_update());
            let decoded =
                wire::frame::split(&frame).ok().flatten().map(|(body, _)| wire::frame::decode(body));
            if let Some(Ok(settings)) = decoded {
                self.act(|mesh, now, told| mesh.configure(now, &settings, told));
            }
        }
    }

    /// Takes another list of edges.
    pub(super) fn change(&self) {
        let list = self.book.list();
        self.act(|mesh, now, told| mesh.change(now, list, told));
    }

    pub(super) fn open(&self, name: &str, edge: EdgeId) -> Result<(LinkId, Arc<Handle>), Stranger> {
        let handle = Arc::new(Handle::default());
        let opened = self.act(|mesh, now, told| {
            let link = mesh.opened(now, name, edge, told)?;
            // Before the first event of it is looked at.
            lock(&self.handles).insert(link, Arc::clone(&handle));
            Ok(link)
        });
        opened.map(|link| (link, handle))
    }

    pub(super) fn close(&self, link: LinkId) {
        self.act(|mesh, now, told| mesh.closed(now, link, told));
        lock(&self.handles).remove(&link);
    }

    pub(super) fn receive(&self, link: LinkId, bytes: &[u8]) -> Result<usize, FrameError> {
        self.act(|mesh, now, told| mesh.receive(now, link, bytes, told))
    }

    pub(super) fn transmit(&self, link: LinkId, out: &mut Vec<u8>) -> Transmit {
        let mut mesh = lock(&self.mesh);
        let transmit = mesh.transmit(self.relay.uptime(), link, out);
        self.wake(mesh);
        transmit
    }

    fn act<R>(&self, act: impl FnOnce(&mut Mesh, Duration, &mut Told<'_>) -> R) -> R {
        let mut mesh = lock(&self.mesh);
        let (now, mut act, mut result) = (self.relay.uptime(), Some(act), None);
        self.relay.tell(|tell| {
            if let Some(act) = act.take() {
                result = Some(act(&mut mesh, now, &mut |told| tell(&told)));
            }
        });
        self.wake(mesh);
        result.expect("invariant: the relay calls what it is given once")
    }

    fn wake(&self, mut mesh: MutexGuard<'_, Mesh>) {
        let events: Vec<Event> = std::iter::from_fn(|| mesh.event()).collect();
        drop(mesh);
        let handles = lock(&self.handles);
        for event in events {
            match event {
                Event::Ready(link) => handles.get(&link).map(|handle| handle.ready.notify_one()),
                Event::Close(link) => handles.get(&link).map(|handle| handle.closed.notify_one()),
            };
        }
    }
}

impl Bus for MeshBus {
    fn ask(&self, ask: Ask) {
        let mut asks = lock(&self.asks);
        if let Ask::Publish { ticket, body, .. } = &ask {
            if asks.bytes + body.len() > MESH_ASKS_BYTES_MAX {
                asks.refused.push(*ticket);
                self.asked.notify_one();
                return;
            }
            asks.bytes += body.len();
        }
        // The rest is as much as the broker has channels, members and open questions.
        asks.queue.push_back(ask);
        self.asked.notify_one();
    }

    fn measure(&self) {
        let (peers, counters, (home, levels)) = {
            let mesh = lock(&self.mesh);
            (mesh.peers(), mesh.counters(), mesh.home())
        };
        for peer in peers {
            let gauges = [
                ("headland_mesh_link_up", u64::from(peer.state == PeerState::Up)),
                ("headland_mesh_link_other_list", u64::from(peer.state == PeerState::OtherList)),
                ("headland_mesh_wanted_channels", peer.wanted.0 as u64),
                ("headland_mesh_joined_channels", peer.wanted.1 as u64),
                ("headland_mesh_table_version_told", peer.told.0),
                ("headland_mesh_table_version_placed", peer.told.1),
                ("headland_mesh_served_channels", peer.serves.0 as u64),
                ("headland_mesh_open_questions", peer.questions as u64),
                ("headland_mesh_leaving_streams", peer.leaving as u64),
            ];
            for (name, value) in gauges {
                gauge!(name, "edge" => peer.name.clone()).set(value as f64);
            }
        }
        let totals = [
            ("headland_mesh_links_opened_total", counters.links_opened),
            ("headland_mesh_links_lost_total", counters.links_lost),
            ("headland_mesh_links_silent_total", counters.links_silent),
            ("headland_mesh_links_overflowed_total", counters.links_overflowed),
            ("headland_mesh_published_total", counters.published),
            ("headland_mesh_forwarded_total", counters.forwarded),
            ("headland_mesh_received_total", counters.received),
            ("headland_mesh_unwanted_total", counters.unwanted),
            ("headland_mesh_unreachable_total", counters.unreachable),
            ("headland_mesh_congested_total", counters.congested),
            ("headland_mesh_refused_total", counters.refused),
            ("headland_mesh_stale_total", counters.stale),
            ("headland_mesh_tables_again_total", counters.tables_again),
            ("headland_mesh_messages_total", counters.messages),
            ("headland_mesh_messages_lost_total", counters.messages_lost),
            ("headland_mesh_streams_arrived_total", counters.streams_arrived),
            ("headland_mesh_streams_left_total", counters.streams_left),
            ("headland_mesh_strangers_total", self.book.strangers()),
            ("headland_mesh_home_publications_total", home.publications),
            ("headland_mesh_home_deliveries_total", home.deliveries),
            ("headland_mesh_home_gaps_total", home.gaps),
            ("headland_mesh_home_insufficient_total", home.insufficient),
            ("headland_mesh_home_lost_total", home.lost),
        ];
        for (name, value) in totals {
            counter!(name).absolute(value);
        }
        let now = [
            ("headland_mesh_home_channels", levels.channels),
            ("headland_mesh_home_history_bytes", levels.history_bytes),
            ("headland_mesh_home_presence_members", levels.members),
            ("headland_mesh_home_queued_bytes", levels.queued_bytes),
        ];
        for (name, value) in now {
            gauge!(name).set(value as f64);
        }
    }

    fn links(&self) -> Vec<Health> {
        let peers = lock(&self.mesh).peers();
        let health = peers.into_iter().map(|peer| {
            let error = match peer.state {
                PeerState::Up => None,
                PeerState::OtherList => {
                    Some("it has another list of edges: give every edge the same".to_owned())
                }
                PeerState::Down => {
                    Some(self.book.error(&peer.name).unwrap_or_else(|| "not connected yet".to_owned()))
                }
            };
            Health { name: peer.name, up: peer.state == PeerState::Up, since: peer.since, error }
        });
        health.collect()
    }
}

/// One line when a link has ended, and what the health says until the next.
pub(super) fn note(bus: &MeshBus, name: &str, error: &str) {
    if bus.book.note(name, error) {
        log!("the link to edge {name}: {error}");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
