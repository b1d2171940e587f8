//! Conversations and search as REST.
#![allow(unused_qualifications, reason = "what `utoipa::path` makes of `params`")]

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::logic::Before;
use super::service::{self, Listed};
use crate::http::{Caller, Query, check};
use crate::membership::api::ChannelOnBus;
use crate::model::{Id, Member, Message, UnixMs};
use crate::problem::Problem;
use crate::state::Node;

/// Conversations and search.
pub fn routes() -> OpenApiRouter<Arc<Node>> {
    OpenApiRouter::new().routes(routes!(conversations)).routes(routes!(search))
}

/// A part of the list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Part {
    /// Those before this place: `next` of another part.
    #[param(pattern = "^[0-9]{1,15}\\.[1-9][0-9]{0,17}$")]
    before: Option<String>,
    /// How many.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

/// What to find.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Words that a message has, all of them.
    #[param(min_length = 1, max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    q: String,
    /// Messages before this one: `next` of another part.
    before: Option<Id>,
    /// How many.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

/// A channel of the caller's.
#[derive(Serialize, ToSchema)]
struct Conversation {
    channel: ChannelOnBus,
    /// The caller in it.
    member: Member,
    /// Messages of others after the caller's read mark; 1000 means that many or more.
    unread: u32,
    /// What was said last; null when nothing was.
    last: Option<Message>,
    /// The other one of a direct message.
    peer: Option<Id>,
    /// When it last had a message, or was made.
    latest_at: UnixMs,
}

/// Channels, latest first.
#[derive(Serialize, ToSchema)]
struct Conversations {
    conversations: Vec<Conversation>,
    /// The `before` of the next part; null at the end.
    next: Option<String>,
}

/// Messages, newest first.
#[derive(Serialize, ToSchema)]
struct Found {
    messages: Vec<Message>,
    /// The `before` of the next part; null at the end.
    next: Option<Id>,
}

impl From<Listed> for Conversation {
    fn from(listed: Listed) -> Self {
        let crate::store::Conversation { channel, member, latest_at, last, peer } = listed.conversation;
        Self { channel: channel.into(), member, unread: listed.unread, last, peer, latest_at }
    }
}

/// The caller's channels, latest first.
#[utoipa::path(get, path = "/conversations", tag = "conversations", security(("token" = [])), params(Part),
    responses((status = 200, body = Conversations)))]
async fn conversations(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Query(part): Query<Part>,
) -> Result<Json<Conversations>, Problem> {
    let limit = check::limit(part.limit)?;
    let before = part.before.as_deref().map(str::parse).transpose()?;
    let listed = service::list(&node, caller, before, limit).await?;
    let next = listed.get(limit - 1).map(|last| {
        let last = &last.conversation;
        Before { latest_at: last.latest_at, channel: last.channel.id }.to_string()
    });
    Ok(Json(Conversations { conversations: listed.into_iter().map(Into::into).collect(), next }))
}

/// Find messages in the caller's channels.
#[utoipa::path(get, path = "/search", tag = "conversations", security(("token" = [])), params(Wanted),
    responses((status = 200, body = Found)))]
async fn search(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Found>, Problem> {
    let limit = check::limit(wanted.limit)?;
    check::query(&wanted.q)?;
    let messages = service::search(&node, caller, &wanted.q, wanted.before, limit).await?;
    let next = messages.get(limit - 1).map(|message| message.id);
    Ok(Json(Found { messages, next }))
}
