//! Memberships, and the notices that they have changed.
//!
//! Compiled once for each kind of database, which is `super`.

use super::channels::notice;
use super::{Database, ids};
use crate::model::{Channel, Id, Member, UnixMs};
use crate::store::rows::{self, MemberRow, channel_columns, member_columns, signed};
use crate::store::{Notice, Preferences, StoreError};

impl Database {
    pub(super) async fn insert_member(
        &self,
        workspace: Id,
        channel: Id,
        user: Id,
        now: UnixMs,
        top: u64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_in(workspace).await?;
        let known: Option<(i64,)> = sqlx::query_as(
            "SELECT c.id FROM channels c JOIN users u ON u.workspace = c.workspace
             WHERE c.workspace = $1 AND c.id = $2 AND u.id = $3",
        )
        .bind(workspace.0)
        .bind(channel.0)
        .bind(user.0)
        .fetch_optional(&mut *tx)
        .await?;
        if known.is_none() {
            return Err(StoreError::Missing);
        }
        let done = sqlx::query(
            "INSERT INTO members (channel, user_id, joined_at, last_read, delivered)
             VALUES ($1, $2, $3, $4, $4) ON CONFLICT DO NOTHING",
        )
        .bind(channel.0)
        .bind(user.0)
        .bind(now)
        .bind(signed(top))
        .execute(&mut *tx)
        .await?;
        let new = done.rows_affected() > 0;
        if new {
            notice(&mut tx, workspace, channel, &[user], now).await?;
        }
        tx.commit().await?;
        Ok(new)
    }

    pub(super) async fn delete_member(
        &self,
        workspace: Id,
        channel: Id,
        user: Id,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_in(workspace).await?;
        let done = sqlx::query(
            "DELETE FROM members WHERE channel = $2 AND user_id = $3
             AND EXISTS (SELECT 1 FROM channels c WHERE c.workspace = $1 AND c.id = $2)",
        )
        .bind(workspace.0)
        .bind(channel.0)
        .bind(user.0)
        .execute(&mut *tx)
        .await?;
        let was = done.rows_affected() > 0;
        if was {
            notice(&mut tx, workspace, channel, &[user], now).await?;
        }
        tx.commit().await?;
        Ok(was)
    }

    pub(super) async fn one_member(
        &self,
        workspace: Id,
        channel: Id,
        user: Id,
    ) -> Result<Option<Member>, StoreError> {
        let query = sqlx::query_as::<_, MemberRow>(concat!(
            "SELECT ",
            member_columns!(),
            " FROM members m JOIN channels c ON c.id = m.channel
             WHERE c.workspace = $1 AND m.channel = $2 AND m.user_id = $3"
        ));
        let query = query.bind(workspace.0).bind(channel.0).bind(user.0);
        let row = query.fetch_optional(&mut *self.reader().await?).await?;
        row.map(|row| rows::member(channel, user, row)).transpose()
    }

    pub(super) async fn members_after(
        &self,
        workspace: Id,
        channel: Id,
        after: Id,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        let query = sqlx::query_as::<_, (i64, i64, bool, bool, String, i64, i64)>(concat!(
            "SELECT m.user_id, ",
            member_columns!(),
            " FROM channels c JOIN members m ON m.channel = c.id
             WHERE c.workspace = $1 AND c.id = $2 AND m.user_id > $3 ORDER BY m.user_id LIMIT $4"
        ));
        let query = query.bind(workspace.0).bind(channel.0).bind(after.0).bind(rows::rows(limit));
        let rows = query.fetch_all(&mut *self.reader().await?).await?;
        rows.into_iter()
            .map(|(user, joined_at, muted, starred, notify, last_read, delivered)| {
                rows::member(channel, Id(user), (joined_at, muted, starred, notify, last_read, delivered))
            })
            .collect()
    }

    pub(super) async fn memberships_after(
        &self,
        workspace: Id,
        user: Id,
        after: Id,
        limit: usize,
    ) -> Result<Vec<(Channel, Member)>, StoreError> {
        type Row = (i64, i64, String, String, String, i64, i64, i64, bool, bool, String, i64, i64);
        let query = sqlx::query_as::<_, Row>(concat!(
            "SELECT ",
            channel_columns!(),
            ", ",
            member_columns!(),
            " FROM members m JOIN channels c ON c.id = m.channel
             WHERE m.user_id = $2 AND c.workspace = $1 AND m.channel > $3 ORDER BY m.channel LIMIT $4"
        ));
        let query = query.bind(workspace.0).bind(user.0).bind(after.0).bind(rows::rows(limit));
        let rows = query.fetch_all(&mut *self.reader().await?).await?;
        rows.into_iter()
            .map(|(a, b, c, d, e, f, g, h, i, j, k, l, m)| {
                let channel = rows::channel((a, b, c, d, e, f, g))?;
                let member = rows::member(channel.id, user, (h, i, j, k, l, m))?;
                Ok((channel, member))
            })
            .collect()
    }

    pub(super) async fn update_preferences(
        &self,
        workspace: Id,
        channel: Id,
        user: Id,
        wanted: Preferences,
    ) -> Result<Member, StoreError> {
        let mut tx = self.begin_in(workspace).await?;
        let row: Option<MemberRow> = sqlx::query_as(concat!(
            "UPDATE members AS m SET muted = COALESCE($4, m.muted), starred = COALESCE($5, m.starred),
                 notify = COALESCE($6, m.notify)
             WHERE m.channel = $2 AND m.user_id = $3
             AND EXISTS (SELECT 1 FROM channels c WHERE c.workspace = $1 AND c.id = $2) RETURNING ",
            returned_columns!()
        ))
        .bind(workspace.0)
        .bind(channel.0)
        .bind(user.0)
        .bind(wanted.muted)
        .bind(wanted.starred)
        .bind(wanted.notify.map(rows::text))
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        rows::member(channel, user, row.ok_or(StoreError::Missing)?)
    }

    pub(super) async fn update_marks(
        &self,
        workspace: Id,
        channel: Id,
        user: Id,
        read: u64,
        delivered: u64,
    ) -> Result<Member, StoreError> {
        let mut tx = self.begin_in(workspace).await?;
        // What was read has been delivered.
        let row: Option<MemberRow> = sqlx::query_as(concat!(
            "UPDATE members AS m
             SET last_read = CASE WHEN $4 > m.last_read THEN $4 ELSE m.last_read END,
                 delivered = CASE WHEN $5 > m.delivered THEN $5 ELSE m.delivered END
             WHERE m.channel = $2 AND m.user_id = $3
             AND EXISTS (SELECT 1 FROM channels c WHERE c.workspace = $1 AND c.id = $2) RETURNING ",
            returned_columns!()
        ))
        .bind(workspace.0)
        .bind(channel.0)
        .bind(user.0)
        .bind(signed(read))
        .bind(signed(delivered.max(read)))
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        rows::member(channel, user, row.ok_or(StoreError::Missing)?)
    }

    pub(super) async fn notices_before(
        &self,
        before: UnixMs,
        limit: usize,
    ) -> Result<Vec<Notice>, StoreError> {
        let query = sqlx::query_as::<_, (i64, i64, i64, i64, i64)>(
            "SELECT number, channel, workspace, user_id, at FROM notices WHERE at < $1 ORDER BY number LIMIT $2",
        );
        let rows = query.bind(before).bind(rows::rows(limit)).fetch_all(&mut *self.reader().await?).await?;
        let notice = |(number, channel, workspace, user, at): (i64, i64, i64, i64, i64)| Notice {
            number: number.cast_unsigned(),
            channel: Id(channel),
            workspace: Id(workspace),
            user: Id(user),
            at,
        };
        Ok(rows.into_iter().map(notice).collect())
    }

    pub(super) async fn delete_notices(&self, numbers: &[u64]) -> Result<(), StoreError> {
        let numbers: Vec<Id> = numbers.iter().map(|number| Id(signed(*number))).collect();
        let mut tx = self.begin().await?;
        sqlx::query(concat!("DELETE FROM notices WHERE number ", list!("$1")))
            .bind(ids(&numbers))
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }
}

/// As [`MemberRow`]: SQLite's RETURNING knows no other name of the table.
macro_rules! returned_columns {
    () => {
        "joined_at, muted, starred, notify, last_read, delivered"
    };
}
use returned_columns;
