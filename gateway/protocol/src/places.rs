//! A connection's subscriptions, and what is particular about some of them.
//!
//! Most connections have one subscription with nothing particular, which costs no allocation.

use wire::token::Overrides;

use crate::hub::Place;

/// A connection's subscriptions.
#[derive(Debug, Default)]
pub enum Places {
    /// No subscription.
    #[default]
    None,
    /// One, and nothing to say about it.
    One(Place),
    /// Several, or one with terms. The box keeps the record small.
    Many(Box<Held>),
}

/// Several subscriptions, in no order.
#[derive(Debug, Default)]
pub struct Held {
    places: Vec<Place>,
    terms: Vec<Terms>,
}

/// What is particular about one subscription: it came by a token, or the server made it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// Which.
    pub channel: u32,
    /// Unix seconds at which it expires; 0 never.
    pub expire_at: u32,
    /// Who made it.
    pub maker: Maker,
    /// Who gives it more time.
    pub refresh: Refresh,
    /// What its token says otherwise than the namespace.
    pub overrides: Overrides,
    /// JSON shown with what the subscriber does in the channel; empty when there is none.
    pub info: Box<[u8]>,
    /// JSON for the subscriber, until it has been told.
    pub data: Box<[u8]>,
}

/// Who gives a subscription more time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Refresh {
    /// The client, with a token.
    #[default]
    Client,
    /// A backend, when the time is over.
    Backend,
    /// A backend, which has been asked.
    Asked,
}

/// Who made a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Maker {
    /// The client asked for it.
    #[default]
    Client,
    /// The connection token named it.
    Token,
    /// It is the user's personal channel.
    Personal,
    /// The server was told to.
    Server,
}

impl Places {
    /// Adds a subscription.
    pub fn insert(&mut self, place: Place) {
        match self {
            Self::None => *self = Self::One(place),
            Self::One(_) | Self::Many(_) => self.held().places.push(place),
        }
    }

    /// Says what is particular about a subscription (that is there, or will be).
    pub fn set_terms(&mut self, terms: Terms) {
        let held = self.held();
        held.terms.retain(|other| other.channel != terms.channel);
        held.terms.push(terms);
    }

    /// Takes the subscription to a channel out, with its terms.
    pub fn remove(&mut self, channel: u32) -> Option<Place> {
        match self {
            Self::One(place) if place.channel == channel => {
                let place = *place;
                *self = Self::None;
                Some(place)
            }
            Self::Many(held) => {
                held.terms.retain(|terms| terms.channel != channel);
                let index = held.places.iter().position(|p| p.channel == channel);
                let place = index.map(|index| held.places.swap_remove(index));
                if held.terms.is_empty()
                    && let [] | [_] = held.places[..]
                {
                    *self = held.places.first().map_or(Self::None, |last| Self::One(*last));
                }
                place
            }
            Self::None | Self::One(_) => None,
        }
    }

    /// The subscription to a channel.
    pub fn find(&self, channel: u32) -> Option<Place> {
        self.as_slice().iter().find(|place| place.channel == channel).copied()
    }

    /// What is particular about it.
    pub fn terms(&self, channel: u32) -> Option<&Terms> {
        self.all_terms().iter().find(|terms| terms.channel == channel)
    }

    /// The same, to change it.
    pub fn terms_mut(&mut self, channel: u32) -> Option<&mut Terms> {
        let Self::Many(held) = self else { return None };
        held.terms.iter_mut().find(|terms| terms.channel == channel)
    }

    /// The same channel at another place.
    pub fn update(&mut self, place: Place) {
        let all = match self {
            Self::None => &mut [][..],
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(held) => &mut held.places[..],
        };
        if let Some(mine) = all.iter_mut().find(|mine| mine.channel == place.channel) {
            *mine = place;
        }
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Place] {
        match self {
            Self::None => &[],
            Self::One(place) => std::slice::from_ref(place),
            Self::Many(held) => &held.places,
        }
    }

    /// Everything particular.
    pub fn all_terms(&self) -> &[Terms] {
        match self {
            Self::None | Self::One(_) => &[],
            Self::Many(held) => &held.terms,
        }
    }

    fn held(&mut self) -> &mut Held {
        if !matches!(self, Self::Many(_)) {
            let held = Held { places: self.as_slice().to_vec(), terms: Vec::new() };
            *self = Self::Many(Box::new(held));
        }
        match self {
            Self::Many(held) => held,
            Self::None | Self::One(_) => unreachable!("made just above"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subscription_costs_no_allocation() {
        assert_eq!(size_of::<Places>(), 16);
    }

    #[test]
    fn places_grow_and_shrink() {
        let mut places = Places::default();
        for channel in 0..4 {
            places.insert(Place::waiting(channel, 7));
        }
        assert!(places.find(2).is_some_and(|p| p.waits_for(7)));
        for channel in [1, 3, 0] {
            assert!(places.remove(channel).is_some());
            assert!(places.remove(channel).is_none());
        }
        assert!(matches!(places, Places::One(p) if p.channel == 2));
        assert!(places.remove(2).is_some());
        assert!(places.as_slice().is_empty());
    }

    #[test]
    fn terms_stay_with_their_subscription_and_go_with_it() {
        let mut places = Places::default();
        places.insert(Place::waiting(1, 7));
        places.set_terms(Terms { channel: 1, expire_at: 5, ..Terms::default() });
        assert_eq!(places.find(1), Some(Place::waiting(1, 7)));
        assert_eq!(places.terms(1).map(|terms| terms.expire_at), Some(5));
        places.insert(Place::waiting(2, 8));
        assert!(places.terms(2).is_none());
        places.set_terms(Terms { channel: 1, expire_at: 6, ..Terms::default() });
        assert_eq!(places.all_terms().len(), 1);
        assert!(places.remove(2).is_some());
        assert!(matches!(places, Places::Many(_)), "the terms are still there");
        assert!(places.remove(1).is_some());
        assert!(matches!(places, Places::None));
    }
}
