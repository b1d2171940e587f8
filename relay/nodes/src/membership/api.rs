//! Users, channels and members, as REST.
#![allow(unused_qualifications, reason = "what `utoipa::path` makes of `params`")]

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::service;
use crate::http::{Body, Caller, Path, Query, check};
use crate::limits::MEMBERS_AT_ONCE_MAX;
use crate::model::{Channel, Delivery, Id, Member, Notify, User};
use crate::problem::Problem;
use crate::relays::names::Name;
use crate::state::Node;
use crate::store::Preferences;

/// Users, channels, members.
pub fn routes() -> OpenApiRouter<Arc<Node>> {
    OpenApiRouter::new()
        .routes(routes!(me, rename_me))
        .routes(routes!(users))
        .routes(routes!(user))
        .routes(routes!(add_channel, channels))
        .routes(routes!(channel, rename_channel))
        .routes(routes!(open_dm))
        .routes(routes!(members))
        .routes(routes!(add_member, remove_member))
        .routes(routes!(membership, change_membership))
        .routes(routes!(mark_read))
        .routes(routes!(mark_delivered))
}

/// A part of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Part {
    /// Those after this id.
    after: Option<Id>,
    /// How many.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

impl Part {
    fn bounds(&self) -> Result<(Id, usize), Problem> {
        Ok((self.after.unwrap_or(Id(0)), check::limit(self.limit)?))
    }
}

/// A channel, and what it is called on the bus.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChannelOnBus {
    #[serde(flatten)]
    channel: Channel,
    /// Where its messages are told: subscribe to it.
    stream: String,
    /// Where its events are told: who has read what, who types.
    live: String,
}

impl From<Channel> for ChannelOnBus {
    fn from(channel: Channel) -> Self {
        let (stream, live) = (Name::stream(&channel).to_string(), Name::live(&channel).to_string());
        Self { channel, stream, live }
    }
}

/// What others see.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewDisplayName {
    #[schema(min_length = 1, max_length = 128, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    display_name: String,
}

/// Users by id.
#[derive(Serialize, ToSchema)]
struct Users {
    users: Vec<User>,
    /// The `after` of the next part; null at the end.
    next: Option<Id>,
}

/// A new group.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewChannel {
    #[schema(min_length = 1, max_length = 128, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    name: String,
    /// When messages are stored.
    #[serde(default)]
    delivery: Delivery,
    /// Who is in it beside the caller.
    #[serde(default)]
    #[schema(max_items = 100)]
    members: Vec<Id>,
}

/// Channels by id.
#[derive(Serialize, ToSchema)]
struct Channels {
    channels: Vec<ChannelOnBus>,
    /// The `after` of the next part; null at the end.
    next: Option<Id>,
}

/// Another name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewName {
    #[schema(min_length = 1, max_length = 128, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    name: String,
}

/// With whom.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Peer {
    user: Id,
}

/// Members by user.
#[derive(Serialize, ToSchema)]
struct Members {
    members: Vec<Member>,
    /// The `after` of the next part; null at the end.
    next: Option<Id>,
}

/// What the member wants; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    muted: Option<bool>,
    starred: Option<bool>,
    notify: Option<Notify>,
}

/// How far.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Mark {
    /// Of the channel's stream; beyond its end it means the end.
    #[serde(deserialize_with = "check::whole")]
    offset: u64,
}

/// The caller.
#[utoipa::path(get, path = "/me", tag = "users", security(("token" = [])), responses((status = 200, body = User)))]
async fn me(State(node): State<Arc<Node>>, caller: Caller) -> Result<Json<User>, Problem> {
    Ok(Json(service::user(&node, caller, caller.user).await?))
}

/// Change what others see.
#[utoipa::path(patch, path = "/me", tag = "users", security(("token" = [])), request_body = NewDisplayName,
    responses((status = 200, body = User)))]
async fn rename_me(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Body(wanted): Body<NewDisplayName>,
) -> Result<Json<User>, Problem> {
    check::title(&wanted.display_name)?;
    Ok(Json(service::rename_user(&node, caller, &wanted.display_name).await?))
}

/// Users of the workspace.
#[utoipa::path(get, path = "/users", tag = "users", security(("token" = [])), params(Part),
    responses((status = 200, body = Users)))]
async fn users(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Query(part): Query<Part>,
) -> Result<Json<Users>, Problem> {
    let (after, limit) = part.bounds()?;
    let users = service::users(&node, caller, after, limit).await?;
    let next = users.get(limit - 1).map(|user| user.id);
    Ok(Json(Users { users, next }))
}

/// A user of the workspace.
#[utoipa::path(get, path = "/users/{user}", tag = "users", security(("token" = [])), params(("user" = Id, Path)),
    responses((status = 200, body = User), (status = 404, description = "No such user in the workspace.")))]
async fn user(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path(user): Path<Id>,
) -> Result<Json<User>, Problem> {
    Ok(Json(service::user(&node, caller, user).await?))
}

/// Make a group.
#[utoipa::path(post, path = "/channels", tag = "channels", security(("token" = [])), request_body = NewChannel,
    responses((status = 201, body = ChannelOnBus), (status = 404, description = "No such user in the workspace.")))]
async fn add_channel(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Body(wanted): Body<NewChannel>,
) -> Result<(StatusCode, Json<ChannelOnBus>), Problem> {
    check::title(&wanted.name)?;
    if wanted.members.len() > MEMBERS_AT_ONCE_MAX {
        return Err(Problem::invalid(format!(
            "members are at most {MEMBERS_AT_ONCE_MAX}; add more afterwards"
        )));
    }
    let made = service::make_group(&node, caller, wanted.name, wanted.delivery, &wanted.members).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// The channels that the caller is in.
#[utoipa::path(get, path = "/channels", tag = "channels", security(("token" = [])), params(Part),
    responses((status = 200, body = Channels)))]
async fn channels(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Query(part): Query<Part>,
) -> Result<Json<Channels>, Problem> {
    let (after, limit) = part.bounds()?;
    let found = service::channels(&node, caller, after, limit).await?;
    let next = found.get(limit - 1).map(|(channel, _)| channel.id);
    Ok(Json(Channels { channels: found.into_iter().map(|(channel, _)| channel.into()).collect(), next }))
}

/// A channel that the caller is in.
#[utoipa::path(get, path = "/channels/{channel}", tag = "channels", security(("token" = [])),
    params(("channel" = Id, Path)),
    responses((status = 200, body = ChannelOnBus), (status = 404, description = "No such channel, or not in it.")))]
async fn channel(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path(channel): Path<Id>,
) -> Result<Json<ChannelOnBus>, Problem> {
    Ok(Json(service::channel(&node, caller, channel).await?.into()))
}

/// Give a group another name.
#[utoipa::path(patch, path = "/channels/{channel}", tag = "channels", security(("token" = [])),
    params(("channel" = Id, Path)), request_body = NewName,
    responses((status = 200, body = ChannelOnBus), (status = 403, description = "It is a direct message."),
        (status = 404, description = "No such channel, or not in it.")))]
async fn rename_channel(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path(channel): Path<Id>,
    Body(wanted): Body<NewName>,
) -> Result<Json<ChannelOnBus>, Problem> {
    check::title(&wanted.name)?;
    Ok(Json(service::rename_channel(&node, caller, channel, wanted.name).await?.into()))
}

/// Open the direct message with a user; there is one for each pair.
#[utoipa::path(post, path = "/dms", tag = "channels", security(("token" = [])), request_body = Peer,
    responses((status = 200, body = ChannelOnBus, description = "It was there."), (status = 201, body = ChannelOnBus),
        (status = 404, description = "No such user in the workspace.")))]
async fn open_dm(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Body(peer): Body<Peer>,
) -> Result<(StatusCode, Json<ChannelOnBus>), Problem> {
    let (channel, made) = service::make_dm(&node, caller, peer.user).await?;
    Ok((if made { StatusCode::CREATED } else { StatusCode::OK }, Json(channel.into())))
}

/// Who is in a channel.
#[utoipa::path(get, path = "/channels/{channel}/members", tag = "members", security(("token" = [])),
    params(("channel" = Id, Path), Part),
    responses((status = 200, body = Members), (status = 404, description = "No such channel, or not in it.")))]
async fn members(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path(channel): Path<Id>,
    Query(part): Query<Part>,
) -> Result<Json<Members>, Problem> {
    let (after, limit) = part.bounds()?;
    let members = service::members(&node, caller, channel, after, limit).await?;
    let next = members.get(limit - 1).map(|member| member.user);
    Ok(Json(Members { members, next }))
}

/// Add a user to a group; any member may.
#[utoipa::path(put, path = "/channels/{channel}/members/{user}", tag = "members", security(("token" = [])),
    params(("channel" = Id, Path), ("user" = Id, Path)),
    responses((status = 200, body = Member, description = "The user was in it."), (status = 201, body = Member),
        (status = 403, description = "It is a direct message."),
        (status = 404, description = "No such channel, or not in it; or no such user.")))]
async fn add_member(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path((channel, user)): Path<(Id, Id)>,
) -> Result<(StatusCode, Json<Member>), Problem> {
    let (member, new) = service::add_member(&node, caller, channel, user).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(member)))
}

/// Leave a group, or, for whoever made it, remove another.
#[utoipa::path(delete, path = "/channels/{channel}/members/{user}", tag = "members", security(("token" = [])),
    params(("channel" = Id, Path), ("user" = Id, Path)),
    responses((status = 204, description = "Done."),
        (status = 403, description = "It is a direct message, or another's group."),
        (status = 404, description = "No such channel, or not in it; or no such member.")))]
async fn remove_member(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path((channel, user)): Path<(Id, Id)>,
) -> Result<StatusCode, Problem> {
    service::remove_member(&node, caller, channel, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The caller's own membership.
#[utoipa::path(get, path = "/channels/{channel}/membership", tag = "members", security(("token" = [])),
    params(("channel" = Id, Path)),
    responses((status = 200, body = Member), (status = 404, description = "No such channel, or not in it.")))]
async fn membership(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path(channel): Path<Id>,
) -> Result<Json<Member>, Problem> {
    Ok(Json(service::member(&node, caller, channel).await?))
}

/// Change what the caller wants of a channel.
#[utoipa::path(patch, path = "/channels/{channel}/membership", tag = "members", security(("token" = [])),
    params(("channel" = Id, Path)), request_body = Wanted,
    responses((status = 200, body = Member), (status = 404, description = "No such channel, or not in it.")))]
async fn change_membership(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path(channel): Path<Id>,
    Body(wanted): Body<Wanted>,
) -> Result<Json<Member>, Problem> {
    let Wanted { muted, starred, notify } = wanted;
    let wanted = Preferences { muted, starred, notify };
    Ok(Json(service::preferences(&node, caller, channel, wanted).await?))
}

/// Everything up to here was read. Never goes back.
#[utoipa::path(put, path = "/channels/{channel}/read", tag = "members", security(("token" = [])),
    params(("channel" = Id, Path)), request_body = Mark,
    responses((status = 200, body = Member), (status = 404, description = "No such channel, or not in it.")))]
async fn mark_read(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path(channel): Path<Id>,
    Body(mark): Body<Mark>,
) -> Result<Json<Member>, Problem> {
    Ok(Json(service::mark(&node, caller, channel, mark.offset, true).await?))
}

/// Everything up to here has reached a device. Never goes back.
#[utoipa::path(put, path = "/channels/{channel}/delivered", tag = "members", security(("token" = [])),
    params(("channel" = Id, Path)), request_body = Mark,
    responses((status = 200, body = Member), (status = 404, description = "No such channel, or not in it.")))]
async fn mark_delivered(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path(channel): Path<Id>,
    Body(mark): Body<Mark>,
) -> Result<Json<Member>, Problem> {
    Ok(Json(service::mark(&node, caller, channel, mark.offset, false).await?))
}
