//! A home's part as the contract has it: each method is at its subject, but for the names of all.
//!
//! Compiled once for each kind of database, which is `super`.

use super::Database;
use crate::model::{Channel, Id, Member, UnixMs, User, Workspace};
use crate::store::{Answer, Conversation, Home, Latest, Notice, Preferences, Session, Standing, StoreError};

impl Home for Database {
    fn add_workspace<'a>(&'a self, workspace: &'a Workspace) -> Answer<'a, ()> {
        Box::pin(self.insert_workspace(workspace))
    }

    fn add_user<'a>(&'a self, user: &'a User, hash: &'a str) -> Answer<'a, ()> {
        Box::pin(self.insert_user(user, hash))
    }

    fn user(&self, workspace: Id, user: Id) -> Answer<'_, Option<User>> {
        Box::pin(self.one_user(workspace, user))
    }

    fn user_by_name<'a>(&'a self, workspace: Id, name: &'a str) -> Answer<'a, Option<(User, String)>> {
        Box::pin(self.named_user(workspace, name))
    }

    fn users(&self, workspace: Id, after: Id, limit: usize) -> Answer<'_, Vec<User>> {
        Box::pin(self.users_after(workspace, after, limit))
    }

    fn rename_user<'a>(&'a self, workspace: Id, user: Id, display_name: &'a str) -> Answer<'a, ()> {
        let update = "UPDATE users SET display_name = $3 WHERE workspace = $1 AND id = $2";
        Box::pin(self.rename(update, workspace, user, display_name))
    }

    fn add_session<'a>(&'a self, workspace: Id, session: &'a Session) -> Answer<'a, ()> {
        Box::pin(self.insert_session(workspace, session))
    }

    fn take_session<'a>(&'a self, workspace: Id, hash: &'a [u8; 32], now: UnixMs) -> Answer<'a, Option<Id>> {
        Box::pin(self.remove_session(workspace, hash, now))
    }

    fn add_group<'a>(&'a self, channel: &'a Channel, members: &'a [Id]) -> Answer<'a, ()> {
        Box::pin(self.insert_group(channel, members))
    }

    fn open_dm<'a>(&'a self, channel: &'a Channel, other: Id) -> Answer<'a, (Channel, bool)> {
        Box::pin(self.insert_dm(channel, other))
    }

    fn channel(&self, workspace: Id, channel: Id) -> Answer<'_, Option<Channel>> {
        Box::pin(self.one_channel(workspace, channel))
    }

    fn rename_channel<'a>(&'a self, workspace: Id, channel: Id, name: &'a str) -> Answer<'a, ()> {
        let update = "UPDATE channels SET name = $3 WHERE workspace = $1 AND id = $2";
        Box::pin(self.rename(update, workspace, channel, name))
    }

    fn standing(&self, workspace: Id, channel: Id, user: Id) -> Answer<'_, Option<Standing>> {
        Box::pin(self.one_standing(workspace, channel, user))
    }

    fn add_member(&self, workspace: Id, channel: Id, user: Id, now: UnixMs, top: u64) -> Answer<'_, bool> {
        Box::pin(self.insert_member(workspace, channel, user, now, top))
    }

    fn remove_member(&self, workspace: Id, channel: Id, user: Id, now: UnixMs) -> Answer<'_, bool> {
        Box::pin(self.delete_member(workspace, channel, user, now))
    }

    fn member(&self, workspace: Id, channel: Id, user: Id) -> Answer<'_, Option<Member>> {
        Box::pin(self.one_member(workspace, channel, user))
    }

    fn members(&self, workspace: Id, channel: Id, after: Id, limit: usize) -> Answer<'_, Vec<Member>> {
        Box::pin(self.members_after(workspace, channel, after, limit))
    }

    fn memberships(
        &self,
        workspace: Id,
        user: Id,
        after: Id,
        limit: usize,
    ) -> Answer<'_, Vec<(Channel, Member)>> {
        Box::pin(self.memberships_after(workspace, user, after, limit))
    }

    fn set_preferences<'a>(
        &'a self,
        workspace: Id,
        channel: Id,
        user: Id,
        wanted: Preferences,
    ) -> Answer<'a, Member> {
        Box::pin(self.update_preferences(workspace, channel, user, wanted))
    }

    fn mark(&self, workspace: Id, channel: Id, user: Id, read: u64, delivered: u64) -> Answer<'_, Member> {
        Box::pin(self.update_marks(workspace, channel, user, read, delivered))
    }

    fn conversations(
        &self,
        workspace: Id,
        user: Id,
        before: Option<(UnixMs, Id)>,
        limit: usize,
    ) -> Answer<'_, Vec<Conversation>> {
        Box::pin(self.conversations_before(workspace, user, before, limit))
    }

    fn set_latest<'a>(&'a self, workspace: Id, latest: &'a [Latest]) -> Answer<'a, ()> {
        Box::pin(self.update_latest(workspace, latest))
    }

    fn notices(&self, before: UnixMs, limit: usize) -> Answer<'_, Vec<Notice>> {
        Box::pin(self.notices_before(before, limit))
    }

    fn drop_notices<'a>(&'a self, numbers: &'a [u64]) -> Answer<'a, ()> {
        Box::pin(self.delete_notices(numbers))
    }
}

impl Database {
    async fn rename(
        &self,
        update: &'static str,
        workspace: Id,
        id: Id,
        name: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_in(workspace).await?;
        let done = sqlx::query(update).bind(workspace.0).bind(id.0).bind(name).execute(&mut *tx).await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Missing);
        }
        tx.commit().await
    }
}
