//! How often connections command what: buckets only for those that did so lately, beside the connections themselves.
//!
//! Owns the buckets and what becomes of a command that finds none full enough. Costs nothing where no rate is set.

use std::{collections::HashMap, time::Duration};

use wire::{
    admission::{CommandKind as Kind, CommandRate, CommandRates},
    code,
};

use super::Shard;
use crate::{
    admission::{Bucket, Rate},
    client::command::{Command, Request},
    limits::METERS_SWEPT_PER_TURN,
    time::Now,
};

/// The meters of one shard.
#[derive(Default)]
pub(super) struct Meters {
    rates: [Rate; KINDS],
    /// Whether any is limited.
    limited: bool,
    entries: Vec<Meter>,
    places: HashMap<u32, u32>,
    cursor: usize,
}

/// The buckets of one connection.
struct Meter {
    index: u32,
    generation: u32,
    buckets: [Bucket; KINDS],
}

/// Buckets of a connection, by [`Kind`].
const KINDS: usize = Kind::COUNT;

/// What becomes of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Run,
    Refuse,
    Close,
}

impl Meters {
    /// New rates; buckets stay as empty as they are.
    pub(super) fn set(&mut self, rates: &CommandRates) {
        self.rates = rates.0.map(|CommandRate { rate, interval_ms }| {
            Rate::new(rate, Duration::from_millis(u64::from(interval_ms)), rate)
        });
        self.limited = self.rates[..KINDS - 1].iter().any(|rate| rate.is_limited());
    }

    fn judge(&mut self, at: Duration, index: u32, generation: u32, kind: Kind) -> Verdict {
        let rates = self.rates;
        let buckets = &mut self.meter(index, generation).buckets;
        let fits = |bucket: &Bucket, kind: Kind| bucket.has(at, rates[kind as usize]);
        if fits(&buckets[kind as usize], kind) && fits(&buckets[Kind::Total as usize], Kind::Total) {
            for kind in [kind, Kind::Total] {
                buckets[kind as usize].take(at, rates[kind as usize]);
            }
            return Verdict::Run;
        }
        let patient = buckets[Kind::Refused as usize].take(at, rates[Kind::Refused as usize]);
        if patient { Verdict::Refuse } else { Verdict::Close }
    }

    fn meter(&mut self, index: u32, generation: u32) -> &mut Meter {
        let new = || Meter { index, generation, buckets: <_>::default() };
        let place = *self.places.entry(index).or_insert_with(|| {
            self.entries.push(new());
            self.entries.len() as u32 - 1
        });
        let meter = &mut self.entries[place as usize];
        if meter.generation != generation {
            // Its connection has gone.
            *meter = new();
        }
        meter
    }

    /// Looks at some meters, in a circle, and drops those whose buckets are all full.
    pub(super) fn sweep(&mut self, at: Duration) {
        for _ in 0..METERS_SWEPT_PER_TURN.min(self.entries.len()) {
            if self.cursor >= self.entries.len() {
                self.cursor = 0;
            }
            let meter = &self.entries[self.cursor];
            if !meter.buckets.iter().all(|bucket| bucket.is_full(at)) {
                self.cursor += 1;
                continue;
            }
            self.places.remove(&meter.index);
            self.entries.swap_remove(self.cursor);
            if let Some(moved) = self.entries.get(self.cursor) {
                self.places.insert(moved.index, self.cursor as u32);
            }
        }
        if self.entries.is_empty() && self.entries.capacity() > 0 {
            self.entries = Vec::new();
            self.places = HashMap::new();
        }
        debug_assert_eq!(self.entries.len(), self.places.len());
    }

    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Shard {
    /// Whether a session's command may run. If not, it has been answered, or the connection is being closed.
    pub(super) fn within_rates(&mut self, now: Now, index: usize, command: &Command<'_>) -> bool {
        let (true, Some(kind)) = (self.meters.limited, kind(&command.request)) else { return true };
        let generation = self.connections[index].generation;
        match self.meters.judge(now.at, index as u32, generation, kind) {
            Verdict::Run => return true,
            // Who is told nothing else is told nothing now.
            Verdict::Refuse if kind == Kind::Send => {}
            Verdict::Refuse => self.reply_error(now, index, command.id, code::TOO_MANY_REQUESTS),
            Verdict::Close => self.close(now, index, code::TOO_MANY_ERRORS),
        }
        false
    }
}

/// The bucket of a command beside that of the total; `None` for those that others limit: one `connect`, one pong for each ping.
const fn kind(request: &Request<'_>) -> Option<Kind> {
    Some(match request {
        Request::Pong | Request::Connect(_) => return None,
        Request::Ping => Kind::Total,
        Request::Subscribe(_) => Kind::Subscribe,
        Request::Unsubscribe { .. } => Kind::Unsubscribe,
        Request::Publish(_) => Kind::Publish,
        Request::Presence { .. } => Kind::Presence,
        Request::PresenceStats { .. } => Kind::PresenceStats,
        Request::History(_) => Kind::History,
        Request::Rpc(_) => Kind::Rpc,
        Request::Send { .. } => Kind::Send,
        Request::Refresh { .. } | Request::SubRefresh(_) => Kind::Refresh,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn meters(rates: CommandRates) -> Meters {
        let mut meters = Meters::default();
        meters.set(&rates);
        meters
    }

    const fn per_second(rate: u32) -> CommandRate {
        CommandRate { rate, interval_ms: 1000 }
    }

    #[test]
    fn each_kind_has_its_bucket_and_all_share_the_total() {
        let rates =
            CommandRates::default().with(Kind::Total, per_second(5)).with(Kind::Publish, per_second(2));
        let mut meters = meters(rates);
        let mut run = |kind| meters.judge(SECOND, 1, 1, kind) == Verdict::Run;
        assert_eq!((0..9).filter(|_| run(Kind::Publish)).count(), 2);
        // What was refused took nothing from the total.
        assert_eq!((0..9).filter(|_| run(Kind::Rpc)).count(), 3);
        assert!(!run(Kind::Publish));
    }

    #[test]
    fn who_goes_on_after_refusals_is_closed() {
        let rates = CommandRates::default().with(Kind::Rpc, per_second(1)).with(Kind::Refused, per_second(3));
        let mut meters = meters(rates);
        let verdicts: Vec<_> = (0..5).map(|_| meters.judge(SECOND, 1, 1, Kind::Rpc)).collect();
        let refused = Verdict::Refuse;
        assert_eq!(verdicts, [Verdict::Run, refused, refused, refused, Verdict::Close]);
        assert_eq!(meters.judge(SECOND * 3, 1, 1, Kind::Rpc), Verdict::Run);
    }

    #[test]
    fn meters_go_when_they_have_nothing_to_say_and_are_not_inherited() {
        let mut meters = meters(CommandRates::default().with(Kind::Total, per_second(1)));
        for index in 0..100 {
            assert_eq!(meters.judge(SECOND, index, 1, Kind::Rpc), Verdict::Run);
        }
        assert_eq!(meters.judge(SECOND, 7, 1, Kind::Rpc), Verdict::Refuse);
        assert_eq!(
            meters.judge(SECOND, 7, 2, Kind::Rpc),
            Verdict::Run,
            "another connection at the same place"
        );
        assert_eq!(meters.len(), 100);
        for _ in 0..20 {
            meters.sweep(SECOND * 2);
        }
        assert_eq!((meters.len(), meters.entries.capacity()), (0, 0));
    }
}
