//! Which sessions each user has, where that is limited.
//!
//! Owns the count. Knows a session by its link and the number its shard gave it, and forgets those of a lost link at once: the shard
//! names them again when it is back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::LinkId;
use crate::limits::SESSIONS_MAX;

/// A session: where, and which.
pub type Session = (LinkId, u64);

/// The sessions of all users.
#[derive(Debug, Default)]
pub struct Users {
    users: HashMap<Arc<str>, Vec<Session>>,
    /// Who each session is.
    sessions: BTreeMap<Session, Arc<str>>,
}

impl Users {
    /// Counts a session, again if need be. `false`: there is no room.
    pub fn arrive(&mut self, session: Session, user: &str) -> bool {
        self.depart(session);
        if self.sessions.len() >= SESSIONS_MAX {
            return false;
        }
        let user =
            self.users.get_key_value(user).map_or_else(|| Arc::from(user), |(user, _)| Arc::clone(user));
        self.users.entry(Arc::clone(&user)).or_default().push(session);
        self.sessions.insert(session, user);
        self.check();
        true
    }

    /// Counts a session no more.
    pub fn depart(&mut self, session: Session) {
        let Some(user) = self.sessions.remove(&session) else { return };
        if let Some(sessions) = self.users.get_mut(&user) {
            sessions.retain(|other| *other != session);
            if sessions.is_empty() {
                self.users.remove(&user);
            }
        }
        self.check();
    }

    /// Forgets every session of a link.
    pub fn forget(&mut self, link: LinkId) {
        let lost: Vec<Session> =
            self.sessions.range((link, 0)..=(link, u64::MAX)).map(|(session, _)| *session).collect();
        for session in lost {
            self.depart(session);
        }
    }

    /// A user's sessions, oldest first.
    pub fn of(&self, user: &str) -> &[Session] {
        self.users.get(user).map_or(&[], Vec::as_slice)
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn check(&self) {
        debug_assert!(self.users.len() <= self.sessions.len(), "every user has a session");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_once_and_forgotten_with_their_link() {
        let (a, b) = (LinkId(1), LinkId(2));
        let mut users = Users::default();
        assert!(users.arrive((a, 7), "ann") && users.arrive((b, 7), "ann") && users.arrive((a, 8), "bob"));
        assert!(users.arrive((a, 7), "ann"), "again");
        assert_eq!((users.of("ann").len(), users.of("bob").len(), users.len()), (2, 1, 3));
        users.forget(a);
        assert_eq!(users.of("ann"), [(b, 7)]);
        assert_eq!(users.of("bob"), []);
        users.depart((a, 7));
        users.depart((b, 7));
        assert!(users.is_empty() && users.users.is_empty());
    }
}
