//! The demo page on the private address: a small chat for development, and tokens for it. Exists only where `[demo]` is configured,
//! and answers only requests that were meant for this machine.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::config::{Checked, connect_source};
use crate::files::{self, FileError};
use crate::limits::{DEMO_LIBRARY_BYTES_MAX, DEMO_NAME_BYTES_MAX, DEMO_REQUEST_BYTES_MAX, DEMO_TOKEN_LIFE};

/// What the page is made of, in memory.
pub(crate) struct Demo {
    clock: Clock,
    key: EncodingKey,
    library: Vec<u8>,
    settings: Value,
    policy: HeaderValue,
    /// `Host` fields that name this machine. Another name that a stranger's DNS points here is refused.
    hosts: Vec<String>,
}

impl Demo {
    /// Reads the library. `None` where no demo is configured.
    pub(crate) fn open(checked: &Checked) -> Result<Option<Self>, FileError> {
        let (config, http) = (&checked.config.demo, checked.config.http.address);
        let (Some(url), Some(library)) = (&config.url, &config.library) else { return Ok(None) };
        let Some((secret, _)) = checked.config.client.token.secrets().next() else { return Ok(None) };
        let source = connect_source(url).unwrap_or_default();
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {source}; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Ok(Some(Self {
            clock: Clock::start(),
            key: EncodingKey::from_secret(secret.bytes()),
            library: files::read(library, DEMO_LIBRARY_BYTES_MAX)?,
            settings: json!({ "url": url, "channel": config.channel }),
            policy: HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
            hosts: hosts(http),
        }))
    }

    /// The page's routes, and the way to it from the root.
    pub(crate) fn routes(self) -> Router {
        let demo = Arc::new(self);
        Router::new()
            .route("/", get(|| async { Redirect::temporary("/demo/") }))
            .route("/demo", get(|| async { Redirect::temporary("/demo/") }))
            .route("/demo/", get(|| asset("text/html; charset=utf-8", include_bytes!("../demo/index.html"))))
            .route("/demo/page.js", get(|| asset(SCRIPT, include_bytes!("../demo/page.js"))))
            .route(
                "/demo/page.css",
                get(|| asset("text/css; charset=utf-8", include_bytes!("../demo/page.css"))),
            )
            .route("/demo/icon.svg", get(|| asset("image/svg+xml", include_bytes!("../demo/icon.svg"))))
            .route("/demo/centrifuge.js", get(library))
            .route("/demo/settings.json", get(settings))
            .route("/demo/token", post(token))
            .layer(DefaultBodyLimit::max(DEMO_REQUEST_BYTES_MAX))
            .route_layer(middleware::from_fn_with_state(Arc::clone(&demo), guard))
            .with_state(demo)
    }

    /// A token for a user of any name, as this is for development; it is refreshed while the page is open.
    fn token(&self, user: &str) -> Option<String> {
        let claims = json!({
            "sub": user,
            "exp": self.clock.unix() + DEMO_TOKEN_LIFE.as_secs(),
            "info": { "name": user },
        });
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.key).ok()
    }
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

async fn asset(kind: &'static str, bytes: &'static [u8]) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind)], bytes)
}

async fn library(State(demo): State<Arc<Demo>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, SCRIPT)], demo.library.clone())
}

async fn settings(State(demo): State<Arc<Demo>>) -> Json<Value> {
    Json(demo.settings.clone())
}

/// `{"user": ".."}` is answered by `{"token": ".."}`. JSON only: a page of another origin would have to ask first, and is not allowed.
async fn token(State(demo): State<Arc<Demo>>, asked: Result<Json<Value>, JsonRejection>) -> Response {
    let refused = |why: &'static str| (StatusCode::BAD_REQUEST, why).into_response();
    let Ok(Json(asked)) = asked else { return refused("expected JSON: {\"user\": \"ann\"}") };
    let Some(user) = asked["user"].as_str().map(str::trim) else { return refused("\"user\" is missing") };
    if user.is_empty() || user.len() > DEMO_NAME_BYTES_MAX || user.chars().any(char::is_control) {
        return refused("a name has 1 to 64 bytes and no control characters");
    }
    match demo.token(user) {
        Some(token) => Json(json!({ "token": token })).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Refuses requests for other hosts and gives every answer the headers of a page that trusts nobody.
async fn guard(State(demo): State<Arc<Demo>>, request: Request, next: Next) -> Response {
    let mut response = if demo.is_meant(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "this page is served under the address of this machine only\n")
            .into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, demo.policy.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Demo {
    fn is_meant(&self, headers: &HeaderMap) -> bool {
        let mut fields = headers.get_all(HOST).iter();
        let (Some(host), None) = (fields.next(), fields.next()) else { return false };
        self.hosts.iter().any(|meant| host.as_bytes().eq_ignore_ascii_case(meant.as_bytes()))
    }
}

fn hosts(address: SocketAddr) -> Vec<String> {
    vec![address.to_string(), format!("localhost:{}", address.port())]
}
