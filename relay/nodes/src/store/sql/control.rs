//! The control database's part: routes, keys, numbers of nodes.
//!
//! Compiled once for each kind of database, which is `super`: what the two say the same way is said here once.

use super::Database;
use crate::model::{Id, UnixMs, Workspace};
use crate::store::rows;
use crate::store::{Answer, Control, Route, SigningKey, StoreError};

type RouteRow = (i64, String, i64, String, Option<String>);

impl Control for Database {
    fn add_route<'a>(&'a self, route: &'a Route) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            sqlx::query(
                "INSERT INTO routes (workspace, name, created_at, cluster, moving_to) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(route.workspace.id.0)
            .bind(&route.workspace.name)
            .bind(route.workspace.created_at)
            .bind(&route.cluster)
            .bind(&route.moving_to)
            .execute(&mut *tx)
            .await?;
            tx.commit().await
        })
    }

    fn route(&self, workspace: Id) -> Answer<'_, Option<Route>> {
        Box::pin(async move {
            let query = sqlx::query_as(
                "SELECT workspace, name, created_at, cluster, moving_to FROM routes WHERE workspace = $1",
            );
            Ok(query.bind(workspace.0).fetch_optional(&mut *self.reader().await?).await?.map(route))
        })
    }

    fn route_by_name<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Route>> {
        Box::pin(async move {
            let query = sqlx::query_as(
                "SELECT workspace, name, created_at, cluster, moving_to FROM routes WHERE name = $1",
            );
            Ok(query.bind(name).fetch_optional(&mut *self.reader().await?).await?.map(route))
        })
    }

    fn routes(&self, after: Id, limit: usize) -> Answer<'_, Vec<Route>> {
        Box::pin(async move {
            let query = sqlx::query_as(
                "SELECT workspace, name, created_at, cluster, moving_to FROM routes
                 WHERE workspace > $1 ORDER BY workspace LIMIT $2",
            );
            let rows =
                query.bind(after.0).bind(rows::rows(limit)).fetch_all(&mut *self.reader().await?).await?;
            Ok(rows.into_iter().map(route).collect())
        })
    }

    fn set_route<'a>(
        &'a self,
        workspace: Id,
        cluster: &'a str,
        moving_to: Option<&'a str>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            let done = sqlx::query("UPDATE routes SET cluster = $2, moving_to = $3 WHERE workspace = $1")
                .bind(workspace.0)
                .bind(cluster)
                .bind(moving_to)
                .execute(&mut *tx)
                .await?;
            if done.rows_affected() == 0 {
                return Err(StoreError::Missing);
            }
            tx.commit().await
        })
    }

    fn shards<'a>(&'a self, cluster: &'a str, shards: u32) -> Answer<'a, u32> {
        Box::pin(async move {
            let mut tx = self.begin_alone().await?;
            sqlx::query("INSERT INTO clusters (name, shards) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                .bind(cluster)
                .bind(i64::from(shards))
                .execute(&mut *tx)
                .await?;
            let (known,): (i64,) = sqlx::query_as("SELECT shards FROM clusters WHERE name = $1")
                .bind(cluster)
                .fetch_one(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(u32::try_from(known).unwrap_or_default())
        })
    }

    fn keys(&self, now: UnixMs) -> Answer<'_, Vec<SigningKey>> {
        Box::pin(async move {
            let query = sqlx::query_as::<_, (String, Vec<u8>, i64, i64)>(
                "SELECT id, private, signs_from, ends_at FROM keys WHERE ends_at >= $1 ORDER BY signs_from, id",
            );
            let rows = query.bind(now).fetch_all(&mut *self.reader().await?).await?;
            let key = |(id, private, signs_from, ends_at)| SigningKey { id, private, signs_from, ends_at };
            Ok(rows.into_iter().map(key).collect())
        })
    }

    fn add_key<'a>(&'a self, key: &'a SigningKey, unless_after: UnixMs) -> Answer<'a, bool> {
        Box::pin(async move {
            let mut tx = self.begin_alone().await?;
            let done = sqlx::query(
                "INSERT INTO keys (id, private, signs_from, ends_at) SELECT $1, $2, $3, $4
                 WHERE NOT EXISTS (SELECT 1 FROM keys WHERE signs_from > $5)",
            )
            .bind(&key.id)
            .bind(&key.private)
            .bind(key.signs_from)
            .bind(key.ends_at)
            .bind(unless_after)
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            Ok(done.rows_affected() > 0)
        })
    }

    fn drop_keys(&self, now: UnixMs) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            sqlx::query("DELETE FROM keys WHERE ends_at < $1").bind(now).execute(&mut *tx).await?;
            tx.commit().await
        })
    }

    fn lease_number<'a>(
        &'a self,
        instance: &'a str,
        now: UnixMs,
        until: UnixMs,
        count: u16,
    ) -> Answer<'a, Option<u16>> {
        Box::pin(async move {
            let mut tx = self.begin_alone().await?;
            let leases: Vec<(i64, String, i64)> = sqlx::query_as(
                "SELECT number, instance, until FROM numbers WHERE number < $1 ORDER BY number",
            )
            .bind(i64::from(count))
            .fetch_all(&mut *tx)
            .await?;
            let Some(number) = free_number(&leases, instance, now, count) else { return Ok(None) };
            sqlx::query(
                "INSERT INTO numbers (number, instance, until) VALUES ($1, $2, $3)
                 ON CONFLICT (number) DO UPDATE SET instance = excluded.instance, until = excluded.until",
            )
            .bind(i64::from(number))
            .bind(instance)
            .bind(until)
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            Ok(Some(number))
        })
    }
}

/// This instance's number, or the lowest that is free; leases are by number.
fn free_number(leases: &[(i64, String, i64)], instance: &str, now: UnixMs, count: u16) -> Option<u16> {
    let number = |number: i64| u16::try_from(number).ok();
    if let Some((mine, ..)) = leases.iter().find(|(_, owner, _)| owner == instance) {
        return number(*mine);
    }
    let taken = |wanted: u16| {
        let lease = leases.binary_search_by_key(&i64::from(wanted), |(number, ..)| *number);
        lease.is_ok_and(|at| leases[at].2 >= now)
    };
    (0..count).find(|wanted| !taken(*wanted))
}

fn route(row: RouteRow) -> Route {
    let (id, name, created_at, cluster, moving_to) = row;
    Route { workspace: Workspace { id: Id(id), name, created_at }, cluster, moving_to }
}
