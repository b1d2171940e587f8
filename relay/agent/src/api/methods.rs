//! What each method does: its arguments checked, the bus asked, the answer written.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Deserializer, Value, json};
use tokio::task::JoinSet;
use wire::ClientId;
use wire::code;
use wire::limits::REASON_BYTES_MAX;
use wire::link::{ClientInfo, Position, Publication, SESSION_BYTES, ToRelay, ToShard};
use wire::pattern::Pattern;
use wire::survey::{Act, Answer, Command, Node, Question, Subscribe};
use wire::tags::{Tags, TagsBuf};

use super::line::Asked;
use super::words::{self, bytes, text};
use super::{Method, Outcome, Refusal};
use crate::limits::{API_BATCH_MAX, API_BROADCAST_MAX, API_PARALLEL_MAX, API_WHITELIST_MAX};
use crate::state::Relay;

/// Runs one method, and counts it.
pub(super) async fn run(relay: &Arc<Relay>, method: Method, params: &str) -> Outcome {
    let outcome = match method {
        Method::Batch => batch(relay, params).await,
        method => one(relay, method, params).await,
    };
    let result = outcome.as_ref().map_or_else(|refusal| refusal.error.code, |_| 0);
    relay.api.served(method, result);
    outcome
}

async fn one(relay: &Relay, method: Method, params: &str) -> Outcome {
    match method {
        Method::Publish => publish(relay, &read(params)?).await,
        Method::Broadcast => broadcast(relay, &read(params)?).await,
        Method::Subscribe => command(relay, &read(params)?, subscribe).await,
        Method::Unsubscribe => command(relay, &read(params)?, unsubscribe).await,
        Method::Disconnect => command(relay, &read(params)?, disconnect).await,
        Method::Refresh => command(relay, &read(params)?, refresh).await,
        Method::Presence => presence(relay, &owned(params)?).await,
        Method::PresenceStats => presence_stats(relay, &owned(params)?).await,
        Method::History => history(relay, &owned(params)?).await,
        Method::HistoryRemove => history_remove(relay, &owned(params)?).await,
        Method::Channels => channels(relay, &owned(params)?).await,
        Method::Info => info(relay).await,
        Method::Batch => Err(Refusal::bad("a batch holds no batches")),
    }
}

/// Commands of the old form, whose replies stand one in a line. `None`: they are none.
pub(super) async fn run_old(relay: &Arc<Relay>, body: &str) -> Option<String> {
    let mut replies = Vec::new();
    for command in Deserializer::from_str(body).into_iter::<words::Command<'_>>() {
        let command = command.ok().filter(|_| replies.len() < API_BATCH_MAX)?;
        let params = command.params.map_or("{}", RawValue::get);
        let outcome = match Method::of(text(&command.method)) {
            Some(method) => run(relay, method, params).await,
            None => Err(code::METHOD_NOT_FOUND.into()),
        };
        let mut reply = BTreeMap::new();
        if let Some(id) = command.id {
            reply.insert("id", id.to_owned());
        }
        match outcome {
            Ok(result) => reply.insert("result", result),
            Err(refusal) => reply.insert("error", raw(&refusal.told())?),
        };
        replies.push(to_text(&reply));
    }
    (!replies.is_empty()).then(|| replies.join("\n"))
}

async fn batch(relay: &Arc<Relay>, params: &str) -> Outcome {
    let batch: words::Batch<'_> = read(params)?;
    let commands = batch.commands.unwrap_or_default();
    if commands.len() > API_BATCH_MAX {
        return Err(Refusal { why: "too many commands", ..code::LIMIT_EXCEEDED.into() });
    }
    let commands: Vec<_> = commands.iter().map(command_of).collect();
    let replies = if batch.parallel == Some(true) {
        parallel(relay, &commands).await
    } else {
        let mut replies = Vec::with_capacity(commands.len());
        for command in &commands {
            replies.push(reply(relay, *command).await);
        }
        replies
    };
    result(&BTreeMap::from([("replies", replies)]))
}

/// The method that a command names, with its arguments.
fn command_of<'c>(command: &'c BTreeMap<String, &RawValue>) -> Option<(Method, &'c str)> {
    command.iter().find_map(|(name, params)| Some((Method::of(name)?, params.get())))
}

/// Several at once, each reply at its command's place.
async fn parallel(relay: &Arc<Relay>, commands: &[Option<(Method, &str)>]) -> Vec<Option<Box<RawValue>>> {
    let mut replies = vec![None; commands.len()];
    let mut running = JoinSet::new();
    for (place, command) in commands.iter().enumerate() {
        if running.len() >= API_PARALLEL_MAX
            && let Some(Ok((place, reply))) = running.join_next().await
        {
            replies[place] = reply;
        }
        let (relay, command) =
            (Arc::clone(relay), command.map(|(method, params)| (method, params.to_owned())));
        running.spawn(async move {
            let command = command.as_ref().map(|(method, params)| (*method, params.as_str()));
            (place, reply(&relay, command).await)
        });
    }
    while let Some(done) = running.join_next().await {
        if let Ok((place, reply)) = done {
            replies[place] = reply;
        }
    }
    replies
}

async fn reply(relay: &Relay, command: Option<(Method, &str)>) -> Option<Box<RawValue>> {
    let Some((method, params)) = command else {
        return raw(&json!({ "error": Refusal::from(code::METHOD_NOT_FOUND).told() }));
    };
    let outcome = one(relay, method, params).await;
    relay.api.served(method, outcome.as_ref().map_or_else(|refusal| refusal.error.code, |_| 0));
    match outcome {
        Ok(result) => raw(&BTreeMap::from([(method.name(), result)])),
        Err(refusal) => raw(&json!({ "error": refusal.told() })),
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

/// Something to be done with a user's sessions.
async fn command(
    relay: &Relay,
    wanted: &words::Session<'_>,
    act: impl FnOnce(&Relay, &words::Session<'_>) -> Result<Act, Refusal>,
) -> Outcome {
    let client = match text(&wanted.client) {
        "" => None,
        written => Some(ClientId::parse(written).ok_or(Refusal::bad("client is no client's id"))?),
    };
    let session = match text(&wanted.session) {
        "" => None,
        written => Some(session_of(written).ok_or(Refusal::bad("session is no session's name"))?),
    };
    // An empty user is everybody without one; that has to be meant.
    if wanted.user.is_none() && client.is_none() && session.is_none() {
        return Err(Refusal::bad("user is missing"));
    }
    let act = act(relay, wanted)?;
    let command = Command { user: text(&wanted.user).to_owned(), client, session, act };
    whole(survey(relay, Question::Command(command)).await?)?;
    result(&json!({}))
}

fn subscribe(relay: &Relay, wanted: &words::Session<'_>) -> Result<Act, Refusal> {
    let channel = text(&wanted.channel);
    if channel.is_empty() {
        return Err(Refusal::bad("channel is missing"));
    }
    relay.format_of(channel)?;
    let recover = wanted.recover_since.as_ref();
    Ok(Act::Subscribe(Box::new(Subscribe {
        channel: channel.to_owned(),
        expire_at: u64::try_from(wanted.expire_at.unwrap_or_default()).unwrap_or_default(),
        info: bytes(wanted.info, &wanted.b64info).ok_or(Refusal::bad("b64info is not base64"))?.into_owned(),
        data: bytes(wanted.data, &wanted.b64data).ok_or(Refusal::bad("b64data is not base64"))?.into_owned(),
        recover: recover.map(|since| (since.offset.unwrap_or_default(), text(&since.epoch).to_owned())),
        overrides: wanted.r#override.as_ref().map(words::Override::overrides).unwrap_or_default(),
    })))
}

fn unsubscribe(relay: &Relay, wanted: &words::Session<'_>) -> Result<Act, Refusal> {
    let channel = text(&wanted.channel);
    if !channel.is_empty() {
        relay.format_of(channel)?;
    }
    let usual = (code::UNSUBSCRIBED.code, code::UNSUBSCRIBED.reason);
    let (code, reason) = reason(wanted.unsubscribe.as_ref(), usual, 2000..=2999)?;
    Ok(Act::Unsubscribe { channel: channel.to_owned(), code, reason })
}

fn disconnect(_: &Relay, wanted: &words::Session<'_>) -> Result<Act, Refusal> {
    let usual = (code::FORCE_DISCONNECT.code, code::FORCE_DISCONNECT.reason);
    let (code, reason) = reason(wanted.disconnect.as_ref(), usual, 3000..=4999)?;
    let kept = wanted.whitelist.as_deref().unwrap_or_default();
    if kept.len() > API_WHITELIST_MAX {
        return Err(Refusal { why: "whitelist is too long", ..code::LIMIT_EXCEEDED.into() });
    }
    // What is no client's id keeps nobody.
    let keep = kept.iter().filter_map(|client| ClientId::parse(client)).collect();
    Ok(Act::Disconnect { code, reason, keep })
}

fn refresh(_: &Relay, wanted: &words::Session<'_>) -> Result<Act, Refusal> {
    if wanted.expired == Some(true) {
        let expired = code::CONNECTION_EXPIRED;
        let reason = expired.reason.to_owned();
        return Ok(Act::Disconnect { code: expired.code, reason, keep: Vec::new() });
    }
    let expire_at = u64::try_from(wanted.expire_at.unwrap_or_default()).unwrap_or_default();
    Ok(Act::Refresh { expire_at, info: wanted.info.map(|info| info.get().as_bytes().to_vec()) })
}

/// What a client is told at an end; without a code, the usual.
fn reason(
    wanted: Option<&words::Reason>,
    usual: (u16, &str),
    allowed: std::ops::RangeInclusive<u32>,
) -> Result<(u16, String), Refusal> {
    let given = wanted.map(|wanted| (wanted.code.unwrap_or_default(), text(&wanted.reason)));
    let Some((code, reason)) = given.filter(|(code, _)| *code > 0) else {
        return Ok((usual.0, usual.1.to_owned()));
    };
    if !allowed.contains(&code) {
        return Err(Refusal::bad("code is out of its range"));
    }
    if reason.len() > REASON_BYTES_MAX {
        return Err(Refusal::bad("reason is over 123 bytes"));
    }
    // Fits: the ranges end below.
    Ok((code as u16, reason.to_owned()))
}

async fn survey(relay: &Relay, question: Question) -> Result<Answer, Refusal> {
    let question = Box::new(question);
    let told = relay.ask(|request| ToRelay::Survey { request, question })?.told().await?;
    match told.message()? {
        ToShard::Surveyed { answer, .. } => Ok(*answer),
        _ => Err(code::INTERNAL.into()),
    }
}

/// An answer of all who were asked; what some have not done or told is an error, and may be asked for again.
fn whole(answer: Answer) -> Result<Answer, Refusal> {
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

fn session_of(text: &str) -> Option<[u8; SESSION_BYTES]> {
    let mut bytes = [0; SESSION_BYTES];
    let digits = text.as_bytes();
    if digits.len() != 2 * SESSION_BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
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
fn read<'p, T: serde::Deserialize<'p>>(params: &'p str) -> Result<T, Refusal> {
    serde_json::from_str(params).map_err(|_| Refusal { malformed: true, ..code::BAD_REQUEST.into() })
}

fn owned<T: DeserializeOwned>(params: &str) -> Result<T, Refusal> {
    read(params)
}

fn result(value: &impl Serialize) -> Outcome {
    to_raw_value(value).map_err(|_| code::INTERNAL.into())
}

fn raw(value: &impl Serialize) -> Option<Box<RawValue>> {
    to_raw_value(value).ok()
}

/// What cannot fail: texts, numbers and JSON that was read before.
pub(super) fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
