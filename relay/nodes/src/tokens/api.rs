//! Registration, sign-in and the published keys, as REST.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::service::{self, Newcomer, SignedIn};
use crate::http::{Body, Source};
use crate::model::{User, Workspace};
use crate::problem::Problem;
use crate::state::Node;

/// What needs no token.
pub fn routes() -> OpenApiRouter<Arc<Node>> {
    OpenApiRouter::new()
        .routes(routes!(add_workspace))
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(refresh))
}

/// What stands at fixed addresses.
pub fn well_known() -> OpenApiRouter<Arc<Node>> {
    OpenApiRouter::new().routes(routes!(jwks))
}

/// A new user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    /// What is signed in with; case makes no difference.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._@+-]*$")]
    name: String,
    #[schema(min_length = 8, max_length = 256, format = Password)]
    password: String,
    /// What others see; the name, where it is not given.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    display_name: Option<String>,
}

/// A new workspace with its first user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewWorkspace {
    /// Unique in the whole system; case makes no difference.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._@+-]*$")]
    name: String,
    user: NewUser,
}

/// A new user of a workspace.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Registration {
    /// The workspace's name.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._@+-]*$")]
    workspace: String,
    /// What is signed in with; case makes no difference.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._@+-]*$")]
    name: String,
    #[schema(min_length = 8, max_length = 256, format = Password)]
    password: String,
    /// What others see; the name, where it is not given.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    display_name: Option<String>,
}

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    /// The workspace's name.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._@+-]*$")]
    workspace: String,
    /// The user's.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._@+-]*$")]
    name: String,
    #[schema(min_length = 8, max_length = 256, format = Password)]
    password: String,
}

/// What was got with the last tokens.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    #[schema(max_length = 128)]
    refresh_token: String,
}

/// Who is signed in, and the tokens.
#[derive(Serialize, ToSchema)]
struct Tokens {
    workspace: Workspace,
    user: User,
    /// For this API (`Authorization: Bearer`) and for connections to edges.
    access_token: String,
    /// Seconds until the access token is over.
    expires_in: u64,
    /// Good once, for the next tokens.
    refresh_token: String,
    /// `Bearer`.
    token_type: &'static str,
}

impl From<SignedIn> for Tokens {
    fn from(signed_in: SignedIn) -> Self {
        let SignedIn { workspace, user, access_token, expires_in, refresh_token } = signed_in;
        Self { workspace, user, access_token, expires_in, refresh_token, token_type: "Bearer" }
    }
}

/// Tokens are nobody else's to keep.
fn answer(status: StatusCode, signed_in: SignedIn) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(Tokens::from(signed_in))).into_response()
}

/// Make a workspace with its first user.
#[utoipa::path(post, path = "/workspaces", tag = "sign-in", request_body = NewWorkspace,
    responses((status = 201, body = Tokens), (status = 403, description = "Registration is closed."), (status = 409, description = "The name is taken.")))]
async fn add_workspace(
    State(node): State<Arc<Node>>,
    Body(wanted): Body<NewWorkspace>,
) -> Result<Response, Problem> {
    let NewUser { name, password, display_name } = wanted.user;
    let newcomer = Newcomer { name, password, display_name };
    Ok(answer(StatusCode::CREATED, service::make_workspace(&node, &wanted.name, newcomer).await?))
}

/// Become a user of a workspace.
#[utoipa::path(post, path = "/register", tag = "sign-in", request_body = Registration,
    responses((status = 201, body = Tokens), (status = 403, description = "Registration is closed."), (status = 404, description = "No such workspace."),
        (status = 409, description = "The name is taken.")))]
async fn register(
    State(node): State<Arc<Node>>,
    Body(wanted): Body<Registration>,
) -> Result<Response, Problem> {
    let Registration { workspace, name, password, display_name } = wanted;
    let newcomer = Newcomer { name, password, display_name };
    Ok(answer(StatusCode::CREATED, service::register(&node, &workspace, newcomer).await?))
}

/// Sign in.
#[utoipa::path(post, path = "/login", tag = "sign-in", request_body = Login,
    responses((status = 200, body = Tokens), (status = 401, description = "Name or password is wrong, or the token is over."), (status = 429, description = "Too many failed attempts.")))]
async fn login(
    State(node): State<Arc<Node>>,
    source: Source,
    Body(wanted): Body<Login>,
) -> Result<Response, Problem> {
    crate::http::check::password(&wanted.password)?;
    let account = (&*wanted.workspace, &*wanted.name);
    Ok(answer(StatusCode::OK, service::log_in(&node, source, account, wanted.password).await?))
}

/// Get the next tokens. The refresh token is good once.
#[utoipa::path(post, path = "/refresh", tag = "sign-in", request_body = Refresh,
    responses((status = 200, body = Tokens), (status = 401, description = "Name or password is wrong, or the token is over.")))]
async fn refresh(State(node): State<Arc<Node>>, Body(wanted): Body<Refresh>) -> Result<Response, Problem> {
    Ok(answer(StatusCode::OK, service::refresh(&node, &wanted.refresh_token).await?))
}

/// The public keys that tokens are verified with (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "keys",
    responses((status = 200, body = serde_json::Value, content_type = "application/jwk-set+json"), (status = 304, description = "As it was.")))]
async fn jwks(State(node): State<Arc<Node>>, headers: HeaderMap) -> Response {
    let ring = node.keys.ring();
    let age = format!("public, max-age={}", node.keys.fresh_for().as_secs());
    let fields = [(header::CACHE_CONTROL, age), (header::ETAG, ring.tag.clone())];
    if crate::http::is_known(&headers, &ring.tag) {
        return (StatusCode::NOT_MODIFIED, fields).into_response();
    }
    (fields, [(header::CONTENT_TYPE, "application/jwk-set+json")], ring.document.clone()).into_response()
}
