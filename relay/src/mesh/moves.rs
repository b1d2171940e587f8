//! Streams on their way between homes, after the list of edges has changed: what is to go, what is not yet taken, and one that is coming in.
//!
//! Owns the cutting into words and the putting together. A stream is forgotten here only once the other side has said that it has it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use wire::mesh::{Bytes, Stream};

use crate::limits::STREAM_PART_BYTES_MAX;
use crate::{Epoch, Moved};

/// Streams that go to one edge.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// Still to be said.
    queue: VecDeque<Arc<str>>,
    /// Half said: the stream, and how many bodies and keys of it have gone.
    current: Option<(Moved, usize, usize)>,
    /// Said, not yet taken.
    sent: BTreeSet<Arc<str>>,
    settled: bool,
}

impl Leaving {
    /// These go, besides those that have not been taken yet.
    pub(super) fn add(&mut self, channels: impl IntoIterator<Item = Arc<str>>) {
        self.queue.extend(channels);
        self.settled = false;
    }

    /// A link to the edge begins (again): what it may not have got goes again.
    pub(super) fn restart(&mut self) {
        let current = self.current.take().map(|(moved, ..)| moved.channel);
        let again: Vec<Arc<str>> = std::mem::take(&mut self.sent).into_iter().chain(current).collect();
        again.into_iter().rev().for_each(|channel| self.queue.push_front(channel));
        self.settled = false;
    }

    /// The channels that the edge has not taken yet.
    pub(super) fn take(&mut self) -> Vec<Arc<str>> {
        self.restart();
        std::mem::take(&mut self.queue).into()
    }

    /// The next stream to begin with.
    pub(super) fn next(&mut self) -> Option<Arc<str>> {
        if self.current.is_some() { None } else { self.queue.pop_front() }
    }

    /// It begins.
    pub(super) fn begin(&mut self, moved: Moved) {
        self.current = Some((moved, 0, 0));
    }

    /// Says the next part of a begun stream. False when there is none.
    pub(super) fn part(&mut self, say: impl FnOnce(&Stream<'_>)) -> bool {
        let Some((moved, bodies_gone, keys_gone)) = &mut self.current else { return false };
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
            channel: &moved.channel,
            epoch: moved.epoch.as_str(),
            top: moved.top,
            ttl_ms: milliseconds(moved.ttl),
            meta_ms: milliseconds(moved.meta_ttl),
            bodies,
            keys,
            last,
        });
        if last && let Some((moved, ..)) = self.current.take() {
            self.sent.insert(moved.channel);
        }
        true
    }

    /// The edge has it: it may be forgotten here. False when it was not on its way.
    pub(super) fn taken(&mut self, channel: &str) -> bool {
        self.sent.remove(channel)
    }

    /// True once, when everything has been said.
    pub(super) fn settle(&mut self) -> bool {
        let now = !self.settled && self.queue.is_empty() && self.current.is_none();
        self.settled |= now;
        now
    }

    /// Streams that have not been taken yet.
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.sent.len() + usize::from(self.current.is_some())
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
            leaving.begin(whole.clone());
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
            assert!(leaving.taken("a") && leaving.len() == 0 && !leaving.taken("a"));
        }
    }

    #[test]
    fn what_was_not_taken_goes_again_and_is_settled_again() {
        let mut leaving = Leaving::default();
        assert!(leaving.settle() && !leaving.settle());
        leaving.add(["a".into(), "b".into()]);
        assert!(!leaving.settle());
        assert_eq!(leaving.next().as_deref(), Some("a"));
        leaving.begin(moved(0, 0));
        assert!(leaving.part(|_| ()) && leaving.next().as_deref() == Some("b"));
        assert!(leaving.settle());
        leaving.restart();
        assert!(!leaving.settle());
        assert_eq!(leaving.next().as_deref(), Some("a"));
    }
}
