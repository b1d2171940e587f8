//! The way to any one relay of the system: its server API, on connections that are kept.
//!
//! Owns which relay is asked next. Commands are said to one relay at a time and may be said twice; whoever says them bears that.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time;

use super::limits::{RELAY_ANSWER_BYTES_MAX, RELAY_WITHIN};
use super::words::Command;
use crate::log::log;

/// See the module.
pub struct Api {
    addresses: Vec<SocketAddr>,
    key: HeaderValue,
    client: Client<HttpConnector, Full<Bytes>>,
    /// The last one that answered.
    preferred: AtomicUsize,
    /// Requests that no relay answered in a row.
    failures: AtomicU64,
}

/// Why no relay has done what it was told.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Unheard {
    #[error("cannot be reached, or not in time")]
    Silent,
    #[error(
        "answers with status {0}: is relays.api_key one of its http_api.key, and relays.addresses its http.address?"
    )]
    Status(u16),
    #[error("answers with something else than a relay does")]
    Broken,
}

/// What became of one command; an error has its code.
pub(super) type Outcome = Result<(), u16>;

#[derive(Serialize)]
struct Batch<'a> {
    commands: &'a [Command],
    parallel: bool,
}

#[derive(Deserialize)]
struct Replies<'a> {
    #[serde(borrow)]
    replies: Vec<HashMap<&'a str, &'a RawValue>>,
}

#[derive(Deserialize)]
struct Refused {
    code: u16,
}

impl Api {
    /// `None`: there is nobody to tell.
    pub fn new(addresses: &[SocketAddr], key: &[u8]) -> Option<Self> {
        if addresses.is_empty() {
            return None;
        }
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(RELAY_WITHIN));
        let mut key = HeaderValue::from_bytes(key).unwrap_or(HeaderValue::from_static(""));
        key.set_sensitive(true);
        Some(Self {
            addresses: addresses.to_vec(),
            key,
            client: Client::builder(TokioExecutor::new()).build(tcp),
            preferred: AtomicUsize::new(0),
            failures: AtomicU64::new(0),
        })
    }

    /// Whether some relay has answered the last request.
    pub fn is_up(&self) -> bool {
        self.failures.load(Ordering::Relaxed) == 0
    }

    /// Tells one relay, in this order unless `parallel`; what became of each command.
    pub(super) async fn tell(&self, commands: &[Command], parallel: bool) -> Result<Vec<Outcome>, Unheard> {
        let body = serde_json::to_vec(&Batch { commands, parallel }).map_err(|_| Unheard::Broken)?;
        let body = Bytes::from(body);
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last = Unheard::Silent;
        for turn in 0..self.addresses.len() {
            let index = (first + turn) % self.addresses.len();
            let address = self.addresses[index];
            let told = time::timeout(RELAY_WITHIN, self.send(address, body.clone(), commands.len())).await;
            match told.unwrap_or(Err(Unheard::Silent)) {
                Ok(outcomes) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    if self.failures.swap(0, Ordering::Relaxed) > 0 {
                        log!("relay {address} is told again");
                    }
                    return Ok(outcomes);
                }
                Err(unheard) => {
                    if last != unheard || self.failures.load(Ordering::Relaxed) == 0 {
                        log!("relay {address} {unheard}");
                    }
                    last = unheard;
                }
            }
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        Err(last)
    }

    async fn send(&self, address: SocketAddr, body: Bytes, count: usize) -> Result<Vec<Outcome>, Unheard> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("http://{address}/api/batch").parse().map_err(|_| Unheard::Broken)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("x-api-key", self.key.clone());
        let response = self.client.request(request).await.map_err(|_| Unheard::Silent)?;
        let status = response.status();
        if !status.is_success() {
            return Err(Unheard::Status(status.as_u16()));
        }
        let body = Limited::new(response.into_body(), RELAY_ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| Unheard::Broken)?.to_bytes();
        let replies: Replies<'_> = serde_json::from_slice(&body).map_err(|_| Unheard::Broken)?;
        if replies.replies.len() != count {
            return Err(Unheard::Broken);
        }
        let outcome = |reply: &HashMap<&str, &RawValue>| match reply.get("error") {
            None => Ok(()),
            Some(error) => {
                Err(serde_json::from_str::<Refused>(error.get()).map_or(0, |refused| refused.code))
            }
        };
        Ok(replies.replies.iter().map(outcome).collect())
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
