//! JWK sets that are fetched from an endpoint on the private side: in time, and when a token comes whose key is unknown.
//!
//! Owns when to fetch and the bounds of an answer. What is fetched replaces what was fetched before; a fetch that fails changes
//! nothing.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Uri;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::time::{self, Instant};
use wire::token::Kind;

use crate::files;
use crate::limits::{
    FETCH_BURST, FETCH_EVERY, FETCH_PAUSE, FETCH_TIMEOUT_MAX, FETCH_TRIES, FETCHED_BYTES_MAX, FILE_BYTES_MAX,
};
use crate::log::log;
use crate::state::Relay;

/// Where a JWK set is, and how it is asked for.
#[derive(Clone)]
pub(crate) struct Endpoint {
    uri: Uri,
    interval: Duration,
    timeout: Duration,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// Why there is no new set. Never the whole truth about the other side: its text is not ours to log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    #[error("{0}")]
    Connection(hyper_util::client::legacy::Error),
    #[error("the answer was {0}")]
    Status(hyper::StatusCode),
    #[error("the answer is broken, or over {FETCHED_BYTES_MAX} bytes")]
    Body,
    #[error("the answer is {0}")]
    NotASet(String),
}

impl Endpoint {
    /// `times` are the interval and the timeout. The error names the key that is wrong.
    pub(crate) fn new(
        url: &str,
        times: (Duration, Duration),
        root_ca: Option<&Path>,
    ) -> Result<Self, (&'static str, String)> {
        let (interval, timeout) = times;
        let expected = "expected a URL such as \"https://auth.internal/.well-known/jwks.json\"";
        let uri: Uri = url.parse().map_err(|_| ("jwks_public_endpoint", expected.to_owned()))?;
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        if !known || uri.host().is_none_or(str::is_empty) {
            return Err(("jwks_public_endpoint", expected.to_owned()));
        }
        if timeout.is_zero() || timeout > FETCH_TIMEOUT_MAX {
            return Err(("jwks_timeout", "must be above 0s and at most 10s".to_owned()));
        }
        if interval < Duration::from_secs(10) {
            return Err(("jwks_refresh_interval", "is below 10s".to_owned()));
        }
        let tls =
            tls(uri.scheme_str() == Some("https"), root_ca).map_err(|what| ("jwks_root_ca_file", what))?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { uri, interval, timeout, client })
    }

    /// The set's text, from the first of some tries that succeeds.
    async fn fetch(&self) -> Result<String, FetchError> {
        let mut result = Err(FetchError::Body);
        for _ in 0..FETCH_TRIES {
            result =
                time::timeout(self.timeout, self.ask()).await.unwrap_or(Err(FetchError::Late(self.timeout)));
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn ask(&self) -> Result<String, FetchError> {
        let response = self.client.get(self.uri.clone()).await.map_err(FetchError::Connection)?;
        if response.status() != hyper::StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), FETCHED_BYTES_MAX).collect().await;
        let bytes = body.map_err(|_| FetchError::Body)?.to_bytes();
        String::from_utf8(bytes.into()).map_err(|_| FetchError::Body)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.uri)
    }
}

/// Trusts the authorities of a file, or those of the system if a certificate is to be expected at all.
pub(crate) fn tls(needed: bool, root_ca: Option<&Path>) -> Result<ClientConfig, String> {
    let roots = roots(needed, root_ca)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The authorities of a file, or those of the system if they are needed.
pub(crate) fn roots(needed: bool, root_ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = root_ca {
        let name = path.display();
        let pem = files::read(path, FILE_BYTES_MAX).map_err(|error| format!("{name}: {error}"))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let added = certificate.map_err(|_| ()).and_then(|der| roots.add(der).map_err(|_| ()));
            added.map_err(|()| format!("{name}: holds something that is not a certificate"))?;
        }
        if roots.is_empty() {
            return Err(format!("{name}: holds no certificate in PEM form"));
        }
    } else if needed {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(roots)
}

/// Fetches the set of one kind of tokens once, if it is fetched at all. True when there is a new one.
pub(crate) async fn once(relay: &Relay, kind: Kind) -> bool {
    let Some(endpoint) = relay.endpoint(kind) else { return false };
    let taken = match endpoint.fetch().await {
        Ok(text) => relay.keys_fetched(kind, &text).map_err(FetchError::NotASet),
        Err(error) => Err(error),
    };
    relay.counters.fetched(taken.is_ok());
    match taken {
        Ok(Some(keys)) => log!("{keys} keys from {}", endpoint.uri),
        Ok(None) => {}
        Err(ref error) => log!("the keys stay as they were: {}: {error}", endpoint.uri),
    }
    taken.is_ok()
}

/// Keeps the set of one kind of tokens fresh, until the task is dropped. `fetched` says whether it is now.
pub(crate) async fn keep(relay: &Relay, kind: Kind, mut fetched: bool) {
    let mut changes = relay.endpoint_changes();
    let mut pause = FETCH_PAUSE.0;
    let mut budget = Budget::new();
    loop {
        let wait = match relay.endpoint(kind) {
            Some(endpoint) if fetched => endpoint.interval,
            Some(_) => pause,
            // Nothing is fetched until the configuration says so.
            None => Duration::from_secs(u32::MAX.into()),
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = time::sleep(wait) => {}
            () = relay.unknown_key(kind) => time::sleep_until(budget.take()).await,
        }
        fetched = once(relay, kind).await;
        pause = if fetched { FETCH_PAUSE.0 } else { (2 * pause).min(FETCH_PAUSE.1) };
    }
}

/// When strangers may cause a fetch.
struct Budget {
    /// As if this had been the first of an even series.
    since: Instant,
}

impl Budget {
    fn new() -> Self {
        Self { since: Instant::now() - FETCH_EVERY * FETCH_BURST }
    }

    /// When the next may be.
    fn take(&mut self) -> Instant {
        let now = Instant::now();
        let earliest = now.checked_sub(FETCH_EVERY * FETCH_BURST).unwrap_or(now);
        self.since = self.since.max(earliest) + FETCH_EVERY;
        self.since.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cause_a_few_fetches_at_once_and_then_one_each_time() {
        let mut budget = Budget::new();
        let began = Instant::now();
        for _ in 0..FETCH_BURST {
            assert!(budget.take() < began + FETCH_EVERY / 2);
        }
        let next = budget.take();
        assert!(next > began + FETCH_EVERY / 2);
        assert!(budget.take() >= next + FETCH_EVERY / 2);
    }

    #[test]
    fn an_endpoint_is_a_url_with_sensible_times() {
        let times = (Duration::from_secs(3600), Duration::from_secs(1));
        assert!(Endpoint::new("http://127.0.0.1:8000/jwks", times, None).is_ok());
        for url in ["", "jwks", "/jwks", "ftp://a/b", "http:///jwks"] {
            assert_eq!(Endpoint::new(url, times, None).unwrap_err().0, "jwks_public_endpoint", "{url}");
        }
        let often = Endpoint::new("http://a/b", (Duration::ZERO, times.1), None);
        assert_eq!(often.unwrap_err().0, "jwks_refresh_interval");
        let never = Endpoint::new("http://a/b", (times.0, Duration::ZERO), None);
        assert_eq!(never.unwrap_err().0, "jwks_timeout");
        let nothing = Endpoint::new("http://a/b", times, Some(Path::new("/nonexistent")));
        assert_eq!(nothing.unwrap_err().0, "jwks_root_ca_file");
    }
}
