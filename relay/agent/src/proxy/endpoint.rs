//! One backend: its connections, how many may be asked of it at once, when it is left alone, and what is counted of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Uri;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use relay::{Breaker, Pass, Standing};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time;
use wire::backend::{Event, Outcome};
use wire::code::{self, ErrorCode};

use super::answer::{Decision, Said};
use super::client::{Transport, Trouble};
use super::counters::{Counters, End, Results};
use super::grpc;
use super::request::{self, Method, Told};
use crate::fetch;
use crate::limits::{PROXY_CALLS_MAX, PROXY_RETRY_PAUSE, PROXY_TIMEOUT_MAX};
use crate::log::log;

/// What an operator says of a backend.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) endpoint: String,
    pub(crate) timeout: Duration,
    /// Payloads go as base64.
    pub(crate) binary: bool,
    /// It is told what connections keep for it.
    pub(crate) meta: bool,
    pub(crate) root_ca: Option<PathBuf>,
    /// Of every request. Maybe secret.
    pub(crate) headers: BTreeMap<String, String>,
}

/// See the module.
pub(crate) struct Endpoint {
    name: String,
    options: Options,
    transport: Transport,
    headers: HeaderMap,
    calls: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
    counters: Counters,
}

impl Endpoint {
    /// The error names the key that is wrong.
    pub(crate) fn new(name: &str, options: Options) -> Result<Self, (&'static str, String)> {
        let expected = "expected a URL such as \"http://10.0.0.7:3000/connect\" or \"grpc://10.0.0.7:3001\"";
        if options.endpoint.is_empty() {
            return Err(("endpoint", format!("is missing: {expected}")));
        }
        if options.timeout.is_zero() || options.timeout > PROXY_TIMEOUT_MAX {
            let most = PROXY_TIMEOUT_MAX.as_secs();
            return Err(("timeout", format!("must be above 0s and at most {most}s: clients wait for 5s")));
        }
        let encrypted = options.endpoint.starts_with("https:") || options.endpoint.starts_with("grpcs:");
        let tls =
            fetch::tls(encrypted, options.root_ca.as_deref()).map_err(|what| ("tls_root_ca_file", what))?;
        let transport =
            Transport::new(&options.endpoint, tls).ok_or_else(|| ("endpoint", expected.to_owned()))?;
        let header = |(name, value): (&String, &String)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        };
        Ok(Self {
            name: name.to_owned(),
            headers: options.headers.iter().filter_map(header).collect(),
            options,
            transport,
            calls: Arc::new(Semaphore::new(PROXY_CALLS_MAX)),
            breaker: Mutex::default(),
            counters: Counters::default(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn options(&self) -> &Options {
        &self.options
    }

    /// Where it is, without what a URL may hold of secrets.
    pub(crate) fn place(&self) -> String {
        let uri: Option<Uri> = self.options.endpoint.parse().ok();
        let host = uri.as_ref().and_then(|uri| uri.authority()).map(|authority| {
            let text = authority.as_str();
            text.rsplit_once('@').map_or(text, |(_, host)| host).to_owned()
        });
        let scheme = uri.as_ref().and_then(Uri::scheme_str).unwrap_or_default();
        format!("{scheme}://{}{}", host.unwrap_or_default(), uri.as_ref().map_or("", Uri::path))
    }

    pub(crate) fn standing(&self) -> Standing {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner).standing()
    }

    /// Calls under way.
    pub(crate) fn under_way(&self) -> usize {
        PROXY_CALLS_MAX - self.calls.available_permits()
    }

    pub(crate) fn results(&self) -> Results {
        self.counters.results()
    }

    /// Whether another one stands for the same backend, configured in the same way.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.options == other.options
    }

    /// Leave to make a call, or why not now.
    pub(super) fn admit(&self, now: Duration) -> Result<(OwnedSemaphorePermit, Pass), ErrorCode> {
        let Ok(permit) = Arc::clone(&self.calls).try_acquire_owned() else {
            self.counters.ended(End::Full);
            return Err(code::TOO_MANY_REQUESTS);
        };
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pass) = breaker.admit(now) else {
            self.counters.ended(End::Open);
            return Err(code::INTERNAL);
        };
        Ok((permit, pass))
    }

    /// The body and the fields of a request.
    pub(super) fn write(&self, event: &Event<'_>) -> (Bytes, HeaderMap) {
        let grpc = self.transport.speaks_grpc();
        let told = Told::new(event, self.options.binary, self.options.meta, grpc);
        let body = if grpc { grpc::request(Method::of(&event.act), &told) } else { told.json() };
        (body, request::headers(&self.headers, event))
    }

    /// Its answer. What has not reached it is tried once more; what may have, only if it does no harm twice.
    pub(super) async fn ask(
        &self,
        method: Method,
        body: &Bytes,
        headers: &HeaderMap,
    ) -> Result<Said, Trouble> {
        let tries = async {
            let first = self.transport.send(method, body.clone(), headers.clone()).await;
            match first {
                Err(Trouble::Unreachable) => {}
                Err(Trouble::Lost) if method.is_idempotent() => {}
                other => return other,
            }
            time::sleep(PROXY_RETRY_PAUSE).await;
            self.counters.retried();
            self.transport.send(method, body.clone(), headers.clone()).await
        };
        let body = time::timeout(self.options.timeout, tries).await.unwrap_or(Err(Trouble::Late))?;
        let said = if self.transport.speaks_grpc() { grpc::said(method, &body) } else { Said::json(&body) };
        said.ok_or(Trouble::Broken)
    }

    /// What became of a call.
    pub(super) fn report(
        &self,
        now: Duration,
        took: Duration,
        pass: Pass,
        result: &Result<Decision, Trouble>,
    ) {
        self.counters.took(took);
        self.counters.ended(match result {
            Ok(Decision::Outcome(Outcome::Refused(_) | Outcome::Expired)) => End::Refused,
            Ok(Decision::Outcome(Outcome::Disconnect { .. })) => End::Disconnected,
            Ok(_) => End::Granted,
            Err(Trouble::Late) => End::Late,
            Err(Trouble::Unreachable) => End::Unreachable,
            Err(Trouble::Lost) => End::Lost,
            Err(Trouble::Status(_)) => End::Status,
            Err(Trouble::Broken) => End::Broken,
        });
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let turned = breaker.report(now, pass, result.is_ok());
        drop(breaker);
        // Once for each time, however many clients it costs.
        match result {
            Err(trouble) if turned => {
                log!("backend {} ({}) is left alone for a while: {trouble}", self.name, self.place());
            }
            Ok(_) if turned => log!("backend {} ({}) answers again", self.name, self.place()),
            _ => {}
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}, {})", self.name, self.place())
    }
}
