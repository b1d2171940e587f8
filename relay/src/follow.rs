//! One channel of a shared bus as this edge follows it: how far it is known to be whole, what is held back until it is, and who
//! waits for that.
//!
//! Owns the decisions: who can be answered, what is to be read next. Never sends anything.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::bus::Ticket;
use crate::limits::{HELD_BYTES_MAX, PUBLICATION_OVERHEAD_BYTES};
use crate::stream::Epoch;
use crate::{LinkId, Stream};

/// How an edge follows channels of a shared bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Following {
    /// How long a channel that nobody wants any more stays subscribed on the bus.
    pub linger: Duration,
    /// How long after the last publication or check the position of a channel is asked for, to find a lost tail.
    pub position_check: Duration,
    /// How long the bus may take for an answer.
    pub answer_timeout: Duration,
}

impl Default for Following {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(10),
            position_check: Duration::from_secs(40),
            answer_timeout: Duration::from_secs(5),
        }
    }
}

/// A channel that is followed.
#[derive(Debug, Default)]
pub(crate) struct Follow {
    /// The bus has said that from some moment on nothing is lost knowingly.
    pub(crate) joined: bool,
    /// The mirror has everything up to its top, and nothing after that is known: publications go straight on. Else they are held.
    pub(crate) level: bool,
    /// The read in flight.
    pub(crate) reading: Option<Ticket>,
    /// A read is due.
    pub(crate) queued: bool,
    /// The last read that was answered.
    pub(crate) read: Option<Ticket>,
    /// Publications up to this offset are known to be gone from history.
    pub(crate) floor: u64,
    pub(crate) held: Held,
    /// In the order of asking, which is that of their deadlines.
    pub(crate) waiters: VecDeque<Waiter>,
    /// When the position was last known to be right.
    pub(crate) checked: Duration,
    /// Since when nobody wants the channel.
    pub(crate) abandoned: Option<Duration>,
    /// Reads in a row that brought nothing of what is known to be missing.
    pub(crate) barren: u8,
}

/// A shard that waits for its answer to `Subscribe`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Waiter {
    pub(crate) link: LinkId,
    pub(crate) request: u32,
    pub(crate) asked: Option<Asked>,
    pub(crate) until: Duration,
    /// Reads from this ticket on began after it asked.
    pub(crate) born: Ticket,
    /// It has not said `Unsubscribe` meanwhile.
    pub(crate) interested: bool,
}

/// Where a subscriber was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) offset: u64,
    pub(crate) epoch: Box<str>,
    pub(crate) latest: bool,
}

/// What is to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) since: Option<u64>,
    pub(crate) limit: usize,
    pub(crate) reverse: bool,
}

impl Follow {
    pub(crate) fn new(now: Duration) -> Self {
        Self { checked: now, ..Self::default() }
    }

    /// Whether a subscriber's answer can be told from the mirror. `most` is how many publications a recovery may have.
    pub(crate) fn answers(&self, stream: Option<&Stream>, waiter: &Waiter, most: usize) -> bool {
        let Some(stream) = stream else { return false };
        if !self.joined || !self.level {
            return false;
        }
        let Some(asked) = &waiter.asked else { return true };
        let top = stream.top();
        if asked.latest {
            return !stream.is_empty() || self.floor >= top;
        }
        if asked.offset > top || asked.is_other(stream) {
            // Perhaps the mirror is behind: only what was read since then can tell.
            return self.read.is_some_and(|read| read >= waiter.born);
        }
        asked.offset + 1 >= stream.first() || asked.offset < self.floor || asked.is_too_far(top, most)
    }

    /// The read that brings most.
    pub(crate) fn wanted(&self, stream: Option<&Stream>, most: usize) -> Wanted {
        let most = most.max(1);
        let asked = || self.waiters.iter().filter_map(|waiter| waiter.asked.as_ref());
        let position = Wanted { since: None, limit: 0, reverse: true };
        let last = Wanted { since: None, limit: 1, reverse: true };
        let Some(stream) = stream else {
            let oldest = asked().filter(|asked| !asked.latest).map(|asked| asked.offset).min();
            return match oldest {
                Some(oldest) => Wanted { since: Some(oldest), limit: most, reverse: false },
                None if asked().next().is_some() => last,
                None => position,
            };
        };
        let (first, top) = (stream.first(), stream.top());
        let before = |asked: &&Asked| {
            !asked.latest
                && !asked.is_other(stream)
                && asked.offset + 1 < first
                && asked.offset >= self.floor
                && !asked.is_too_far(top, most)
        };
        match asked().filter(before).map(|asked| asked.offset).min() {
            // Fits: it is at most `most`, or it would be too far.
            Some(oldest) if self.level => {
                Wanted { since: Some(oldest), limit: (first - 1 - oldest) as usize, reverse: false }
            }
            _ if self.level && stream.is_empty() && asked().any(|asked| asked.latest) => last,
            // With the last one that the mirror has, where it has one: if history has another there, it has gone back meanwhile.
            _ => {
                let seen = u64::from(!stream.is_empty());
                Wanted { since: Some(top - seen), limit: most + 1, reverse: false }
            }
        }
    }
}

impl Asked {
    fn is_other(&self, stream: &Stream) -> bool {
        !self.epoch.is_empty() && *self.epoch != *stream.epoch().as_str()
    }

    const fn is_too_far(&self, top: u64, most: usize) -> bool {
        top.saturating_sub(self.offset) > most as u64
    }
}

/// Publications that cannot be delivered yet.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Of one epoch, by offset.
    bodies: BTreeMap<u64, Box<[u8]>>,
    bytes: usize,
    epoch: Option<Epoch>,
    /// The highest offset that was seen, kept or not.
    highest: u64,
}

impl Held {
    /// Keeps a publication, if there is room; that it exists is remembered in any case.
    pub(crate) fn put(&mut self, epoch: Epoch, offset: u64, body: &[u8]) {
        if self.epoch != Some(epoch) {
            *self = Self { epoch: Some(epoch), ..Self::default() };
        }
        self.highest = self.highest.max(offset);
        let bytes = body.len() + PUBLICATION_OVERHEAD_BYTES;
        if self.bytes + bytes <= HELD_BYTES_MAX && !self.bodies.contains_key(&offset) {
            self.bytes += bytes;
            self.bodies.insert(offset, body.into());
        }
    }

    /// The lowest one of this epoch.
    pub(crate) fn take(&mut self, epoch: Epoch) -> Option<(u64, Box<[u8]>)> {
        if self.epoch != Some(epoch) {
            return None;
        }
        let (offset, body) = self.bodies.pop_first()?;
        self.bytes -= body.len() + PUBLICATION_OVERHEAD_BYTES;
        Some((offset, body))
    }

    /// The lowest offset of this epoch.
    pub(crate) fn first(&self, epoch: Epoch) -> Option<u64> {
        if self.epoch == Some(epoch) { self.bodies.keys().next().copied() } else { None }
    }

    /// The highest offset of this epoch that was ever held, or 0.
    pub(crate) fn highest(&self, epoch: Epoch) -> u64 {
        if self.epoch == Some(epoch) { self.highest } else { 0 }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Epochs, Kept};

    const KEPT: Kept = Kept { size: 3, ttl: Duration::from_secs(10), meta_ttl: Duration::from_secs(100) };
    const MOST: usize = 10;

    /// A mirror of 3 publications below this top.
    fn mirror(top: u64) -> Stream {
        let mut stream = Stream::at(Epochs::new(1).draw(), top - 3, Duration::ZERO, KEPT);
        (0..3).for_each(|_| stream.append(Duration::ZERO, b"x", KEPT));
        stream
    }

    fn waiter(asked: Option<(u64, &str, bool)>) -> Waiter {
        let asked = asked.map(|(offset, epoch, latest)| Asked { offset, epoch: epoch.into(), latest });
        let (link, until, born) = (LinkId(1), Duration::ZERO, Ticket(5));
        Waiter { link, request: 1, asked, until, born, interested: true }
    }

    fn level() -> Follow {
        Follow { joined: true, level: true, ..Follow::default() }
    }

    #[test]
    fn a_level_mirror_answers_whoever_was_within_it_and_whoever_cannot_be_helped() {
        let stream = mirror(20);
        let epoch = stream.epoch();
        let answers = |follow: &Follow, asked| follow.answers(Some(&stream), &waiter(asked), MOST);
        for (asked, expected) in [
            (None, true),
            (Some((17, "", false)), true),
            (Some((20, epoch.as_str(), false)), true),
            (Some((16, "", false)), false),
            (Some((9, "", false)), true),
            (Some((21, "", false)), false),
            (Some((18, "other", false)), false),
            (Some((0, "", true)), true),
        ] {
            assert_eq!(answers(&level(), asked), expected, "{asked:?}");
        }
        assert!(answers(&Follow { floor: 17, ..level() }, Some((16, "", false))), "it is known to be gone");
        for read in [4, 5] {
            let follow = Follow { read: Some(Ticket(read)), ..level() };
            assert_eq!(
                answers(&follow, Some((21, "", false))),
                read == 5,
                "only a read after it asked can tell"
            );
        }
        assert!(!answers(&Follow { level: false, ..level() }, None));
        assert!(!answers(&Follow { joined: false, ..level() }, None));
    }

    #[test]
    fn what_is_read_is_what_the_oldest_recoverable_subscriber_lacks() {
        let stream = mirror(20);
        let wanted = |follow: Follow, asked: &[Option<(u64, &str, bool)>], stream| {
            let waiters = asked.iter().map(|asked| waiter(*asked)).collect();
            let Wanted { since, limit, reverse } = Follow { waiters, ..follow }.wanted(stream, MOST);
            (since, limit, reverse)
        };
        let asked =
            [Some((15, "", false)), Some((16, "", false)), Some((2, "", false)), Some((12, "else", false))];
        assert_eq!(wanted(level(), &asked, Some(&stream)), (Some(15), 2, false));
        let unsure = Follow { level: false, ..level() };
        assert_eq!(
            wanted(unsure, &asked, Some(&stream)),
            (Some(19), MOST + 1, false),
            "the present comes first"
        );
        assert_eq!(wanted(level(), &[], Some(&stream)), (Some(19), MOST + 1, false));
        assert_eq!(wanted(level(), &[None], None), (None, 0, true));
        assert_eq!(wanted(level(), &[None, Some((0, "", true))], None), (None, 1, true));
        assert_eq!(wanted(level(), &[None, Some((7, "", false))], None), (Some(7), MOST, false));
    }

    #[test]
    fn what_does_not_fit_is_let_go_but_not_forgotten() {
        let mut epochs = Epochs::new(1);
        let (epoch, next) = (epochs.draw(), epochs.draw());
        let mut held = Held::default();
        held.put(epoch, 8, &vec![0; HELD_BYTES_MAX / 2]);
        held.put(epoch, 7, b"x");
        held.put(epoch, 9, &vec![0; HELD_BYTES_MAX / 2]);
        assert_eq!((held.first(epoch), held.highest(epoch)), (Some(7), 9));
        assert_eq!(held.take(epoch).map(|(offset, _)| offset), Some(7));
        assert_eq!(held.take(epoch).map(|(offset, _)| offset), Some(8));
        assert_eq!(held.take(epoch), None);
        held.put(next, 1, b"y");
        assert_eq!((held.highest(epoch), held.highest(next)), (0, 1), "another epoch begins anew");
        assert_eq!(held.take(epoch), None);
    }
}
