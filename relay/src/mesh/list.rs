//! The edges of a mesh as an operator lists them, and which of them owns a channel.
//!
//! Owners follow from the list alone, never from who is reachable: two halves of a cut network agree. Owns the rule and the list's digest.

use std::sync::Arc;

use wire::mesh::{NAME_BYTES_MAX, VERSION};

use crate::limits::EDGES_MAX;

/// The edges, by name. The same on every one of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List {
    /// In the order of their names.
    edges: Vec<Edge>,
    digest: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Edge {
    name: Arc<str>,
    seed: u64,
}

/// Why some names are no list.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotAList {
    /// None.
    #[error("it names no edge")]
    Empty,
    /// More than can be.
    #[error("it names more than {EDGES_MAX} edges")]
    TooMany,
    /// A name is not one.
    #[error(
        "{0:?} is not a name of an edge: names have small letters, digits and hyphens, at most {NAME_BYTES_MAX}"
    )]
    Name(String),
    /// A name is there twice.
    #[error("{0:?} is named twice")]
    Twice(String),
}

impl List {
    /// Checks names and puts them in order.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, NotAList> {
        let mut edges = Vec::new();
        for name in names {
            let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            let outer = name.bytes().next().zip(name.bytes().last());
            let good = name.len() <= NAME_BYTES_MAX
                && name.bytes().all(letters)
                && outer.is_some_and(|(first, last)| first != b'-' && last != b'-');
            if !good {
                return Err(NotAList::Name(name.to_owned()));
            }
            edges.push(Edge { name: name.into(), seed: hash(name) });
        }
        edges.sort_by(|one, other| one.name.cmp(&other.name));
        if let Some(pair) = edges.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(NotAList::Twice(pair[0].name.to_string()));
        }
        match edges.len() {
            0 => return Err(NotAList::Empty),
            count if count > EDGES_MAX => return Err(NotAList::TooMany),
            _ => {}
        }
        let digest = edges.iter().fold(u64::from(VERSION), |digest, edge| mix(digest ^ edge.seed));
        Ok(Self { edges, digest })
    }

    /// The place of the edge that owns a channel: rendezvous hashing, so that a list with one edge more or less moves only that edge's share.
    pub fn owner(&self, channel: &str) -> usize {
        self.owners(channel).0
    }

    /// The owner's place, and that of the one that would be without it.
    pub fn owners(&self, channel: &str) -> (usize, Option<usize>) {
        let channel = hash(channel);
        let (mut first, mut second) = ((0, 0), None);
        for (place, edge) in self.edges.iter().enumerate() {
            let weight = mix(channel ^ edge.seed);
            if place == 0 {
                first = (weight, 0);
            } else if weight > first.0 {
                second = Some(first);
                first = (weight, place);
            } else if second.is_none_or(|(other, _)| weight > other) {
                second = Some((weight, place));
            }
        }
        (first.1, second.map(|(_, place)| place))
    }

    /// An edge's place.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.edges.binary_search_by(|edge| edge.name.as_ref().cmp(name)).ok()
    }

    /// The names, in order of their places.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.edges.iter().map(|edge| &edge.name)
    }

    /// What tells two lists apart.
    pub const fn digest(&self) -> u64 {
        self.digest
    }
}

/// FNV-1a, mixed: the same in every build, as every edge must come to the same owner.
fn hash(text: &str) -> u64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(text.bytes().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// The last step of SplitMix64.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(count: usize) -> List {
        let names: Vec<String> = (0..count).map(|edge| format!("edge-{edge:02}")).collect();
        List::new(names.iter().map(String::as_str)).unwrap()
    }

    #[test]
    fn an_edge_more_moves_only_what_it_gets() {
        for count in 1..=32 {
            let (before, after) = (list(count), list(count + 1));
            for channel in (0..500).map(|channel| format!("chat:{channel}")) {
                let (old, new) = (before.owner(&channel), after.owner(&channel));
                assert!(new == old || new == count, "a channel moves to the new edge or not at all");
            }
        }
    }

    #[test]
    fn channels_are_spread_evenly() {
        let list = list(8);
        let mut counts = [0usize; 8];
        (0..8000).for_each(|channel| counts[list.owner(&format!("room:{channel}"))] += 1);
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_second_is_who_owns_the_channel_in_a_list_without_the_first() {
        let all = list(5);
        for channel in (0..200).map(|channel| format!("c{channel}")) {
            let (first, second) = all.owners(&channel);
            let gone = all.names().nth(first).unwrap();
            let rest = List::new(all.names().filter(|name| *name != gone).map(|name| &**name)).unwrap();
            let next = rest.names().nth(rest.owner(&channel)).unwrap();
            assert_eq!(all.place(next), second);
        }
        assert_eq!(list(1).owners("c"), (0, None));
    }

    #[test]
    fn the_digest_tells_lists_apart_and_not_their_order() {
        assert_eq!(List::new(["a", "b"]).unwrap().digest(), List::new(["b", "a"]).unwrap().digest());
        assert_ne!(List::new(["a", "b"]).unwrap().digest(), List::new(["a"]).unwrap().digest());
    }

    #[test]
    fn what_is_no_list_says_why() {
        assert_eq!(List::new([]), Err(NotAList::Empty));
        assert_eq!(List::new(["a", "a"]), Err(NotAList::Twice("a".to_owned())));
        for name in ["", "A", "a.b", "-a", "a-", "a b", &"a".repeat(64)] {
            assert_eq!(List::new([name]), Err(NotAList::Name(name.to_owned())));
        }
    }
}
