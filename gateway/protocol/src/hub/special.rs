//! What only some subscribers of a channel need: differences, a number for its name, a filter. Other channels have none of this.
//!
//! Owns who needs what, and the choice among one event's forms. Never encodes: the shard asks what is needed and brings it.

use std::{collections::HashMap, rc::Rc};

use wire::tags::TagsBuf;

use super::{Frames, Hub, INDEX, Place, SPECIAL};
use crate::filter::Filter;

/// How a subscriber is given what happens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Manner {
    /// Publications as differences, or whole in the same wrapping.
    pub delta: bool,
    /// With `delta`: it has the publication before the next one.
    pub based: bool,
    /// Pushes have the channel's number in place of its name.
    pub numbered: bool,
    /// Only publications that pass.
    pub filter: Option<Box<Filter>>,
}

impl Manner {
    /// Nothing special.
    pub const fn is_plain(&self) -> bool {
        !self.delta && !self.numbered && self.filter.is_none()
    }
}

/// How one event can be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// As to anybody.
    Plain,
    /// Whole, to those who get differences.
    Whole,
    /// The difference.
    Patch,
}

/// One event in the forms that its channel's subscribers need.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Variants {
    /// A join or leave: for those who asked for such, never filtered or in another form than plain.
    pub(super) presence: bool,
    /// Of the publication.
    tags: TagsBuf,
    /// By form and by whether the channel has its number.
    forms: [[Option<Frames>; 2]; 3],
}

/// Which forms the present subscribers need.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Needs {
    plain: [bool; 2],
    delta: [bool; 2],
    /// Somebody who gets differences has nothing to apply one to.
    whole: bool,
}

/// The special subscribers of one channel.
#[derive(Debug, Default)]
pub struct Special {
    /// The channel's number; 0 until somebody needs it.
    number: u32,
    manners: HashMap<u32, Manner>,
    /// How many take differences, and how many do not, by whether they need the number.
    delta: [u32; 2],
    plain: [u32; 2],
    /// How many take differences and have nothing yet to apply one to.
    unbased: u32,
    base: Option<Rc<[u8]>>,
}

impl Hub {
    /// Makes a subscriber a special one. Right after [`Hub::subscribe`]: nothing has been published in between.
    pub fn specialize(&mut self, place: Place, manner: Manner) {
        debug_assert!(place.is_active());
        let entry = &mut self.channels[place.channel as usize];
        let subscriber = &mut entry.subscribers[place.position as usize];
        debug_assert!(subscriber.connection & SPECIAL == 0 && subscriber.seen == entry.newest);
        subscriber.connection |= SPECIAL;
        entry.special = true;
        self.special.entry(place.channel).or_default().enter(subscriber.connection & INDEX, manner);
    }

    /// The channel's number, given now if it has none. Numbers are never used again (but after four billion).
    pub fn number(&mut self, channel: u32) -> u32 {
        self.channels[channel as usize].special = true;
        let next = self.numbered.wrapping_add(1).max(1);
        let number = self.special.entry(channel).or_default().give_number(next);
        if number == next {
            self.numbered = next;
        }
        number
    }

    /// What the channel's special subscribers need, if there are any; and what else there is to know about them.
    pub fn special(&self, channel: u32) -> Option<(Needs, &Special)> {
        let entry = &self.channels[channel as usize];
        let special = entry.special.then(|| self.special.get(&channel)).flatten()?;
        Some((special.needs(entry.subscribers.len()), special))
    }

    /// The channel's last publication, for the next one's difference to it.
    pub fn rebase(&mut self, channel: u32, data: &[u8]) {
        if let Some(special) = self.special.get_mut(&channel) {
            special.rebase(data);
        }
    }

    /// Publications were lost: the next one does not follow on the last.
    pub fn unbase(&mut self, channel: u32) {
        if let Some(special) = self.special.get_mut(&channel) {
            special.unbase();
        }
    }

    /// The same, as somebody has got it who begins now.
    pub fn begin_at(&mut self, channel: u32, data: &[u8]) {
        if let Some(special) = self.special.get_mut(&channel) {
            special.begin_at(data);
        }
    }
}

impl Variants {
    /// A publication with these tags, in no form yet.
    pub fn publication(tags: TagsBuf) -> Self {
        Self { tags, ..Self::default() }
    }

    /// A join or leave, in no form yet.
    pub fn presence() -> Self {
        Self { presence: true, ..Self::default() }
    }

    /// Adds the event in one form.
    pub fn add(&mut self, form: Form, numbered: bool, frames: Frames) {
        self.forms[form as usize][usize::from(numbered)] = Some(frames);
    }

    /// The event as one subscriber gets it, `manner` being its if it is special; `None`: not at all.
    pub(super) fn pick(&self, special: Option<&mut Special>, connection: Option<u32>) -> Option<&Frames> {
        let Some((special, manner)) = special.zip(connection).and_then(|(special, connection)| {
            let Special { manners, unbased, .. } = special;
            manners.get_mut(&connection).map(|manner| (unbased, manner))
        }) else {
            return self.form(Form::Plain, false);
        };
        if self.presence {
            return self.form(Form::Plain, manner.numbered);
        }
        if manner.filter.as_ref().is_some_and(|filter| !filter.matches(self.tags.as_tags())) {
            return None;
        }
        if !manner.delta {
            return self.form(Form::Plain, manner.numbered);
        }
        if manner.based
            && let Some(patch) = self.form(Form::Patch, manner.numbered)
        {
            return Some(patch);
        }
        if !manner.based {
            manner.based = true;
            *special -= 1;
        }
        self.form(Form::Whole, manner.numbered)
    }

    fn form(&self, form: Form, numbered: bool) -> Option<&Frames> {
        self.forms[form as usize][usize::from(numbered)].as_ref()
    }

    pub(super) fn bytes(&self) -> usize {
        self.forms.iter().flatten().flatten().map(Frames::bytes).sum()
    }
}

impl Needs {
    /// Which forms a publication is to be written in, if there is a difference or none: each with whether it has the number.
    pub fn of_publication(self, patched: bool) -> impl Iterator<Item = (Form, bool)> {
        let whole = self.whole || !patched;
        let numbered = [false, true];
        numbered.into_iter().flat_map(move |numbered| {
            let (plain, delta) = (self.plain[usize::from(numbered)], self.delta[usize::from(numbered)]);
            let forms =
                [(Form::Plain, plain), (Form::Whole, delta && whole), (Form::Patch, delta && patched)];
            forms.into_iter().filter(|(_, needed)| *needed).map(move |(form, _)| (form, numbered))
        })
    }

    /// The same for a join or leave.
    pub fn of_presence(self) -> impl Iterator<Item = bool> {
        [false, true]
            .into_iter()
            .filter(move |numbered| self.plain[usize::from(*numbered)] || self.delta[usize::from(*numbered)])
    }

    /// Whether somebody could use a difference.
    pub const fn patch(self) -> bool {
        self.delta[0] || self.delta[1]
    }
}

impl Special {
    pub(super) fn enter(&mut self, connection: u32, manner: Manner) {
        self.count(&manner, 1);
        let before = self.manners.insert(connection, manner);
        debug_assert!(before.is_none(), "a subscription begins once");
    }

    pub(super) fn leave(&mut self, connection: u32) {
        if let Some(manner) = self.manners.remove(&connection) {
            self.count(&manner, -1);
        }
        if self.delta == [0, 0] {
            self.base = None;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.manners.is_empty()
    }

    /// What `subscribers`, these among them, need.
    pub(super) fn needs(&self, subscribers: usize) -> Needs {
        let plain = subscribers - self.manners.len() + self.plain[0] as usize;
        Needs {
            plain: [plain > 0, self.plain[1] > 0],
            delta: self.delta.map(|count| count > 0),
            whole: self.unbased > 0,
        }
    }

    /// The channel's number; 0 until somebody needs it.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Gives the channel a number, if it has none, and the result is the one it has.
    pub(super) const fn give_number(&mut self, number: u32) -> u32 {
        if self.number == 0 {
            self.number = number;
        }
        self.number
    }

    /// The channel's position is lost: no publication follows on the last one.
    pub(super) fn unbase(&mut self) {
        self.base = None;
    }

    /// The publication that the next difference is to; `None` when nobody takes differences, or none came yet.
    pub fn base(&self) -> Option<Rc<[u8]>> {
        self.base.clone()
    }

    /// The channel's last publication, for the next difference.
    pub(super) fn rebase(&mut self, data: &[u8]) {
        self.base = (self.delta != [0, 0]).then(|| Rc::from(data));
    }

    /// Somebody begins with the channel's last publication, which is not known here if nobody took differences before.
    pub(super) fn begin_at(&mut self, data: &[u8]) {
        debug_assert!(self.base.as_ref().is_none_or(|base| **base == *data), "all stand at one publication");
        if self.base.is_none() {
            self.rebase(data);
        }
    }

    fn count(&mut self, manner: &Manner, by: i32) {
        let counts = if manner.delta { &mut self.delta } else { &mut self.plain };
        let count = &mut counts[usize::from(manner.numbered)];
        *count = count.wrapping_add_signed(by);
        if manner.delta && !manner.based {
            self.unbased = self.unbased.wrapping_add_signed(by);
        }
    }
}
