//! Moving a workspace to another cluster while it is used.
//!
//! Everything is copied, again and again until little is left; then its databases take no writes of it for a moment, the rest is copied,
//! and the route is changed. What was copied is removed last. Interrupted anywhere, the same move is started again: whatever was copied
//! stays copied. Owns the order of these steps; never what a row means.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::limits::{MOVE_ENTRIES, MOVE_LEFT, MOVE_REMOVED, MOVE_ROUNDS, MOVE_ROWS, ROUTE_AGE};
use super::route::{Router, shard};
use super::table::{Cell, Table};
use super::{Store, StoreError};
use crate::model::{Id, Position};

/// What a move has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moved {
    /// Entries of streams that were copied.
    pub entries: u64,
    /// Rows of users, channels and members that were written.
    pub rows: u64,
    /// How long the workspace took no writes.
    pub frozen: Duration,
}

/// Moves a workspace to another cluster. Its nodes know both clusters. `Missing`: there is no such workspace. `Refused`: no such cluster,
/// or it is on its way to a third one. Any other error: start it again; until then the workspace is where it was, and takes no writes only
/// if the move was that far ([`abandon`] ends that).
pub async fn move_workspace(router: &Router, workspace: Id, to: &str) -> Result<Moved, StoreError> {
    let target = cluster(router, to)?;
    let route = router.control().route(workspace).await?.ok_or(StoreError::Missing)?;
    let mut moved = Moved::default();
    if route.cluster != to {
        let source = cluster(router, &route.cluster)?;
        match route.moving_to.as_deref() {
            // What an earlier stay may have left must not come back to life.
            None => remove(target, workspace).await?,
            Some(known) if known == to => {}
            Some(other) => {
                return Err(StoreError::Refused(format!(
                    "it is on its way to `{other}`: finish or abandon that first"
                )));
            }
        }
        router.control().set_route(workspace, &route.cluster, Some(to)).await?;
        let asked_often = Instant::now() + ROUTE_AGE;
        for store in target {
            store.freeze(workspace).await?;
        }
        let mover = Mover { workspace, source, target };
        mover.approach(&mut moved).await?;
        // From here on no node goes by a route that it has had for long.
        tokio::time::sleep_until(asked_often).await;
        let since = Instant::now();
        mover.finish(&mut moved).await?;
        router.control().set_route(workspace, to, None).await?;
        moved.frozen = since.elapsed();
    }
    router.forget(workspace);
    // Whoever has begun to read by the old route has done so.
    tokio::time::sleep(ROUTE_AGE).await;
    for name in router.names().filter(|name| *name != to) {
        remove(cluster(router, name)?, workspace).await?;
    }
    Ok(moved)
}

/// Ends a move that was begun and is not to be finished: the workspace stays where it is.
pub async fn abandon(router: &Router, workspace: Id) -> Result<(), StoreError> {
    let route = router.control().route(workspace).await?.ok_or(StoreError::Missing)?;
    let Some(to) = route.moving_to else { return Ok(()) };
    for store in cluster(router, &route.cluster)? {
        store.thaw(workspace).await?;
    }
    router.control().set_route(workspace, &route.cluster, None).await?;
    router.forget(workspace);
    remove(cluster(router, &to)?, workspace).await
}

struct Mover<'a> {
    workspace: Id,
    source: &'a [Arc<dyn Store>],
    target: &'a [Arc<dyn Store>],
}

impl Mover<'_> {
    /// Copies while others write, until a round finds little to copy.
    async fn approach(&self, moved: &mut Moved) -> Result<(), StoreError> {
        for _ in 0..MOVE_ROUNDS {
            let before = moved.entries + moved.rows;
            self.copy(moved).await?;
            if moved.entries + moved.rows - before <= MOVE_LEFT {
                break;
            }
        }
        Ok(())
    }

    /// Copies what is left while nobody writes.
    async fn finish(&self, moved: &mut Moved) -> Result<(), StoreError> {
        for store in self.source {
            store.freeze(self.workspace).await?;
        }
        self.copy(moved).await?;
        // Nobody's route leads there yet.
        for store in self.target {
            store.thaw(self.workspace).await?;
        }
        Ok(())
    }

    async fn copy(&self, moved: &mut Moved) -> Result<(), StoreError> {
        let (Some(from), Some(to)) = (self.source.first(), self.target.first()) else { return Ok(()) };
        for table in &Table::HOME {
            moved.rows += self.copy_table(&**from, &**to, table).await?;
        }
        for from in self.source {
            let mut after = Id(0);
            loop {
                let streams = from.streams(self.workspace, after, MOVE_ROWS).await?;
                let Some((last, _)) = streams.last() else { break };
                after = *last;
                for (channel, position) in streams {
                    moved.entries += self.copy_stream(&**from, channel, &position).await?;
                }
            }
        }
        Ok(())
    }

    /// Makes a table the same on both sides; says how many rows were not.
    async fn copy_table(
        &self,
        from: &dyn Store,
        to: &dyn Store,
        table: &'static Table,
    ) -> Result<u64, StoreError> {
        let mut after: Option<Vec<Cell>> = None;
        let mut written = 0;
        loop {
            let mut wanted = from.rows(self.workspace, table, after.as_deref(), MOVE_ROWS).await?;
            let mut there = to.rows(self.workspace, table, after.as_deref(), MOVE_ROWS).await?;
            // As far as both sides are known.
            let ends = [&wanted, &there].map(|rows| {
                (rows.len() >= MOVE_ROWS).then(|| rows.last().map(|row| table.key_of(row).to_vec())).flatten()
            });
            let end = ends.into_iter().flatten().min();
            if let Some(end) = &end {
                wanted.retain(|row| table.key_of(row) <= end.as_slice());
                there.retain(|row| table.key_of(row) <= end.as_slice());
            }
            let (changed, gone) = difference(table, &wanted, &there);
            if !changed.is_empty() || !gone.is_empty() {
                to.load(table, &changed, &gone).await?;
            }
            written += (changed.len() + gone.len()) as u64;
            if end.is_none() {
                return Ok(written);
            }
            after = end;
        }
    }

    /// Copies what a stream has more than its copy; says how many entries it were.
    async fn copy_stream(
        &self,
        from: &dyn Store,
        channel: Id,
        position: &Position,
    ) -> Result<u64, StoreError> {
        let to = &self.target[shard(channel, self.target.len())];
        let copy = to.position(channel).await?;
        if copy.as_ref() == Some(position) {
            return Ok(0);
        }
        let mut since = copy.map_or(0, |copy| copy.top);
        let begun = since;
        loop {
            let Some((now, entries)) = from.entries(channel, Some(since), MOVE_ENTRIES, false).await? else {
                return Ok(since - begun);
            };
            let copied = Position { top: entries.last().map_or(since, |entry| entry.offset), ..now };
            to.adopt(self.workspace, channel, &copied, &entries).await?;
            since = copied.top;
            if entries.len() < MOVE_ENTRIES {
                return Ok(since - begun);
            }
        }
    }
}

/// Rows that are to be written, and keys of those that are to be deleted; both lists are by key.
fn difference(table: &Table, wanted: &[Vec<Cell>], there: &[Vec<Cell>]) -> (Vec<Vec<Cell>>, Vec<Vec<Cell>>) {
    let find = |rows: &[Vec<Cell>], row: &[Cell]| {
        rows.binary_search_by(|other| table.key_of(other).cmp(table.key_of(row))).ok()
    };
    let same = |row: &&Vec<Cell>| find(there, row).is_none_or(|at| there[at] != **row);
    let changed = wanted.iter().filter(same).cloned().collect();
    let left = there.iter().filter(|row| find(wanted, row).is_none());
    (changed, left.map(|row| table.key_of(row).to_vec()).collect())
}

/// Removes a workspace from a cluster that is not its own. What is said there of it from then on is `Moving`.
async fn remove(stores: &[Arc<dyn Store>], workspace: Id) -> Result<(), StoreError> {
    for store in stores {
        if !store.remove(workspace, MOVE_REMOVED).await? {
            continue;
        }
        store.freeze(workspace).await?;
        while store.remove(workspace, MOVE_REMOVED).await? {}
    }
    Ok(())
}

fn cluster<'a>(router: &'a Router, name: &str) -> Result<&'a [Arc<dyn Store>], StoreError> {
    router.cluster(name).ok_or_else(|| StoreError::Refused(format!("no cluster `{name}` is configured")))
}
