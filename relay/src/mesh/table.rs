//! What another edge wants of the channels that this one owns: versions that follow one another, or a snapshot is needed.

use std::collections::HashSet;
use std::sync::Arc;

/// The owner's side of a table.
#[derive(Debug, Default)]
pub(super) struct Table {
    version: u64,
    /// A snapshot has come.
    begun: bool,
    channels: HashSet<Arc<str>>,
}

impl Table {
    /// Whether a word is the next one; then the table has its version. What an `anew` word takes back is in the result.
    pub(super) fn advance(&mut self, version: u64, anew: bool) -> Option<Vec<Arc<str>>> {
        if !anew && (!self.begun || version != self.version + 1) {
            return None;
        }
        self.version = version;
        self.begun = true;
        let mut dropped: Vec<Arc<str>> = if anew { self.channels.drain().collect() } else { Vec::new() };
        dropped.sort_unstable();
        Some(dropped)
    }

    pub(super) fn insert(&mut self, channel: &str) {
        if !self.channels.contains(channel) {
            self.channels.insert(channel.into());
        }
    }

    pub(super) fn remove(&mut self, channel: &str) -> bool {
        self.channels.remove(channel)
    }

    /// The edge has another home, or is gone.
    pub(super) fn clear(&mut self) {
        *self = Self { version: self.version, ..Self::default() };
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Whether the edge wants the channel.
    #[cfg(test)]
    pub(super) fn contains(&self, channel: &str) -> bool {
        self.channels.contains(channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_version_or_a_snapshot_is_taken() {
        let mut table = Table::default();
        assert_eq!(table.advance(1, false), None, "a table begins with a snapshot");
        assert_eq!(table.advance(5, true), Some(vec![]));
        table.insert("a");
        assert_eq!(table.advance(7, false), None);
        assert_eq!(table.version(), 5);
        assert_eq!(table.advance(6, false), Some(vec![]));
        assert_eq!(table.advance(9, true), Some(vec!["a".into()]));
        assert_eq!(table.len(), 0);
    }
}
