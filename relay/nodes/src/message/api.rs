//! Messages as REST.
#![allow(unused_qualifications, reason = "what `utoipa::path` makes of `params`")]

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::logic::{Cursor, Page};
use super::pages::Served;
use super::service;
use crate::http::{Body, Caller, Key, Path, Query, check, is_known};
use crate::model::{Id, Message};
use crate::problem::Problem;
use crate::state::Node;
use crate::store::From;

/// Messages.
pub fn routes() -> OpenApiRouter<Arc<Node>> {
    OpenApiRouter::new().routes(routes!(post, page)).routes(routes!(message, edit, delete))
}

/// A new message.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    /// Any JSON of at most 32768 bytes, with at most 64 arrays and objects in each other.
    #[schema(value_type = serde_json::Value)]
    body: Box<RawValue>,
    /// Where a file belongs to it: its address.
    #[serde(default)]
    #[schema(max_length = 2048, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    media: String,
    /// The sender's own id of it, unless `Idempotency-Key` says it: the same one makes no second message.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    key: Option<String>,
}

/// Another body.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBody {
    /// Any JSON of at most 32768 bytes, with at most 64 arrays and objects in each other.
    #[schema(value_type = serde_json::Value)]
    body: Box<RawValue>,
}

/// A message, and which incarnation its offset is of.
#[derive(Serialize, ToSchema)]
struct Stored {
    message: Message,
    epoch: String,
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Place {
    /// What is older than this cursor (`older` of a page), newest first. Without a cursor: the newest.
    #[param(pattern = "^[0-9]{1,18}(\\.[0-9]{1,18})?$")]
    before: Option<String>,
    /// What is newer than this cursor (`newer` of a page), oldest first. Not together with `before`.
    #[param(pattern = "^[0-9]{1,18}(\\.[0-9]{1,18})?$")]
    after: Option<String>,
    /// How many.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

impl Place {
    /// Where it begins, and as of which change.
    fn from(&self) -> Result<(From, Option<u64>), Problem> {
        let cursor = |text: &str| text.parse::<Cursor>();
        match (&self.before, &self.after) {
            (None, None) => Ok((From::End, None)),
            (Some(before), None) => {
                cursor(before).map(|cursor| (From::Before(cursor.offset), cursor.revised))
            }
            (None, Some(after)) => cursor(after).map(|cursor| (From::After(cursor.offset), cursor.revised)),
            (Some(_), Some(_)) => Err(Problem::invalid("before and after are not for one request")),
        }
    }
}

/// Post a message. With a key that the sender used before in the channel it is the message of then.
#[utoipa::path(post, path = "/channels/{channel}/messages", tag = "messages", security(("token" = [])),
    params(("channel" = Id, Path),
        ("Idempotency-Key" = Option<String>, Header, pattern = "^(\"[!#-~]{1,128}\"|[!#-~]{1,128})$",
            description = "The same as `key` in the body.")),
    request_body = NewMessage,
    responses((status = 201, body = Stored), (status = 200, body = Stored, description = "The key was used before."),
        (status = 202, body = Stored, description = "It is delivered, and stored soon (delivery `fast`): offset 0."),
        (status = 404, description = "No such channel, or not in it.")))]
async fn post(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path(channel): Path<Id>,
    Key(field): Key,
    Body(new): Body<NewMessage>,
) -> Result<(StatusCode, Json<Stored>), Problem> {
    let key = match (field, new.key) {
        (Some(field), Some(key)) if field != key => {
            return Err(Problem::invalid("key and Idempotency-Key are different"));
        }
        (field, key) => field.or(key),
    };
    if let Some(key) = &key {
        check::key(key)?;
    }
    let message = wire::node::Message { body: new.body, media: new.media };
    let key = key.unwrap_or_default();
    let posted = service::post(&node, caller.workspace, caller.user, channel, message, &key).await?;
    let status = match posted.duplicate {
        true => StatusCode::OK,
        // Where it will stand is not known yet.
        false if posted.message.offset == 0 => StatusCode::ACCEPTED,
        false => StatusCode::CREATED,
    };
    Ok((status, Json(Stored { message: posted.message, epoch: posted.epoch })))
}

/// Read a channel's messages, page by page.
#[utoipa::path(get, path = "/channels/{channel}/messages", tag = "messages", security(("token" = [])),
    params(("channel" = Id, Path), Place,
        ("If-None-Match" = Option<String>, Header, description = "Entity tags that the client has.")),
    responses((status = 200, body = Page), (status = 304, description = "As it was."),
        (status = 404, description = "No such channel, or not in it.")))]
async fn page(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path(channel): Path<Id>,
    Query(place): Query<Place>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (from, revised) = place.from()?;
    let limit = check::limit(place.limit)?;
    let (served, cached) = service::page(&node, caller, channel, (from, revised), limit).await?;
    if cached {
        node.counters.cached();
    }
    Ok(answer(&served, revised, cached, &headers))
}

/// A closed page that is as its cursor says will never be another one.
fn answer(served: &Served, revised: Option<u64>, cached: bool, headers: &HeaderMap) -> Response {
    let immutable = served.standing.closed && revised == Some(served.standing.revised);
    let control = if immutable { "private, max-age=31536000, immutable" } else { "no-cache" };
    if cached && !immutable {
        let body = cached_body(&served.body);
        let fields = [
            (header::CACHE_CONTROL, "no-store"),
            (header::CONTENT_TYPE, "application/json"),
            // RFC 9211.
            (header::HeaderName::from_static("cache-status"), "headland-node; hit; detail=store-away"),
        ];
        return (fields, body).into_response();
    }
    let fields =
        [(header::CACHE_CONTROL, control), (header::ETAG, &served.tag), (header::VARY, "authorization")];
    if is_known(headers, &served.tag) {
        return (StatusCode::NOT_MODIFIED, fields).into_response();
    }
    (fields, [(header::CONTENT_TYPE, "application/json")], served.body.clone()).into_response()
}

/// The same page, saying where it is from.
fn cached_body(body: &Bytes) -> Vec<u8> {
    let rest = body.strip_prefix(b"{").unwrap_or(body);
    [b"{\"cached\":true,", rest].concat()
}

/// A message of a channel.
#[utoipa::path(get, path = "/channels/{channel}/messages/{message}", tag = "messages", security(("token" = [])),
    params(("channel" = Id, Path), ("message" = Id, Path)),
    responses((status = 200, body = Stored), (status = 404, description = "No such message in a channel of the caller's.")))]
async fn message(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path((channel, message)): Path<(Id, Id)>,
) -> Result<Json<Stored>, Problem> {
    let (message, epoch) = service::message(&node, caller, channel, message).await?;
    Ok(Json(Stored { message, epoch }))
}

/// Give a message of the caller's another body.
#[utoipa::path(patch, path = "/channels/{channel}/messages/{message}", tag = "messages", security(("token" = [])),
    params(("channel" = Id, Path), ("message" = Id, Path)), request_body = NewBody,
    responses((status = 200, body = Stored), (status = 403, description = "It is another's message."),
        (status = 404, description = "No such message in a channel of the caller's."),
        (status = 410, description = "It was deleted.")))]
async fn edit(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path((channel, message)): Path<(Id, Id)>,
    Body(new): Body<NewBody>,
) -> Result<Json<Stored>, Problem> {
    let (message, epoch) = service::change(&node, caller, channel, message, Some(new.body)).await?;
    Ok(Json(Stored { message, epoch }))
}

/// Delete a message of the caller's: it stays in its place, without a body.
#[utoipa::path(delete, path = "/channels/{channel}/messages/{message}", tag = "messages", security(("token" = [])),
    params(("channel" = Id, Path), ("message" = Id, Path)),
    responses((status = 200, body = Stored), (status = 403, description = "It is another's message."),
        (status = 404, description = "No such message in a channel of the caller's.")))]
async fn delete(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Path((channel, message)): Path<(Id, Id)>,
) -> Result<Json<Stored>, Problem> {
    let (message, epoch) = service::change(&node, caller, channel, message, None).await?;
    Ok(Json(Stored { message, epoch }))
}
