//! Subscriptions that are special: what they are told when they begin, and what happens in their channels in the forms they need.
//!
//! Owns the making of differences: one for each publication, whoever gets it. Other channels never come here.

use std::borrow::Cow;

use wire::link::Publication;

use super::Shard;
use crate::{
    client::{
        command::Subscribe,
        encoding::Encoding,
        reply::{Push, Subscribed},
        rights::Granted,
    },
    delta,
    filter::Filter,
    hub::{Event, Form, Manner, Variants},
    limits::RECOVERY_DELTA_BYTES_MAX,
    pending::Wish,
};

/// How a subscription that was granted will be told things; `None`: its filter makes no sense.
pub(super) fn manner(encoding: Encoding, granted: Granted, asked: &Subscribe<'_>) -> Option<Manner> {
    let filter = match asked.filter {
        [] => None,
        written => Some(Box::new(Filter::read(encoding, written)?)),
    };
    Some(Manner { delta: granted.delta, based: false, numbered: granted.numbered, filter })
}

/// What a beginning subscription is given of what it missed.
pub(super) struct Missed<'a> {
    publications: Cow<'a, [Publication<'a>]>,
    patches: Vec<Option<Vec<u8>>>,
}

impl<'a> Missed<'a> {
    pub(super) fn new(encoding: Encoding, manner: &Manner, publications: &'a [Publication<'a>]) -> Self {
        let publications = match &manner.filter {
            Some(filter) => publications.iter().filter(|p| filter.matches(p.tags)).copied().collect(),
            None => Cow::Borrowed(publications),
        };
        // Each is the difference to the one before it, unless that is too much work; the first is whole.
        let bytes: usize = publications.iter().map(|publication| publication.data.len()).sum();
        let patched = manner.delta && bytes <= RECOVERY_DELTA_BYTES_MAX;
        let pairs = publications.windows(2).filter(|_| patched);
        let patches = pairs.map(|pair| patch(encoding, pair[0].data, pair[1].data));
        let patches = std::iter::once(None).chain(patches).collect();
        Self { publications, patches }
    }

    /// The answer with this in it.
    pub(super) fn in_reply<'s>(
        &'s self,
        manner: &Manner,
        number: u32,
        reply: Subscribed<'s>,
    ) -> Subscribed<'s> {
        let Self { publications, patches } = self;
        Subscribed { publications, patches, delta: manner.delta, number, ..reply }
    }
}

/// The difference of one payload to another for readers of one encoding, if there is one worth it.
fn patch(encoding: Encoding, before: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    // Readers to whom a payload comes as other bytes than it is cannot make another one of it.
    let carried = encoding.carries(before) && encoding.carries(payload);
    if carried { delta::create(before, payload) } else { None }
}

impl Shard {
    /// Keeps the filter until the relay has answered.
    pub(super) fn keep_manner(&mut self, manner: Manner, wish: Wish) -> Wish {
        let filter = manner.filter.map(|filter| self.filters.insert(filter) as u32);
        Wish { delta: manner.delta, numbered: manner.numbered, filter, ..wish }
    }

    /// Takes it back.
    pub(super) fn take_manner(&mut self, wish: Wish) -> Manner {
        let filter = wish.filter.and_then(|slot| self.filters.try_remove(slot as usize));
        Manner { delta: wish.delta, based: false, numbered: wish.numbered, filter }
    }

    /// The number that pushes of this subscription have in place of the channel's name; 0 for none.
    pub(super) fn number_for(&mut self, channel: u32, manner: &Manner) -> u32 {
        if manner.numbered { self.hub.number(channel) } else { 0 }
    }

    /// Makes a subscription that has just begun a special one. `last` is the last publication it was given, if it was any.
    pub(super) fn specialize(&mut self, index: usize, channel: u32, manner: Manner, last: Option<&[u8]>) {
        let place = self.connections[index].places.find(channel);
        let Some(place) = place.filter(|place| place.is_active() && !manner.is_plain()) else { return };
        let last = last.filter(|_| manner.delta);
        self.hub.specialize(place, Manner { based: last.is_some(), ..manner });
        if let Some(data) = last {
            self.hub.begin_at(channel, data);
        }
    }

    /// A publication in each form that a channel's subscribers need; `None`: the plain one is all.
    pub(super) fn publication_forms(
        &mut self,
        known: u32,
        name: &str,
        publication: &Publication<'_>,
    ) -> Option<Event> {
        let (needs, special) = self.hub.special(known)?;
        let number = special.number();
        let base = special.base().filter(|_| publication.delta && needs.patch());
        let patch = base.as_ref().and_then(|base| delta::create(base, publication.data));
        let mut variants = Variants::publication(publication.tags.to_buf());
        for (form, numbered) in needs.of_publication(patch.is_some()) {
            let frames = self.frames(known, |encoding, out| {
                let carried = |base: &&[u8]| encoding.carries(base) && encoding.carries(publication.data);
                let usable = form == Form::Patch && base.as_deref().as_ref().is_some_and(carried);
                let patch = if usable { patch.as_deref() } else { None };
                let push = match form {
                    Form::Plain => Push::Publication(publication),
                    Form::Whole | Form::Patch => Push::Delta { publication, patch },
                };
                encoding.push_to(name, if numbered { number } else { 0 }, &push, out);
            });
            variants.add(form, numbered, frames);
        }
        self.hub.rebase(known, publication.data);
        Some(Event::Variants(Box::new(variants)))
    }

    /// The same for a join or leave.
    pub(super) fn presence_forms(&mut self, known: u32, name: &str, push: &Push<'_>) -> Option<Event> {
        let (needs, special) = self.hub.special(known)?;
        let number = special.number();
        let mut variants = Variants::presence();
        for numbered in needs.of_presence() {
            let frames = self.frames(known, |encoding, out| {
                encoding.push_to(name, if numbered { number } else { 0 }, push, out);
            });
            variants.add(Form::Plain, numbered, frames);
        }
        Some(Event::Variants(Box::new(variants)))
    }
}
