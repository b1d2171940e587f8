//! One edge as a test sees it: an adapter, what it was told, and questions with their answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use agent::Health;
use agent::redis::{Login, Place, Redis, Saying, Settings, Told};
use relay::bus::{Ask, EdgeId, Member, Tell, Ticket};
use relay::{Appearance, Kept};
use tests::wait;
use tokio::runtime::Runtime;
use wire::ClientId;

/// Nothing takes longer where it works.
pub(crate) const WITHIN: Duration = Duration::from_secs(20);
pub(crate) const KEPT: Kept =
    Kept { size: 5000, ttl: Duration::from_secs(300), meta_ttl: Duration::from_secs(3600) };
pub(crate) const SEEN: Appearance = Appearance { seen: true, announced: true };

/// What an adapter said, kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    Joined(String),
    Parted(String),
    PartedAll,
    MembersForgotten,
    Publication { channel: String, offset: u64, epoch: String, body: Vec<u8> },
    Presence { channel: String, joined: bool, user: String },
    Published { ticket: u64, offset: u64, epoch: String, duplicate: bool },
    Page { ticket: u64, offset: u64, epoch: String, publications: Vec<(u64, Vec<u8>)> },
    Members { ticket: u64, users: Vec<String> },
    Failed { ticket: u64 },
    Edges(Vec<EdgeId>),
    Message { from: EdgeId, body: Vec<u8> },
    Other,
}

impl Heard {
    fn of(tell: &Tell<'_>) -> Self {
        let text = str::to_owned;
        match tell {
            Tell::Joined { channel } => Self::Joined(text(channel)),
            Tell::Parted { channel } => Self::Parted(text(channel)),
            Tell::PartedAll => Self::PartedAll,
            Tell::MembersForgotten => Self::MembersForgotten,
            Tell::Publication { channel, offset, epoch, body } => Self::Publication {
                channel: text(channel),
                offset: *offset,
                epoch: text(epoch),
                body: body.to_vec(),
            },
            Tell::Presence { channel, joined, info } => {
                Self::Presence { channel: text(channel), joined: *joined, user: text(info.user) }
            }
            Tell::Published { ticket, offset, epoch, duplicate } => Self::Published {
                ticket: ticket.0,
                offset: *offset,
                epoch: text(epoch),
                duplicate: *duplicate,
            },
            Tell::Page { ticket, offset, epoch, publications } => {
                let publications =
                    publications.iter().map(|(offset, body)| (*offset, body.to_vec())).collect();
                Self::Page { ticket: ticket.0, offset: *offset, epoch: text(epoch), publications }
            }
            Tell::Members { ticket, members } => {
                let mut users: Vec<String> = members.iter().map(|info| text(info.user)).collect();
                users.sort();
                Self::Members { ticket: ticket.0, users }
            }
            Tell::Failed { ticket, .. } => Self::Failed { ticket: ticket.0 },
            Tell::Edges(edges) => Self::Edges(edges.to_vec()),
            Tell::Message { from, body } => Self::Message { from: *from, body: body.to_vec() },
            Tell::Count { .. } | Tell::Done { .. } => Self::Other,
        }
    }

    fn ticket(&self) -> Option<u64> {
        match self {
            Self::Published { ticket, .. }
            | Self::Page { ticket, .. }
            | Self::Members { ticket, .. }
            | Self::Failed { ticket } => Some(*ticket),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Sink(Mutex<Sender<Heard>>);

impl Told for Sink {
    fn tell(&self, saying: &mut Saying<'_>) {
        let sender = self.0.lock().unwrap();
        saying(&mut |tell| {
            // A test that is over listens no more.
            let _ = sender.send(Heard::of(tell));
        });
    }
}

/// An adapter and what it says.
pub(crate) struct Edge {
    pub(crate) redis: Redis,
    pub(crate) id: EdgeId,
    heard: Receiver<Heard>,
    /// Heard and not yet asked for.
    kept: Vec<Heard>,
    tickets: u64,
}

/// The runtime of all edges of this program.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    })
}

/// Settings with short times.
pub(crate) fn settings(place: Place) -> Settings {
    let wait_replicas = u32::from(!matches!(place, Place::Servers(_)));
    Settings {
        place,
        login: Login::default(),
        tls: None,
        database: 0,
        prefix: "test".to_owned(),
        wait_replicas,
        wait_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(2),
        answer_timeout: Duration::from_secs(5),
        topology_interval: Duration::from_secs(30),
        lease: Duration::from_millis(1500),
        presence_grace: Duration::from_millis(500),
        members_max: 1000,
    }
}

impl Edge {
    /// An edge that begins to connect.
    pub(crate) fn new(settings: Settings) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let (sender, heard) = channel();
        let _runtime = runtime().enter();
        let told = Arc::new(Sink(Mutex::new(sender)));
        let id = EdgeId(number);
        // Two programs on one server must not share leases or epochs.
        let seed = number.wrapping_mul(0x1234_5678_9abc_def1) ^ u64::from(std::process::id());
        let redis = Redis::start(settings, id, seed, told);
        Self { redis, id, heard, kept: Vec::new(), tickets: 0 }
    }

    /// An edge with all its connections.
    pub(crate) fn ready(settings: Settings) -> Self {
        let edge = Self::new(settings);
        edge.up();
        edge
    }

    /// Waits until all connections are up.
    pub(crate) fn up(&self) {
        self.links("all to be up", |links| !links.is_empty() && links.iter().all(|link| link.up));
    }

    /// Waits until the connections are as wanted.
    pub(crate) fn links(&self, what: &str, wanted: impl Fn(&[Health]) -> bool) -> Vec<Health> {
        wait::until(what, WITHIN, || Some(self.redis.links()).filter(|links| wanted(links)))
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.redis.links()))
    }

    /// A counter.
    pub(crate) fn total(&self, name: &str) -> u64 {
        let name = format!("headland_relay_redis_{name}_total");
        self.redis.totals().iter().find(|(metric, _)| *metric == name).map(|(_, total)| *total).unwrap()
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Waits for the first thing heard that `pick` takes; the others are kept, in order.
    pub(crate) fn until<T>(&mut self, what: &str, pick: impl Fn(&Heard) -> Option<T>) -> T {
        if let Some(at) = self.kept.iter().position(|heard| pick(heard).is_some()) {
            return pick(&self.kept.remove(at)).unwrap();
        }
        let deadline = wait::now() + WITHIN;
        loop {
            let left = deadline.saturating_duration_since(wait::now());
            let Ok(heard) = self.heard.recv_timeout(left) else {
                let last = format!("{:?}", &self.kept[self.kept.len().saturating_sub(9)..]);
                let last: String = last.chars().take(1500).collect();
                panic!("waited for {what}; kept {}, last {last}; {:?}", self.kept.len(), self.redis.links());
            };
            if let Some(found) = pick(&heard) {
                return found;
            }
            self.kept.push(heard);
        }
    }

    /// The answer to a ticket.
    pub(crate) fn answer(&mut self, ticket: Ticket) -> Heard {
        self.until("an answer", |heard| (heard.ticket() == Some(ticket.0)).then(|| heard.clone()))
    }

    /// Everything that came so far and was not asked for; leaves it.
    pub(crate) fn so_far(&mut self) -> &[Heard] {
        self.kept.extend(self.heard.try_iter());
        &self.kept
    }

    pub(crate) fn want(&self, channel: &str) {
        self.redis.ask(Ask::Want { channel: channel.into() });
    }

    /// Wants a channel and waits until it has joined.
    pub(crate) fn join(&mut self, channel: &str) {
        self.want(channel);
        self.joined(channel);
    }

    pub(crate) fn joined(&mut self, channel: &str) {
        self.until(&format!("{channel} to join"), |heard| {
            (*heard == Heard::Joined(channel.to_owned())).then_some(())
        });
    }

    /// Asks to publish.
    pub(crate) fn ask_publish(
        &mut self,
        channel: &str,
        body: &[u8],
        key: &str,
        kept: Option<Kept>,
    ) -> Ticket {
        let ticket = self.ticket();
        self.redis.ask(Ask::Publish {
            ticket,
            channel: channel.into(),
            body: body.to_vec(),
            key: key.into(),
            kept,
        });
        ticket
    }

    /// Publishes into history, and again while that fails; the place.
    pub(crate) fn publish(&mut self, channel: &str, body: &[u8], key: &str) -> (u64, String, bool) {
        let deadline = wait::now() + WITHIN;
        loop {
            let ticket = self.ask_publish(channel, body, key, Some(KEPT));
            match self.answer(ticket) {
                Heard::Published { offset, epoch, duplicate, .. } => return (offset, epoch, duplicate),
                other => assert!(wait::now() < deadline, "{other:?}; {:?}", self.redis.links()),
            }
            wait::pause(Duration::from_millis(20));
        }
    }

    pub(crate) fn ask_read(
        &mut self,
        channel: &str,
        since: Option<u64>,
        limit: usize,
        reverse: bool,
    ) -> Ticket {
        let ticket = self.ticket();
        self.redis.ask(Ask::Read { ticket, channel: channel.into(), since, limit, reverse, kept: KEPT });
        ticket
    }

    /// A page of history, asked for again while that fails.
    pub(crate) fn read(
        &mut self,
        channel: &str,
        since: Option<u64>,
        limit: usize,
        reverse: bool,
    ) -> (u64, String, Vec<(u64, Vec<u8>)>) {
        let deadline = wait::now() + WITHIN;
        loop {
            let ticket = self.ask_read(channel, since, limit, reverse);
            match self.answer(ticket) {
                Heard::Page { offset, epoch, publications, .. } => return (offset, epoch, publications),
                other => assert!(wait::now() < deadline, "{other:?}; {:?}", self.redis.links()),
            }
            wait::pause(Duration::from_millis(20));
        }
    }

    pub(crate) fn enter(&self, channel: &str, user: &str) {
        self.redis.ask(Ask::Enter { channel: channel.into(), member: member(user), appearance: SEEN });
    }

    pub(crate) fn leave(&self, channel: &str, user: &str) {
        self.redis.ask(Ask::Leave { channel: channel.into(), member: member(user), appearance: SEEN });
    }

    /// Who is there, when it is answered.
    pub(crate) fn present(&mut self, channel: &str) -> Option<Vec<String>> {
        let ticket = self.ticket();
        self.redis.ask(Ask::Presence { ticket, channel: channel.into() });
        match self.answer(ticket) {
            Heard::Members { users, .. } => Some(users),
            _ => None,
        }
    }

    /// Waits until these are there.
    pub(crate) fn until_present(&mut self, channel: &str, wanted: &[&str]) {
        let deadline = wait::now() + WITHIN;
        loop {
            let found = self.present(channel);
            if found.as_deref().is_some_and(|found| found == wanted) {
                return;
            }
            assert!(wait::now() < deadline, "{found:?} instead of {wanted:?}");
            wait::pause(Duration::from_millis(20));
        }
    }

    /// The next publication of a channel: its offset and body.
    pub(crate) fn publication(&mut self, channel: &str) -> (u64, Vec<u8>) {
        self.until(&format!("a publication of {channel}"), |heard| match heard {
            Heard::Publication { channel: found, offset, body, .. } if found == channel => {
                Some((*offset, body.clone()))
            }
            _ => None,
        })
    }
}

/// A client of a user whose id follows from its name.
pub(crate) fn member(user: &str) -> Member {
    let mut id = [0; 16];
    user.bytes().take(16).enumerate().for_each(|(at, byte)| id[at] = byte);
    Member {
        client: ClientId(id),
        user: user.split('/').next().unwrap_or_default().into(),
        conn_info: b"{}".as_slice().into(),
        chan_info: [].into(),
    }
}
