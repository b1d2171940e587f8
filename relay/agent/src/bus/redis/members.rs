//! Who is in the channels: what the broker says is written in order, and who is there is read.
//!
//! Owns the queue of what is to be written. It is bounded: past it Redis is taken to have forgotten, and the broker enters all again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use redis::{Cmd, Value};
use relay::bus::{Ask, Member, Tell};
use relay::payload::Held;
use relay::{Appearance, Backoff};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{self, Instant};
use wire::code;
use wire::link::ClientInfo;

use super::edges;
use super::handover::Item;
use super::limits::{MEMBER_OPS_BATCH, MEMBER_OPS_MAX, PRESENCE_QUESTIONS_MAX, RECONNECT_PAUSE};
use super::shared::Shared;

/// With nothing to do it is looked this often whether that is so.
const IDLE: std::time::Duration = std::time::Duration::from_secs(60);

/// What is to be written.
#[derive(Debug)]
pub(super) struct Members {
    queue: Mutex<Queue>,
    bell: Notify,
    forgot: AtomicBool,
    questions: Arc<Semaphore>,
}

/// Changes in order, by partition: one that cannot be written to does not keep the others waiting.
#[derive(Debug, Default)]
struct Queue {
    partitions: BTreeMap<usize, VecDeque<Op>>,
    count: usize,
    /// How often all of it was dropped.
    cleared: u64,
}

/// One change.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) channel: Arc<str>,
    pub(super) member: Member,
    pub(super) appearance: Appearance,
    /// Enters, rather than leaves.
    pub(super) enters: bool,
}

/// Changes with their partitions, and which state of the queue they are from.
struct Batch {
    ops: Vec<(usize, Op)>,
    cleared: u64,
}

impl Default for Members {
    fn default() -> Self {
        Self {
            queue: Mutex::default(),
            bell: Notify::new(),
            forgot: AtomicBool::new(false),
            questions: Arc::new(Semaphore::new(PRESENCE_QUESTIONS_MAX)),
        }
    }
}

impl Members {
    /// Takes a change; never blocks.
    pub(super) fn push(&self, partition: usize, op: Op) {
        let mut queue = self.lock();
        if queue.count >= MEMBER_OPS_MAX {
            // The broker will enter everybody again, and who has left goes with the lease.
            *queue = Queue { cleared: queue.cleared + 1, ..Queue::default() };
            self.forgot.store(true, Ordering::Release);
        }
        queue.partitions.entry(partition).or_default().push_back(op);
        queue.count += 1;
        drop(queue);
        self.bell.notify_one();
    }

    /// Redis has forgotten.
    pub(super) fn forget(&self) {
        self.forgot.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    /// Changes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().count
    }

    /// Takes some changes of partitions that are not `stuck`.
    fn take(&self, stuck: &BTreeMap<usize, Instant>) -> Batch {
        let mut queue = self.lock();
        let mut ops = Vec::new();
        for (partition, waiting) in
            queue.partitions.iter_mut().filter(|(partition, _)| !stuck.contains_key(partition))
        {
            let room = MEMBER_OPS_BATCH - ops.len();
            let count = waiting.len().min(room);
            ops.extend(waiting.drain(..count).map(|op| (*partition, op)));
        }
        queue.partitions.retain(|_, waiting| !waiting.is_empty());
        queue.count -= ops.len();
        Batch { ops, cleared: queue.cleared }
    }

    /// Takes back what could not be written: to where it was.
    fn back(&self, batch: Batch, failed: &BTreeSet<usize>) {
        let mut queue = self.lock();
        if queue.cleared != batch.cleared {
            return;
        }
        for (partition, op) in batch.ops.into_iter().rev().filter(|(partition, _)| failed.contains(partition))
        {
            queue.partitions.entry(partition).or_default().push_front(op);
            queue.count += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes changes until the end of the program.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut backoff = Backoff::new(RECONNECT_PAUSE.0, RECONNECT_PAUSE.1, shared.seed());
    let mut stuck: BTreeMap<usize, Instant> = BTreeMap::new();
    loop {
        if shared.members.forgot.swap(false, Ordering::AcqRel) {
            shared.edges.replace(shared.seed());
            // Known before anybody is entered under it.
            if !edges::renew(&shared).await {
                shared.members.forgot.store(true, Ordering::Release);
                time::sleep(backoff.failed()).await;
                continue;
            }
            shared.handover.insist(vec![Item::MembersForgotten]);
        }
        let now = Instant::now();
        stuck.retain(|_, until| *until > now);
        let batch = shared.members.take(&stuck);
        if batch.ops.is_empty() {
            let until = stuck.values().min().copied().unwrap_or(now + IDLE);
            tokio::select! {
                () = shared.members.bell.notified() => {}
                () = time::sleep_until(until) => {}
            }
            continue;
        }
        let failed = write(&shared, &batch).await;
        if failed.is_empty() {
            backoff.worked();
            continue;
        }
        // All of those partitions again: what came after something that failed must not be undone by it.
        let until = Instant::now() + backoff.failed();
        shared.members.back(batch, &failed);
        stuck.extend(failed.into_iter().map(|partition| (partition, until)));
    }
}

/// Writes a batch; the partitions of which some is not known to be written.
async fn write(shared: &Shared, batch: &Batch) -> BTreeSet<usize> {
    let calls = batch.ops.iter().map(|(partition, op)| shared.call(*partition, command(shared, op)));
    let replies = join_all(calls).await;
    let mut failed = BTreeSet::new();
    for ((partition, _), reply) in batch.ops.iter().zip(&replies) {
        match reply {
            Some(Value::Int(-1)) => shared.counters.member_refused(1),
            // Redis will not have it, now or later; that was counted.
            Some(_) => {}
            None => {
                failed.insert(*partition);
            }
        }
    }
    failed
}

fn command(shared: &Shared, op: &Op) -> Cmd {
    let (keys, lease) = (&shared.keys, shared.edges.lease());
    let partition = keys.partition(&op.channel);
    let client = op.member.client.0;
    let entry = [client.as_slice(), op.channel.as_bytes()].concat();
    let names = (keys.members(&op.channel), keys.index(partition, lease));
    if !op.enters {
        let mut cmd = shared.scripts.leave.call(&[&names.0, &names.1]);
        cmd.arg(client.as_slice()).arg("").arg(entry).arg(keys.topic(&op.channel)).arg(shared.verb());
        return cmd;
    }
    let Appearance { seen, announced } = op.appearance;
    let held = Held { lease, seen, announced, info: op.member.info() }.encode();
    let Some(held) = held else {
        shared.counters.member_refused(1);
        return redis::cmd("PING");
    };
    let mut cmd = shared.scripts.enter.call(&[&names.0, &names.1]);
    cmd.arg(client.as_slice()).arg(held).arg(entry).arg(shared.settings.members_max);
    cmd.arg(keys.topic(&op.channel)).arg(shared.verb()).arg(u8::from(announced));
    cmd
}

/// Begins to find out who is in a channel. Too many such questions at once are refused.
pub(super) fn question(shared: &Arc<Shared>, ask: Ask) {
    let Ok(permit) = Arc::clone(&shared.members.questions).try_acquire_owned() else {
        return shared.refuse_ask(&ask);
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        answer(&shared, &ask).await;
        drop(permit);
    });
}

async fn answer(shared: &Arc<Shared>, ask: &Ask) {
    let (Ask::Presence { channel, ticket } | Ask::PresenceStats { channel, ticket }) = ask else { return };
    let mut cmd = redis::cmd("HVALS");
    cmd.arg(shared.keys.members(channel));
    let Some(Value::Array(values)) = shared.call(shared.keys.partition(channel), cmd).await else {
        return shared.tell(&Tell::Failed { ticket: *ticket, code: code::INTERNAL });
    };
    let held = values.iter().filter_map(|value| match value {
        Value::BulkString(bytes) => Held::parse(bytes),
        _ => None,
    });
    let held: Vec<Held<'_>> = held.filter(|held| held.seen).collect();
    // An edge that is new to us must not be taken for a dead one.
    if held.iter().any(|held| shared.edges.lives(held.lease).is_none()) {
        edges::renew(shared).await;
    }
    let there = held.into_iter().filter(|held| shared.edges.lives(held.lease) == Some(true));
    let members: Vec<ClientInfo<'_>> = there.map(|held| held.info).collect();
    if let Ask::Presence { .. } = ask {
        return shared.tell(&Tell::Members { ticket: *ticket, members });
    }
    let clients = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let mut users: Vec<&str> = members.iter().map(|info| info.user).collect();
    users.sort_unstable();
    users.dedup();
    let users = u32::try_from(users.len()).unwrap_or(u32::MAX);
    shared.tell(&Tell::Count { ticket: *ticket, clients, users });
}
