//! One connection for commands: what waits for it, what is on its way, what came back.
//!
//! Owns order (jobs are sent as they came), pipelining and deadlines. A job is sent twice only if Redis said that it did not do it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::{FuturesOrdered, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, ServerError, ServerErrorKind, Value};
use relay::Backoff;
use relay::bus::Ask;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{self, Instant};

use super::answer::Answer;
use super::limits::{
    BATCH_BYTES_MAX, BATCH_JOBS_MAX, BATCHES_MAX, INBOX_BYTES_MAX, INBOX_JOBS_MAX, PING_AFTER,
    RECONNECT_PAUSE,
};
use super::node::Node;
use super::shared::Shared;
use super::trouble::{Line, Trouble};
use super::{answer, dial};

/// Something to be done over the connection.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) partition: usize,
    pub(super) what: What,
    /// Past it, it is not tried again.
    pub(super) until: Instant,
    /// Sent where the partition is going to be.
    pub(super) asking: bool,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum What {
    /// For the broker.
    Ask(Ask),
    /// For the adapter itself. An error is Redis's last word; no answer: it could not be done now, or that is not known.
    Call(Box<Cmd>, oneshot::Sender<Value>),
}

/// What waits for a connection.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    open: bool,
}

impl Job {
    fn bytes(&self) -> usize {
        match &self.what {
            What::Ask(Ask::Publish { body, .. } | Ask::Send { body, .. }) => body.len() + 256,
            _ => 256,
        }
    }
}

impl Inbox {
    /// Takes a job, or gives it back: there is no connection, or too much waits for it.
    pub(super) fn push(&self, job: Job) -> Option<Job> {
        let mut queue = self.lock();
        let bytes = queue.bytes + job.bytes();
        if !queue.open || queue.jobs.len() >= INBOX_JOBS_MAX || bytes > INBOX_BYTES_MAX {
            return Some(job);
        }
        queue.bytes = bytes;
        queue.jobs.push_back(job);
        drop(queue);
        self.bell.notify_one();
        None
    }

    /// Waits until there is something, and takes as much as is sent at once.
    async fn batch(&self) -> Vec<Job> {
        loop {
            let batch = self.take();
            if !batch.is_empty() {
                return batch;
            }
            self.bell.notified().await;
        }
    }

    fn take(&self) -> Vec<Job> {
        let mut queue = self.lock();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_JOBS_MAX && bytes < BATCH_BYTES_MAX {
            let Some(job) = queue.jobs.pop_front() else { break };
            bytes += job.bytes();
            batch.push(job);
        }
        queue.bytes -= bytes;
        batch
    }

    fn open(&self) {
        self.lock().open = true;
    }

    /// Takes nothing more; what waited.
    fn close(&self) -> Vec<Job> {
        let mut queue = self.lock();
        (queue.open, queue.bytes) = (false, 0);
        queue.jobs.drain(..).collect()
    }

    /// Whether there is a connection.
    pub(super) fn is_open(&self) -> bool {
        self.lock().open
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a connection until the node is no longer used. At the end nothing is left unanswered.
pub(super) async fn keep(
    shared: Arc<Shared>,
    node: Arc<Node>,
    inbox: Arc<Inbox>,
    line: Arc<Line>,
    mut unused: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::new(RECONNECT_PAUSE.0, RECONNECT_PAUSE.1, shared.seed());
    loop {
        let trouble = tokio::select! {
            trouble = session(&shared, &node, &inbox, &line, &mut backoff) => trouble,
            _ = unused.wait_for(|unused| *unused) => Trouble::Unused,
        };
        shared.refuse(&inbox.close());
        if !shared.again(&line, &trouble, &mut backoff, &mut unused).await {
            return;
        }
    }
}

/// One connection, from its making to its end.
async fn session(
    shared: &Arc<Shared>,
    node: &Node,
    inbox: &Inbox,
    line: &Line,
    backoff: &mut Backoff,
) -> Trouble {
    let (mut commands, server) = match dial::server(&shared.settings, &node.address).await {
        Ok(made) => made,
        Err(trouble) => return trouble,
    };
    if let Err(trouble) = load(shared, &mut commands.connection, &node.address).await {
        return trouble;
    }
    node.seen(shared, &server);
    backoff.worked();
    line.up(&shared.said);
    inbox.open();
    let mut flying = FuturesOrdered::new();
    let trouble = loop {
        let jobs = tokio::select! {
            biased;
            Some(done) = flying.next(), if !flying.is_empty() => {
                let (jobs, replies): (Vec<Job>, RedisResult<Vec<Value>>) = done;
                match replies {
                    Ok(replies) => settle(shared, node, jobs, replies, &commands.connection),
                    Err(error) => {
                        shared.refuse(&jobs);
                        break Trouble::of(&node.address, &error);
                    }
                }
                continue;
            }
            () = commands.ended() => break Trouble::Closed(node.address.clone()),
            jobs = time::timeout(PING_AFTER, inbox.batch()), if flying.len() < BATCHES_MAX => {
                jobs.unwrap_or_else(|_| vec![ping(shared)])
            }
        };
        let mut pipeline = redis::Pipeline::with_capacity(jobs.len() + 1);
        let mut waits = false;
        for job in &jobs {
            if job.asking {
                pipeline.cmd("ASKING");
            }
            pipeline.add_command(shared.compose(job));
            waits |= matches!(&job.what, What::Ask(Ask::Publish { kept: Some(_), .. }));
        }
        if waits && shared.settings.wait_replicas > 0 {
            let within = shared.settings.wait_timeout.as_millis().max(1);
            pipeline
                .cmd("WAIT")
                .arg(shared.settings.wait_replicas)
                .arg(u64::try_from(within).unwrap_or(u64::MAX));
        }
        let mut connection = commands.connection.clone();
        flying.push_back(async move {
            let replies = connection.send_packed_commands(&pipeline, 0, pipeline.len()).await;
            (jobs, replies)
        });
    };
    // Without its driver every batch that is on its way ends at once.
    drop(commands);
    while let Some((jobs, _)) = flying.next().await {
        shared.refuse(&jobs);
    }
    trouble
}

/// Asks an idle server whether it lives; nobody waits for the answer, but it has a deadline as all have.
fn ping(shared: &Shared) -> Job {
    let (caller, _) = oneshot::channel();
    let until = Instant::now() + shared.settings.answer_timeout;
    Job { partition: 0, what: What::Call(Box::new(redis::cmd("PING")), caller), until, asking: false }
}

/// Makes the server know the scripts.
async fn load(shared: &Shared, connection: &mut MultiplexedConnection, address: &str) -> Result<(), Trouble> {
    let loading: RedisResult<Vec<String>> = shared.scripts.load().query_async(connection).await;
    loading.map(|_| ()).map_err(|error| Trouble::of(address, &error))
}

/// Answers the jobs of one batch.
fn settle(
    shared: &Arc<Shared>,
    node: &Node,
    jobs: Vec<Job>,
    replies: Vec<Value>,
    connection: &MultiplexedConnection,
) {
    let mut replies = replies.into_iter();
    let mut paired = Vec::with_capacity(jobs.len());
    for job in jobs {
        if job.asking {
            replies.next();
        }
        paired.push((job, replies.next().unwrap_or_default()));
    }
    // What is left is how many replicas have it all.
    let enough = match replies.next() {
        Some(Value::Int(replicas)) => replicas >= i64::from(shared.settings.wait_replicas),
        Some(_) => false,
        None => true,
    };
    let mut answers = Vec::with_capacity(paired.len());
    for (job, reply) in paired {
        match (job, reply) {
            (job, Value::ServerError(error)) => failed(shared, node, job, &error, connection, &mut answers),
            (Job { what: What::Call(_, caller), .. }, reply) => {
                let _ = caller.send(reply);
            }
            (Job { what: What::Ask(ask), .. }, reply) => {
                let replicated = enough || !matches!(&ask, Ask::Publish { kept: Some(_), .. });
                if !replicated {
                    shared.counters.unreplicated(1);
                    shared.nudge();
                    shared.said.note(
                        "publications are refused because too few replicas have them in time: \
                         see bus.redis.wait_replicas",
                    );
                }
                answers.extend(answer::read(&ask, reply, replicated));
            }
        }
    }
    shared.answer(&answers);
}

/// What becomes of a job that Redis has refused.
fn failed(
    shared: &Arc<Shared>,
    node: &Node,
    job: Job,
    error: &ServerError,
    connection: &MultiplexedConnection,
    answers: &mut Vec<Answer>,
) {
    use ServerErrorKind as Kind;
    match error.kind() {
        Some(Kind::NoScript) => {
            let (shared, mut connection) = (Arc::clone(shared), connection.clone());
            tokio::spawn(async move {
                let _: RedisResult<Vec<String>> = shared.scripts.load().query_async(&mut connection).await;
                shared.hold(job);
            });
        }
        Some(Kind::Ask) => shared.redirect(job, error.details().unwrap_or_default()),
        Some(Kind::Moved | Kind::ClusterDown | Kind::ReadOnly | Kind::MasterDown) => {
            shared.nudge();
            shared.hold(job);
        }
        Some(Kind::TryAgain | Kind::BusyLoading) => shared.hold(job),
        _ => {
            let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
            shared.said.note(&Trouble::said(&node.address, &text).to_string());
            shared.counters.failed(1);
            match job.what {
                What::Ask(ask) => answers.extend(answer::failed(&ask)),
                What::Call(_, caller) => {
                    let _ = caller.send(Value::ServerError(error.clone()));
                }
            }
        }
    }
}
