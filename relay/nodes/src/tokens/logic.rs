//! When keys are made and which of them signs. Pure: the clock is an argument.

use serde::{Deserialize, Serialize};

use crate::limits::CLOCKS_DIFFER_MS;
use crate::model::UnixMs;
use crate::store::SigningKey;

/// What an access token says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// For whom.
    pub aud: String,
    /// The user on the bus: `WORKSPACE.USER`.
    pub sub: String,
    /// Unix seconds.
    pub iat: i64,
    /// Unix seconds.
    pub exp: i64,
    /// Unique.
    pub jti: String,
}

/// How long what lasts, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// Of an access token.
    pub lifetime: i64,
    /// Of a key, as far as it signs.
    pub rotate: i64,
    /// Of a key before it signs.
    pub before: i64,
}

/// A key that is to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    /// See [`SigningKey`].
    pub signs_from: UnixMs,
    /// See [`SigningKey`].
    pub ends_at: UnixMs,
    /// Unless there is one that signs from after this: another node was faster.
    pub unless_after: UnixMs,
}

impl Times {
    /// The next key, if it is time to make it. `keys` are all that have not ended.
    pub fn due(&self, keys: &[SigningKey], now: UnixMs) -> Option<Due> {
        let newest = keys.iter().map(|key| key.signs_from).max();
        let signs_from = match newest {
            Some(_) if self.signs(keys, now).is_none() => now,
            Some(newest) if newest + self.rotate > now + self.before => return None,
            Some(_) => now + self.before,
            None => now,
        };
        let ends_at = signs_from + self.rotate + self.before + self.lifetime + CLOCKS_DIFFER_MS;
        Some(Due { signs_from, ends_at, unless_after: newest.unwrap_or(0) })
    }

    /// The key that signs now: the latest of those that may, as long as it outlives what it signs. Where there is none, the first of those
    /// that are published already.
    pub fn signs<'k>(&self, keys: &'k [SigningKey], now: UnixMs) -> Option<&'k SigningKey> {
        let lasting = |key: &&SigningKey| now + self.lifetime <= key.ends_at;
        let begun = keys.iter().filter(lasting).filter(|key| key.signs_from <= now);
        begun
            .max_by_key(|key| key.signs_from)
            .or_else(|| keys.iter().filter(lasting).min_by_key(|key| key.signs_from))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMES: Times = Times { lifetime: 900_000, rotate: 10_000_000, before: 1_000_000 };

    fn key(due: Due) -> SigningKey {
        let id = due.signs_from.to_string();
        SigningKey { id, private: Vec::new(), signs_from: due.signs_from, ends_at: due.ends_at }
    }

    #[test]
    fn the_first_key_signs_at_once_and_a_second_node_makes_none() {
        let due = TIMES.due(&[], 5).unwrap();
        assert_eq!((due.signs_from, due.unless_after), (5, 0));
        let keys = [key(due)];
        assert_eq!(TIMES.due(&keys, 6), None);
        assert_eq!(TIMES.signs(&keys, 6).unwrap().id, "5");
    }

    #[test]
    fn the_next_key_is_published_before_it_signs() {
        let first = key(TIMES.due(&[], 0).unwrap());
        let due_at = TIMES.rotate - TIMES.before;
        assert_eq!(TIMES.due(std::slice::from_ref(&first), due_at - 1), None);
        let due = TIMES.due(std::slice::from_ref(&first), due_at).unwrap();
        assert_eq!((due.signs_from, due.unless_after), (TIMES.rotate, 0));
        let keys = [first, key(due)];
        assert_eq!(TIMES.signs(&keys, TIMES.rotate - 1).unwrap().id, "0");
        assert_eq!(TIMES.signs(&keys, TIMES.rotate).unwrap().id, keys[1].id);
    }

    proptest! {
        /// Nodes that look at any times, also after long pauses: there is always a key that signs, every token's key is published
        /// until the token is over, and no key signs before it was published long enough, the first after a pause excepted.
        #[test]
        fn there_is_always_a_key_and_it_outlives_its_tokens(
            pauses in proptest::collection::vec(1_i64..3_000_000, 1..200),
            long in 0_i64..100_000_000,
        ) {
            let (mut keys, mut now) = (Vec::<SigningKey>::new(), 1);
            for (turn, pause) in pauses.into_iter().enumerate() {
                now += if turn == 50 { long } else { pause };
                keys.retain(|key| key.ends_at > now);
                if let Some(due) = TIMES.due(&keys, now) {
                    prop_assert!(keys.iter().all(|key| key.signs_from <= due.unless_after));
                    let early = due.signs_from < now + TIMES.before;
                    prop_assert!(!early || TIMES.signs(&keys, now).is_none());
                    keys.push(key(due));
                }
                let signs = TIMES.signs(&keys, now);
                prop_assert!(signs.is_some_and(|key| key.ends_at >= now + TIMES.lifetime));
                prop_assert!(keys.len() < 8);
            }
        }
    }
}
