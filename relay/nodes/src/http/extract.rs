//! What is taken out of a request: its caller, body, query, path, key and source; each with its bounds, each refusal a problem.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time;

use crate::limits::{BODY_BYTES_MAX, BODY_WITHIN, KEY_MAX};
use crate::model::Id;
use crate::problem::{Kind, Problem};
use crate::state::Node;

/// Who asks, by the access token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The tenant.
    pub workspace: Id,
    /// Who.
    pub user: Id,
}

impl FromRequestParts<Arc<Node>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(AUTHORIZATION) else {
            return Err(Problem::new(Kind::Unauthorized, ""));
        };
        let token = bearer(value)
            .ok_or_else(|| Problem::new(Kind::Unauthorized, "expected \"Authorization: Bearer TOKEN\""))?;
        node.keys.caller(token, &node.clock).await
    }
}

/// RFC 6750, section 2.1.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A JSON body.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Node>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Arc<Node>) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(Kind::MediaType, "expected \"Content-Type: application/json\""));
        }
        let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
        let late = |_| Problem::new(Kind::Late, "");
        let bytes = time::timeout(BODY_WITHIN, body).await.map_err(late)?.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Problem::new(Kind::TooLarge, format!("a body has at most {BODY_BYTES_MAX} bytes"))
            } else {
                Problem::invalid("the body broke off")
            }
        })?;
        let parsed = serde_json::from_slice(&bytes.to_bytes());
        parsed.map(Self).map_err(|error| Problem::invalid(format!("the body: {error}")))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// What follows the `?`.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Node>> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, node).await;
        query
            .map(|query| Self(query.0))
            .map_err(|rejection: QueryRejection| Problem::invalid(rejection.body_text()))
    }
}

/// The parts of the path. What is no id is nothing's id.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Node>> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, node).await;
        path.map(|path| Self(path.0)).map_err(|_: PathRejection| Problem::missing())
    }
}

/// The field `Idempotency-Key`, if there is one. A value in quotes is a string of structured fields; the quotes are no part of it.
#[derive(Debug)]
pub struct Key(pub Option<String>);

impl FromRequestParts<Arc<Node>> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Node>) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        let wrong = || {
            let text = format!(
                "Idempotency-Key has 1 to {KEY_MAX} printable ASCII characters, no space and no quote"
            );
            Problem::invalid(text)
        };
        let text = value.to_str().map_err(|_| wrong())?;
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        if !printable || !(1..=KEY_MAX).contains(&text.len()) {
            return Err(wrong());
        }
        Ok(Self(Some(text.to_owned())))
    }
}

/// The address that a client comes from, as far as sign-ins count: of IPv6 the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source(pub IpAddr);

impl FromRequestParts<Arc<Node>> for Source {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or_else(|| IpAddr::from([0, 0, 0, 0]), |info| info.0.ip());
        let told = node.checked.config.http.client_address_field.as_deref();
        let told = told.and_then(|name| parts.headers.get_all(name).iter().next_back());
        let last = told.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        Ok(Self(network(last.unwrap_or(peer))))
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_after_the_word_bearer() {
        let token = |text| bearer(&HeaderValue::from_static(text)).map(str::to_owned);
        assert_eq!(token("Bearer a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(token("bearer  a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(token("Basic a.b.c"), None);
        assert_eq!(token("a.b.c"), None);
    }

    #[test]
    fn a_source_of_ipv6_is_a_network() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
    }
}
