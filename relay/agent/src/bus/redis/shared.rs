//! What the tasks of one adapter share, and the ways that asks take from here to a connection.
//!
//! Owns the map from partitions to nodes, and what is held while that changes. Locks are held for moments, never across an await.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use redis::{Cmd, Value};
use relay::bus::{Ask, EdgeId, Tell, Ticket};
use relay::{Backoff, Epoch, Epochs};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{self, Instant};
use wire::code;

use super::Told;
use super::answer::{self, Answer};
use super::counters::Counters;
use super::edges::Edges;
use super::handover::{Batch, Handover, Item};
use super::keys::Keys;
use super::lane::{Inbox, Job, What};
use super::limits::{HELD_JOBS_MAX, HELD_PAUSE};
use super::members::Members;
use super::node::Node;
use super::scripts::Scripts;
use super::settings::Settings;
use super::topics::{Session, Topics};
use super::trouble::{Line, Said, Trouble};

/// An adapter.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) keys: Arc<Keys>,
    pub(super) scripts: Scripts,
    pub(super) edge: EdgeId,
    pub(super) handover: Handover,
    pub(super) counters: Counters,
    pub(super) said: Said,
    pub(super) edges: Edges,
    pub(super) members: Members,
    pub(super) nudged: Notify,
    told: Arc<dyn Told>,
    topics: Mutex<Topics>,
    /// By partition.
    map: RwLock<Vec<Option<Arc<Node>>>>,
    held: Mutex<Vec<VecDeque<Job>>>,
    held_count: AtomicUsize,
    /// What cannot be answered where it was asked, under the broker's lock. The broker bounds its tickets.
    refusals: mpsc::UnboundedSender<Vec<Ticket>>,
    epochs: Mutex<Epochs>,
    numbers: AtomicU64,
}

impl Shared {
    /// Without any connection yet. `seed` comes from a random source.
    pub(super) fn new(settings: Settings, edge: EdgeId, seed: u64, told: Arc<dyn Told>) -> Arc<Self> {
        let keys = Arc::new(Keys::new(&settings.prefix, settings.database, settings.cluster()));
        let partitions = keys.partitions();
        let (refusals, refused) = mpsc::unbounded_channel();
        tokio::spawn(refuse(refused, Arc::clone(&told)));
        Arc::new(Self {
            handover: Handover::start(Arc::clone(&keys), edge, Arc::clone(&told)),
            scripts: Scripts::new(),
            edge,
            counters: Counters::default(),
            said: Said::default(),
            edges: Edges::new(seed),
            members: Members::default(),
            nudged: Notify::new(),
            told,
            topics: Mutex::new(Topics::new(partitions)),
            map: RwLock::new(vec![None; partitions]),
            held: Mutex::new((0..partitions).map(|_| VecDeque::new()).collect()),
            held_count: AtomicUsize::new(0),
            refusals,
            epochs: Mutex::new(Epochs::new(seed)),
            numbers: AtomicU64::new(seed | 1),
            keys,
            settings,
        })
    }

    /// A number that no other part of this adapter has.
    fn number(&self) -> u64 {
        self.numbers.fetch_add(2, Ordering::Relaxed)
    }

    /// For a task's own chance.
    pub(super) fn seed(&self) -> u64 {
        self.number().wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// A session that was not there before.
    pub(super) fn session(&self) -> Session {
        Session(self.number())
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner).draw()
    }

    /// What publishes.
    pub(super) const fn verb(&self) -> &'static str {
        if self.settings.cluster() { "SPUBLISH" } else { "PUBLISH" }
    }

    pub(super) fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node of each partition.
    pub(super) fn nodes(&self) -> Vec<Option<Arc<Node>>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_nodes(&self, nodes: Vec<Option<Arc<Node>>>) {
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = nodes;
    }

    pub(super) fn node(&self, partition: usize) -> Option<Arc<Node>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).get(partition)?.clone()
    }

    /// Gives a node's new session its partitions.
    pub(super) fn attach(&self, node: &Arc<Node>) {
        for (partition, owner) in self.nodes().iter().enumerate() {
            if owner.as_ref().is_some_and(|owner| Arc::ptr_eq(owner, node)) {
                self.assign(partition, node.session());
            }
        }
    }

    /// Has the servers' places looked at again.
    pub(super) fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// A connection has ended: says so and waits until it is to be made again; `false` when it is not, since nobody uses its node.
    pub(super) async fn again(
        &self,
        line: &Line,
        trouble: &Trouble,
        backoff: &mut Backoff,
        unused: &mut watch::Receiver<bool>,
    ) -> bool {
        if *trouble == Trouble::Unused {
            self.said.forget(&line.health().name);
            return false;
        }
        self.failed(line, trouble);
        let pause = backoff.failed();
        tokio::select! {
            () = time::sleep(pause) => true,
            _ = unused.wait_for(|unused| *unused) => false,
        }
    }

    fn failed(&self, line: &Line, trouble: &Trouble) {
        self.counters.lost(1);
        if trouble.refusal() {
            self.counters.refused(1);
        }
        line.down(trouble, &self.said);
        self.nudge();
    }

    /// Redis may have lost who is present: all are entered again, under another lease, so that those it did not lose and who have
    /// left meanwhile go with the old one.
    pub(super) fn forgot(&self) {
        self.counters.forgot(1);
        self.members.forget();
    }

    /// Sends something for the broker on its way.
    pub(super) fn ask(&self, partition: usize, ask: Ask) {
        let until = Instant::now() + self.settings.answer_timeout;
        self.route(Job { partition, what: What::Ask(ask), until, asking: false });
    }

    /// Has something done for the adapter itself, and waits. An error is Redis's last word; `None`: it could not be done now, or that
    /// is not known.
    pub(super) async fn call(&self, partition: usize, cmd: Cmd) -> Option<Value> {
        let (caller, answer) = oneshot::channel();
        let until = Instant::now() + self.settings.answer_timeout;
        self.route(Job { partition, what: What::Call(Box::new(cmd), caller), until, asking: false });
        answer.await.ok()
    }

    fn route(&self, job: Job) {
        if self.held_count.load(Ordering::Acquire) > 0 {
            let mut held = self.held();
            if !held[job.partition].is_empty() {
                return self.refuse(self.keep(&mut held, job).as_slice());
            }
        }
        self.forward(job);
    }

    /// To the connection that has the partition, if there is one.
    fn forward(&self, job: Job) {
        let Some(node) = self.node(job.partition) else { return self.refuse(&[job]) };
        self.refuse(inbox(&node, &job).push(job).as_slice());
    }

    /// Keeps a job that Redis did not do because its partition is just moving.
    pub(super) fn hold(&self, job: Job) {
        self.counters.held(1);
        let back = self.keep(&mut self.held(), Job { asking: false, ..job });
        self.refuse(back.as_slice());
    }

    /// Gives the job back when it is too late for it, or too much is held.
    fn keep(&self, held: &mut [VecDeque<Job>], job: Job) -> Option<Job> {
        if job.until <= Instant::now() || self.held_count.load(Ordering::Acquire) >= HELD_JOBS_MAX {
            return Some(job);
        }
        self.held_count.fetch_add(1, Ordering::AcqRel);
        held[job.partition].push_back(job);
        None
    }

    /// Sends what is held again, until the end of the program.
    pub(super) async fn release(self: Arc<Self>) {
        loop {
            time::sleep(HELD_PAUSE).await;
            if self.held_count.load(Ordering::Acquire) == 0 {
                continue;
            }
            let mut held = self.held();
            let waiting: Vec<VecDeque<Job>> = held.iter_mut().map(std::mem::take).collect();
            for job in waiting.into_iter().flatten() {
                self.forward(job);
                self.held_count.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Sends a job to where its slot is going: `place` is "slot host:port".
    pub(super) fn redirect(&self, job: Job, place: &str) {
        let address = place.rsplit(' ').next().unwrap_or_default();
        let node = self.nodes().into_iter().flatten().find(|node| node.address == address);
        let Some(node) = node else {
            self.nudge();
            return self.hold(job);
        };
        self.counters.held(1);
        self.refuse(inbox(&node, &job).push(Job { asking: true, ..job }).as_slice());
    }

    fn held(&self) -> MutexGuard<'_, Vec<VecDeque<Job>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These were not done, or that is not known, and are about to be dropped: so callers see that nobody answers.
    pub(super) fn refuse(&self, jobs: &[Job]) {
        let tickets = jobs.iter().filter_map(|job| match &job.what {
            What::Ask(ask) => answer::ticket(ask),
            What::Call(..) => None,
        });
        let tickets: Vec<Ticket> = tickets.collect();
        if !tickets.is_empty() {
            let _ = self.refusals.send(tickets);
        }
    }

    /// The same for an ask that went nowhere.
    pub(super) fn refuse_ask(&self, ask: &Ask) {
        if let Some(ticket) = answer::ticket(ask) {
            let _ = self.refusals.send(vec![ticket]);
        }
    }

    /// Tells answers at once; never under the broker's lock.
    pub(super) fn answer(&self, answers: &[Answer]) {
        if !answers.is_empty() {
            self.told.tell(&mut |tell| answers.iter().for_each(|answer| answer.tell(tell)));
        }
    }

    /// The same for what is no ask's answer alone.
    pub(super) fn tell(&self, said: &Tell<'_>) {
        self.told.tell(&mut |tell| tell(said));
    }

    /// Gives a partition to a session, or to none, and tells that what had joined has parted: in one piece, so that no word of
    /// another session comes between.
    pub(super) fn assign(&self, partition: usize, session: Option<Session>) {
        let mut topics = self.topics();
        let parted = topics.assign(partition, session);
        self.handover.insist(parted.into_iter().map(Item::Parted).collect());
    }

    /// A session is over: the same for all that it had.
    pub(super) fn session_lost(&self, session: Session) {
        let mut topics = self.topics();
        let parted = topics.lost(session);
        let items = match self.settings.cluster() || parted.is_empty() {
            true => parted.into_iter().map(Item::Parted).collect(),
            false => vec![Item::PartedAll],
        };
        self.handover.insist(items);
    }

    /// Hands on what was read, unless there is no room. What is said of a channel must still be so: its partition may have moved
    /// since it was read.
    pub(super) fn offer(&self, mut batch: Batch) -> Result<(), Batch> {
        if batch.items.iter().all(|item| matches!(item, Item::Message { .. })) {
            return self.handover.offer(batch);
        }
        let topics = self.topics();
        let joined = |channel: &str| topics.has_joined(self.keys.partition(channel), channel);
        batch.items.retain(|item| match item {
            Item::Joined(channel) | Item::Again(channel) => joined(channel),
            Item::Parted(channel) => !joined(channel),
            Item::Message { .. } | Item::PartedAll | Item::MembersForgotten => true,
        });
        self.handover.offer(batch)
    }
}

fn inbox<'a>(node: &'a Node, job: &Job) -> &'a Inbox {
    match &job.what {
        What::Ask(Ask::Publish { .. } | Ask::Remove { .. } | Ask::Renew { .. } | Ask::Send { .. }) => {
            &node.writes
        }
        _ => &node.reads,
    }
}

/// Tells what was refused where it could not be told.
async fn refuse(mut refused: mpsc::UnboundedReceiver<Vec<Ticket>>, told: Arc<dyn Told>) {
    while let Some(tickets) = refused.recv().await {
        told.tell(&mut |tell| {
            tickets.iter().for_each(|ticket| tell(&Tell::Failed { ticket: *ticket, code: code::INTERNAL }));
        });
    }
}
