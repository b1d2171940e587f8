//! What becomes of each post of a batch: pure. The databases read what it needs to know, and write what it decides.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;

use super::{Post, Posted, StoreError};
use crate::model::{Id, Message};

/// A channel's stream, as the transaction that stores the batch has read and locked it.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) epoch: String,
    pub(super) top: u64,
    /// The workspace is on its way elsewhere.
    pub(super) frozen: bool,
    /// SQLite's own number of the channel.
    pub(super) number: i64,
}

/// What becomes of one post.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Fate {
    Stored(u64),
    /// The key is that of a stored message.
    Used,
    /// The key is that of an earlier post of this batch.
    Double(usize),
    Missing,
    Moving,
}

/// What becomes of all of them.
#[derive(Debug)]
pub(super) struct Plan {
    fates: Vec<Fate>,
    /// Posts that are stored, by place in the batch, and their offsets.
    pub(super) stored: Vec<(usize, u64)>,
    /// Where the streams that have grown are from now on, by channel.
    pub(super) tops: Vec<(Id, u64)>,
}

impl Plan {
    /// `used`: the stored messages that have the key of a post, by the post's place in the batch.
    pub(super) fn new(posts: &[Post], streams: &HashMap<Id, Stream>, used: &HashMap<usize, Message>) -> Self {
        let mut first: HashMap<(Id, Id, &str), usize> = HashMap::with_capacity(posts.len());
        let mut tops: HashMap<Id, u64> = HashMap::with_capacity(streams.len());
        let mut stored = Vec::with_capacity(posts.len());
        let mut fates = Vec::with_capacity(posts.len());
        for (index, post) in posts.iter().enumerate() {
            let fate = match streams.get(&post.channel) {
                None => Fate::Missing,
                Some(stream) if stream.frozen => Fate::Moving,
                Some(_) if used.contains_key(&index) => Fate::Used,
                Some(stream) => match first.entry((post.channel, post.sender, &post.key)) {
                    Place::Occupied(place) => Fate::Double(*place.get()),
                    Place::Vacant(place) => {
                        place.insert(index);
                        let top = tops.entry(post.channel).or_insert(stream.top);
                        *top += 1;
                        stored.push((index, *top));
                        Fate::Stored(*top)
                    }
                },
            };
            fates.push(fate);
        }
        let mut tops: Vec<(Id, u64)> = tops.into_iter().collect();
        tops.sort_unstable();
        debug_assert!(stored.len() <= posts.len() && tops.len() <= stored.len());
        Self { fates, stored, tops }
    }

    /// What the callers are told, once the transaction is committed.
    pub(super) fn answers(
        &self,
        posts: &[Post],
        streams: &HashMap<Id, Stream>,
        used: &HashMap<usize, Message>,
    ) -> Vec<Result<Posted, StoreError>> {
        let answer = |index: usize, fate: &Fate| {
            let post = &posts[index];
            let epoch = || streams.get(&post.channel).map(|s| s.epoch.clone()).unwrap_or_default();
            let new = |index: usize, offset| message(&posts[index], offset);
            match fate {
                Fate::Stored(offset) => {
                    Ok(Posted { message: new(index, *offset), epoch: epoch(), duplicate: false })
                }
                Fate::Used => used
                    .get(&index)
                    .map(|message| Posted { message: message.clone(), epoch: epoch(), duplicate: true })
                    .ok_or(StoreError::Missing),
                Fate::Double(first) => match self.fates[*first] {
                    Fate::Stored(offset) => {
                        Ok(Posted { message: new(*first, offset), epoch: epoch(), duplicate: true })
                    }
                    _ => Err(StoreError::Missing),
                },
                Fate::Missing => Err(StoreError::Missing),
                Fate::Moving => Err(StoreError::Moving),
            }
        };
        self.fates.iter().enumerate().map(|(index, fate)| answer(index, fate)).collect()
    }
}

/// A post as it is stored.
pub(super) fn message(post: &Post, offset: u64) -> Message {
    Message {
        id: post.id,
        channel: post.channel,
        offset,
        sender: post.sender,
        key: post.key.clone(),
        body: post.body.clone(),
        media: post.media.clone(),
        created_at: post.at,
        edited_at: 0,
        deleted_at: 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn post(id: i64, channel: i64, sender: i64, key: &str) -> Post {
        Post {
            id: Id(id),
            workspace: Id(1),
            channel: Id(channel),
            sender: Id(sender),
            key: key.to_owned(),
            body: RawValue::from_string("1".to_owned()).unwrap(),
            media: String::new(),
            at: 5,
        }
    }

    fn stream(top: u64, frozen: bool) -> Stream {
        Stream { epoch: "e".to_owned(), top, frozen, number: 1 }
    }

    #[test]
    fn offsets_follow_the_top_of_each_channel_and_doubles_take_none() {
        let streams =
            HashMap::from([(Id(1), stream(10, false)), (Id(2), stream(0, false)), (Id(3), stream(4, true))]);
        let posts = [
            post(100, 1, 7, "a"),
            post(101, 2, 7, "a"),
            post(102, 1, 7, "a"), // the first again
            post(103, 1, 8, "a"), // another sender's
            post(104, 3, 7, "a"), // frozen
            post(105, 4, 7, "a"), // no such stream
            post(106, 2, 7, "b"), // used before
            post(107, 2, 7, "c"),
        ];
        let used = HashMap::from([(6, message(&post(50, 2, 7, "b"), 0))]);
        let plan = Plan::new(&posts, &streams, &used);
        assert_eq!(plan.stored, [(0, 11), (1, 1), (3, 12), (7, 2)]);
        assert_eq!(plan.tops, [(Id(1), 12), (Id(2), 2)]);
        let told: Vec<_> = plan
            .answers(&posts, &streams, &used)
            .into_iter()
            .map(|answer| answer.map(|posted| (posted.message.id.0, posted.message.offset, posted.duplicate)))
            .collect();
        assert_eq!(
            told,
            [
                Ok((100, 11, false)),
                Ok((101, 1, false)),
                Ok((100, 11, true)),
                Ok((103, 12, false)),
                Err(StoreError::Moving),
                Err(StoreError::Missing),
                Ok((50, 0, true)),
                Ok((107, 2, false)),
            ]
        );
    }
}
