//! What must be true of a world once nothing moves any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use wire::ClientId;

use super::world::{HISTORY, LOOSE, World, channel, kept};
use crate::bus::{Ask, Ticket};
use crate::mesh::PeerState;

impl World {
    /// One publication to each channel without history, and who is where.
    pub(super) fn last_words(&mut self) -> Result<(), String> {
        let listed = self.listed();
        let first = self.what;
        for loose in HISTORY..HISTORY + LOOSE {
            self.what += 1;
            self.publish(listed[0], &channel(loose), self.what);
        }
        for channel in (0..HISTORY).map(channel) {
            self.ticket += 1;
            let ticket = self.ticket;
            self.edges[listed[0]].presence.insert(ticket, Arc::clone(&channel));
            self.ask(listed[0], Ask::Presence { ticket: Ticket(ticket), channel });
        }
        self.pass_checked(Duration::from_secs(1))?;
        for index in &listed {
            let edge = &self.edges[*index];
            for (number, loose) in (HISTORY..HISTORY + LOOSE).enumerate() {
                let what = first + 1 + number as u64;
                if edge.followers.contains_key(&channel(loose)) && !edge.loose.contains(&what) {
                    return Err(self.say(&format!("edge {index} did not get {what} of {}", channel(loose))));
                }
            }
        }
        for channel in (0..HISTORY).map(channel) {
            let seen = self.edges[listed[0]].seen.get(&channel).cloned().unwrap_or_default();
            let edges = listed.iter().map(|index| &self.edges[*index]);
            let entered: BTreeSet<ClientId> = edges
                .flat_map(|edge| edge.members.keys())
                .filter(|(at, _)| *at == channel)
                .map(|(_, client)| *client)
                .collect();
            if seen != entered {
                return Err(self.say(&format!(
                    "{channel}: {} are seen, {} are in",
                    seen.len(),
                    entered.len()
                )));
            }
        }
        Ok(())
    }

    /// Edges that run and know themselves listed.
    fn listed(&self) -> Vec<usize> {
        let edges = self.edges.iter().enumerate();
        edges
            .filter(|(index, edge)| edge.mesh.is_some() && edge.list.contains(index))
            .map(|(index, _)| index)
            .collect()
    }

    pub(super) fn sum(&self) -> Result<(), String> {
        let listed = self.listed();
        let mut tops: BTreeMap<Arc<str>, (String, u64)> = BTreeMap::new();
        for (index, follower) in self.followers().filter(|(index, _)| listed.contains(index)) {
            if !follower.joined {
                return Err(self.say(&format!("edge {index} has not joined {}", follower.channel)));
            }
            if !kept(&follower.channel) {
                continue;
            }
            let Some(at) = &follower.at else {
                return Err(self.say(&format!("edge {index} has no place in {}", follower.channel)));
            };
            let top = tops.entry(Arc::clone(&follower.channel)).or_insert_with(|| at.clone());
            if top != at {
                return Err(
                    self.say(&format!("{}: edge {index} is at {at:?}, another at {top:?}", follower.channel))
                );
            }
            let mut places = BTreeSet::new();
            for (epoch, offset, what) in &follower.got {
                if !places.insert((epoch, what)) {
                    return Err(self.say(&format!("{}: {what} was made twice in {epoch}", follower.channel)));
                }
                let known = self.acknowledged.get(&(Arc::clone(&follower.channel), epoch.clone(), *offset));
                if known.is_some_and(|known| known != what) {
                    return Err(self.say(&format!("{}: {offset} is {what}, not {known:?}", follower.channel)));
                }
            }
        }
        for ((channel, epoch, offset), what) in &self.acknowledged {
            if let Some((last, top)) = tops.get(channel)
                && last == epoch
                && top < offset
            {
                return Err(
                    self.say(&format!("{channel}: {what} was acknowledged at {offset}, the top is {top}"))
                );
            }
        }
        self.tables(&listed)
    }

    /// What each edge wants is what each owner has.
    fn tables(&self, listed: &[usize]) -> Result<(), String> {
        for index in listed {
            let Some(mesh) = &self.edges[*index].mesh else { continue };
            for peer in mesh.peers() {
                let good = peer.state == PeerState::Up
                    && peer.told.0 == peer.told.1
                    && peer.wanted.0 == peer.wanted.1;
                if !good {
                    return Err(self.say(&format!("edge {index} and {peer:?} do not agree")));
                }
            }
            for (channel, peer) in mesh
                .peers
                .iter()
                .flat_map(|peer| peer.interest.channels().map(move |channel| (channel, peer)))
            {
                let owner = self
                    .edges
                    .iter()
                    .find(|edge| *edge.name == *peer.name)
                    .and_then(|edge| edge.mesh.as_ref());
                let own = &self.edges[*index].name;
                let table = owner.and_then(|owner| owner.peers.iter().find(|peer| *peer.name == **own));
                let has = table
                    .and_then(|peer| peer.connection.as_ref())
                    .is_some_and(|connection| connection.table.contains(channel));
                if !has {
                    return Err(
                        self.say(&format!("{channel} of edge {index} is not in {}'s table", peer.name))
                    );
                }
            }
        }
        Ok(())
    }
}
