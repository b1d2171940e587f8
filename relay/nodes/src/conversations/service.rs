//! Lists of conversations and search, put together from the home of a workspace and the databases of its channels.

use std::sync::Arc;

use super::logic::{self, Before};
use crate::http::Caller;
use crate::limits::{PAGE_MAX, SEARCH_CHANNELS_MAX, UNREAD_MAX};
use crate::model::{Id, Message};
use crate::problem::Problem;
use crate::state::Node;
use crate::store::route::sort_in;
use crate::store::{Conversation, Store, StoreError};

/// A channel in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The channel, the membership, the last message.
    pub conversation: Conversation,
    /// Messages of others after the read mark, counted up to a bound.
    pub unread: u32,
}

/// The caller's channels before this place, latest first.
pub async fn list(
    node: &Node,
    caller: Caller,
    before: Option<Before>,
    limit: usize,
) -> Result<Vec<Listed>, Problem> {
    let home = node.router.home(caller.workspace).await?;
    let before = before.map(|before| (before.latest_at, before.channel));
    let mut found = home.conversations(caller.workspace, caller.user, before, limit).await?;
    for conversation in &mut found {
        conversation.member = node.marks.with(conversation.member.clone());
    }
    let channels: Vec<Id> = found.iter().map(|conversation| conversation.channel.id).collect();
    let mut unread = vec![0; found.len()];
    for (shard, places) in by_shard(node, caller.workspace, &channels).await? {
        let marks: Vec<(Id, u64)> =
            places.iter().map(|place| (channels[*place], found[*place].member.last_read)).collect();
        let counts = shard.unread(caller.user, &marks, UNREAD_MAX).await?;
        for (place, count) in places.into_iter().zip(counts) {
            unread[place] = count;
        }
    }
    let listed = found.into_iter().zip(unread);
    Ok(listed.map(|(conversation, unread)| Listed { conversation, unread }).collect())
}

/// Messages of the caller's channels that have all words, newest first, those before this id.
pub async fn search(
    node: &Node,
    caller: Caller,
    text: &str,
    before: Option<Id>,
    limit: usize,
) -> Result<Vec<Message>, Problem> {
    let channels = channels(node, caller).await?;
    let mut found = Vec::new();
    for (shard, places) in by_shard(node, caller.workspace, &channels).await? {
        let channels: Vec<Id> = places.into_iter().map(|place| channels[place]).collect();
        found.extend(shard.search(&channels, text, before, limit).await?);
    }
    Ok(logic::newest(found, limit))
}

/// The caller's channels, up to a bound.
async fn channels(node: &Node, caller: Caller) -> Result<Vec<Id>, Problem> {
    let home = node.router.home(caller.workspace).await?;
    let (mut channels, mut after) = (Vec::new(), Id(0));
    while channels.len() < SEARCH_CHANNELS_MAX {
        let part = home.memberships(caller.workspace, caller.user, after, PAGE_MAX).await?;
        channels.extend(part.iter().map(|(channel, _)| channel.id));
        match part.last() {
            Some((last, _)) if part.len() == PAGE_MAX => after = last.id,
            _ => break,
        }
    }
    Ok(channels)
}

/// Which of the channels are in which database, by their places in the list.
async fn by_shard(
    node: &Node,
    workspace: Id,
    channels: &[Id],
) -> Result<Vec<(Arc<dyn Store>, Vec<usize>)>, StoreError> {
    let mut shards = Vec::new();
    for (place, channel) in channels.iter().enumerate() {
        sort_in(&mut shards, node.router.shard(workspace, *channel).await?, place);
    }
    Ok(shards)
}
