//! Tags of a publication: a few short names with values, packed into bytes that cross links as they are.
//!
//! Owns their layout and bounds. Never decides what tags are for.

use serde::{Deserialize, Serialize};

use crate::limits::{TAGS_BYTES_MAX, TAGS_MAX};

/// Packed tags, sorted by name, each name once.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tags<'a>(#[serde(borrow, with = "serde_bytes")] &'a [u8]);

/// Tags of one's own.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TagsBuf(Vec<u8>);

impl TagsBuf {
    /// Packs names and values; of equal names the last counts. `None`: more than [`TAGS_MAX`], or more than
    /// [`TAGS_BYTES_MAX`] bytes.
    pub fn pack<'t>(tags: impl IntoIterator<Item = (&'t str, &'t str)>) -> Option<Self> {
        let mut sorted = std::collections::BTreeMap::new();
        for (name, value) in tags {
            sorted.insert(name, value);
            if sorted.len() > TAGS_MAX {
                return None;
            }
        }
        let mut packed = Vec::new();
        for text in sorted.into_iter().flat_map(|(name, value)| [name, value]) {
            packed.extend_from_slice(&u16::try_from(text.len()).ok()?.to_le_bytes());
            packed.extend_from_slice(text.as_bytes());
        }
        (packed.len() <= TAGS_BYTES_MAX).then_some(Self(packed))
    }

    /// As they cross links.
    pub fn as_tags(&self) -> Tags<'_> {
        Tags(&self.0)
    }
}

impl<'a> Tags<'a> {
    /// None.
    pub const NONE: Self = Self(&[]);

    /// A copy.
    pub fn to_buf(self) -> TagsBuf {
        TagsBuf(self.0.to_vec())
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Names and values, by name. Ends early where the bytes are not as [`TagsBuf::pack`] makes them.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.0;
        std::iter::from_fn(move || Some((text(&mut rest)?, text(&mut rest)?)))
    }

    /// The value of a name.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }
}

impl std::fmt::Debug for Tags<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (length, after) = rest.split_first_chunk()?;
    let (text, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_are_bounded_in_number_and_bytes() {
        let names: Vec<String> = (0..=TAGS_MAX).map(|i| i.to_string()).collect();
        let all = |count: usize| TagsBuf::pack(names[..count].iter().map(|name| (name.as_str(), "")));
        assert!(all(TAGS_MAX).is_some() && all(TAGS_MAX + 1).is_none());
        let long = "x".repeat(TAGS_BYTES_MAX);
        assert!(TagsBuf::pack([("a", long.as_str())]).is_none());
    }

    #[test]
    fn of_equal_names_the_last_counts() {
        let packed = TagsBuf::pack([("a", "1"), ("b", "2"), ("a", "3")]).unwrap();
        assert_eq!(packed.as_tags().iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
        assert_eq!((packed.as_tags().get("b"), packed.as_tags().get("c")), (Some("2"), None));
        assert!(Tags::NONE.is_empty() && TagsBuf::pack([]).unwrap().as_tags().is_empty());
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read(tags in proptest::collection::btree_map(".{0,9}", ".{0,9}", 0..9)) {
            let packed = TagsBuf::pack(tags.iter().map(|(name, value)| (name.as_str(), value.as_str()))).unwrap();
            let read: Vec<_> = packed.as_tags().iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(read, tags.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(Tags(&bytes).iter().count() <= bytes.len());
        }
    }
}
