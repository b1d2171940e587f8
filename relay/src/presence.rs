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
    /// Of those who are seen.
    users: BTreeMap<Box<str>, u32>,
    seen: usize,
    bytes: usize,
}

/// How a member is there for others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appearance {
    /// Presence shows it.
    pub seen: bool,
    /// They were told that it joined and will be told when it leaves.
    pub announced: bool,
}

#[derive(Debug)]
struct Member {
    link: LinkId,
    appearance: Appearance,
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
    fn new(link: LinkId, info: &ClientInfo<'_>, appearance: Appearance) -> Self {
        Self {
            link,
            appearance,
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
    pub fn enter(&mut self, link: LinkId, info: &ClientInfo<'_>, appearance: Appearance) -> Entered {
        let member = Member::new(link, info, appearance);
        self.bytes += member.bytes();
        if appearance.seen {
            *self.users.entry(info.user.into()).or_insert(0) += 1;
            self.seen += 1;
        }
        match self.members.insert(info.client, member) {
            None => Entered::New,
            Some(before) => {
                self.forget(&before);
                Entered::Again
            }
        }
    }

    /// Takes a client out if it came through `link`; calls `left` with who it was.
    pub fn leave(&mut self, link: LinkId, client: ClientId, left: impl FnOnce(&ClientInfo<'_>, Appearance)) {
        if self.members.get(&client).is_some_and(|member| member.link == link)
            && let Some(member) = self.members.remove(&client)
        {
            self.forget(&member);
            left(&member.info(client), member.appearance);
        }
    }

    /// Takes out everyone whose link `lapsed`; calls `left` for each.
    pub fn reap(
        &mut self,
        lapsed: impl Fn(LinkId) -> bool,
        mut left: impl FnMut(&ClientInfo<'_>, Appearance),
    ) {
        let gone: Vec<ClientId> = self
            .members
            .iter()
            .filter(|(_, member)| lapsed(member.link))
            .map(|(client, _)| *client)
            .collect();
        for client in gone {
            if let Some(member) = self.members.remove(&client) {
                self.forget(&member);
                left(&member.info(client), member.appearance);
            }
        }
    }

    fn forget(&mut self, member: &Member) {
        self.bytes -= member.bytes();
        if !member.appearance.seen {
            return;
        }
        self.seen -= 1;
        if let Some(count) = self.users.get_mut(&member.user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&member.user);
            }
        }
    }

    /// Everyone, seen or not, and how they are there.
    pub fn each(&self) -> impl Iterator<Item = (ClientInfo<'_>, Appearance)> {
        self.members.iter().map(|(client, member)| (member.info(*client), member.appearance))
    }

    /// Everyone who is seen.
    pub fn all(&self) -> impl Iterator<Item = ClientInfo<'_>> {
        let seen = self.members.iter().filter(|(_, member)| member.appearance.seen);
        seen.map(|(client, member)| member.info(*client))
    }

    /// How many, seen or not.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody is in.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a client is in.
    pub fn contains(&self, client: ClientId) -> bool {
        self.members.contains_key(&client)
    }

    /// How many clients are seen.
    pub const fn clients(&self) -> usize {
        self.seen
    }

    /// How many distinct users are seen; all anonymous clients are one.
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
    const BOTH: Appearance = Appearance { seen: true, announced: true };

    fn client(number: u8) -> ClientId {
        ClientId([number; 16])
    }

    fn info(number: u8, user: &str) -> ClientInfo<'_> {
        ClientInfo { client: client(number), user, conn_info: b"{}", chan_info: b"" }
    }

    #[test]
    fn clients_and_users_are_counted_apart() {
        let mut members = Members::default();
        assert_eq!(members.enter(LINK, &info(1, "ann"), BOTH), Entered::New);
        assert_eq!(members.enter(LINK, &info(2, "ann"), BOTH), Entered::New);
        assert_eq!(members.enter(LINK, &info(3, "bob"), BOTH), Entered::New);
        assert_eq!((members.clients(), members.users()), (3, 2));
        members.leave(LINK, client(1), |_, _| ());
        assert_eq!((members.clients(), members.users()), (2, 2));
        members.leave(LINK, client(2), |_, _| ());
        assert_eq!((members.clients(), members.users()), (1, 1));
    }

    #[test]
    fn entering_again_changes_what_is_known_but_is_no_join() {
        let mut members = Members::default();
        members.enter(LINK, &info(1, "ann"), BOTH);
        let before = members.bytes();
        assert_eq!(members.enter(LinkId(2), &info(1, "anna"), BOTH), Entered::Again);
        assert_eq!(members.bytes(), before + 2);
        assert_eq!((members.clients(), members.users()), (1, 1));
        assert_eq!(members.all().next().unwrap().user, "anna");
    }

    #[test]
    fn a_late_leave_through_the_old_link_takes_nobody_out() {
        let mut members = Members::default();
        members.enter(LINK, &info(1, "ann"), BOTH);
        members.enter(LinkId(2), &info(1, "ann"), BOTH);
        members.leave(LINK, client(1), |_, _| panic!("still here through the other link"));
        assert_eq!(members.clients(), 1);
    }

    #[test]
    fn reaping_takes_out_those_of_lapsed_links_only_and_names_each() {
        let mut members = Members::default();
        for number in 0..6 {
            members.enter(LinkId(u32::from(number % 2)), &info(number, "u"), BOTH);
        }
        let mut left = Vec::new();
        members.reap(|link| link == LINK, |info, _| left.push(info.client));
        assert_eq!(left, [client(1), client(3), client(5)]);
        assert_eq!((members.clients(), members.users()), (3, 1));
        members.reap(|_| true, |_, _| ());
        assert_eq!((members.bytes(), members.users()), (0, 0));
    }

    #[test]
    fn who_is_not_seen_is_counted_for_the_bound_alone_and_whoever_leaves_is_named_with_how_it_was_there() {
        let mut members = Members::default();
        members.enter(LINK, &info(1, "ann"), Appearance { seen: false, announced: true });
        members.enter(LINK, &info(2, "bob"), Appearance { seen: true, announced: false });
        assert_eq!((members.len(), members.clients(), members.users()), (2, 1, 1));
        assert_eq!(members.all().map(|info| info.client).collect::<Vec<_>>(), [client(2)]);
        let mut left = Vec::new();
        members.leave(LINK, client(2), |info, how| left.push((info.client, how.announced)));
        members.leave(LINK, client(1), |info, how| left.push((info.client, how.announced)));
        assert_eq!(left, [(client(2), false), (client(1), true)]);
        assert!(members.is_empty());
        assert_eq!((members.bytes(), members.clients(), members.users()), (0, 0, 0));
    }
}
