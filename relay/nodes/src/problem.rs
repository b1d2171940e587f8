//! What is told to a client when something is not done: problem details (RFC 9457).
//!
//! Owns the table of problems. What a database or a bug said is for the log, never for a client.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::fast::Refusal;
use crate::limits::{RETRY_AFTER_AWAY_S, RETRY_AFTER_S};
use crate::store::StoreError;

/// Why a request is not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    retry_after_s: Option<u32>,
    /// What a database said: for the log alone.
    why: String,
}

/// The table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The request says something that it may not.
    Invalid,
    /// No access token, or one that is not good.
    Unauthorized,
    /// Name or password is wrong.
    Credentials,
    /// Known, but not allowed.
    Forbidden,
    /// There is nothing there, or nothing that the caller may see.
    Missing,
    /// There is something there, but not for this method.
    Method,
    /// The request did not come in time.
    Late,
    /// The name is taken.
    Exists,
    /// The message was deleted.
    Gone,
    /// The body is too long.
    TooLarge,
    /// The body is not JSON by its own account.
    MediaType,
    /// Too many failed sign-ins.
    TooMany,
    /// A fault of this program or of its set-up.
    Internal,
    /// Too much is under way.
    Busy,
    /// The workspace is on its way to another cluster.
    Moving,
    /// The database cannot be reached.
    Away,
    /// The disk is full.
    Full,
    /// The database takes no writes.
    ReadOnly,
}

impl Kind {
    /// Status, slug, title.
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Invalid => (StatusCode::BAD_REQUEST, "invalid", "The request is not valid"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "An access token is needed"),
            Self::Credentials => (StatusCode::UNAUTHORIZED, "credentials", "Name or password is wrong"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "That is not allowed"),
            Self::Missing => (StatusCode::NOT_FOUND, "missing", "There is no such thing here"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method", "That method is not for this address"),
            Self::Late => (StatusCode::REQUEST_TIMEOUT, "late", "The request did not come in time"),
            Self::Exists => (StatusCode::CONFLICT, "exists", "The name is taken"),
            Self::Gone => (StatusCode::GONE, "gone", "The message was deleted"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too long"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The body must be JSON"),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many failed attempts"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something is wrong here"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "Too much is under way"),
            Self::Moving => (StatusCode::SERVICE_UNAVAILABLE, "moving", "The workspace is being moved"),
            Self::Away => (StatusCode::SERVICE_UNAVAILABLE, "store-away", "The database cannot be reached"),
            Self::Full => (StatusCode::SERVICE_UNAVAILABLE, "store-full", "The disk of the database is full"),
            Self::ReadOnly => {
                (StatusCode::SERVICE_UNAVAILABLE, "store-read-only", "The database takes no writes")
            }
        }
    }
}

impl Problem {
    /// With what is wrong in this case; empty where the title says it all.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let retry_after_s = match kind {
            Kind::Busy | Kind::Moving => Some(RETRY_AFTER_S),
            Kind::Away => Some(RETRY_AFTER_AWAY_S),
            // Somebody has to do something first.
            Kind::Full | Kind::ReadOnly => Some(10 * RETRY_AFTER_AWAY_S),
            _ => None,
        };
        Self { kind, detail: detail.into(), retry_after_s, why: String::new() }
    }

    /// The request says something that it may not.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, detail)
    }

    /// There is nothing there that the caller may see.
    pub fn missing() -> Self {
        Self::new(Kind::Missing, "")
    }

    /// The client may come again after so many seconds.
    #[must_use]
    pub const fn after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// What it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The last part of its `type`.
    pub const fn slug(&self) -> &'static str {
        self.kind.row().1
    }

    /// Its status.
    pub const fn status(&self) -> StatusCode {
        self.kind.row().0
    }

    /// One line for people.
    pub fn text(&self) -> &str {
        if self.detail.is_empty() { self.kind.row().2 } else { &self.detail }
    }

    /// As it is told.
    pub fn document(&self) -> ProblemDocument {
        let (status, slug, title) = self.kind.row();
        ProblemDocument {
            r#type: format!("urn:headland:problem:{slug}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail.clone(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let why = refusal.to_string();
        let told = match refusal {
            Refusal::Full => Self::new(Kind::Busy, "Nothing was sent: what is to be stored waits already"),
            Refusal::Broken(error @ (StoreError::Full | StoreError::ReadOnly(_))) => Self::from(error),
            Refusal::Broken(_) => {
                Self::new(Kind::Busy, "Nothing was sent: what is to be stored cannot be kept")
            }
        };
        Self { why, ..told }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Exists => Self::new(Kind::Exists, ""),
            StoreError::Missing => Self::missing(),
            StoreError::Moving => Self::new(Kind::Moving, ""),
            StoreError::Busy => Self::new(Kind::Busy, "Nothing was stored"),
            StoreError::Away(why) => Self {
                why: format!("the database is away: {why}"),
                ..Self::new(
                    Kind::Away,
                    "Whether a write was done is not known: the same request with the same key tells",
                )
            },
            StoreError::Full => Self {
                why: "the disk of the database is full".to_owned(),
                ..Self::new(Kind::Full, "Nothing was stored. Space has to be freed on its disk")
            },
            StoreError::ReadOnly(why) => Self {
                why: format!("the database is read-only: {why}"),
                ..Self::new(Kind::ReadOnly, "Nothing was stored. The database was opened or set read-only")
            },
            StoreError::Refused(why) => {
                Self { why: format!("the database refuses: {why}"), ..Self::new(Kind::Internal, "") }
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        let body = serde_json::to_vec(&self.document()).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        response.extensions_mut().insert(Told { slug: self.slug(), why: self.why.into() });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self.kind {
            // RFC 6750, section 3.
            Kind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Kind::Credentials => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"login\""));
            }
            _ => {}
        }
        response
    }
}

/// Goes with an answer, for whoever counts and logs.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) slug: &'static str,
    pub(crate) why: Arc<str>,
}

/// Problem details (RFC 9457).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// What kind of problem: `urn:headland:problem:` and a word.
    r#type: String,
    /// The kind in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong in this case.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    detail: String,
}
