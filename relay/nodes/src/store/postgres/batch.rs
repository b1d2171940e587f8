//! A batch in which every message is new, stored by one statement in one round.

use std::collections::{BTreeMap, HashSet};

use super::Database;
use crate::model::Id;
use crate::store::batch::message;
use crate::store::{Post, Posted, StoreError};

/// Where each message of a batch goes, as `store_batch` takes it.
struct Layout {
    channels: Vec<i64>,
    counts: Vec<i64>,
    /// From 1.
    slots: Vec<i64>,
    /// From 1.
    ranks: Vec<i64>,
}

impl Layout {
    /// `None`: two of them have the same key.
    fn new(posts: &[Post]) -> Option<Self> {
        let mut keys = HashSet::with_capacity(posts.len());
        if !posts.iter().all(|post| keys.insert((post.channel, post.sender, post.key.as_str()))) {
            return None;
        }
        let mut counts: BTreeMap<Id, i64> = BTreeMap::new();
        let mut ranks = Vec::with_capacity(posts.len());
        for post in posts {
            let count = counts.entry(post.channel).or_default();
            *count += 1;
            ranks.push(*count);
        }
        let channels: Vec<i64> = counts.keys().map(|channel| channel.0).collect();
        let slot = |post: &Post| channels.partition_point(|channel| *channel <= post.channel.0);
        let slots = posts.iter().map(|post| i64::try_from(slot(post)).unwrap_or_default()).collect();
        Some(Self { counts: counts.into_values().collect(), slots, ranks, channels })
    }
}

impl Database {
    /// `None`, and nothing is stored: one of them may not be new, or cannot be stored.
    pub(super) async fn insert_new(
        &self,
        posts: &[Post],
    ) -> Result<Option<Vec<Result<Posted, StoreError>>>, StoreError> {
        let Some(layout) = Layout::new(posts) else { return Ok(None) };
        let of = |value: fn(&Post) -> i64| posts.iter().map(value).collect::<Vec<i64>>();
        let text = |value: fn(&Post) -> &str| posts.iter().map(value).collect::<Vec<&str>>();
        let told = sqlx::query_as::<_, (Vec<i64>, Vec<String>)>(
            "SELECT tops, epochs FROM store_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(&layout.channels)
        .bind(&layout.counts)
        .bind(&layout.slots)
        .bind(&layout.ranks)
        .bind(of(|post| post.id.0))
        .bind(of(|post| post.sender.0))
        .bind(of(|post| post.at))
        .bind(text(|post| &post.key))
        .bind(text(|post| &post.media))
        .bind(text(|post| post.body.get()))
        .fetch_one(&mut *self.reader().await?)
        .await;
        let (tops, epochs) = match told {
            Ok(told) => told,
            Err(sqlx::Error::Database(error))
                if error.code().is_some_and(|code| CLOSER.contains(&&*code)) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let places = layout.slots.iter().zip(&layout.ranks);
        let posted = posts.iter().zip(places).map(|(post, (slot, rank))| {
            let slot = usize::try_from(slot - 1).unwrap_or_default();
            let offset = (tops[slot] + rank).cast_unsigned();
            Ok(Posted { message: message(post, offset), epoch: epochs[slot].clone(), duplicate: false })
        });
        Ok(Some(posted.collect()))
    }
}

/// A key that was used before; a stream that is missing or frozen.
const CLOSER: [&str; 2] = ["23505", "HL001"];

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn messages_are_laid_out_by_channel_in_their_order() {
        let post = |channel: i64, key: &str| Post {
            id: Id(1),
            workspace: Id(1),
            channel: Id(channel),
            sender: Id(1),
            key: key.to_owned(),
            body: RawValue::NULL.to_owned(),
            media: String::new(),
            at: 0,
        };
        let layout = Layout::new(&[post(9, "a"), post(3, "a"), post(9, "b"), post(5, "a")]).unwrap();
        assert_eq!((layout.channels, layout.counts), (vec![3, 5, 9], vec![1, 1, 2]));
        assert_eq!((layout.slots, layout.ranks), (vec![3, 1, 3, 2], vec![1, 1, 2, 1]));
        assert!(Layout::new(&[post(9, "a"), post(9, "a")]).is_none());
    }
}
