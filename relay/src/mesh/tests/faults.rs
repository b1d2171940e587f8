//! What goes wrong in a world: connections, edges and lists at any time, and planted bugs once.

use std::collections::BTreeSet;
use std::time::Duration;

use wire::mesh::Word;

use super::world::{Random, World};

/// Something wrong, once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bug {
    PublicationLost,
    PublicationTwice,
    OrderChanged,
    TableLost,
    /// A new owner does not wait for the one before.
    OwnerInHaste,
    MembersLost,
}

impl World {
    pub(super) fn disturb(&mut self) {
        let edges = self.edges.len() as u64;
        let (one, other) = (self.random.below(edges) as usize, self.random.below(edges) as usize);
        if self.plan.cuts && one != other && self.random.one_in(30) {
            self.cut(one, other);
        }
        if self.plan.cuts && one != other && self.random.one_in(60) {
            // A connection that ends and is made again at once.
            self.hang_up(one, other);
        }
        if self.random.one_in(20) {
            let healed: Vec<_> = self.cuts.iter().copied().filter(|_| self.random.one_in(2)).collect();
            healed.iter().for_each(|pair| {
                self.cuts.remove(pair);
            });
        }
        if self.plan.restarts && self.random.one_in(150) {
            match &self.edges[one].mesh {
                Some(_) => self.stop(one),
                None => self.start(one),
            }
        }
        if self.plan.lists && self.random.one_in(60) {
            self.relist(one);
        }
    }

    /// One edge more or less; every edge learns of it at a time of its own.
    fn relist(&mut self, changed: usize) {
        if self.edges.iter().any(|edge| edge.next.is_some()) {
            return;
        }
        let known = self.edges.iter().find(|edge| edge.mesh.is_some()).map(|edge| edge.list.clone());
        let mut list: BTreeSet<usize> = known.unwrap_or_default().into_iter().collect();
        if !list.remove(&changed) {
            list.insert(changed);
        }
        if list.len() < 2 {
            return;
        }
        let list: Vec<usize> = list.into_iter().collect();
        for index in 0..self.edges.len() {
            let at = self.now + Duration::from_millis(self.random.below(1500));
            self.edges[index].next = Some((at, list.clone()));
            if self.edges[index].mesh.is_none()
                && list.contains(&index)
                && !self.edges[index].list.contains(&index)
            {
                self.edges[index].list = list.clone();
                self.start(index);
            }
        }
    }
}

/// Does what the bug does to the first bytes that it fits.
pub(super) fn tamper(bytes: Vec<u8>, bug: &mut Option<Bug>, random: &mut Random) -> Vec<u8> {
    let Some(wanted) = *bug else { return bytes };
    let (mut frames, mut rest) = (Vec::new(), &bytes[..]);
    while let Ok(Some((_, body, after))) = wire::mesh::split(rest) {
        frames.push((&rest[..rest.len() - after.len()], body));
        rest = after;
    }
    let publication = |body: &[u8]| wire::bus::parts(body).is_some_and(|(_, offset, _)| offset > 20);
    let table = |body: &[u8]| matches!(wire::frame::decode(body), Ok(Word::Table { anew: false, .. }));
    let enter = |frame: &[u8], body: &[u8]| {
        frame[3] == 1 && matches!(wire::frame::decode(body), Ok(wire::link::ToRelay::Enter { .. }))
    };
    let place = frames.iter().position(|(frame, body)| match wanted {
        Bug::TableLost => frame[3] == 2 && table(body),
        Bug::MembersLost => enter(frame, body),
        Bug::OwnerInHaste => false,
        _ => frame[3] == 0 && publication(body),
    });
    let Some(place) =
        place.filter(|_| wanted == Bug::TableLost || wanted == Bug::MembersLost || random.one_in(2))
    else {
        return bytes;
    };
    let mut out: Vec<&[u8]> = frames.iter().map(|(frame, _)| *frame).collect();
    match wanted {
        Bug::PublicationTwice => out.insert(place, out[place]),
        // Before the last of the same channel, or it is no change of order.
        Bug::OrderChanged => {
            let channel = |body| wire::bus::parts(body).map(|(channel, ..)| channel.to_owned());
            let first = channel(frames[place].1);
            let Some(other) =
                (place + 1..frames.len()).find(|at| frames[*at].0[3] == 0 && channel(frames[*at].1) == first)
            else {
                return bytes;
            };
            out.swap(place, other);
        }
        _ => drop(out.remove(place)),
    }
    *bug = if wanted == Bug::PublicationLost { *bug } else { None };
    let mut whole = out.concat();
    whole.extend_from_slice(rest);
    whole
}
