//! What was acknowledged, what each subscriber got, and whether the two agree.
//!
//! Pure: the same books give the same verdict. Never talks to anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A channel's place in the plan.
pub type Channel = usize;
/// What a publication carries: a number that is used once.
pub type Id = u64;

/// A publication's place, as its publisher was told.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The stream's incarnation.
    pub epoch: String,
    /// In it.
    pub offset: u64,
}

/// What one subscriber saw of one channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// It begins here, because it is new or because it was told that what is before is gone: everything after `0` is to come.
    Began(Place),
    /// It came back and got what it had missed, which follows.
    Recovered,
    /// A publication, live or recovered.
    Got {
        /// Its offset.
        offset: u64,
        /// What it carried.
        id: Id,
    },
}

/// All that is known in the end.
#[derive(Debug, Default)]
pub struct Books {
    /// What publishers were told, by channel.
    pub acknowledged: BTreeMap<Channel, BTreeMap<Place, Id>>,
    /// What subscribers saw, by subscriber and channel.
    pub seen: BTreeMap<(usize, Channel), Vec<Seen>>,
}

/// The outcome.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Publications that subscribers got.
    pub delivered: u64,
    /// Times that a subscriber came back and missed nothing.
    pub recovered: u64,
    /// Times that a subscriber was told that something is gone.
    pub told: u64,
    /// Acknowledged publications that a subscriber who was not told did not get.
    pub lost: u64,
    /// Publications that a subscriber got twice.
    pub duplicated: u64,
    /// Publications out of order.
    pub disordered: u64,
    /// The first faults, in words.
    pub faults: Vec<String>,
}

/// As many faults are put in words, of each kind of books.
pub(super) const FAULTS_SAID_MAX: usize = 20;

impl Books {
    /// Compares.
    pub fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::default();
        let nothing = BTreeMap::new();
        for ((subscriber, channel), seen) in &self.seen {
            let acknowledged = self.acknowledged.get(channel).unwrap_or(&nothing);
            let mut reader =
                Reader { who: (*subscriber, *channel), acknowledged, at: None, ids: BTreeSet::new() };
            seen.iter().for_each(|seen| reader.take(seen, &mut verdict));
            reader.end(&mut verdict);
        }
        verdict
    }
}

impl Verdict {
    /// Whether everything is as promised.
    pub const fn is_good(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.disordered == 0
    }

    fn fault(&mut self, who: (usize, Channel), words: fmt::Arguments<'_>) {
        if self.faults.len() < FAULTS_SAID_MAX {
            self.faults.push(format!("subscriber {} in channel {}: {words}", who.0, who.1));
        }
    }
}

/// One subscriber's channel, read from the beginning.
struct Reader<'a> {
    who: (usize, Channel),
    acknowledged: &'a BTreeMap<Place, Id>,
    at: Option<Place>,
    /// Since it last began.
    ids: BTreeSet<Id>,
}

impl Reader<'_> {
    fn take(&mut self, seen: &Seen, verdict: &mut Verdict) {
        match seen {
            Seen::Began(place) => {
                verdict.told += u64::from(self.at.is_some());
                self.at = Some(place.clone());
                self.ids.clear();
            }
            Seen::Recovered => verdict.recovered += 1,
            Seen::Got { offset, id } => self.got(*offset, *id, verdict),
        }
    }

    fn got(&mut self, offset: u64, id: Id, verdict: &mut Verdict) {
        verdict.delivered += 1;
        let Some(at) = &mut self.at else {
            verdict.disordered += 1;
            return verdict.fault(self.who, format_args!("got {offset} before it was subscribed"));
        };
        if offset <= at.offset || !self.ids.insert(id) {
            verdict.duplicated += 1;
            return verdict.fault(self.who, format_args!("got {offset} ({id}) after {}", at.offset));
        }
        let missed = |offset| Place { epoch: at.epoch.clone(), offset };
        let between = self.acknowledged.range(missed(at.offset + 1)..missed(offset)).count() as u64;
        if between > 0 {
            verdict.lost += between;
            verdict.fault(self.who, format_args!("missed {between} of {} to {offset}", at.offset + 1));
        } else if offset > at.offset + 1 {
            verdict.disordered += 1;
            verdict.fault(self.who, format_args!("got {offset} after {}", at.offset));
        }
        let published = self.acknowledged.get(&missed(offset));
        if let Some(published) = published.filter(|published| **published != id) {
            verdict.lost += 1;
            verdict.fault(self.who, format_args!("got {id} at {offset}, where {published} was acknowledged"));
        }
        at.offset = offset;
    }

    /// What was acknowledged after the last one it got, or in another incarnation that it was not told of.
    fn end(&self, verdict: &mut Verdict) {
        let Some(at) = &self.at else { return };
        let after = Place { epoch: at.epoch.clone(), offset: at.offset + 1 };
        let end = Place { epoch: at.epoch.clone(), offset: u64::MAX };
        let missing = self.acknowledged.range(after..end).count() as u64;
        if missing > 0 {
            verdict.lost += missing;
            verdict.fault(self.who, format_args!("never got the last {missing}, after {}", at.offset));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64) -> Place {
        Place { epoch: "a".to_owned(), offset }
    }

    /// Publications 1 to 4, and what one subscriber saw of them.
    fn verdict(seen: &[Seen]) -> Verdict {
        let mut books = Books::default();
        books.acknowledged.insert(0, (1..5).map(|offset| (place(offset), 100 + offset)).collect());
        books.seen.insert((7, 0), seen.to_vec());
        books.verdict()
    }

    fn got(offset: u64) -> Seen {
        Seen::Got { offset, id: 100 + offset }
    }

    #[test]
    fn everything_once_in_order_is_good_and_so_is_what_was_said_to_be_gone() {
        let whole = [Seen::Began(place(0)), got(1), got(2), Seen::Recovered, got(3), got(4)];
        let verdict = verdict(&whole);
        assert!(verdict.is_good(), "{verdict:?}");
        assert_eq!((verdict.delivered, verdict.recovered, verdict.told), (4, 1, 0));
        let told = self::verdict(&[Seen::Began(place(0)), got(1), Seen::Began(place(3)), got(4)]);
        assert!(told.is_good() && told.told == 1, "{told:?}");
        let elsewhere = Place { epoch: "b".to_owned(), offset: 0 };
        assert!(self::verdict(&[Seen::Began(place(0)), got(1), Seen::Began(elsewhere)]).is_good());
    }

    #[test]
    fn what_is_missing_twice_or_exchanged_is_found() {
        let lost = |seen: &[Seen]| verdict(seen).lost;
        assert_eq!(lost(&[Seen::Began(place(0)), got(1), got(4)]), 2, "in the middle");
        assert_eq!(lost(&[Seen::Began(place(0)), got(1), got(2)]), 2, "at the end");
        assert_eq!(lost(&[Seen::Began(place(3)), Seen::Got { offset: 4, id: 7 }]), 1, "exchanged");
        let twice = verdict(&[Seen::Began(place(2)), got(3), got(3), got(4)]);
        assert_eq!((twice.duplicated, twice.lost), (1, 0));
        let again = verdict(&[Seen::Began(place(3)), got(4), Seen::Got { offset: 5, id: 104 }]);
        assert_eq!(again.duplicated, 1, "the same publication in two places");
        let unsubscribed = verdict(&[got(1)]);
        assert_eq!(unsubscribed.disordered, 1);
        let hole = verdict(&[Seen::Began(place(4)), Seen::Got { offset: 6, id: 9 }]);
        assert_eq!((hole.lost, hole.disordered), (0, 1), "nobody acknowledged what is missing");
        assert!(!hole.faults.is_empty());
    }
}
