//! The server API on the private address, in the shape that backends of the ecosystem know: `POST /api/METHOD` with a key.
//!
//! Owns requests, their bounds and how errors are told. What a method does is in `methods`, and is asked of the bus as a shard would.

mod access;
mod batch;
mod counters;
mod line;
mod methods;
mod sessions;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::body::{self, Body};
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::SemaphorePermit;
use tokio::time;
use wire::code::{self, ErrorCode};

pub(crate) use access::Access;
use access::Verdict;
pub(crate) use counters::{Counters, Unserved};
pub(crate) use line::Line;

use crate::config::Errors;
use crate::limits::{API_BODY_BYTES_MAX, API_BODY_WITHIN};
use crate::state::Relay;

macro_rules! methods {
    ($($name:ident = $word:literal;)*) => {
        /// What can be asked for.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Method {
            $($name,)*
        }

        impl Method {
            const ALL: &[Self] = &[$(Self::$name,)*];

            /// As paths and batches have it.
            const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

methods! {
    Publish = "publish";
    Broadcast = "broadcast";
    Announce = "announce";
    Subscribe = "subscribe";
    Unsubscribe = "unsubscribe";
    Disconnect = "disconnect";
    Refresh = "refresh";
    Presence = "presence";
    PresenceStats = "presence_stats";
    History = "history";
    HistoryRemove = "history_remove";
    Channels = "channels";
    Info = "info";
    Batch = "batch";
}

impl Method {
    fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.name() == name)
    }
}

/// Why a method was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Refusal {
    error: ErrorCode,
    /// What is wrong, for people.
    why: &'static str,
    /// It is not even JSON of the right kind.
    malformed: bool,
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Self {
        Self { error, why: "", malformed: false }
    }
}

impl Refusal {
    /// The request makes no sense.
    const fn bad(why: &'static str) -> Self {
        Self { error: code::BAD_REQUEST, why, malformed: false }
    }

    fn told(&self) -> Error {
        let Self { error, why, .. } = self;
        let message =
            if why.is_empty() { error.message.to_owned() } else { format!("{}: {why}", error.message) };
        Error { code: error.code, message }
    }
}

/// A refusal as backends are told it.
#[derive(Serialize)]
struct Error {
    code: u16,
    message: String,
}

/// What a method gives back, in JSON.
type Outcome = Result<Box<RawValue>, Refusal>;

pub(crate) fn routes(relay: Arc<Relay>) -> Router {
    Router::new().route("/api", post(old)).route("/api/{method}", post(call)).with_state(relay)
}

async fn call(State(relay): State<Arc<Relay>>, Path(method): Path<String>, request: Request) -> Response {
    let access = relay.access();
    if let Some(refused) = refuse(&relay, &access, request.headers()) {
        return refused;
    }
    let Some(method) = Method::of(&method) else {
        relay.api.unserved(Unserved::Method);
        return plain(StatusCode::NOT_FOUND, "there is no such method\n");
    };
    let errors = access.errors(request.headers());
    let (_permit, body) = match taken(&relay, request).await {
        Ok(taken) => taken,
        Err(refused) => return refused,
    };
    // An empty body is that of a method without arguments.
    let params = if body.is_empty() { "{}" } else { &body };
    let outcome = methods::run(&relay, method, params).await;
    match outcome {
        Err(Refusal { malformed: true, .. }) => {
            relay.api.unserved(Unserved::Body);
            plain(StatusCode::BAD_REQUEST, "the body is not JSON of this method\n")
        }
        outcome => respond(method, &outcome, errors),
    }
}

/// Commands of the old form, one after the other, each answered by a line.
async fn old(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    if let Some(refused) = refuse(&relay, &relay.access(), request.headers()) {
        return refused;
    }
    let (_permit, body) = match taken(&relay, request).await {
        Ok(taken) => taken,
        Err(refused) => return refused,
    };
    match batch::run_old(&relay, &body).await {
        Some(replies) => json(StatusCode::OK, replies),
        None => {
            relay.api.unserved(Unserved::Body);
            plain(StatusCode::BAD_REQUEST, "the body is not a list of commands\n")
        }
    }
}

fn refuse(relay: &Relay, access: &Access, headers: &HeaderMap) -> Option<Response> {
    match access.judge(headers) {
        Verdict::Admitted => None,
        Verdict::Off => {
            Some(plain(StatusCode::NOT_FOUND, "the server API is off: set http_api.key to turn it on\n"))
        }
        Verdict::Refused => {
            relay.api.unserved(Unserved::Key);
            Some(plain(StatusCode::UNAUTHORIZED, "the key in X-API-Key is missing or not known\n"))
        }
    }
}

/// A request's body, with the permit to have it in memory: how many may be there at once is bounded.
async fn taken(relay: &Relay, request: Request) -> Result<(Option<SemaphorePermit<'_>>, String), Response> {
    let permit = relay.api_permits.acquire().await.ok();
    let body = read(request.into_body()).await.inspect_err(|_| relay.api.unserved(Unserved::Body))?;
    Ok((permit, body))
}

async fn read(body: Body) -> Result<String, Response> {
    let bytes = time::timeout(API_BODY_WITHIN, body::to_bytes(body, API_BODY_BYTES_MAX)).await;
    let Ok(bytes) = bytes else {
        return Err(plain(StatusCode::REQUEST_TIMEOUT, "the body came too late\n"));
    };
    let Ok(bytes) = bytes else {
        return Err(plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is broken or over the bound\n"));
    };
    String::from_utf8(bytes.into()).map_err(|_| plain(StatusCode::BAD_REQUEST, "the body is not UTF-8\n"))
}

/// As the ecosystem does it: a batch's replies stand alone, other results in `result`, errors in `error`.
fn respond(method: Method, outcome: &Outcome, errors: Errors) -> Response {
    match outcome {
        Ok(result) if method == Method::Batch => json(StatusCode::OK, result.get().to_owned()),
        Ok(result) => json(StatusCode::OK, format!("{{\"result\":{}}}", result.get())),
        Err(refusal) => {
            let status = match errors {
                Errors::Body => StatusCode::OK,
                Errors::Transport => status(refusal.error),
            };
            json(status, methods::to_text(&serde_json::json!({ "error": refusal.told() })))
        }
    }
}

/// The HTTP status that says nearly what an error says.
const fn status(error: ErrorCode) -> StatusCode {
    match error.code {
        102 | 104 => StatusCode::NOT_FOUND,
        103 => StatusCode::FORBIDDEN,
        106..=108 => StatusCode::BAD_REQUEST,
        111 => StatusCode::TOO_MANY_REQUESTS,
        112 => StatusCode::RANGE_NOT_SATISFIABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn json(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], text).into_response()
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, text).into_response()
}
