//! Several methods in one request: batches, and commands of the old form.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Deserializer, json};
use tokio::task::JoinSet;
use wire::code;

use super::methods::{self, raw, read, result, to_text};
use super::words::{self, text};
use super::{Method, Outcome, Refusal};
use crate::limits::{API_BATCH_MAX, API_PARALLEL_MAX};
use crate::state::Relay;

/// Commands of the old form, whose replies stand one in a line. `None`: they are none.
pub(super) async fn run_old(relay: &Arc<Relay>, body: &str) -> Option<String> {
    let mut replies = Vec::new();
    for command in Deserializer::from_str(body).into_iter::<words::Command<'_>>() {
        let command = command.ok().filter(|_| replies.len() < API_BATCH_MAX)?;
        let params = command.params.map_or("{}", RawValue::get);
        let outcome = match Method::of(text(&command.method)) {
            Some(method) => methods::run(relay, method, params).await,
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

pub(super) async fn run(relay: &Arc<Relay>, params: &str) -> Outcome {
    let batch: words::Batch<'_> = read(params)?;
    let commands = batch.commands.unwrap_or_default();
    if commands.len() > API_BATCH_MAX {
        return Err(Refusal { why: "too many commands", ..code::LIMIT_EXCEEDED.into() });
    }
    let commands: Vec<_> = commands.iter().map(command_of).collect();
    let replies = if batch.parallel == Some(true) {
        parallel(relay, &commands).await
    } else {
        in_order(relay, &commands).await
    };
    result(&BTreeMap::from([("replies", replies)]))
}

/// The method that a command names, with its arguments.
fn command_of<'c>(command: &'c BTreeMap<String, &RawValue>) -> Option<(Method, &'c str)> {
    command.iter().find_map(|(name, params)| Some((Method::of(name)?, params.get())))
}

/// One after the other; announcements in a row are put in order and waited for together.
async fn in_order(relay: &Relay, commands: &[Option<(Method, &str)>]) -> Vec<Option<Box<RawValue>>> {
    let mut replies = Vec::with_capacity(commands.len());
    let same = |one: &Option<(Method, &str)>, other: &Option<(Method, &str)>| {
        [one, other].map(|command| command.map(|(method, _)| method)) == [Some(Method::Announce); 2]
    };
    for row in commands.chunk_by(same).flat_map(|row| row.chunks(API_PARALLEL_MAX)) {
        if let [Some((Method::Announce, _)), _, ..] = row {
            let asked: Vec<_> =
                row.iter().flatten().map(|(_, params)| methods::announce(relay, params)).collect();
            for asked in asked {
                let outcome = match asked {
                    Ok(asked) => methods::announced(asked).await,
                    Err(refusal) => Err(refusal),
                };
                replies.push(told(relay, Method::Announce, outcome));
            }
            continue;
        }
        for command in row {
            replies.push(reply(relay, *command).await);
        }
    }
    replies
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
    told(relay, method, methods::one(relay, method, params).await)
}

fn told(relay: &Relay, method: Method, outcome: Outcome) -> Option<Box<RawValue>> {
    relay.api.served(method, outcome.as_ref().map_or_else(|refusal| refusal.error.code, |_| 0));
    match outcome {
        Ok(result) => raw(&BTreeMap::from([(method.name(), result)])),
        Err(refusal) => raw(&json!({ "error": refusal.told() })),
    }
}
