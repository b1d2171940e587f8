//! What each method does: its arguments checked, the bus asked, the answer written.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use wire::code;
use wire::link::{ClientInfo, Position, Publication, ToRelay, ToShard};
use wire::pattern::Pattern;
use wire::survey::{Answer, Node, Question};
use wire::tags::{Tags, TagsBuf};

use super::line::Asked;
use super::words::{self, bytes, text};
use super::{Method, Outcome, Refusal, sessions};
use crate::limits::{API_BROADCAST_MAX, API_PARALLEL_MAX};
use crate::state::Relay;

/// Runs one method, and counts it.
pub(super) async fn run(relay: &Arc<Relay>, method: Method, params: &str) -> Outcome {
    let outcome = match method {
        Method::Batch => super::batch::run(relay, params).await,
        method => one(relay, method, params).await,
    };
    let result = outcome.as_ref().map_or_else(|refusal| refusal.error.code, |_| 0);
    relay.api.served(method, result);
    outcome
}

pub(super) async fn one(relay: &Relay, method: Method, params: &str) -> Outcome {
    match method {
        Method::Publish => publish(relay, &read(params)?).await,
        Method::Broadcast => broadcast(relay, &read(params)?).await,
        Method::Announce => announced(announce(relay, params)?).await,
        Method::Subscribe => sessions::command(relay, &read(params)?, sessions::subscribe).await,
        Method::Unsubscribe => sessions::command(relay, &read(params)?, sessions::unsubscribe).await,
        Method::Disconnect => sessions::command(relay, &read(params)?, sessions::disconnect).await,
        Method::Refresh => sessions::command(relay, &read(params)?, sessions::refresh).await,
        Method::Presence => presence(relay, &owned(params)?).await,
        Method::PresenceStats => presence_stats(relay, &owned(params)?).await,
        Method::History => history(relay, &owned(params)?).await,
        Method::HistoryRemove => history_remove(relay, &owned(params)?).await,
        Method::Channels => channels(relay, &owned(params)?).await,
        Method::Info => info(relay).await,
        Method::Batch => Err(Refusal::bad("a batch holds no batches")),
    }
}

/// What is published, to one channel or to many.
struct Saying<'a> {
    data: &'a [u8],
    key: &'a str,
    tags: Tags<'a>,
    skip_history: bool,
    delta: bool,
}

impl Saying<'_> {
    /// On its way to the bus.
    fn put<'r>(&self, relay: &'r Relay, channel: &str) -> Result<Asked<'r>, Refusal> {
        if channel.is_empty() {
            return Err(Refusal::bad("channel is missing"));
        }
        if !relay.format_of(channel)?.admits(self.data) {
            return Err(Refusal::bad("data is missing, or not what the namespace takes"));
        }
        let Self { data, key, tags, skip_history, delta } = *self;
        Ok(relay.ask(|request| ToRelay::Publish {
            request,
            channel,
            data,
            info: None,
            tags,
            key,
            skip_history,
            delta,
        })?)
    }
}

/// Reads what is published and hands it over with what it borrows from.
fn saying<T>(
    wanted: &words::Publish<'_>,
    then: impl FnOnce(&Saying<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    if wanted.version.unwrap_or_default() > 0 {
        return Err(Refusal { why: "versions are not known here", ..code::NOT_AVAILABLE.into() });
    }
    let data = bytes(wanted.data, &wanted.b64data).ok_or(Refusal::bad("b64data is not base64"))?;
    let tags = wanted.tags.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()));
    let tags = TagsBuf::pack(tags).ok_or(Refusal::bad("too many tags"))?;
    then(&Saying {
        data: &data,
        key: text(&wanted.idempotency_key),
        tags: tags.as_tags(),
        skip_history: wanted.skip_history.unwrap_or_default(),
        delta: wanted.delta.unwrap_or_default(),
    })
}

async fn publish(relay: &Relay, wanted: &words::Publish<'_>) -> Outcome {
    let asked = saying(wanted, |saying| saying.put(relay, text(&wanted.channel)))?;
    result(&published(asked).await?)
}

async fn published(asked: Asked<'_>) -> Result<Value, Refusal> {
    match asked.told().await?.message()? {
        ToShard::Published { offset: 0, .. } => Ok(json!({})),
        ToShard::Published { offset, epoch, .. } => Ok(json!({ "offset": offset, "epoch": epoch })),
        _ => Err(code::INTERNAL.into()),
    }
}

async fn broadcast(relay: &Relay, wanted: &words::Publish<'_>) -> Outcome {
    let channels = wanted.channels.as_deref().unwrap_or_default();
    if channels.is_empty() {
        return Err(Refusal::bad("channels are missing"));
    }
    if channels.len() > API_BROADCAST_MAX {
        return Err(Refusal { why: "too many channels", ..code::LIMIT_EXCEEDED.into() });
    }
    let mut responses = Vec::with_capacity(channels.len());
    // Some at a time, so that one broadcast does not take all places of questions.
    for some in channels.chunks(API_PARALLEL_MAX) {
        let asked: Vec<_> =
            saying(wanted, |saying| Ok(some.iter().map(|channel| saying.put(relay, channel)).collect()))?;
        for asked in asked {
            let response = match asked {
                Ok(asked) => published(asked).await,
                Err(refusal) => Err(refusal),
            };
            responses.push(match response {
                Ok(result) => json!({ "result": result }),
                Err(refusal) => json!({ "error": refusal.told() }),
            });
        }
    }
    result(&json!({ "responses": responses }))
}

/// What a node has stored, on its way to the bus. Announcements go in the order of these calls.
pub(super) fn announce<'r>(relay: &'r Relay, params: &str) -> Result<Asked<'r>, Refusal> {
    let wire::node::Announce { channel, epoch, publication } = owned(params)?;
    let body = publication.body().map_err(|_| code::LIMIT_EXCEEDED)?;
    Ok(relay.ask(|request| ToRelay::Announce {
        request,
        channel: &channel,
        offset: publication.offset,
        epoch: &epoch,
        body: &body,
    })?)
}

/// The bus has taken it, or not.
pub(super) async fn announced(asked: Asked<'_>) -> Outcome {
    asked.told().await?.message()?;
    result(&json!({}))
}

async fn presence(relay: &Relay, wanted: &words::Channel) -> Outcome {
    let channel = channel_of(wanted)?;
    let told = relay.ask(|request| ToRelay::Presence { request, channel })?.told().await?;
    let ToShard::Presence { members, .. } = told.message()? else { return Err(code::INTERNAL.into()) };
    let members: BTreeMap<String, Member<'_>> =
        members.iter().map(|member| (member.client.to_string(), Member::of(member))).collect();
    result(&BTreeMap::from([("presence", members)]))
}

async fn presence_stats(relay: &Relay, wanted: &words::Channel) -> Outcome {
    let channel = channel_of(wanted)?;
    let told = relay.ask(|request| ToRelay::PresenceStats { request, channel })?.told().await?;
    let ToShard::PresenceStats { clients, users, .. } = told.message()? else {
        return Err(code::INTERNAL.into());
    };
    result(&json!({ "num_clients": clients, "num_users": users }))
}

async fn history(relay: &Relay, wanted: &words::Channel) -> Outcome {
    let channel = channel_of(wanted)?;
    let since = wanted
        .since
        .as_ref()
        .map(|since| Position { offset: since.offset.unwrap_or_default(), epoch: text(&since.epoch) });
    let (limit, reverse) = (wanted.limit.unwrap_or_default(), wanted.reverse.unwrap_or_default());
    let question = |request| ToRelay::History { request, channel, since, limit, reverse };
    let told = relay.ask(question)?.told().await?;
    let ToShard::History { offset, epoch, publications, .. } = told.message()? else {
        return Err(code::INTERNAL.into());
    };
    let publications: Vec<Kept<'_>> = publications.iter().map(Kept::of).collect();
    result(&Page { publications, epoch, offset })
}

async fn history_remove(relay: &Relay, wanted: &words::Channel) -> Outcome {
    let channel = channel_of(wanted)?;
    let told = relay.ask(|request| ToRelay::Remove { request, channel })?.told().await?;
    match told.message()? {
        ToShard::Done { .. } => result(&json!({})),
        _ => Err(code::INTERNAL.into()),
    }
}

async fn channels(relay: &Relay, wanted: &words::Channels) -> Outcome {
    let pattern = match text(&wanted.pattern) {
        "" => None,
        written => Some(Pattern::glob(written).map_err(|_| Refusal::bad("pattern is none"))?),
    };
    let answer = whole(survey(relay, Question::Channels(pattern)).await?)?;
    let counted = answer.channels.iter().map(|(name, count)| (name, json!({ "num_clients": count })));
    result(&json!({ "channels": counted.collect::<BTreeMap<_, _>>() }))
}

async fn info(relay: &Relay) -> Outcome {
    let answer = survey(relay, Question::Census).await?;
    result(&json!({ "nodes": answer.nodes.iter().map(node).collect::<Vec<_>>() }))
}

pub(super) async fn survey(relay: &Relay, question: Question) -> Result<Answer, Refusal> {
    let question = Box::new(question);
    let told = relay.ask(|request| ToRelay::Survey { request, question })?.told().await?;
    match told.message()? {
        ToShard::Surveyed { answer, .. } => Ok(*answer),
        _ => Err(code::INTERNAL.into()),
    }
}

/// An answer of all who were asked; what some have not done or told is an error, and may be asked for again.
pub(super) fn whole(answer: Answer) -> Result<Answer, Refusal> {
    match answer {
        Answer { failed: 1.., .. } => Err(code::error(answer.failed).into()),
        Answer { missing: 1.., .. } => {
            Err(Refusal { why: "not every shard has answered", ..code::INTERNAL.into() })
        }
        answer => Ok(answer),
    }
}

fn node(node: &Node) -> Value {
    let counters: BTreeMap<&str, u64> =
        node.counters.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    json!({
        "uid": node.uid,
        "name": node.name,
        "version": node.version,
        "num_clients": node.clients,
        "num_subs": node.subscriptions,
        "num_users": node.users,
        "num_channels": node.channels,
        "uptime": node.uptime_s,
        "metrics": { "interval": node.uptime_s, "items": counters },
    })
}

fn channel_of(wanted: &words::Channel) -> Result<&str, Refusal> {
    match text(&wanted.channel) {
        "" => Err(Refusal::bad("channel is missing")),
        channel => Ok(channel),
    }
}

#[derive(Serialize)]
struct Page<'a> {
    publications: Vec<Kept<'a>>,
    epoch: &'a str,
    offset: u64,
}

/// A publication of history. Data that is no JSON is given in base64.
#[derive(Serialize)]
struct Kept<'a> {
    data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64data: Option<String>,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Member<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<&'a str, &'a str>,
}

impl<'a> Kept<'a> {
    fn of(publication: &Publication<'a>) -> Self {
        let json = serde_json::from_slice::<&RawValue>(publication.data).ok();
        Self {
            data: json.unwrap_or(RawValue::NULL),
            b64data: json.is_none().then(|| STANDARD.encode(publication.data)),
            offset: publication.offset,
            info: publication.info.as_ref().map(Member::of),
            tags: publication.tags.iter().collect(),
        }
    }
}

/// Who somebody is.
#[derive(Serialize)]
struct Member<'a> {
    user: &'a str,
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    conn_info: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chan_info: Option<&'a RawValue>,
}

impl<'a> Member<'a> {
    fn of(info: &ClientInfo<'a>) -> Self {
        Self {
            user: info.user,
            client: info.client.to_string(),
            conn_info: serde_json::from_slice(info.conn_info).ok(),
            chan_info: serde_json::from_slice(info.chan_info).ok(),
        }
    }
}

/// The arguments of a method.
pub(super) fn read<'p, T: serde::Deserialize<'p>>(params: &'p str) -> Result<T, Refusal> {
    let malformed = || Refusal { malformed: true, ..code::BAD_REQUEST.into() };
    // The library would take a list for an object with its members in order.
    if !params.trim_start().starts_with('{') {
        return Err(malformed());
    }
    serde_json::from_str(params).map_err(|_| malformed())
}

fn owned<T: DeserializeOwned>(params: &str) -> Result<T, Refusal> {
    read(params)
}

pub(super) fn result(value: &impl Serialize) -> Outcome {
    to_raw_value(value).map_err(|_| code::INTERNAL.into())
}

pub(super) fn raw(value: &impl Serialize) -> Option<Box<RawValue>> {
    to_raw_value(value).ok()
}

/// What cannot fail: texts, numbers and JSON that was read before.
pub(super) fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
