//! Users and their sessions.
//!
//! Compiled once for each kind of database, which is `super`.

use super::Database;
use crate::model::{Id, UnixMs, User, Workspace};
use crate::store::limits::SESSIONS_PER_USER_MAX;
use crate::store::rows::{self, UserRow, user_columns};
use crate::store::{Session, StoreError};

impl Database {
    pub(super) async fn insert_workspace(&self, workspace: &Workspace) -> Result<(), StoreError> {
        let mut tx = self.begin_in(workspace.id).await?;
        sqlx::query(
            "INSERT INTO workspaces (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(workspace.id.0)
        .bind(&workspace.name)
        .bind(workspace.created_at)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    pub(super) async fn insert_user(&self, user: &User, hash: &str) -> Result<(), StoreError> {
        let mut tx = self.begin_in(user.workspace).await?;
        sqlx::query(
            "INSERT INTO users (id, workspace, name, display_name, created_at, hash)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(user.id.0)
        .bind(user.workspace.0)
        .bind(&user.name)
        .bind(&user.display_name)
        .bind(user.created_at)
        .bind(hash)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    pub(super) async fn one_user(&self, workspace: Id, user: Id) -> Result<Option<User>, StoreError> {
        let query = sqlx::query_as::<_, UserRow>(concat!(
            "SELECT ",
            user_columns!(),
            " FROM users u WHERE u.workspace = $1 AND u.id = $2"
        ));
        let row = query.bind(workspace.0).bind(user.0).fetch_optional(&mut *self.reader().await?).await?;
        Ok(row.map(rows::user))
    }

    pub(super) async fn named_user(
        &self,
        workspace: Id,
        name: &str,
    ) -> Result<Option<(User, String)>, StoreError> {
        let query = sqlx::query_as::<_, (i64, i64, String, String, i64, String)>(concat!(
            "SELECT ",
            user_columns!(),
            ", u.hash FROM users u WHERE u.workspace = $1 AND u.name = $2"
        ));
        let row = query.bind(workspace.0).bind(name).fetch_optional(&mut *self.reader().await?).await?;
        Ok(row.map(|(id, workspace, name, display_name, created_at, hash)| {
            (rows::user((id, workspace, name, display_name, created_at)), hash)
        }))
    }

    pub(super) async fn users_after(
        &self,
        workspace: Id,
        after: Id,
        limit: usize,
    ) -> Result<Vec<User>, StoreError> {
        let query = sqlx::query_as::<_, UserRow>(concat!(
            "SELECT ",
            user_columns!(),
            " FROM users u WHERE u.workspace = $1 AND u.id > $2 ORDER BY u.id LIMIT $3"
        ));
        let query = query.bind(workspace.0).bind(after.0).bind(rows::rows(limit));
        Ok(query.fetch_all(&mut *self.reader().await?).await?.into_iter().map(rows::user).collect())
    }

    pub(super) async fn insert_session(&self, workspace: Id, session: &Session) -> Result<(), StoreError> {
        let mut tx = self.begin_in(workspace).await?;
        sqlx::query("INSERT INTO sessions (hash, workspace, user_id, ends_at) VALUES ($1, $2, $3, $4)")
            .bind(session.hash.as_slice())
            .bind(workspace.0)
            .bind(session.user.0)
            .bind(session.ends_at)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions
             WHERE workspace = $1 AND user_id = $2 ORDER BY ends_at DESC LIMIT 1000 OFFSET $3)",
        )
        .bind(workspace.0)
        .bind(session.user.0)
        .bind(SESSIONS_PER_USER_MAX)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    pub(super) async fn remove_session(
        &self,
        workspace: Id,
        hash: &[u8; 32],
        now: UnixMs,
    ) -> Result<Option<Id>, StoreError> {
        let mut tx = self.begin_in(workspace).await?;
        let row: Option<(i64, i64)> = sqlx::query_as(
            "DELETE FROM sessions WHERE hash = $1 AND workspace = $2 RETURNING user_id, ends_at",
        )
        .bind(hash.as_slice())
        .bind(workspace.0)
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(row.filter(|(_, ends_at)| *ends_at >= now).map(|(user, _)| Id(user)))
    }
}
