//! Backends that decide on what clients do: which is asked about what, and what becomes of its word.
//!
//! Owns the way from an event of a shard to the answer on its link. Every question is answered once: a backend that is slow, away or
//! talks nonsense costs its client a temporary error.

mod answer;
mod client;
mod counters;
mod endpoint;
mod grpc;
mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::HeaderMap;
use relay::{LinkId, Pass};
use tokio::sync::OwnedSemaphorePermit;
use wire::ClientId;
use wire::backend::{Act, Event, Outcome};
use wire::channel::Boundaries;
use wire::code::{self, ErrorCode};
use wire::link::{ClientInfo, ToRelay, ToShard};
use wire::tags::TagsBuf;

use answer::{Changes, Decision};
pub(crate) use counters::BUCKETS_US;
pub(crate) use endpoint::{Endpoint, Options};
use request::Method;

use crate::state::Relay;

/// Every backend, and which of them decides on what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    endpoints: Vec<Arc<Endpoint>>,
    /// Connections without a token.
    pub(crate) connect: Option<usize>,
    /// Connections whose time is over.
    pub(crate) refresh: Option<usize>,
    /// By namespace, in the order of [`crate::config::ChannelProxies::EVENTS`].
    pub(crate) channels: [BTreeMap<String, usize>; 3],
    /// Namespaces of which nodes decide on everything.
    pub(crate) by_node: BTreeSet<String>,
    /// Calls.
    pub(crate) calls: Calls,
    /// The marks in names of channels.
    boundaries: Boundaries,
}

/// Which backend answers which call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    /// What ends the namespace in a name; empty when there are none.
    pub(crate) boundary: String,
    pub(crate) without_namespace: Option<usize>,
    /// `None`: a namespace that no backend answers.
    pub(crate) namespaces: BTreeMap<String, Option<usize>>,
}

/// A question on its way.
pub(crate) struct Call {
    endpoint: Arc<Endpoint>,
    method: Method,
    body: Bytes,
    headers: HeaderMap,
    pass: Pass,
    /// Counts as under way until it is dropped.
    _permit: OwnedSemaphorePermit,
    channel: String,
    /// What is to be published if the backend lets it.
    publication: Option<Proposed>,
}

/// A publication that a backend decides on.
#[derive(Debug)]
pub(crate) struct Proposed {
    pub(crate) channel: String,
    pub(crate) data: Vec<u8>,
    pub(crate) client: ClientId,
    pub(crate) user: String,
    pub(crate) conn_info: Vec<u8>,
    pub(crate) chan_info: Vec<u8>,
    pub(crate) tags: TagsBuf,
    pub(crate) key: String,
    pub(crate) skip_history: bool,
    pub(crate) delta: bool,
}

/// What became of a question.
#[derive(Debug)]
pub(crate) enum Asked {
    /// For the shard.
    Outcome(Outcome),
    /// To be published, as the backend changed it.
    Publish(Box<Proposed>),
    /// No word.
    Failed(ErrorCode),
}

impl Proxies {
    /// None yet. The marks are those in names of channels.
    pub(crate) fn new(boundaries: Boundaries) -> Self {
        Self { boundaries, ..Self::default() }
    }

    /// Adds a backend.
    pub(crate) fn add(&mut self, endpoint: Endpoint) -> usize {
        self.endpoints.push(Arc::new(endpoint));
        self.endpoints.len() - 1
    }

    /// The backend of a name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.endpoints.iter().position(|endpoint| endpoint.name() == name)
    }

    /// Every backend.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().map(|endpoint| &**endpoint)
    }

    /// Whether nodes decide on what happens in a channel.
    pub(crate) fn is_by_node(&self, channel: &str) -> bool {
        self.by_node.contains(self.boundaries.split(channel).0)
    }

    /// Whether any call has a backend.
    pub(crate) fn answers_calls(&self) -> bool {
        self.calls.without_namespace.is_some() || self.calls.namespaces.values().any(Option::is_some)
    }

    /// The same with the connections, counters and breakers of backends that were there before as they are.
    pub(crate) fn after(&self, before: &Self) -> Self {
        let mut next = self.clone();
        for endpoint in &mut next.endpoints {
            if let Some(known) = before.endpoints.iter().find(|known| known.is_same(endpoint)) {
                *endpoint = Arc::clone(known);
            }
        }
        next
    }

    /// A call that may be made now, or why not.
    pub(crate) fn begin(&self, now: Duration, event: &Event<'_>) -> Result<Call, ErrorCode> {
        let endpoint = &self.endpoints[self.route(&event.act)?];
        let (permit, pass) = endpoint.admit(now)?;
        let (body, headers) = endpoint.write(event);
        let channel = match event.act {
            Act::Subscribe { channel, .. } | Act::SubRefresh { channel } => channel.to_owned(),
            _ => String::new(),
        };
        Ok(Call {
            endpoint: Arc::clone(endpoint),
            method: Method::of(&event.act),
            body,
            headers,
            pass,
            _permit: permit,
            channel,
            publication: Proposed::of(event),
        })
    }

    /// Who decides on this. Known methods of calls aside, a missing backend is one that a reload has just taken away.
    fn route(&self, act: &Act<'_>) -> Result<usize, ErrorCode> {
        let of =
            |event: usize, channel: &str| self.channels[event].get(self.boundaries.split(channel).0).copied();
        let found = match *act {
            Act::Connect { .. } => self.connect,
            Act::Refresh => self.refresh,
            Act::Subscribe { channel, .. } => of(0, channel),
            Act::Publish { channel, .. } => of(1, channel),
            Act::SubRefresh { channel } => of(2, channel),
            Act::Call { method, .. } => self.calls.route(method)?,
        };
        found.ok_or(code::NOT_AVAILABLE)
    }
}

impl Relay {
    /// Asks a backend. Its word is answered when it comes; at once if it cannot be asked now.
    pub(crate) fn ask_backend(self: &Arc<Self>, link: LinkId, request: u32, event: &Event<'_>) {
        let proxies = self.proxies();
        if let (Some(channel), Some(node)) = (channel_of(&event.act), self.node())
            && proxies.is_by_node(channel)
        {
            return self.ask_node(node, link, request, event);
        }
        match proxies.begin(self.uptime(), event) {
            Ok(call) => {
                let relay = Arc::clone(self);
                // Bounded by what one backend may be asked at once.
                tokio::spawn(async move {
                    let asked = call.run(|| relay.uptime()).await;
                    relay.decided(link, request, asked);
                });
            }
            Err(error) => self.answer(link, &ToShard::Failed { request, code: error.code }),
        }
    }

    /// A backend's word, for whom it was asked.
    fn decided(&self, link: LinkId, request: u32, asked: Asked) {
        let failed = |error: ErrorCode| ToShard::Failed { request, code: error.code };
        match asked {
            Asked::Outcome(outcome) => self.answer(link, &ToShard::Proxied { request, outcome }),
            // What a backend makes of a publication has to be what its channel takes.
            Asked::Publish(proposed)
                if self.format_of(&proposed.channel).is_ok_and(|format| !format.admits(&proposed.data)) =>
            {
                self.answer(link, &failed(code::INTERNAL));
            }
            Asked::Publish(proposed) => self.say(link, &proposed.message(request)),
            Asked::Failed(error) => self.answer(link, &failed(error)),
        }
    }
}

/// The channel that something happens in.
const fn channel_of<'a>(act: &Act<'a>) -> Option<&'a str> {
    match act {
        Act::Subscribe { channel, .. } | Act::Publish { channel, .. } | Act::SubRefresh { channel } => {
            Some(channel)
        }
        Act::Connect { .. } | Act::Refresh | Act::Call { .. } => None,
    }
}

impl Calls {
    fn route(&self, method: &str) -> Result<Option<usize>, ErrorCode> {
        let named = Some(self.boundary.as_str()).filter(|boundary| !boundary.is_empty());
        match named.and_then(|boundary| method.split_once(boundary)) {
            Some((name, _)) => self.namespaces.get(name).copied().ok_or(code::METHOD_NOT_FOUND),
            None => Ok(self.without_namespace),
        }
    }
}

impl Call {
    /// Who is asked.
    #[cfg(test)]
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks, and says what to do. `clock` is counted from the same moment as in [`Proxies::begin`].
    pub(crate) async fn run(self, clock: impl Fn() -> Duration) -> Asked {
        let began = clock();
        let result = self.endpoint.ask(self.method, &self.body, &self.headers).await;
        let decided =
            result.and_then(|said| said.decide(self.method, &self.channel).ok_or(client::Trouble::Broken));
        let now = clock();
        self.endpoint.report(now, now.saturating_sub(began), self.pass, &decided);
        match (decided, self.publication) {
            (Ok(Decision::Outcome(outcome)), _) => Asked::Outcome(outcome),
            (Ok(Decision::Publish(changes)), Some(mut publication)) => {
                publication.change(*changes);
                Asked::Publish(Box::new(publication))
            }
            (Ok(Decision::Publish(_)), None) | (Err(_), _) => Asked::Failed(code::INTERNAL),
        }
    }
}

impl Proposed {
    pub(crate) fn of(event: &Event<'_>) -> Option<Self> {
        let Act::Publish { channel, data, conn_info, chan_info, tags, key } = event.act else { return None };
        Some(Self {
            channel: channel.to_owned(),
            data: data.to_vec(),
            client: event.client,
            user: event.user.to_owned(),
            conn_info: conn_info.to_vec(),
            chan_info: chan_info.to_vec(),
            tags: tags.to_buf(),
            key: key.to_owned(),
            skip_history: false,
            delta: false,
        })
    }

    fn change(&mut self, changes: Changes) {
        if !changes.data.is_empty() {
            self.data = changes.data;
        }
        if let Some(tags) = changes.tags {
            self.tags = tags;
        }
        if !changes.key.is_empty() {
            self.key = changes.key;
        }
        (self.skip_history, self.delta) = (changes.skip_history, changes.delta);
    }

    /// As the shard would have said it without a backend.
    pub(crate) fn message(&self, request: u32) -> ToRelay<'_> {
        let (client, user) = (self.client, self.user.as_str());
        let info = ClientInfo { client, user, conn_info: &self.conn_info, chan_info: &self.chan_info };
        ToRelay::Publish {
            request,
            channel: &self.channel,
            data: &self.data,
            info: Some(info),
            tags: self.tags.as_tags(),
            key: &self.key,
            skip_history: self.skip_history,
            delta: self.delta,
        }
    }
}
