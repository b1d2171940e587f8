//! What relays ask (`wire::node`): to store what clients publish, to read streams, and who may be where.
//!
//! Owns the key that relays show, and that equal reads are one. What is stored and who may do what is the roles' to say; a right is
//! always looked up, never remembered here: relays remember it, and are told when it changes.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Body as HttpBody;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use hyper::body::Bytes;
use wire::node::{self, READ_MAX};

use super::limits::LISTED_MAX;
use super::names::{Family, Name, UserName};
use super::words;
use crate::flight::Flights;
use crate::http::Body;
use crate::membership;
use crate::message;
use crate::model::{Channel, Id};
use crate::problem::{Kind, Problem};
use crate::state::Node;
use crate::store::{Home, Streams};

/// Reads by channel, `since`, limit and whether reversed, each answered with a page in JSON. None gets what was read before it asked,
/// since what was stored meanwhile may have been announced.
pub type Reads = Flights<(Id, Option<u64>, usize, bool), Outcome>;

/// A page in JSON.
type Outcome = Result<Bytes, Problem>;

/// Everything that relays ask.
pub(crate) fn routes(node: &Arc<Node>) -> Router<Arc<Node>> {
    let at = |word: &str| format!("{}{word}", node::PREFIX);
    Router::new()
        .route(&at("publish"), post(publish))
        .route(&at("read"), post(read))
        .route(&at("renew"), post(renew))
        .route(&at("rights"), post(rights))
        .route(&at("channels"), post(channels))
        .route_layer(middleware::from_fn_with_state(Arc::clone(node), known))
}

/// Only relays are answered.
async fn known(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    if is_relay(node.checked.config.relays.key.bytes(), request.headers()) {
        return next.run(request).await;
    }
    Problem::new(Kind::Unauthorized, "relays show the key that is relays.key here").into_response()
}

fn is_relay(key: &[u8], headers: &HeaderMap) -> bool {
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    !key.is_empty() && shown.is_some_and(|shown| verify_slices_are_equal(shown, key).is_ok())
}

/// A user and a channel of one workspace; what is none is nobody's.
fn named(channel: &str, user: &str) -> Result<(Name, Id), Problem> {
    let name = Name::parse(channel).ok_or_else(Problem::missing)?;
    let user = UserName::parse(user).filter(|user| user.workspace == name.workspace);
    Ok((name, user.ok_or_else(forbidden)?.user))
}

fn forbidden() -> Problem {
    Problem::new(Kind::Forbidden, "only members publish")
}

async fn publish(
    State(node): State<Arc<Node>>,
    Body(wanted): Body<node::Publish>,
) -> Result<Json<node::Published>, Problem> {
    let (name, user) = named(&wanted.channel, &wanted.user)?;
    let message: node::Message = serde_json::from_str(wanted.data.get())
        .map_err(|error| Problem::invalid(format!("what is published: {error}")))?;
    let posted = match name.family {
        Family::Live => Err(Problem::missing()),
        // Its other name is no name of the channel.
        Family::Chat | Family::Fast => match channel_of(&node, name).await {
            Ok(_) => message::post(&node, name.workspace, user, name.channel, message, &wanted.key).await,
            Err(problem) => Err(problem),
        },
    };
    // Whoever is not in the channel need not know whether it is there.
    let posted =
        posted.map_err(|problem| if problem.kind() == Kind::Missing { forbidden() } else { problem })?;
    Ok(Json(node::Published {
        id: posted.message.id.to_string(),
        offset: posted.message.offset,
        epoch: posted.epoch,
        duplicate: posted.duplicate,
    }))
}

async fn read(State(node): State<Arc<Node>>, Body(wanted): Body<node::Read>) -> Result<Response, Problem> {
    let name = Name::parse(&wanted.channel).ok_or_else(Problem::missing)?;
    let node::Read { since, limit, reverse, .. } = wanted;
    if limit > READ_MAX {
        return Err(Problem::invalid(format!("a page has at most {READ_MAX} entries")));
    }
    let channel = channel_of(&node, name).await?;
    let read = || page(&node, &channel, since, limit, reverse);
    let page = node.reads.ask((name.channel, since, limit, reverse), read);
    Ok((StatusCode::OK, [(CONTENT_TYPE, "application/json")], HttpBody::from(page.await?)).into_response())
}

async fn page(node: &Node, channel: &Channel, since: Option<u64>, limit: usize, reverse: bool) -> Outcome {
    let failed = |_| Problem::new(Kind::Internal, "");
    // What nobody has opened yet begins here: a position needs an epoch.
    let (mut position, mut entries) = message::entries(node, channel, since, limit, reverse).await?;
    if position.epoch.is_empty() {
        message::open_stream(node, channel).await?;
        (position, entries) = message::entries(node, channel, since, limit, reverse).await?;
    }
    let publications =
        entries.iter().map(|entry| words::publication(channel.workspace, entry)).collect::<Result<_, _>>();
    let page = node::Page {
        offset: position.top,
        epoch: position.epoch,
        publications: publications.map_err(failed)?,
    };
    serde_json::to_vec(&page).map(Bytes::from).map_err(failed)
}

/// The channel whose stream has this name.
async fn channel_of(node: &Node, name: Name) -> Result<Channel, Problem> {
    let channel = membership::channel_of(node, name).await?;
    if Name::stream(&channel) == name { Ok(channel) } else { Err(Problem::missing()) }
}

async fn renew(
    State(node): State<Arc<Node>>,
    Body(wanted): Body<node::Renew>,
) -> Result<StatusCode, Problem> {
    let name = Name::parse(&wanted.channel).ok_or_else(Problem::missing)?;
    let channel = channel_of(&node, name).await?;
    let epoch = message::new_epoch()?;
    let shard = node.router.shard(channel.workspace, channel.id).await?;
    Streams::renew(&*shard, channel.id, &wanted.epoch, &epoch).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn rights(
    State(node): State<Arc<Node>>,
    Body(wanted): Body<node::AskRights>,
) -> Result<Json<node::Rights>, Problem> {
    let none = node::Rights { subscribe: false, publish: false };
    let Ok((name, user)) = named(&wanted.channel, &wanted.user) else { return Ok(Json(none)) };
    let home = node.router.home(name.workspace).await?;
    let standing = Home::standing(&*home, name.workspace, name.channel, user).await?;
    let member = standing.is_some_and(|standing| {
        standing.member && [Name::stream(&standing.channel), Name::live(&standing.channel)].contains(&name)
    });
    Ok(Json(node::Rights { subscribe: member, publish: member }))
}

async fn channels(
    State(node): State<Arc<Node>>,
    Body(wanted): Body<node::AskChannels>,
) -> Result<Json<node::Channels>, Problem> {
    let Some(UserName { workspace, user }) = UserName::parse(&wanted.user) else {
        return Ok(Json(node::Channels { channels: Vec::new() }));
    };
    let home = node.router.home(workspace).await?;
    let latest_first = home.conversations(workspace, user, None, LISTED_MAX).await?;
    let name = |channel| Name::stream(channel).to_string();
    let channels = latest_first.iter().map(|conversation| name(&conversation.channel)).collect();
    Ok(Json(node::Channels { channels }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use axum::http::HeaderValue;
    use tokio::sync::Notify;

    use super::*;

    #[test]
    fn only_who_shows_the_key_is_a_relay_and_without_one_nobody_is() {
        let shows =
            |text: &'static str| HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(text))]);
        assert!(is_relay(b"secret", &shows("Bearer secret")));
        assert!(!is_relay(b"secret", &shows("Bearer secret2")) && !is_relay(b"secret", &shows("secret")));
        assert!(!is_relay(b"", &shows("Bearer ")) && !is_relay(b"secret", &HeaderMap::new()));
    }

    #[tokio::test]
    async fn equal_reads_are_one_and_none_gets_what_was_read_before_it_asked() {
        let (reads, count) = (Arc::new(Reads::default()), Arc::new(AtomicU64::new(0)));
        let (began, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let key = (Id(1), None, 10, false);
        let read = || {
            let (count, began, open) = (Arc::clone(&count), Arc::clone(&began), Arc::clone(&open));
            let work = move || async move {
                let number = count.fetch_add(1, Ordering::Relaxed);
                began.notify_one();
                open.notified().await;
                Ok(Bytes::from(number.to_string()))
            };
            let reads = Arc::clone(&reads);
            tokio::spawn(async move { reads.ask(key, work).await })
        };
        let first = read();
        began.notified().await;
        let later: Vec<_> = (0..50).map(|_| read()).collect();
        // One thread: each has asked once all have had their turn.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        open.notify_one();
        assert_eq!(first.await.unwrap().unwrap(), "0");
        began.notified().await;
        open.notify_one();
        for one in later {
            assert_eq!(one.await.unwrap().unwrap(), "1");
        }
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }
}
