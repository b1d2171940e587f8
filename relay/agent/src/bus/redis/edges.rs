//! Edges by their leases: this one's own, who else lives, and what the dead have left.
//!
//! Owns one write every few seconds per edge, however many members it has. An edge is dead when its lease is over by Redis's own clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::Value;
use relay::bus::{EdgeId, Tell};
use tokio::time::{self, Instant};

use super::limits::{CLAIM, EDGES_MAX, LEASE_RENEWALS, REAP_MEMBERS, REPLACED_LEASE};
use super::shared::Shared;

/// What is known of edges.
#[derive(Debug)]
pub(super) struct Edges {
    /// Under which this edge's members are entered.
    lease: AtomicU64,
    state: Mutex<State>,
    reaping: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// All leases that Redis has, with their edges.
    leases: BTreeMap<u64, EdgeId>,
    /// Edges with a lease that is not over.
    live: BTreeSet<EdgeId>,
    /// The others, as the broker was told.
    told: Option<Vec<EdgeId>>,
    /// The lease that was renewed last: if Redis does not know it then, it has forgotten.
    renewed: Option<u64>,
    /// Since when Redis has answered every time. Edges that could not reach it either must not be taken for dead.
    steady: Option<Instant>,
}

/// A lease as Redis has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lease {
    edge: EdgeId,
    number: u64,
    ends_ms: i64,
}

impl Edges {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            lease: AtomicU64::new(seed.rotate_left(17) | 1),
            state: Mutex::default(),
            reaping: AtomicBool::new(false),
        }
    }

    /// Under which this edge's members are entered.
    pub(super) fn lease(&self) -> u64 {
        self.lease.load(Ordering::Acquire)
    }

    /// Takes another lease; the old one runs out.
    pub(super) fn replace(&self, seed: u64) {
        self.lease.store(seed | 1, Ordering::Release);
    }

    /// Whether a member that is held under this lease is there; `None` when that lease is not known yet.
    pub(super) fn lives(&self, lease: u64) -> Option<bool> {
        let state = self.lock();
        state.leases.get(&lease).map(|edge| state.live.contains(edge))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews the lease until the end of the program.
pub(super) async fn keep(shared: Arc<Shared>) {
    loop {
        let renewed = renew(&shared).await;
        // While Redis is not there, soon again: others are waiting to hear of us.
        let every = shared.settings.lease / LEASE_RENEWALS;
        time::sleep(if renewed { every } else { every / 10 }).await;
    }
}

/// Renews the lease and learns of all others; false when Redis did not answer.
pub(super) async fn renew(shared: &Arc<Shared>) -> bool {
    let number = shared.edges.lease();
    let mut cmd = shared.scripts.lease.call(&[&shared.keys.leases()]);
    cmd.arg(name(shared.edge, number))
        .arg(u64::try_from(shared.settings.lease.as_millis()).unwrap_or(u64::MAX));
    let reply = shared.call(0, cmd).await;
    let mut state = shared.edges.lock();
    let Some((known, now_ms, leases)) = reply.as_ref().and_then(read) else {
        state.steady = None;
        return false;
    };
    let steady = state.steady.get_or_insert_with(Instant::now).elapsed() >= shared.settings.lease;
    let forgotten = !known && state.renewed == Some(number);
    state.renewed = Some(number);
    state.live =
        leases.iter().filter(|lease| !steady || lease.ends_ms > now_ms).map(|lease| lease.edge).collect();
    state.leases = leases.iter().map(|lease| (lease.number, lease.edge)).collect();
    let others: Vec<EdgeId> =
        state.live.iter().copied().filter(|edge| *edge != shared.edge).take(EDGES_MAX).collect();
    let changed = state.told.as_ref() != Some(&others);
    if changed {
        state.told = Some(others.clone());
    }
    let dead = leases.iter().copied().find(|lease| {
        let replaced = state.live.contains(&lease.edge);
        let grace = if replaced { REPLACED_LEASE } else { shared.settings.presence_grace };
        let grace = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        steady && lease.number != number && lease.ends_ms.saturating_add(grace) <= now_ms
    });
    drop(state);
    if changed {
        shared.tell(&Tell::Edges(&others));
    }
    if forgotten {
        shared.forgot();
    }
    if let Some(lease) = dead
        && !shared.edges.reaping.swap(true, Ordering::AcqRel)
    {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            reap(&shared, lease).await;
            shared.edges.reaping.store(false, Ordering::Release);
        });
    }
    true
}

/// How a lease is called in Redis.
fn name(edge: EdgeId, lease: u64) -> Vec<u8> {
    [edge.0.to_le_bytes(), lease.to_le_bytes()].concat()
}

/// The reply of the script: whether the lease was known, now, and all leases.
fn read(reply: &Value) -> Option<(bool, i64, Vec<Lease>)> {
    let Value::Array(items) = reply else { return None };
    let [Value::Int(known), Value::Int(now_ms), Value::Array(entries)] = items.as_slice() else {
        return None;
    };
    let leases = entries.chunks_exact(2).filter_map(|pair| {
        let [Value::BulkString(name), Value::BulkString(score)] = pair else { return None };
        let (edge, number) = name.split_first_chunk::<8>()?;
        let ends_ms = str::from_utf8(score).ok()?.parse().ok()?;
        Some(Lease {
            edge: EdgeId(u64::from_le_bytes(*edge)),
            number: u64::from_le_bytes(number.try_into().ok()?),
            ends_ms,
        })
    });
    Some((*known == 1, *now_ms, leases.collect()))
}

/// Removes what was held under a lease that is over, and tells channels that those members have left. Others may do the same: each
/// member is removed once.
async fn reap(shared: &Arc<Shared>, lease: Lease) {
    let mut claim = redis::cmd("SET");
    claim.arg(shared.keys.claim(lease.number)).arg(shared.edge.0).arg("NX").arg("PX");
    claim.arg(u64::try_from(CLAIM.as_millis()).unwrap_or(u64::MAX));
    if shared.call(0, claim).await != Some(Value::Okay) {
        return;
    }
    for partition in 0..shared.keys.partitions() {
        let index = shared.keys.index(partition, lease.number);
        loop {
            let mut some = redis::cmd("SRANDMEMBER");
            some.arg(&index).arg(REAP_MEMBERS);
            let Some(Value::Array(entries)) = shared.call(partition, some).await else { return };
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                let Value::BulkString(entry) = entry else { return };
                let Some(Value::Int(removed)) =
                    shared.call(partition, leave(shared, &index, &entry, lease.number)).await
                else {
                    return;
                };
                if removed == 1 {
                    shared.counters.reaped(1);
                }
            }
        }
    }
    let mut done = redis::cmd("ZREM");
    done.arg(shared.keys.leases()).arg(name(lease.edge, lease.number));
    shared.call(0, done).await;
}

/// The command that removes a member if it is still held under the lease.
fn leave(shared: &Shared, index: &str, entry: &[u8], lease: u64) -> redis::Cmd {
    let (client, channel) = entry.split_at_checked(16).unwrap_or((entry, b""));
    let channel = String::from_utf8_lossy(channel);
    let mut cmd = shared.scripts.leave.call(&[&shared.keys.members(&channel), index]);
    cmd.arg(client)
        .arg(lease.to_le_bytes().as_slice())
        .arg(entry)
        .arg(shared.keys.topic(&channel))
        .arg(shared.verb());
    cmd
}
