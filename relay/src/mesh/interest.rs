//! What this edge wants of the channels of one owner: its side of the table that the owner keeps, and which versions are on their way.
//!
//! Owns when a channel counts as joined; never encodes anything. Versions of a link never go back, so what was said to an earlier table
//! is known by them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use wire::code::{self, ErrorCode};

use crate::Epoch;
use crate::limits::{
    REFUSED_LONG_PAUSE, REFUSED_PAUSE, TABLE_PART_BYTES_MAX, TABLE_PART_CHANNELS_MAX, TABLE_PARTS_MAX,
};

/// One side of a table.
#[derive(Debug, Default)]
pub(super) struct Interest {
    channels: HashMap<Arc<str>, State>,
    /// Those to be told next. May name some that are no longer queued.
    queue: VecDeque<Arc<str>>,
    /// Those to be taken back next.
    gone: VecDeque<Arc<str>>,
    /// Words on their way, oldest first.
    parts: VecDeque<(u64, Vec<Arc<str>>)>,
    /// Those to be asked for again, and when.
    refused: VecDeque<(Duration, Arc<str>)>,
    version: u64,
    placed: u64,
    /// The next word begins a snapshot.
    anew: bool,
    joined: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nobody was told yet.
    Queued,
    /// Told in that version.
    Told(u64),
    /// Publications come, of this incarnation.
    Joined(Option<Epoch>),
    /// The owner would not have it.
    Refused,
}

/// A word of the table.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) version: u64,
    pub(super) anew: bool,
    pub(super) unwanted: Vec<Arc<str>>,
    pub(super) wanted: Vec<Arc<str>>,
}

/// What became of one channel, in the owner's words.
pub(super) type Placed = Result<Option<Epoch>, ErrorCode>;

impl Interest {
    /// The channel is wanted from now on.
    pub(super) fn want(&mut self, channel: &Arc<str>) {
        if !self.channels.contains_key(channel) {
            self.channels.insert(Arc::clone(channel), State::Queued);
            self.queue.push_back(Arc::clone(channel));
        }
        self.check();
    }

    /// No more. True if it was joined.
    pub(super) fn unwant(&mut self, channel: &str) -> bool {
        let Some((name, state)) = self.channels.remove_entry(channel) else { return false };
        let joined = matches!(state, State::Joined(_));
        self.joined -= usize::from(joined);
        if state != State::Queued {
            self.gone.push_back(name);
        }
        self.check();
        joined
    }

    /// The next word to say, if one may be said.
    pub(super) fn part(&mut self) -> Option<Part> {
        let nothing = self.queue.is_empty() && self.gone.is_empty() && !self.anew;
        if nothing || self.parts.len() >= TABLE_PARTS_MAX {
            return None;
        }
        let version = self.version + 1;
        let (mut wanted, mut unwanted, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut fits = |channel: &Arc<str>, count: usize| {
            bytes += channel.len();
            count < TABLE_PART_CHANNELS_MAX && bytes <= TABLE_PART_BYTES_MAX
        };
        while self.gone.front().is_some_and(|channel| fits(channel, unwanted.len())) {
            unwanted.extend(self.gone.pop_front());
        }
        // What is taken back and wanted again is said in this order.
        let rest = if self.gone.is_empty() { self.queue.len() } else { 0 };
        for _ in 0..rest {
            if !self.queue.front().is_some_and(|channel| fits(channel, unwanted.len() + wanted.len())) {
                break;
            }
            let Some(channel) = self.queue.pop_front() else { break };
            if let Some(state @ State::Queued) = self.channels.get_mut(&channel) {
                *state = State::Told(version);
                wanted.push(channel);
            }
        }
        let anew = std::mem::take(&mut self.anew);
        if wanted.is_empty() && unwanted.is_empty() && !anew {
            return None;
        }
        self.version = version;
        self.parts.push_back((version, wanted.clone()));
        self.check();
        Some(Part { version, anew, unwanted, wanted })
    }

    /// The owner has that version. `decided` is called for each channel of it: whether it counts from now on. What is not the answer to
    /// the oldest word on its way is of an earlier table and changes nothing.
    pub(super) fn placed(
        &mut self,
        now: Duration,
        version: u64,
        places: impl ExactSizeIterator<Item = Placed>,
        mut decided: impl FnMut(&Arc<str>, bool),
    ) {
        let next =
            |(told, channels): &(u64, Vec<Arc<str>>)| *told == version && channels.len() == places.len();
        let Some((_, channels)) =
            self.parts.front().is_some_and(next).then(|| self.parts.pop_front()).flatten()
        else {
            return;
        };
        self.placed = version;
        for (channel, place) in channels.into_iter().zip(places) {
            let Some(state) = self.channels.get_mut(&channel).filter(|state| **state == State::Told(version))
            else {
                continue;
            };
            match place {
                Ok(epoch) => {
                    *state = State::Joined(epoch);
                    self.joined += 1;
                    decided(&channel, true);
                }
                Err(error) => {
                    *state = State::Refused;
                    let temporary = error == code::INTERNAL;
                    let pause = if temporary { REFUSED_PAUSE } else { REFUSED_LONG_PAUSE };
                    decided(&channel, false);
                    self.refused.push_back((now + pause, channel));
                }
            }
        }
        self.check();
    }

    /// Publications of the channel were lost at the owner, or its stream is another. True if it was joined: it is asked for again.
    pub(super) fn interrupted(&mut self, channel: &str) -> bool {
        let Some((name, _)) = self.channels.get_key_value(channel) else { return false };
        let name = Arc::clone(name);
        let Some(state @ State::Joined(_)) = self.channels.get_mut(channel) else { return false };
        *state = State::Queued;
        self.joined -= 1;
        self.queue.push_back(name);
        self.check();
        true
    }

    /// The owner's table is lost, or not there yet. The next word begins a snapshot. `parted` is called for each channel that was joined.
    pub(super) fn reset(&mut self, mut parted: impl FnMut(&Arc<str>)) {
        self.parts.clear();
        self.gone.clear();
        self.refused.clear();
        let mut queue: Vec<Arc<str>> = self.channels.keys().cloned().collect();
        // In an order that does not depend on the table's.
        queue.sort_unstable();
        for channel in &queue {
            if let Some(state) = self.channels.get_mut(channel)
                && matches!(std::mem::replace(state, State::Queued), State::Joined(_))
            {
                parted(channel);
            }
        }
        self.queue = queue.into();
        self.joined = 0;
        self.anew = true;
        self.check();
    }

    /// Nothing is wanted of this owner any more, and it knows, or is told with the next snapshot.
    pub(super) fn forget(&mut self) {
        debug_assert_eq!(self.joined, 0, "after a reset");
        self.channels.clear();
        self.queue.clear();
    }

    /// Lets time pass: what was refused is asked for again.
    pub(super) fn expire(&mut self, now: Duration) {
        for _ in 0..self.refused.len() {
            let Some((at, channel)) = self.refused.pop_front() else { return };
            match self.channels.get_mut(&channel) {
                Some(state @ State::Refused) if at <= now => {
                    *state = State::Queued;
                    self.queue.push_back(channel);
                }
                Some(State::Refused) => self.refused.push_back((at, channel)),
                _ => {}
            }
        }
    }

    /// The incarnation of a joined channel.
    pub(super) fn joined(&self, channel: &str) -> Option<Option<Epoch>> {
        match self.channels.get(channel) {
            Some(State::Joined(epoch)) => Some(*epoch),
            _ => None,
        }
    }

    /// Whether the owner is still to say what becomes of the channel.
    pub(super) fn awaits(&self, channel: &str) -> bool {
        matches!(self.channels.get(channel), Some(State::Queued | State::Told(_)))
    }

    /// Every wanted channel.
    pub(super) fn channels(&self) -> impl Iterator<Item = &Arc<str>> {
        self.channels.keys()
    }

    /// How many are wanted, and how many of them are joined.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.channels.len(), self.joined)
    }

    /// The version last told, and the one that the owner is known to have.
    pub(super) const fn versions(&self) -> (u64, u64) {
        (self.version, self.placed)
    }

    fn check(&self) {
        debug_assert!(self.parts.len() <= TABLE_PARTS_MAX, "few words are on their way at once");
        debug_assert!(self.placed <= self.version, "nothing is placed that was not told");
        debug_assert!(self.joined <= self.channels.len(), "what is joined is wanted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn place(interest: &mut Interest, version: u64, places: &[Placed]) -> Vec<String> {
        let mut joined = Vec::new();
        interest.placed(NOW, version, places.iter().copied(), |channel, is_joined| {
            joined.extend(is_joined.then(|| channel.to_string()));
        });
        joined
    }

    fn wanting(channels: &[&str]) -> Interest {
        let mut interest = Interest::default();
        interest.reset(|_| panic!("nothing is joined"));
        channels.iter().for_each(|channel| interest.want(&Arc::from(*channel)));
        interest
    }

    #[test]
    fn a_snapshot_comes_first_and_a_channel_is_joined_once_its_version_is_placed() {
        let mut interest = wanting(&["a"]);
        let part = interest.part().unwrap();
        assert!(part.anew && part.version == 1 && *part.wanted[0] == *"a");
        interest.want(&"b".into());
        assert!(!interest.part().unwrap().anew);
        assert_eq!(interest.joined("a"), None);
        assert_eq!(place(&mut interest, 2, &[Ok(None)]), Vec::<String>::new(), "not in this order");
        assert_eq!(place(&mut interest, 1, &[Ok(None)]), ["a"]);
        assert_eq!(place(&mut interest, 2, &[Ok(None)]), ["b"]);
        assert_eq!((interest.counts(), interest.versions()), ((2, 2), (2, 2)));
    }

    #[test]
    fn what_is_placed_for_an_earlier_table_joins_nothing() {
        let mut interest = wanting(&["a"]);
        interest.part().unwrap();
        interest.reset(|_| panic!("nothing is joined"));
        assert_eq!(interest.part().unwrap().version, 2);
        assert_eq!(place(&mut interest, 1, &[Ok(None)]), Vec::<String>::new());
        assert_eq!(place(&mut interest, 2, &[Ok(None)]), ["a"]);
    }

    #[test]
    fn a_channel_wanted_again_is_joined_by_its_last_word_only() {
        let mut interest = wanting(&["a"]);
        interest.part().unwrap();
        assert!(!interest.unwant("a"));
        interest.want(&"a".into());
        assert_eq!(place(&mut interest, 1, &[Ok(None)]), Vec::<String>::new());
        let part = interest.part().unwrap();
        assert_eq!((part.unwanted.len(), part.wanted.len()), (1, 1));
        assert_eq!(place(&mut interest, 2, &[Ok(None)]), ["a"]);
        assert!(interest.unwant("a"));
    }

    #[test]
    fn a_refused_channel_is_asked_for_again_after_a_pause() {
        let mut interest = wanting(&["a"]);
        interest.part().unwrap();
        place(&mut interest, 1, &[Err(code::INTERNAL)]);
        interest.expire(REFUSED_PAUSE - Duration::from_millis(1));
        assert!(interest.part().is_none());
        interest.expire(REFUSED_PAUSE);
        assert_eq!(interest.part().unwrap().wanted.len(), 1);
    }

    #[test]
    fn few_words_are_on_their_way_and_each_is_bounded() {
        let mut interest = wanting(&[]);
        (0..10_000).for_each(|channel| interest.want(&format!("channel:{channel}").into()));
        let parts: Vec<Part> = std::iter::from_fn(|| interest.part()).collect();
        assert_eq!(parts.len(), TABLE_PARTS_MAX);
        assert!(parts.iter().all(|part| part.wanted.len() == TABLE_PART_CHANNELS_MAX));
        place(&mut interest, 1, &[Ok(None); TABLE_PART_CHANNELS_MAX]);
        assert_eq!(interest.part().unwrap().version, TABLE_PARTS_MAX as u64 + 1);
    }
}
