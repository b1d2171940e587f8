//! The chat page, for development: a client of this node's REST and of an edge, and nothing more. Exists only where `[demo]` is configured.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::limits::DEMO_LIBRARY_BYTES_MAX;

/// What the page is made of, in memory.
#[derive(Debug)]
pub(crate) struct Demo {
    library: Vec<u8>,
    settings: Value,
    policy: HeaderValue,
}

impl Demo {
    /// Reads the client library, `dist/centrifuge.js` of the npm package. `url` is where the page connects to, `workspace` what it proposes.
    pub(crate) fn open(url: &str, workspace: &str, library: &Path) -> Result<Self, String> {
        let source = connect_source(url).ok_or_else(|| {
            format!(
                "found {url:?}, expected an address such as \"wss://localhost:8443/connection/websocket\""
            )
        })?;
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {source}; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Ok(Self {
            library: read(library).map_err(|error| format!("{}: {error}", library.display()))?,
            settings: json!({ "url": url, "workspace": workspace }),
            policy: HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
        })
    }

    /// The page's routes, and the way to it from the root.
    pub(crate) fn routes(self) -> Router {
        let demo = Arc::new(self);
        Router::new()
            .route("/", get(|| async { Redirect::temporary("/demo/") }))
            .route("/demo", get(|| async { Redirect::temporary("/demo/") }))
            .route("/demo/", get(|| asset("text/html; charset=utf-8", include_bytes!("../demo/index.html"))))
            .route("/demo/page.js", get(|| asset(SCRIPT, include_bytes!("../demo/page.js"))))
            .route("/demo/rest.js", get(|| asset(SCRIPT, include_bytes!("../demo/rest.js"))))
            .route("/demo/room.js", get(|| asset(SCRIPT, include_bytes!("../demo/room.js"))))
            .route(
                "/demo/page.css",
                get(|| asset("text/css; charset=utf-8", include_bytes!("../demo/page.css"))),
            )
            .route("/demo/icon.svg", get(|| asset("image/svg+xml", include_bytes!("../demo/icon.svg"))))
            .route("/demo/centrifuge.js", get(library))
            .route("/demo/settings.json", get(settings))
            .route_layer(middleware::from_fn_with_state(Arc::clone(&demo), guard))
            .with_state(demo)
    }
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > DEMO_LIBRARY_BYTES_MAX {
        return Err(format!(
            "is {size} bytes long, over the {DEMO_LIBRARY_BYTES_MAX} that a library may have"
        ));
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

async fn asset(kind: &'static str, bytes: &'static [u8]) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind)], bytes)
}

async fn library(State(demo): State<Arc<Demo>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, SCRIPT)], demo.library.clone())
}

async fn settings(State(demo): State<Arc<Demo>>) -> Json<Value> {
    Json(demo.settings.clone())
}

/// Gives every answer the headers of a page that trusts nobody.
async fn guard(State(demo): State<Arc<Demo>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, demo.policy.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Scheme, host and port of a WebSocket address, which may stand in a policy for pages.
pub(crate) fn connect_source(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    let good = matches!(scheme, "ws" | "wss") && !host.is_empty() && host.bytes().all(plain);
    good.then(|| &url[..scheme.len() + "://".len() + host.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_no_more_than_the_address_that_the_page_connects_to() {
        let good = "wss://localhost:8443/connection/websocket";
        assert_eq!(connect_source(good), Some("wss://localhost:8443"));
        for url in
            ["https://localhost/", "wss://", "wss://a b/", "wss://a;b/", "wss://a'b/", "localhost:8443"]
        {
            assert_eq!(connect_source(url), None, "{url}");
        }
    }
}
