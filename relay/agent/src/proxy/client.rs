//! One try to reach a backend over HTTP or gRPC, on connections that are kept for the next, and what went wrong.

use std::error::Error;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tonic::metadata::MetadataMap;

use super::grpc::{self, Bare};
use super::request::Method;
use crate::limits::{PROXY_ANSWER_BYTES_MAX, PROXY_IDLE_FOR, PROXY_IDLE_MAX};

/// How a backend is reached.
#[derive(Clone)]
pub(super) enum Transport {
    /// POST with JSON.
    Http { uri: Uri, client: Client<HttpsConnector<HttpConnector>, Full<Bytes>> },
    /// Unary calls of the ecosystem's service.
    Grpc { origin: Uri, client: Client<HttpsConnector<HttpConnector>, tonic::body::Body> },
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("it took too long")]
    Late,
    /// Nothing was said to it.
    #[error("it cannot be reached")]
    Unreachable,
    /// It may have heard what was said.
    #[error("the connection was lost")]
    Lost,
    #[error("it answered with status {0}")]
    Status(String),
    #[error("its answer is broken")]
    Broken,
}

impl Transport {
    /// `None`: the scheme is none of `http`, `https`, `grpc`, `grpcs`, or there is no host.
    pub(super) fn new(endpoint: &str, tls: ClientConfig) -> Option<Self> {
        let (scheme, rest) = endpoint.split_once("://")?;
        let (scheme, speaks_grpc) = match scheme {
            "http" | "https" => (scheme, false),
            "grpc" => ("http", true),
            "grpcs" => ("https", true),
            _ => return None,
        };
        let uri: Uri = format!("{scheme}://{rest}").parse().ok()?;
        if uri.host().is_none_or(str::is_empty) || speaks_grpc && uri.path() != "/" {
            return None;
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new());
        builder.pool_idle_timeout(PROXY_IDLE_FOR).pool_max_idle_per_host(PROXY_IDLE_MAX);
        Some(if speaks_grpc {
            let connector = connector.enable_http2().wrap_connector(tcp);
            Self::Grpc { origin: uri, client: builder.http2_only(true).build(connector) }
        } else {
            let connector = connector.enable_http1().wrap_connector(tcp);
            Self::Http { uri, client: builder.build(connector) }
        })
    }

    pub(super) const fn speaks_grpc(&self) -> bool {
        matches!(self, Self::Grpc { .. })
    }

    /// The body of its answer.
    pub(super) async fn send(
        &self,
        method: Method,
        body: Bytes,
        headers: HeaderMap,
    ) -> Result<Bytes, Trouble> {
        match self {
            Self::Http { uri, client } => post(client, uri.clone(), body, headers).await,
            Self::Grpc { origin, client } => {
                let mut grpc = tonic::client::Grpc::with_origin(client.clone(), origin.clone())
                    .max_decoding_message_size(PROXY_ANSWER_BYTES_MAX);
                let mut request = tonic::Request::new(body);
                *request.metadata_mut() = MetadataMap::from_headers(headers);
                let answer = grpc.unary(request, grpc::path(method), Bare).await;
                answer.map(tonic::Response::into_inner).map_err(|status| refused(&status))
            }
        }
    }
}

async fn post(
    client: &Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    body: Bytes,
    headers: HeaderMap,
) -> Result<Bytes, Trouble> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = hyper::Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let response = client.request(request).await.map_err(|error| match error.is_connect() {
        true => Trouble::Unreachable,
        false => Trouble::Lost,
    })?;
    if response.status() != StatusCode::OK {
        return Err(Trouble::Status(response.status().as_u16().to_string()));
    }
    let body = Limited::new(response.into_body(), PROXY_ANSWER_BYTES_MAX).collect().await;
    Ok(body.map_err(|_| Trouble::Broken)?.to_bytes())
}

/// A status is the backend's word unless something below it is the reason.
fn refused(status: &tonic::Status) -> Trouble {
    let mut source = status.source();
    let below = source.is_some();
    while let Some(error) = source {
        let ours = error.downcast_ref::<hyper_util::client::legacy::Error>();
        if ours.is_some_and(hyper_util::client::legacy::Error::is_connect) {
            return Trouble::Unreachable;
        }
        source = error.source();
    }
    match status.code() {
        _ if below => Trouble::Lost,
        tonic::Code::OutOfRange => Trouble::Broken,
        code => Trouble::Status(format!("{code:?}")),
    }
}
