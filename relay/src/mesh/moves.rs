//! Streams on their way between homes, after the list of edges has changed: what is to go, what is not yet taken, and one that is coming in.
//!
//! Owns the cutting into words and the putting together, and which streams another edge may have by now: those this one no longer serves
//! and hands to nobody else until it knows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use wire::mesh::{Bytes, Stream};

use crate::bus::EdgeId;
use crate::limits::STREAM_PART_BYTES_MAX;
use crate::{Epoch, Moved};

/// Streams that go to one edge.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// Still to be said.
    queue: VecDeque<Arc<str>>,
    /// Half said: the stream and its number, and how many bodies and keys of it have gone.
    current: Option<(Moved, u64, usize, usize)>,
    /// Said and not answered, with their numbers: the edge may have gone on with them.
    sent: BTreeMap<Arc<str>, u64>,
    /// The same of those said when the list was another.
    earlier: BTreeMap<Arc<str>, u64>,
    /// The run of the edge that they were said to.
    to: Option<EdgeId>,
    settled: bool,
}

impl Leaving {
    /// These go, besides those that have not been taken yet.
    pub(super) fn add(&mut self, channels: impl IntoIterator<Item = Arc<str>>) {
        self.queue.extend(channels);
        self.settled = false;
    }

    /// Both have the same list (again): what is half said goes again, and all is settled again.
    pub(super) fn restart(&mut self) {
        let half = self.current.take().map(|(moved, ..)| moved.channel);
        half.into_iter().for_each(|channel| self.queue.push_front(channel));
        self.settled = false;
    }

    /// The channels that have not been said, for the list is another from now on.
    pub(super) fn take(&mut self) -> Vec<Arc<str>> {
        self.restart();
        self.earlier.append(&mut self.sent);
        std::mem::take(&mut self.queue).into()
    }

    /// A new link: its other side is the run `to`, which has heard streams up to a number. Of what was said before and not answered, returns
    /// what has come, or was said to another run, and may be anybody's by now; then what has not.
    pub(super) fn linked(&mut self, to: EdgeId, heard: u64) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let same = self.to.replace(to) == Some(to);
        let numbers = self.numbers();
        let (gone, back): (Vec<_>, Vec<_>) =
            numbers.into_iter().partition(|(_, number)| !same || *number <= heard);
        let channels = |these: Vec<(Arc<str>, u64)>| these.into_iter().map(|(channel, _)| channel).collect();
        (channels(gone), channels(back))
    }

    /// Nobody will answer any more: what the edge may have gone on with.
    pub(super) fn give_up(&mut self) -> Vec<Arc<str>> {
        self.numbers().into_iter().map(|(channel, _)| channel).collect()
    }

    fn numbers(&mut self) -> Vec<(Arc<str>, u64)> {
        let earlier = std::mem::take(&mut self.earlier);
        earlier.into_iter().chain(std::mem::take(&mut self.sent)).collect()
    }

    /// The next stream to begin with.
    pub(super) fn next(&mut self) -> Option<Arc<str>> {
        if self.current.is_some() { None } else { self.queue.pop_front() }
    }

    /// It begins.
    pub(super) fn begin(&mut self, moved: Moved, number: u64) {
        self.current = Some((moved, number, 0, 0));
    }

    /// Says the next part of a begun stream. False when there is none.
    pub(super) fn part(&mut self, say: impl FnOnce(&Stream<'_>)) -> bool {
        let Some((moved, number, bodies_gone, keys_gone)) = &mut self.current else { return false };
        let mut bytes = 0;
        let mut fits = |more: usize| {
            let first = bytes == 0;
            bytes += more;
            first || bytes <= STREAM_PART_BYTES_MAX
        };
        let bodies = moved.bodies[*bodies_gone..].iter().take_while(|body| fits(body.len() + 8));
        let bodies: Vec<&Bytes> = bodies.map(|body| Bytes::new(body)).collect();
        let keys = moved.keys[*keys_gone..].iter().take_while(|(key, ..)| fits(key.len() + 24));
        let keys: Vec<_> = keys.map(|(key, offset, left)| (&**key, *offset, milliseconds(*left))).collect();
        *bodies_gone += bodies.len();
        *keys_gone += keys.len();
        let last = *bodies_gone == moved.bodies.len() && *keys_gone == moved.keys.len();
        say(&Stream {
            number: *number,
            channel: &moved.channel,
            epoch: moved.epoch.as_str(),
            top: moved.top,
            ttl_ms: milliseconds(moved.ttl),
            meta_ms: milliseconds(moved.meta_ttl),
            bodies,
            keys,
            last,
        });
        if last && let Some((moved, number, ..)) = self.current.take() {
            self.sent.insert(moved.channel, number);
        }
        true
    }

    /// The edge has answered: it has it, or has left it here. False when it was not on its way.
    pub(super) fn answered(&mut self, channel: &str) -> bool {
        self.sent.remove(channel).is_some() || self.earlier.remove(channel).is_some()
    }

    /// Whether the edge may have it.
    pub(super) fn lent(&self, channel: &str) -> bool {
        self.sent.contains_key(channel) || self.earlier.contains_key(channel)
    }

    /// What it may have of an earlier list.
    pub(super) fn earlier(&self) -> impl Iterator<Item = &Arc<str>> {
        self.earlier.keys()
    }

    /// Everything has been said, and this.
    pub(super) const fn settled(&self) -> bool {
        self.settled
    }

    /// True once, when the edge has everything.
    pub(super) fn settle(&mut self) -> bool {
        let now = !self.settled && self.queue.is_empty() && self.current.is_none() && self.sent.is_empty();
        self.settled |= now;
        now
    }

    /// Streams that have not been taken yet.
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.sent.len() + self.earlier.len() + usize::from(self.current.is_some())
    }
}

/// Puts a part of a stream to what came of it before; the whole stream with its last part. More than `bytes_max` is not kept: such a
/// stream comes without its publications.
pub(super) fn join(arriving: &mut Option<Moved>, part: &Stream<'_>, bytes_max: usize) -> Option<Moved> {
    let epoch = Epoch::parse(part.epoch)?;
    let moved = match arriving {
        Some(moved) if *moved.channel == *part.channel && moved.epoch == epoch => moved,
        _ => arriving.insert(Moved {
            channel: part.channel.into(),
            epoch,
            top: part.top,
            ttl: Duration::ZERO,
            meta_ttl: Duration::ZERO,
            bodies: Vec::new(),
            keys: Vec::new(),
        }),
    };
    moved.top = part.top;
    (moved.ttl, moved.meta_ttl) = (Duration::from_millis(part.ttl_ms), Duration::from_millis(part.meta_ms));
    moved.bodies.extend(part.bodies.iter().map(|body| Box::from(body.as_ref())));
    let keys = part.keys.iter();
    moved.keys.extend(keys.map(|(key, offset, ms)| (Box::from(*key), *offset, Duration::from_millis(*ms))));
    let bytes: usize = moved.bodies.iter().map(|body| body.len()).sum();
    if bytes > bytes_max {
        moved.bodies = Vec::new();
    }
    if part.last { arriving.take() } else { None }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epochs;

    fn moved(bodies: usize, keys: usize) -> Moved {
        Moved {
            channel: "a".into(),
            epoch: Epochs::new(1).draw(),
            top: bodies as u64,
            ttl: Duration::from_secs(3),
            meta_ttl: Duration::from_secs(9),
            bodies: (0..bodies).map(|body| vec![body as u8; STREAM_PART_BYTES_MAX / 3].into()).collect(),
            keys: (0..keys).map(|key| (format!("key {key}").into(), 1, Duration::from_secs(1))).collect(),
        }
    }

    #[test]
    fn a_stream_comes_in_parts_as_it_was() {
        for (bodies, keys) in [(0, 0), (1, 3), (10, 70_000)] {
            let whole = moved(bodies, keys);
            let (mut leaving, mut arriving, mut arrived, mut parts) = (Leaving::default(), None, None, 0);
            leaving.begin(whole.clone(), 1);
            while leaving.part(|part| {
                let mut frame = Vec::new();
                let word = wire::mesh::Word::Stream(part.clone());
                wire::mesh::encode(wire::mesh::Class::Word, &word, &mut frame).unwrap();
                arrived = join(&mut arriving, part, usize::MAX);
            }) {
                parts += 1;
            }
            assert_eq!(arrived, Some(whole));
            assert!(parts > bodies / 4 && leaving.len() == 1);
            assert!(leaving.answered("a") && leaving.len() == 0 && !leaving.answered("a"));
        }
    }

    fn say(leaving: &mut Leaving, number: u64) {
        leaving.next().unwrap();
        leaving.begin(moved(0, 0), number);
        assert!(leaving.part(|_| ()));
    }

    #[test]
    fn all_is_settled_once_everything_was_answered() {
        let mut leaving = Leaving::default();
        assert!(leaving.settle() && !leaving.settle());
        leaving.add(["a".into()]);
        assert!(!leaving.settle());
        say(&mut leaving, 1);
        assert!(leaving.lent("a") && !leaving.settle(), "the edge has not said that it has it");
        assert!(leaving.answered("a") && leaving.settle() && !leaving.lent("a"));
    }

    #[test]
    fn what_was_said_is_the_edges_until_it_is_known_that_it_did_not_come() {
        let a = || vec![Arc::<str>::from("a")];
        for (run, heard, gone) in [(1, 4, false), (1, 5, true), (2, 4, true)] {
            let mut leaving = Leaving::default();
            leaving.linked(EdgeId(1), 0);
            leaving.add(["a".into()]);
            say(&mut leaving, 5);
            leaving.restart();
            assert_eq!(leaving.take(), [], "it does not go to another edge");
            assert!(leaving.lent("a") && leaving.earlier().count() == 1);
            let parts = leaving.linked(EdgeId(run), heard);
            assert_eq!(parts, if gone { (a(), vec![]) } else { (vec![], a()) });
            assert!(!leaving.lent("a") && leaving.give_up().is_empty());
        }
    }

    #[test]
    fn what_was_half_said_goes_again() {
        let mut leaving = Leaving::default();
        leaving.add(["a".into()]);
        leaving.next().unwrap();
        leaving.begin(moved(9, 0), 1);
        assert!(leaving.part(|_| ()) && !leaving.lent("a"));
        leaving.restart();
        assert_eq!(leaving.next().as_deref(), Some("a"));
    }
}
