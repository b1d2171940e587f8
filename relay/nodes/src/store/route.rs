//! Routing: a workspace's cluster by the control database, a channel's database within the cluster by hash.
//!
//! Owns which databases there are, and routes that are remembered for a bounded time. Never asks about anything else.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::{BUCKETS, MOVING_ROUTE_AGE, ROUTE_AGE, ROUTES_KEPT};
use super::{Store, StoreError};
use crate::model::Id;

/// Finds the database of everything.
#[derive(Debug)]
pub struct Router {
    control: Arc<dyn Store>,
    /// Each with its databases; the first of them is the home of its workspaces.
    clusters: BTreeMap<String, Vec<Arc<dyn Store>>>,
    default: String,
    routes: Mutex<HashMap<Id, Known>>,
    /// Whoever asks the control database for a workspace has its turn at one of these, so that many who ask at once ask once.
    turns: [tokio::sync::Mutex<()>; TURNS],
}

/// A cluster by name, and when it was asked for.
#[derive(Clone, Debug)]
struct Known {
    cluster: String,
    at: Instant,
    /// How long this may be gone by.
    age: Duration,
}

impl Router {
    /// `clusters`: name and databases, in an order that stays; new workspaces go to the first cluster.
    /// `Refused`: a cluster has another number of databases than it had when it was first used, or none; or a database is named twice.
    pub async fn new(
        control: Arc<dyn Store>,
        clusters: Vec<(String, Vec<Arc<dyn Store>>)>,
    ) -> Result<Self, StoreError> {
        let Some((default, _)) = clusters.first() else {
            return Err(StoreError::Refused("there is no cluster".to_owned()));
        };
        let default = default.clone();
        let mut seen = BTreeMap::new();
        for (name, store) in clusters.iter().flat_map(|(name, shards)| shards.iter().map(move |s| (name, s)))
        {
            // A workspace that was moved from a database to the same one would be removed from it.
            if let Some(other) = seen.insert(store.identity().await?, name) {
                return Err(StoreError::Refused(format!(
                    "{store:?} is in cluster `{name}`, and already in `{other}`, under this address or another"
                )));
            }
        }
        for (name, shards) in &clusters {
            let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
            if count == 0 || count > BUCKETS {
                return Err(StoreError::Refused(format!(
                    "cluster `{name}` needs 1 to {BUCKETS} databases, not {count}"
                )));
            }
            let known = control.shards(name, count).await?;
            if known != count {
                return Err(StoreError::Refused(format!(
                    "cluster `{name}` has {known} databases, the configuration says {count}: messages would not be found. \
                     Make another cluster, and move workspaces to it"
                )));
            }
        }
        Ok(Self {
            control,
            clusters: clusters.into_iter().collect(),
            default,
            routes: Mutex::default(),
            turns: [const { tokio::sync::Mutex::const_new(()) }; TURNS],
        })
    }

    /// Routes, keys, numbers of nodes.
    #[must_use]
    pub fn control(&self) -> &Arc<dyn Store> {
        &self.control
    }

    /// Where new workspaces go.
    #[must_use]
    pub fn default_cluster(&self) -> &str {
        &self.default
    }

    /// The databases of a cluster, its home first.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<&[Arc<dyn Store>]> {
        self.clusters.get(name).map(Vec::as_slice)
    }

    /// Every cluster.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.clusters.keys().map(String::as_str)
    }

    /// Every database of every cluster.
    pub fn stores(&self) -> impl Iterator<Item = &Arc<dyn Store>> {
        self.clusters.values().flatten()
    }

    /// Every cluster's home.
    pub fn homes(&self) -> impl Iterator<Item = &Arc<dyn Store>> {
        self.clusters.values().filter_map(|stores| stores.first())
    }

    /// Where a workspace's users, channels and members are. `Missing`: there is no such workspace.
    pub async fn home(&self, workspace: Id) -> Result<Arc<dyn Store>, StoreError> {
        let stores = self.databases(workspace).await?;
        stores.first().cloned().ok_or(StoreError::Missing)
    }

    /// Where a channel's stream is. `Missing`: there is no such workspace.
    pub async fn shard(&self, workspace: Id, channel: Id) -> Result<Arc<dyn Store>, StoreError> {
        let stores = self.databases(workspace).await?;
        Ok(Arc::clone(&stores[shard(channel, stores.len())]))
    }

    /// Asks for the route again when it is next needed: the database said that the workspace moves.
    pub fn forget(&self, workspace: Id) {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).remove(&workspace);
    }

    async fn databases(&self, workspace: Id) -> Result<&[Arc<dyn Store>], StoreError> {
        if let Some(cluster) = self.known(workspace) {
            return self.named(&cluster);
        }
        let turn = usize::try_from(mix(workspace.0.cast_unsigned()) % TURNS as u64).unwrap_or_default();
        let _turn = self.turns[turn].lock().await;
        if let Some(cluster) = self.known(workspace) {
            return self.named(&cluster);
        }
        // As old as the question, not as the answer.
        let at = Instant::now();
        let route = self.control.route(workspace).await?.ok_or(StoreError::Missing)?;
        let age = if route.moving_to.is_some() { MOVING_ROUTE_AGE } else { ROUTE_AGE };
        let cluster = route.cluster;
        self.remember(workspace, Known { cluster: cluster.clone(), at, age });
        self.named(&cluster)
    }

    fn named(&self, cluster: &str) -> Result<&[Arc<dyn Store>], StoreError> {
        self.cluster(cluster).ok_or_else(|| {
            StoreError::Refused(format!(
                "the workspace is on cluster `{cluster}`, which is not configured here"
            ))
        })
    }

    fn known(&self, workspace: Id) -> Option<String> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = routes.get(&workspace)?;
        (known.at.elapsed() < known.age).then(|| known.cluster.clone())
    }

    fn remember(&self, workspace: Id, known: Known) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if routes.len() >= ROUTES_KEPT {
            routes.retain(|_, known| known.at.elapsed() < known.age);
        }
        if routes.len() < ROUTES_KEPT {
            routes.insert(workspace, known);
        }
    }
}

/// Which of so many databases has a channel's stream. Never changes: what is stored is found by it.
#[must_use]
pub fn shard(channel: Id, shards: usize) -> usize {
    let bucket = usize::try_from(mix(channel.0.cast_unsigned()) % u64::from(BUCKETS)).unwrap_or_default();
    bucket * shards / BUCKETS as usize
}

/// SplitMix64's finish: ids that differ little get far apart.
#[must_use]
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Workspaces that are asked for side by side.
const TURNS: usize = 16;

/// Puts something to what else is for the same database.
pub fn sort_in<T>(databases: &mut Vec<(Arc<dyn Store>, Vec<T>)>, store: Arc<dyn Store>, one: T) {
    match databases.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &store)) {
        Some((_, some)) => some.push(one),
        None => databases.push((store, vec![one])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_channel_is_stays_for_good() {
        let at: Vec<usize> = [1, 2, 3, 1_000_000_007, i64::MAX].map(|id| shard(Id(id), 16)).to_vec();
        assert_eq!(at, [14, 8, 15, 3, 11]);
    }

    #[test]
    fn channels_spread_evenly_over_any_number_of_databases() {
        for shards in 1..=16 {
            let mut counts = vec![0usize; shards];
            for sequence in 0..16_000 {
                counts[shard(Id(7_301_444_403_200 + sequence * 4_096), shards)] += 1;
            }
            let fair = 16_000 / shards;
            assert!(counts.iter().all(|count| count.abs_diff(fair) < fair / 3), "{shards}: {counts:?}");
        }
    }
}
