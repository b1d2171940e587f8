//! All routes, and the description that is made from them (OpenAPI), so that it cannot say anything else.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::get;
use utoipa::openapi::content::Content;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{Object, Ref, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Info, OpenApi, RefOr, Response};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::problem::ProblemDocument;
use crate::state::Node;
use crate::{conversations, membership, message, report, tokens};

/// Every described route, and the description itself.
pub(crate) fn routes() -> Router<Arc<Node>> {
    let (routes, document) = described().split_for_parts();
    let document = Bytes::from(serde_json::to_vec(&finished(document)).unwrap_or_default());
    let answer = move || async move { ([(header::CONTENT_TYPE, "application/json")], document) };
    routes.route("/openapi.json", get(answer))
}

fn described() -> OpenApiRouter<Arc<Node>> {
    let roles = tokens::api::routes()
        .merge(membership::api::routes())
        .merge(message::api::routes())
        .merge(conversations::api::routes());
    OpenApiRouter::new().nest("/v1", roles).merge(tokens::api::well_known()).merge(report::described())
}

/// What all operations have in common is said once, here: problems, and how to show a token.
fn finished(mut document: OpenApi) -> OpenApi {
    document.info = Info::new("Headland node", env!("CARGO_PKG_VERSION"));
    document.info.description = Some(
        "Workspaces, users, channels and their messages. Errors are problem details (RFC 9457).".to_owned(),
    );
    let components = document.components.get_or_insert_default();
    let bearer =
        SecurityScheme::Http(Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build());
    components.security_schemes.insert("token".to_owned(), bearer.into());
    components.schemas.insert(ProblemDocument::name().into_owned(), ProblemDocument::schema());
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            common(path, operation);
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, patch, delete, .. } = item;
    [get, put, post, patch, delete].into_iter().flatten()
}

fn common(path: &str, operation: &mut Operation) {
    let mut add = |status: &str, description: &str| {
        let missing = !operation.responses.responses.contains_key(status);
        if missing {
            let response = RefOr::T(Response::new(description));
            operation.responses.responses.insert(status.to_owned(), response);
        }
    };
    add("503", "Too much is under way, or the database is away, full or read-only: come again.");
    if path.starts_with("/v1/") {
        add("400", "The request is not valid.");
        add("500", "Something is wrong in the node.");
    }
    if operation.security.is_some() {
        add("401", "No access token, or one that is not good.");
    }
    if operation.request_body.is_some() {
        add("408", "The body did not come in time.");
        add("413", "The body is too long.");
        add("415", "The body is not JSON.");
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            dress(status, response);
        }
    }
}

/// Problems have one shape, and some a field that says when to come again.
fn dress(status: &str, response: &mut Response) {
    if response.description.is_empty() {
        "Done.".clone_into(&mut response.description);
    }
    if !(status.starts_with('4') || status.starts_with('5')) || !response.content.is_empty() {
        return;
    }
    let schema = Ref::from_schema_name(ProblemDocument::name());
    response.content.insert("application/problem+json".to_owned(), RefOr::T(Content::new(Some(schema))));
    if matches!(status, "429" | "503") {
        let mut header = Header::new(Object::with_type(Type::Integer));
        header.description = Some("Seconds.".to_owned());
        response.headers.insert("Retry-After".to_owned(), RefOr::T(header));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_says_how_it_fails() {
        let mut document = finished(described().into_openapi());
        let mut count = 0;
        for (path, item) in &mut document.paths.paths {
            for operation in operations(item) {
                count += 1;
                let statuses = &operation.responses.responses;
                assert!(statuses.contains_key("503"), "{path}");
                let open =
                    ["/v1/workspaces", "/v1/register", "/v1/login", "/v1/refresh"].contains(&path.as_str());
                assert_eq!(operation.security.is_none(), open || !path.starts_with("/v1/"), "{path}");
                assert_eq!(statuses.contains_key("413"), operation.request_body.is_some(), "{path}");
            }
        }
        assert!(count >= 28, "{count}");
    }
}
