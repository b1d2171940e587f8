//! Who is in one channel, and through which link.
//!
//! Owns the members and the count of their users. Never decides when somebody whose link was lost has left: it is asked.

use std::collections::BTreeMap;

use wire::ClientId;
use wire::link::ClientInfo;

use crate::LinkId;
use crate::limits::MEMBER_OVERHEAD_BYTES;

/// The members of one channel, in the order of their ids.
#[derive(Debug, Default)]
pub struct Members {
    members: BTreeMap<ClientId, Member>,
    users: BTreeMap<Box<str>, u32>,
    bytes: usize,
}

#[derive(Debug)]
struct Member {
    link: LinkId,
    user: Box<str>,
    conn_info: Box<[u8]>,
    chan_info: Box<[u8]>,
}

/// What entering did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entered {
    /// The client was not there: a join.
    New,
    /// It was; what is known of it, and its link, may have changed.
    Again,
}

impl Member {
    fn new(link: LinkId, info: &ClientInfo<'_>) -> Self {
        Self {
            link,
            user: info.user.into(),
            conn_info: info.conn_info.into(),
            chan_info: info.chan_info.into(),
        }
    }

    fn info(&self, client: ClientId) -> ClientInfo<'_> {
        ClientInfo { client, user: &self.user, conn_info: &self.conn_info, chan_info: &self.chan_info }
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.info(ClientId::default()))
    }
}

/// What one member costs.
pub(crate) const fn bytes_of(info: &ClientInfo<'_>) -> usize {
    // The user's text is kept by the member and, once per user, by the count.
    MEMBER_OVERHEAD_BYTES + 2 * info.user.len() + info.conn_info.len() + info.chan_info.len()
}

impl Members {
    /// Puts a client in, or replaces what is known of it.
    pub fn enter(&mut self, link: LinkId, info: &ClientInfo<'_>) -> Entered {
        let member = Member::new(link, info);
        self.bytes += member.bytes();
        *self.users.entry(info.user.into()).or_insert(0) += 1;
        match self.members.insert(info.client, member) {
            None => Entered::New,
            Some(before) => {
                self.forget(&before);
                Entered::Again
            }
        }
    }

    /// Takes a client out if it came through `link`; calls `left` with who it was.
    pub fn leave(&mut self, link: LinkId, client: ClientId, left: impl FnOnce(&ClientInfo<'_>)) {
        if self.members.get(&client).is_some_and(|member| member.link == link)
            && let Some(member) = self.members.remove(&client)
        {
            self.forget(&member);
            left(&member.info(client));
        }
    }

    /// Takes out everyone whose link `lapsed`; calls `left` for each.
    pub fn reap(&mut self, lapsed: impl Fn(LinkId) -> bool, mut left: impl FnMut(&ClientInfo<'_>)) {
        let gone: Vec<ClientId> = self
            .members
            .iter()
            .filter(|(_, member)| lapsed(member.link))
            .map(|(client, _)| *client)
            .collect();
        for client in gone {
            if let Some(member) = self.members.remove(&client) {
                self.forget(&member);
                left(&member.info(client));
            }
        }
    }

    fn forget(&mut self, member: &Member) {
        self.bytes -= member.bytes();
        if let Some(count) = self.users.get_mut(&member.user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&member.user);
            }
        }
    }

    /// Everyone.
    pub fn all(&self) -> impl Iterator<Item = ClientInfo<'_>> {
        self.members.iter().map(|(client, member)| member.info(*client))
    }

    /// Whether a client is in.
    pub fn contains(&self, client: ClientId) -> bool {
        self.members.contains_key(&client)
    }

    /// How many clients.
    pub fn clients(&self) -> usize {
        self.members.len()
    }

    /// How many distinct users; all anonymous clients are one.
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// Memory of the members.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(1);

    fn client(number: u8) -> ClientId {
        ClientId([number; 16])
    }

    fn info(number: u8, user: &str) -> ClientInfo<'_> {
        ClientInfo { client: client(number), user, conn_info: b"{}", chan_info: b"" }
    }

    #[test]
    fn clients_and_users_are_counted_apart() {
        let mut members = Members::default();
        assert_eq!(members.enter(LINK, &info(1, "ann")), Entered::New);
        assert_eq!(members.enter(LINK, &info(2, "ann")), Entered::New);
        assert_eq!(members.enter(LINK, &info(3, "bob")), Entered::New);
        assert_eq!((members.clients(), members.users()), (3, 2));
        members.leave(LINK, client(1), |_| ());
        assert_eq!((members.clients(), members.users()), (2, 2));
        members.leave(LINK, client(2), |_| ());
        assert_eq!((members.clients(), members.users()), (1, 1));
    }

    #[test]
    fn entering_again_changes_what_is_known_but_is_no_join() {
        let mut members = Members::default();
        members.enter(LINK, &info(1, "ann"));
        let before = members.bytes();
        assert_eq!(members.enter(LinkId(2), &info(1, "anna")), Entered::Again);
        assert_eq!(members.bytes(), before + 2);
        assert_eq!((members.clients(), members.users()), (1, 1));
        assert_eq!(members.all().next().unwrap().user, "anna");
    }

    #[test]
    fn a_late_leave_through_the_old_link_takes_nobody_out() {
        let mut members = Members::default();
        members.enter(LINK, &info(1, "ann"));
        members.enter(LinkId(2), &info(1, "ann"));
        members.leave(LINK, client(1), |_| panic!("still here through the other link"));
        assert_eq!(members.clients(), 1);
    }

    #[test]
    fn reaping_takes_out_those_of_lapsed_links_only_and_names_each() {
        let mut members = Members::default();
        for number in 0..6 {
            members.enter(LinkId(u32::from(number % 2)), &info(number, "u"));
        }
        let mut left = Vec::new();
        members.reap(|link| link == LINK, |info| left.push(info.client));
        assert_eq!(left, [client(1), client(3), client(5)]);
        assert_eq!((members.clients(), members.users()), (3, 1));
        members.reap(|_| true, |_| ());
        assert_eq!((members.bytes(), members.users()), (0, 0));
    }
}
