//! Group commit: messages that wait together are stored together, by one transaction.
//!
//! Owns the queues before the databases, each with a bound, and what is known of a database that is away: nothing is accepted for it,
//! nothing kept. Never answers before the commit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::limits::{
    BATCH_MAX, MOVING_PATIENCE, MOVING_PAUSE, PROBE_FIRST, PROBE_LAST, QUEUE_BYTES_MAX, QUEUE_MAX,
};
use super::route::{Router, mix};
use super::{Post, Posted, Store, StoreError};

/// The way of every new message into its database.
#[derive(Debug)]
pub struct Writers {
    router: Arc<Router>,
    /// By [`key`] of the store.
    gates: HashMap<usize, Arc<Gate>>,
}

/// Before one database.
#[derive(Debug)]
struct Gate {
    store: Arc<dyn Store>,
    lanes: Vec<mpsc::Sender<Job>>,
    /// Bytes of what waits and is being written.
    bytes: AtomicUsize,
    /// Messages that were stored, and transactions that they took.
    messages: AtomicU64,
    transactions: AtomicU64,
    /// Why nothing is accepted, while the database is known to take none.
    shut: Mutex<Option<StoreError>>,
}

#[derive(Debug)]
struct Job {
    post: Post,
    answer: oneshot::Sender<Result<Posted, StoreError>>,
}

impl Writers {
    /// Starts a task for each lane of each database, on the runtime of the caller; they end with the writers.
    #[must_use]
    pub fn new(router: Arc<Router>) -> Self {
        let mut gates = HashMap::new();
        for store in router.stores() {
            gates.entry(key(store)).or_insert_with(|| Gate::open(store));
        }
        Self { router, gates }
    }

    /// Stores a message and answers when it is on the disk. `Busy`: there is no room to wait. `Away`, `Full`, `ReadOnly`: at once, where
    /// that is known. Waits for a workspace that is being moved, for a bounded time. Once begun it goes on, whether or not somebody
    /// waits for the answer.
    pub async fn post(&self, post: Post) -> Result<Posted, StoreError> {
        let since = Instant::now();
        loop {
            let store = self.router.shard(post.workspace, post.channel).await?;
            let gate = self.gates.get(&key(&store)).ok_or(StoreError::Missing)?;
            match gate.post(post.clone()).await {
                Err(StoreError::Moving) if since.elapsed() < MOVING_PATIENCE => {
                    self.router.forget(post.workspace);
                    tokio::time::sleep(MOVING_PAUSE).await;
                }
                told => return told,
            }
        }
    }

    /// Messages stored since the start, the transactions that they took, and bytes of what waits, over all databases.
    #[must_use]
    pub fn levels(&self) -> (u64, u64, u64) {
        let all = self.gates.values().map(|gate| {
            let bytes = gate.bytes.load(Ordering::Relaxed) as u64;
            (gate.messages.load(Ordering::Relaxed), gate.transactions.load(Ordering::Relaxed), bytes)
        });
        all.fold((0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2))
    }

    /// Why posts to some database are refused just now, if they are.
    #[must_use]
    pub fn refusal(&self) -> Option<StoreError> {
        self.gates.values().find_map(|gate| gate.refusal())
    }
}

impl Gate {
    fn open(store: &Arc<dyn Store>) -> Arc<Self> {
        let (lanes, queues): (Vec<_>, Vec<_>) =
            (0..store.lanes().max(1)).map(|_| mpsc::channel(QUEUE_MAX)).unzip();
        let gate = Arc::new(Self {
            store: Arc::clone(store),
            lanes,
            bytes: AtomicUsize::new(0),
            messages: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
            shut: Mutex::default(),
        });
        for queue in queues {
            // A lane must not keep the gate, whose end is the lane's.
            tokio::spawn(Lane { gate: Arc::downgrade(&gate), queue }.run());
        }
        gate
    }

    async fn post(&self, post: Post) -> Result<Posted, StoreError> {
        if let Some(why) = self.refusal() {
            return Err(why);
        }
        // A channel has its lane, so that two transactions never wait for one another's channels.
        let lane = mix(post.channel.0.cast_unsigned()) >> 32;
        let lane = usize::try_from(lane).unwrap_or_default() % self.lanes.len();
        let size = size(&post);
        if self.bytes.fetch_add(size, Ordering::Relaxed) + size > QUEUE_BYTES_MAX {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            return Err(StoreError::Busy);
        }
        let (answer, answered) = oneshot::channel();
        if self.lanes[lane].try_send(Job { post, answer }).is_err() {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            return Err(StoreError::Busy);
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::Away("the node ends".to_owned())))
    }

    fn refusal(&self) -> Option<StoreError> {
        self.shut.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Refuses from now on, and asks the database now and then whether that is over.
    fn shut(self: &Arc<Self>, why: StoreError) {
        let mut shut = self.shut.lock().unwrap_or_else(PoisonError::into_inner);
        if shut.replace(why).is_none() {
            tokio::spawn(probe(Arc::downgrade(self)));
        }
    }
}

/// One task that writes.
struct Lane {
    gate: std::sync::Weak<Gate>,
    queue: mpsc::Receiver<Job>,
}

impl Lane {
    async fn run(mut self) {
        let mut jobs = Vec::with_capacity(BATCH_MAX);
        while self.queue.recv_many(&mut jobs, BATCH_MAX).await > 0 {
            let Some(gate) = self.gate.upgrade() else { return };
            let (posts, answers): (Vec<Post>, Vec<_>) =
                jobs.drain(..).map(|job| (job.post, job.answer)).unzip();
            let told = match gate.refusal() {
                Some(why) => vec![Err(why); posts.len()],
                None => write(&gate, &posts).await,
            };
            gate.bytes.fetch_sub(posts.iter().map(size).sum(), Ordering::Relaxed);
            let stored = told.iter().filter(|told| told.is_ok()).count() as u64;
            gate.messages.fetch_add(stored, Ordering::Relaxed);
            gate.transactions.fetch_add(u64::from(stored > 0), Ordering::Relaxed);
            for (answer, told) in answers.into_iter().zip(told) {
                // Whoever asked may be gone.
                let _ = answer.send(told);
            }
        }
    }
}

async fn write(gate: &Arc<Gate>, posts: &[Post]) -> Vec<Result<Posted, StoreError>> {
    match gate.store.post(posts).await {
        Ok(told) => told,
        Err(why) if shuts(&why) => {
            gate.shut(why.clone());
            vec![Err(why); posts.len()]
        }
        Err(why) if posts.len() == 1 => vec![Err(why)],
        // One of them is what the database refuses: the others are stored.
        Err(_) => {
            let mut told = Vec::with_capacity(posts.len());
            for post in posts {
                let one = match gate.refusal() {
                    Some(why) => Err(why),
                    None => gate
                        .store
                        .post(std::slice::from_ref(post))
                        .await
                        .and_then(|mut told| told.pop().unwrap_or(Err(StoreError::Missing))),
                };
                if let Err(why) = &one
                    && shuts(why)
                {
                    gate.shut(why.clone());
                }
                told.push(one);
            }
            told
        }
    }
}

/// Whether an error is of the database as a whole.
fn shuts(why: &StoreError) -> bool {
    matches!(why, StoreError::Away(_) | StoreError::Full | StoreError::ReadOnly(_))
}

/// Opens the gate once the database is well.
async fn probe(gate: std::sync::Weak<Gate>) {
    let mut pause = PROBE_FIRST;
    loop {
        tokio::time::sleep(pause).await;
        let Some(gate) = gate.upgrade() else { return };
        let health = gate.store.health().await;
        *gate.shut.lock().unwrap_or_else(PoisonError::into_inner) = health.clone().err();
        if health.is_ok() {
            return;
        }
        pause = (pause * 2).min(PROBE_LAST);
    }
}

fn size(post: &Post) -> usize {
    post.body.get().len() + post.key.len() + post.media.len() + size_of::<Job>()
}

/// What a store is known by: two names of one database are two stores.
fn key(store: &Arc<dyn Store>) -> usize {
    Arc::as_ptr(store).cast::<()>() as usize
}
