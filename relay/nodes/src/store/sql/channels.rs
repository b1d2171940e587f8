//! Channels, and how users stand to them.
//!
//! Compiled once for each kind of database, which is `super`.

use super::{Database, Tx, ids};
use crate::model::{Channel, ChannelKind, Id, UnixMs};
use crate::store::rows::{self, ChannelRow, channel_columns};
use crate::store::{Standing, StoreError};

impl Database {
    pub(super) async fn insert_group(&self, channel: &Channel, members: &[Id]) -> Result<(), StoreError> {
        let mut members = members.to_vec();
        members.push(channel.created_by);
        members.sort_unstable();
        members.dedup();
        let mut tx = self.begin_in(channel.workspace).await?;
        insert(&mut tx, channel, (0, 0)).await?;
        join(&mut tx, channel, &members).await?;
        tx.commit().await
    }

    pub(super) async fn insert_dm(
        &self,
        channel: &Channel,
        other: Id,
    ) -> Result<(Channel, bool), StoreError> {
        let (low, high) = (channel.created_by.min(other), channel.created_by.max(other));
        let mut tx = self.begin_in(channel.workspace).await?;
        if insert(&mut tx, channel, (low.0, high.0)).await? {
            let mut members = vec![low, high];
            members.dedup();
            join(&mut tx, channel, &members).await?;
            tx.commit().await?;
            return Ok((channel.clone(), true));
        }
        let row: Option<ChannelRow> = sqlx::query_as(concat!(
            "SELECT ",
            channel_columns!(),
            " FROM channels c WHERE c.workspace = $1 AND c.low = $2 AND c.high = $3 AND c.kind = 'dm'"
        ))
        .bind(channel.workspace.0)
        .bind(low.0)
        .bind(high.0)
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        // Not there although it was in the way: the id is another channel's.
        Ok((rows::channel(row.ok_or(StoreError::Exists)?)?, false))
    }

    pub(super) async fn one_channel(
        &self,
        workspace: Id,
        channel: Id,
    ) -> Result<Option<Channel>, StoreError> {
        let query = sqlx::query_as(concat!(
            "SELECT ",
            channel_columns!(),
            " FROM channels c WHERE c.workspace = $1 AND c.id = $2"
        ));
        let row = query.bind(workspace.0).bind(channel.0).fetch_optional(&mut *self.reader().await?).await?;
        row.map(rows::channel).transpose()
    }

    pub(super) async fn one_standing(
        &self,
        workspace: Id,
        channel: Id,
        user: Id,
    ) -> Result<Option<Standing>, StoreError> {
        let query = sqlx::query_as::<_, (i64, i64, String, String, String, i64, i64, bool)>(concat!(
            "SELECT ",
            channel_columns!(),
            ", EXISTS (SELECT 1 FROM members m WHERE m.channel = c.id AND m.user_id = $3)
             FROM channels c WHERE c.workspace = $1 AND c.id = $2"
        ));
        let query = query.bind(workspace.0).bind(channel.0).bind(user.0);
        let Some((id, workspace, kind, name, delivery, created_by, created_at, member)) =
            query.fetch_optional(&mut *self.reader().await?).await?
        else {
            return Ok(None);
        };
        let channel = rows::channel((id, workspace, kind, name, delivery, created_by, created_at))?;
        Ok(Some(Standing { channel, member }))
    }
}

/// Says whether it was made; not, where there is one of these two users or of this id.
async fn insert(tx: &mut Tx, channel: &Channel, pair: (i64, i64)) -> Result<bool, StoreError> {
    let query = match channel.kind {
        ChannelKind::Dm => sqlx::query(concat!(insert_channel!(), " ON CONFLICT DO NOTHING")),
        ChannelKind::Group => sqlx::query(insert_channel!()),
    };
    let done = query
        .bind(channel.id.0)
        .bind(channel.workspace.0)
        .bind(rows::text(channel.kind))
        .bind(&channel.name)
        .bind(rows::text(channel.delivery))
        .bind(channel.created_by.0)
        .bind(channel.created_at)
        .bind(pair.0)
        .bind(pair.1)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Makes users the first members. `Missing`: one of them is not in the workspace.
async fn join(tx: &mut Tx, channel: &Channel, users: &[Id]) -> Result<(), StoreError> {
    let done = sqlx::query(concat!(
        "INSERT INTO members (channel, user_id, joined_at)
         SELECT $1, u.id, $2 FROM users u WHERE u.workspace = $3 AND u.id ",
        list!("$4")
    ))
    .bind(channel.id.0)
    .bind(channel.created_at)
    .bind(channel.workspace.0)
    .bind(ids(users))
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() != users.len() as u64 {
        return Err(StoreError::Missing);
    }
    notice(tx, channel.workspace, channel.id, users, channel.created_at).await
}

/// Writes down that memberships have changed.
pub(super) async fn notice(
    tx: &mut Tx,
    workspace: Id,
    channel: Id,
    users: &[Id],
    now: UnixMs,
) -> Result<(), StoreError> {
    sqlx::query(concat!(
        "INSERT INTO notices (workspace, channel, user_id, at)
         SELECT $1, $2, u.id, $3 FROM users u WHERE u.workspace = $1 AND u.id ",
        list!("$4")
    ))
    .bind(workspace.0)
    .bind(channel.0)
    .bind(now)
    .bind(ids(users))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

macro_rules! insert_channel {
    () => {
        "INSERT INTO channels
             (id, workspace, kind, name, delivery, created_by, created_at, low, high, latest_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $7)"
    };
}
use insert_channel;
