//! The way to some node: connections that are kept, which node is asked next, and which are left alone for a while.
//!
//! Everything that is asked does no harm twice, so what one node did not answer is asked of another.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use relay::{Breaker, Pass, Standing};
use tokio::sync::Semaphore;
use tokio::time;
use wire::code::{self, ErrorCode};
use wire::node::PREFIX;

use super::counters::{Counters, Ends, Word};
use crate::fetch;
use crate::limits::{
    NODE_ANSWER_BYTES_MAX, NODE_CALLS_MAX, NODE_IDLE_FOR, NODE_PAUSE_MAX, NODE_WITHIN, PROXY_IDLE_MAX,
};
use crate::log::log;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    places: Vec<Place>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    authorization: HeaderValue,
    timeout: Duration,
    calls: Semaphore,
    /// Which is asked first: the last one that answered.
    preferred: AtomicUsize,
    counters: Counters,
}

/// One address.
struct Place {
    /// Without the slash at the end.
    base: String,
    breaker: Mutex<Breaker>,
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
enum Trouble {
    #[error("it took too long")]
    Late,
    #[error("it cannot be reached, or the connection was lost")]
    Lost,
    #[error("it answered with status {0}")]
    Status(StatusCode),
    #[error("its answer is broken")]
    Broken,
}

impl Trouble {
    /// Whether the node is at fault rather than what was asked.
    fn is_failure(self) -> bool {
        match self {
            Self::Late | Self::Lost | Self::Broken => true,
            Self::Status(status) => status.is_server_error(),
        }
    }

    /// As clients are told.
    fn error(self) -> ErrorCode {
        match self {
            Self::Late | Self::Lost | Self::Broken => code::INTERNAL,
            Self::Status(status) => match status {
                StatusCode::FORBIDDEN => code::PERMISSION_DENIED,
                StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => code::BAD_REQUEST,
                StatusCode::NOT_FOUND => code::UNKNOWN_CHANNEL,
                StatusCode::PAYLOAD_TOO_LARGE => code::LIMIT_EXCEEDED,
                StatusCode::TOO_MANY_REQUESTS => code::TOO_MANY_REQUESTS,
                _ => code::INTERNAL,
            },
        }
    }
}

impl Pool {
    /// The error names the key that is wrong.
    pub(crate) fn new(
        addresses: &[String],
        key: &[u8],
        timeout: Duration,
        root_ca: Option<&Path>,
    ) -> Result<Self, (&'static str, String)> {
        let mut places = Vec::new();
        for address in addresses {
            let base = address.trim_end_matches('/').to_owned();
            let uri: Option<Uri> = base.parse().ok();
            let good = uri.is_some_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.host().is_some_and(|host| !host.is_empty())
            });
            if !good {
                let text = format!("found {address:?}, expected URLs such as \"http://10.0.0.9:9200\"");
                return Err(("addresses", text));
            }
            places.push(Place { base, breaker: Mutex::new(Breaker::pausing(NODE_PAUSE_MAX)) });
        }
        let encrypted = addresses.iter().any(|address| address.starts_with("https:"));
        let tls = fetch::tls(encrypted, root_ca).map_err(|what| ("tls_root_ca_file", what))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new());
        builder.pool_idle_timeout(NODE_IDLE_FOR).pool_max_idle_per_host(PROXY_IDLE_MAX);
        let authorization = HeaderValue::from_bytes(&[b"Bearer ", key].concat());
        let mut authorization =
            authorization.map_err(|_| ("key", "is nothing that HTTP can carry".to_owned()))?;
        authorization.set_sensitive(true);
        Ok(Self(Arc::new(Shared {
            places,
            client: builder.build(connector),
            authorization,
            timeout,
            calls: Semaphore::new(NODE_CALLS_MAX),
            preferred: AtomicUsize::new(0),
            counters: Counters::default(),
        })))
    }

    /// Asks some node, within [`NODE_WITHIN`]. `clock` counts from any one moment. The answer's body.
    pub(super) async fn ask(
        &self,
        clock: impl Fn() -> Duration,
        word: Word,
        body: Bytes,
    ) -> Result<Bytes, ErrorCode> {
        let until = clock() + NODE_WITHIN;
        let answer = match time::timeout(NODE_WITHIN, self.0.calls.acquire()).await {
            Ok(Ok(_permit)) => self.ask_some(clock, until, word, body).await,
            _ => Err(Trouble::Late),
        };
        self.0
            .counters
            .ended(word, answer.as_ref().map_or_else(|trouble| 1 + usize::from(trouble.is_failure()), |_| 0));
        answer.map_err(Trouble::error)
    }

    async fn ask_some(
        &self,
        clock: impl Fn() -> Duration,
        until: Duration,
        word: Word,
        body: Bytes,
    ) -> Result<Bytes, Trouble> {
        let Shared { places, preferred, timeout, counters, .. } = &*self.0;
        let (first, mut last, mut tries) = (preferred.load(Ordering::Relaxed), Trouble::Lost, 0);
        for turn in 0..places.len() {
            let index = (first + turn) % places.len();
            let place = &places[index];
            let now = clock();
            let Some(pass) = place.admit(now).filter(|_| now < until) else { continue };
            if tries > 0 {
                counters.retried();
            }
            tries += 1;
            let within = (*timeout).min(until - now);
            let result = time::timeout(within, self.send(place, word, body.clone())).await;
            let result = result.unwrap_or(Err(Trouble::Late));
            place.report(clock(), pass, &result);
            match result {
                Err(trouble) if trouble.is_failure() => last = trouble,
                result => {
                    preferred.store(index, Ordering::Relaxed);
                    return result;
                }
            }
        }
        Err(last)
    }

    async fn send(&self, place: &Place, word: Word, body: Bytes) -> Result<Bytes, Trouble> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        let uri = format!("{}{PREFIX}{}", place.base, word.name());
        *request.uri_mut() = uri.parse().map_err(|_| Trouble::Lost)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(AUTHORIZATION, self.0.authorization.clone());
        let response = self.0.client.request(request).await.map_err(|_| Trouble::Lost)?;
        let status = response.status();
        if !status.is_success() {
            return Err(Trouble::Status(status));
        }
        let body = Limited::new(response.into_body(), NODE_ANSWER_BYTES_MAX).collect().await;
        Ok(body.map_err(|_| Trouble::Broken)?.to_bytes())
    }

    /// Each address and how it stands.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&str, Standing)> {
        self.0.places.iter().map(|place| (place.base.as_str(), place.lock().standing()))
    }

    /// What was asked, by word and outcome.
    pub(crate) fn ends(&self) -> Ends {
        self.0.counters.ends()
    }

    /// How often another node was asked.
    pub(crate) fn retries(&self) -> u64 {
        self.0.counters.retries()
    }
}

impl Place {
    fn lock(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, now: Duration) -> Option<Pass> {
        self.lock().admit(now)
    }

    /// A node that says that its store is away is well; who cannot be heard is not.
    fn report(&self, now: Duration, pass: Pass, result: &Result<Bytes, Trouble>) {
        let silent = matches!(result, Err(Trouble::Late | Trouble::Lost | Trouble::Broken));
        let turned = self.lock().report(now, pass, !silent);
        match result {
            Err(trouble) if turned => log!("node {} is left alone for a while: {trouble}", self.base),
            Ok(_) if turned => log!("node {} answers again", self.base),
            _ => {}
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.places.iter().map(|place| &place.base)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::Router;
    use axum::http::HeaderMap;
    use axum::routing::post;
    use tokio::net::TcpListener;

    use super::*;

    /// A node that answers everything with this status; what it was shown.
    async fn node(status: u16) -> (String, Arc<Mutex<Vec<String>>>) {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::clone(&shown);
        let answer = move |headers: HeaderMap| async move {
            let key = headers[AUTHORIZATION].to_str().unwrap().to_owned();
            seen.lock().unwrap().push(key);
            (StatusCode::from_u16(status).unwrap(), "{}")
        };
        let routes = Router::new().route("/relay/v1/rights", post(answer));
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (address, shown)
    }

    async fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    fn pool(addresses: &[String]) -> Pool {
        Pool::new(addresses, b"key", Duration::from_millis(500), None).unwrap()
    }

    async fn ask(pool: &Pool, now: Duration) -> Result<Bytes, ErrorCode> {
        pool.ask(|| now, Word::Rights, Bytes::from_static(b"{}")).await
    }

    #[tokio::test]
    async fn a_node_that_cannot_be_reached_is_left_for_one_that_can_which_is_asked_first_from_then_on() {
        let (good, shown) = node(200).await;
        let pool = pool(&[nobody().await, good]);
        for _ in 0..3 {
            assert_eq!(ask(&pool, Duration::ZERO).await, Ok(Bytes::from_static(b"{}")));
        }
        assert_eq!(*shown.lock().unwrap(), ["Bearer key"; 3]);
        assert_eq!(pool.retries(), 1, "only the first had to find out");
    }

    #[tokio::test]
    async fn what_a_node_refuses_is_refused_and_what_it_cannot_do_another_one_may() {
        for (status, error) in [
            (403, code::PERMISSION_DENIED),
            (400, code::BAD_REQUEST),
            (404, code::UNKNOWN_CHANNEL),
            (413, code::LIMIT_EXCEEDED),
            (429, code::TOO_MANY_REQUESTS),
            (401, code::INTERNAL),
        ] {
            let ((refusing, _), (other, shown)) = (node(status).await, node(200).await);
            assert_eq!(ask(&pool(&[refusing, other]), Duration::ZERO).await, Err(error), "{status}");
            assert!(shown.lock().unwrap().is_empty(), "{status}: nobody else is asked");
        }
        let ((away, _), (other, _)) = (node(503).await, node(200).await);
        assert!(ask(&pool(&[away.clone(), other]), Duration::ZERO).await.is_ok());
        assert_eq!(ask(&pool(&[away]), Duration::ZERO).await, Err(code::INTERNAL));
    }

    #[tokio::test]
    async fn a_node_that_stays_away_is_left_alone_and_asked_again_soon() {
        let pool = pool(&[nobody().await]);
        for _ in 0..20 {
            assert_eq!(ask(&pool, Duration::ZERO).await, Err(code::INTERNAL));
        }
        let standing = |pool: &Pool| pool.places().next().map(|(_, standing)| standing);
        assert_eq!(standing(&pool), Some(Standing::Open));
        let mut now = Duration::ZERO;
        for _ in 0..10 {
            now += NODE_PAUSE_MAX;
            assert_eq!(ask(&pool, now).await, Err(code::INTERNAL), "it is tried, and fails");
        }
        let [_, (_, ends), ..] = [pool.ends()[0], pool.ends()[3]];
        assert_eq!(ends[2], ("failed", 30));
    }
}
