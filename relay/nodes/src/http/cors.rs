//! Pages of other sites that may use the REST API (the Fetch standard's CORS protocol).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::state::Node;

/// Answers preflights of allowed sites, and tells browsers that their pages may read answers.
pub(super) async fn cors(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let allowed = &node.checked.config.http.allowed_origins;
    if allowed.is_empty() {
        return next.run(request).await;
    }
    let origin = request.headers().get(header::ORIGIN).filter(|origin| is_allowed(allowed, origin)).cloned();
    let asked = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if request.method() == Method::OPTIONS && asked && origin.is_some() {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        preflight(response.headers_mut());
        response
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    // In every answer: one that is kept without the fields below is none for a page that needs them.
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("etag, retry-after, cache-status");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    response
}

fn preflight(headers: &mut HeaderMap) {
    let methods = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let fields = HeaderValue::from_static("authorization, content-type, idempotency-key, if-none-match");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, fields);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
}

fn is_allowed(allowed: &[String], origin: &HeaderValue) -> bool {
    allowed.iter().any(|site| site == "*" || site.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_allowed_by_its_name_or_by_any() {
        let origin = HeaderValue::from_static("https://app.example.com");
        let allowed = |sites: &[&str]| {
            is_allowed(&sites.iter().map(|site| (*site).to_owned()).collect::<Vec<_>>(), &origin)
        };
        assert!(allowed(&["*"]) && allowed(&["https://a", "https://APP.example.com"]));
        assert!(!allowed(&[]) && !allowed(&["https://example.com", "http://app.example.com"]));
    }
}
