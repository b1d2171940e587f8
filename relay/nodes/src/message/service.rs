//! What is done with messages, whoever asks for it: REST or a relay.
//!
//! Owns the way of a message: rights, then the store, then whoever has to hear of it.

use std::sync::Arc;

use serde_json::json;
use serde_json::value::RawValue;
use tokio::time;

use super::logic;
use super::pages::Served;
use crate::http::Caller;
use crate::limits::{MOVING_PAUSE, MOVING_TRIES};
use crate::membership::{self, member_of};
use crate::model::{Channel, Delivery, Entry, EntryKind, Id, Message, Position};
use crate::problem::{Kind, Problem};
use crate::relays::names::Name;
use crate::relays::publication;
use crate::state::Node;
use crate::store::{Change, Changed, From, Post, Posted, Store, StoreError};
use crate::tokens::keys::random_text;

/// Stores a message of a member and has it told. With a key that was used before it is the message of then.
pub async fn post(
    node: &Node,
    workspace: Id,
    user: Id,
    channel: Id,
    message: wire::node::Message,
    key: &str,
) -> Result<Posted, Problem> {
    logic::check_message(&message, key)?;
    // While the store is away only what is delivered without it gets any further.
    let (channel, _) = membership::member_of_lately(node, workspace, channel, user).await?;
    let at = node.clock.unix();
    let id = node.numbers.next(at)?;
    let key = if key.is_empty() { id.to_string() } else { key.to_owned() };
    let wire::node::Message { body, media } = message;
    let post = Post { id, workspace, channel: channel.id, sender: user, key, body, media, at };
    if channel.delivery == Delivery::Fast {
        return soon(node, &channel, post).await;
    }
    let posted = stored(node, &channel, post).await?;
    if !posted.duplicate {
        node.marks.put(workspace, channel.id, user, posted.message.offset);
        let entry =
            Entry { offset: posted.message.offset, kind: EntryKind::Posted, message: posted.message.clone() };
        node.dispatch.committed(workspace, &channel, &posted.epoch, entry);
    }
    Ok(posted)
}

/// Has a message delivered at once, and stored by the queue: its place in the stream is not known yet, and told as 0.
async fn soon(node: &Node, channel: &Channel, post: Post) -> Result<Posted, Problem> {
    let taken = node.fast.accept(&post).await?;
    let Post { sender, key, body, media, at, .. } = post;
    let message = Message {
        id: taken.id,
        channel: channel.id,
        offset: 0,
        sender,
        key,
        body,
        media,
        created_at: at,
        edited_at: 0,
        deleted_at: 0,
    };
    let entry = Entry { offset: 0, kind: EntryKind::Posted, message };
    if !taken.duplicate {
        let told = publication(channel.workspace, &entry);
        let told = told.map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
        node.dispatch.publish(Name::stream(channel).to_string(), told.data, told.id);
    }
    Ok(Posted { message: entry.message, epoch: String::new(), duplicate: taken.duplicate })
}

/// Stores what the queue of fast channels holds, for ever.
pub async fn keep_fast(node: &Node) {
    let shard = |workspace, channel| node.router.shard(workspace, channel);
    let stored = |post: &Post, posted: Posted| {
        let (name, message) = (Name::fast(post.workspace, post.channel), posted.message);
        node.marks.put(post.workspace, post.channel, post.sender, message.offset);
        let entry = Entry { offset: message.offset, kind: EntryKind::Posted, message };
        node.dispatch.stored(name, &posted.epoch, entry);
    };
    node.fast.drain(|| node.clock.unix(), shard, stored).await;
}

async fn stored(node: &Node, channel: &Channel, post: Post) -> Result<Posted, StoreError> {
    let posted = node.writers.post(post.clone()).await;
    match posted {
        // Whoever made the channel did not come so far.
        Err(StoreError::Missing) => {
            open_stream(node, channel).await?;
            node.writers.post(post).await
        }
        done => done,
    }
}

/// Edits a message of the caller's, or, without a body, deletes it.
pub async fn change(
    node: &Node,
    caller: Caller,
    channel: Id,
    message: Id,
    body: Option<Box<RawValue>>,
) -> Result<(Message, String), Problem> {
    if let Some(body) = &body {
        logic::check_body(body)?;
    }
    let channel = member_of(node, caller.workspace, channel, caller.user).await?;
    let deletes = body.is_none();
    let at = node.clock.unix();
    let change =
        Change { workspace: caller.workspace, channel: channel.id, message, by: caller.user, body, at };
    let changed =
        settled(node, caller.workspace, || async { shard(node, &channel).await?.change(&change).await });
    let changed = changed.await?;
    match changed {
        Changed::Done(entry, epoch) => {
            let message = entry.message.clone();
            node.dispatch.committed(caller.workspace, &channel, &epoch, *entry);
            Ok((message, epoch))
        }
        // Deleted is deleted.
        Changed::Gone if deletes => {
            let (found, epoch) = self::message(node, caller, channel.id, message).await?;
            Ok((found, epoch))
        }
        Changed::Gone => Err(Problem::new(Kind::Gone, "")),
        Changed::Foreign => Err(Problem::new(Kind::Forbidden, "it is another's message")),
    }
}

/// One message, and the stream's epoch.
pub async fn message(
    node: &Node,
    caller: Caller,
    channel: Id,
    message: Id,
) -> Result<(Message, String), Problem> {
    let channel = member_of(node, caller.workspace, channel, caller.user).await?;
    let shard = shard(node, &channel).await?;
    let found = shard.message(channel.id, message).await?.ok_or_else(Problem::missing)?;
    Ok((found, position(node, &channel).await?.epoch))
}

/// A page of a channel that the caller is in. Says whether it is from the cache because the store is away.
pub async fn page(
    node: &Node,
    caller: Caller,
    channel: Id,
    (from, revised): (From, Option<u64>),
    limit: usize,
) -> Result<(Arc<Served>, bool), Problem> {
    let (channel, late) = membership::member_of_lately(node, caller.workspace, channel, caller.user).await?;
    if let Some(served) = revised.and_then(|revised| node.pages.closed(channel.id, from, revised, limit)) {
        return Ok((served, false));
    }
    let read = || async {
        let shard = shard(node, &channel).await?;
        let page = shard.page(channel.id, from, limit).await?;
        // A stream that nobody has opened yet is empty.
        Ok(page.unwrap_or_default())
    };
    match node.pages.read(channel.id, from, limit, read).await {
        Ok(served) => Ok((served, late)),
        Err(error @ StoreError::Away(_)) => {
            let known = node.pages.last(channel.id, from, limit);
            known.map(|served| (served, true)).ok_or_else(|| error.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Where a channel's stream is.
pub async fn position(node: &Node, channel: &Channel) -> Result<Position, StoreError> {
    let ask = || async { shard(node, channel).await?.position(channel.id).await };
    Ok(node.pages.position(channel.id, ask).await?.unwrap_or_default())
}

/// Entries of a channel's stream after `since` (or, reversed, before it).
pub async fn entries(
    node: &Node,
    channel: &Channel,
    since: Option<u64>,
    limit: usize,
    reverse: bool,
) -> Result<(Position, Vec<Entry>), StoreError> {
    let shard = shard(node, channel).await?;
    Ok(shard.entries(channel.id, since, limit, reverse).await?.unwrap_or_default())
}

/// Begins the stream of a channel, unless it has begun.
pub async fn open_stream(node: &Node, channel: &Channel) -> Result<(), StoreError> {
    let shard = shard(node, channel).await?;
    if shard.position(channel.id).await?.is_some() {
        return Ok(());
    }
    let epoch = new_epoch()?;
    shard.open_stream(channel.workspace, channel.id, &epoch).await
}

/// A new incarnation of a stream: eight characters, as relays expect it.
pub fn new_epoch() -> Result<String, StoreError> {
    random_text::<6>()
}

/// Tells a channel how far a member is.
pub fn receipt(node: &Node, channel: &Channel, user: Id, offset: u64, read: bool) {
    let kind = if read { "read" } else { "delivered" };
    let data = json!({ "type": kind, "user": user, "offset": offset }).to_string();
    if let Ok(data) = RawValue::from_string(data) {
        node.dispatch.event(Name::live(channel).to_string(), data);
    }
}

async fn shard(node: &Node, channel: &Channel) -> Result<Arc<dyn Store>, StoreError> {
    node.router.shard(channel.workspace, channel.id).await
}

/// Tries again while the workspace is on its way to another cluster, for as long as the end of a move takes.
async fn settled<T, F>(node: &Node, workspace: Id, mut work: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for _ in 0..MOVING_TRIES {
        match work().await {
            Err(StoreError::Moving) => {
                node.router.forget(workspace);
                time::sleep(MOVING_PAUSE).await;
            }
            done => return done,
        }
    }
    work().await
}
