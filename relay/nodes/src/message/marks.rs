//! The read marks of those who post: who writes has read what is above. Written a little later and together, so that a message
//! costs one transaction and not two.
//!
//! Owns what waits. Losing it loses no unread count: one's own messages are never unread.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time;

use crate::limits::{MARKS_EVERY, MARKS_MAX};
use crate::log::log;
use crate::model::{Id, Member};
use crate::state::Node;
use crate::store::StoreError;

/// What waits to be written.
#[derive(Debug, Default)]
pub struct Marks {
    /// By channel and user: the workspace, and how far.
    waiting: Mutex<Waiting>,
    some: Notify,
}

type Waiting = HashMap<(Id, Id), (Id, u64)>;

impl Marks {
    /// The user has read up to here.
    pub fn put(&self, workspace: Id, channel: Id, user: Id, offset: u64) {
        let mut waiting = self.lock();
        if let Some((_, known)) = waiting.get_mut(&(channel, user)) {
            *known = offset.max(*known);
        } else if waiting.len() < MARKS_MAX {
            waiting.insert((channel, user), (workspace, offset));
            self.some.notify_one();
        }
    }

    /// A membership with what waits for it.
    pub fn with(&self, mut member: Member) -> Member {
        if let Some((_, offset)) = self.lock().get(&(member.channel, member.user)) {
            member.last_read = member.last_read.max(*offset);
            member.delivered = member.delivered.max(member.last_read);
        }
        member
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what waits, again and again, until the task is dropped.
pub async fn keep(node: &Node) {
    loop {
        node.marks.some.notified().await;
        time::sleep(MARKS_EVERY).await;
        flush(node).await;
    }
}

/// Writes what waits now.
pub async fn flush(node: &Node) {
    let waiting: Vec<_> = node.marks.lock().iter().map(|(key, value)| (*key, *value)).collect();
    for ((channel, user), (workspace, offset)) in waiting {
        if let Err(error) = write(node, workspace, channel, user, offset).await {
            log!("a read mark was lost: {error}");
        }
        let mut waiting = node.marks.lock();
        if waiting.get(&(channel, user)).is_some_and(|(_, newer)| *newer > offset) {
            node.marks.some.notify_one();
        } else {
            waiting.remove(&(channel, user));
        }
    }
}

async fn write(node: &Node, workspace: Id, channel: Id, user: Id, offset: u64) -> Result<(), StoreError> {
    let home = node.router.home(workspace).await?;
    match home.mark(workspace, channel, user, offset, offset).await {
        // A member no more.
        Ok(_) | Err(StoreError::Missing) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Notify as Told;

    #[test]
    fn marks_of_one_member_are_one_and_the_furthest_and_others_have_a_bound() {
        let marks = Marks::default();
        for offset in [3, 7, 5] {
            marks.put(Id(1), Id(2), Id(3), offset);
        }
        let member = Member {
            channel: Id(2),
            user: Id(3),
            joined_at: 0,
            muted: false,
            starred: false,
            notify: Told::All,
            last_read: 4,
            delivered: 4,
        };
        let seen = marks.with(member);
        assert_eq!((marks.len(), seen.last_read, seen.delivered), (1, 7, 7));
        for user in 0..2 * MARKS_MAX as i64 {
            marks.put(Id(1), Id(9), Id(user + 10), 1);
        }
        assert_eq!(marks.len(), MARKS_MAX);
    }
}
