//! This edge's members of the channels that one owner keeps the presence of, to be entered again when the owner has lost them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use wire::ClientId;

use crate::Appearance;
use crate::bus::Member;

/// Members by channel and client.
#[derive(Debug, Default)]
pub(super) struct Present {
    members: BTreeMap<Key, (Member, Appearance)>,
    again: Again,
}

type Key = (Arc<str>, ClientId);

/// Where entering again is.
#[derive(Debug, Default)]
enum Again {
    #[default]
    Done,
    After(Option<Key>),
}

impl Present {
    pub(super) fn enter(&mut self, channel: Arc<str>, member: Member, appearance: Appearance) {
        self.members.insert((channel, member.client), (member, appearance));
    }

    /// True if it was in.
    pub(super) fn leave(&mut self, channel: &Arc<str>, client: ClientId) -> bool {
        self.members.remove(&(Arc::clone(channel), client)).is_some()
    }

    /// Everybody is to be entered again.
    pub(super) fn restart(&mut self) {
        self.again = Again::After(None);
    }

    /// Nobody is for now.
    pub(super) fn stop(&mut self) {
        self.again = Again::Done;
    }

    /// The next to be entered again.
    pub(super) fn next(&mut self) -> Option<(&Arc<str>, &Member, Appearance)> {
        let Again::After(last) = &mut self.again else { return None };
        let start = last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let Some((key, (member, appearance))) = self.members.range((start, Bound::Unbounded)).next() else {
            self.again = Again::Done;
            return None;
        };
        self.again = Again::After(Some(key.clone()));
        Some((&key.0, member, *appearance))
    }

    /// Everybody, when another edge keeps them from now on.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Arc<str>, Member, Appearance)> + use<> {
        self.stop();
        let members = std::mem::take(&mut self.members);
        members.into_iter().map(|((channel, _), (member, appearance))| (channel, member, appearance))
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Appearance = Appearance { seen: true, announced: true };

    fn member(client: u8) -> Member {
        Member {
            client: ClientId([client; 16]),
            user: "ann".into(),
            conn_info: [].into(),
            chan_info: [].into(),
        }
    }

    #[test]
    fn everybody_who_is_still_in_is_entered_again_once() {
        let mut present = Present::default();
        (0..5).for_each(|client| present.enter("a".into(), member(client), BOTH));
        assert!(present.next().is_none(), "nothing was lost");
        present.restart();
        assert_eq!(present.next().unwrap().1.client, ClientId([0; 16]));
        assert!(present.leave(&"a".into(), ClientId([1; 16])));
        present.enter("a".into(), member(9), BOTH);
        let rest: Vec<u8> =
            std::iter::from_fn(|| present.next().map(|(_, member, _)| member.client.0[0])).collect();
        assert_eq!(rest, [2, 3, 4, 9]);
        assert_eq!(present.len(), 5);
    }
}
