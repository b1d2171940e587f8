//! Asks of the broker as commands, and Redis's replies as answers.
//!
//! Owns both directions of that translation. Every ask with a ticket has exactly one answer here.

use redis::{Cmd, Value};
use relay::bus::{Ask, Tell, Ticket};
use relay::{Epoch, payload};
use wire::code;

use super::lane::{Job, What};
use super::limits::PAGE_BYTES_MAX;
use super::shared::Shared;

/// An answer that is to be told.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Answer {
    Published { ticket: Ticket, offset: u64, epoch: Option<Epoch>, duplicate: bool },
    Page { ticket: Ticket, offset: u64, epoch: Epoch, publications: Vec<(u64, Vec<u8>)> },
    Done(Ticket),
    Failed(Ticket),
}

impl Answer {
    pub(super) fn tell(&self, tell: &mut dyn FnMut(&Tell<'_>)) {
        match self {
            Self::Published { ticket, offset, epoch, duplicate } => {
                let epoch = epoch.as_ref().map_or("", Epoch::as_str);
                tell(&Tell::Published { ticket: *ticket, offset: *offset, epoch, duplicate: *duplicate });
            }
            Self::Page { ticket, offset, epoch, publications } => {
                let publications =
                    publications.iter().map(|(offset, body)| (*offset, body.get(1..).unwrap_or_default()));
                tell(&Tell::Page {
                    ticket: *ticket,
                    offset: *offset,
                    epoch: epoch.as_str(),
                    publications: publications.collect(),
                });
            }
            Self::Done(ticket) => tell(&Tell::Done { ticket: *ticket }),
            Self::Failed(ticket) => tell(&Tell::Failed { ticket: *ticket, code: code::INTERNAL }),
        }
    }
}

/// The ticket of an ask that has one.
pub(super) const fn ticket(ask: &Ask) -> Option<Ticket> {
    match ask {
        Ask::Publish { ticket, .. }
        | Ask::Read { ticket, .. }
        | Ask::Remove { ticket, .. }
        | Ask::Presence { ticket, .. }
        | Ask::PresenceStats { ticket, .. } => Some(*ticket),
        _ => None,
    }
}

/// An ask that could not be done, or of which that is not known.
pub(super) fn failed(ask: &Ask) -> Option<Answer> {
    ticket(ask).map(Answer::Failed)
}

/// What a reply says. A publication that too few replicas have may be lost: it is not acknowledged.
pub(super) fn read(ask: &Ask, reply: Value, replicated: bool) -> Option<Answer> {
    let answer = match ask {
        Ask::Publish { ticket, kept: Some(_), .. } if replicated => place(*ticket, &reply),
        Ask::Publish { ticket, kept: None, key, .. } => {
            let duplicate = !key.is_empty() && reply == Value::Int(1);
            Some(Answer::Published { ticket: *ticket, offset: 0, epoch: None, duplicate })
        }
        Ask::Read { ticket, .. } => page(*ticket, reply),
        Ask::Remove { ticket, .. } => Some(Answer::Done(*ticket)),
        _ => None,
    };
    answer.or_else(|| failed(ask))
}

fn place(ticket: Ticket, reply: &Value) -> Option<Answer> {
    let Value::Array(items) = reply else { return None };
    let [Value::Int(offset), epoch, Value::Int(duplicate)] = items.as_slice() else { return None };
    let (offset, epoch) = (u64::try_from(*offset).ok()?, Epoch::parse(text(epoch)?)?);
    Some(Answer::Published { ticket, offset, epoch: Some(epoch), duplicate: *duplicate == 1 })
}

fn page(ticket: Ticket, reply: Value) -> Option<Answer> {
    let Value::Array(items) = reply else { return None };
    let Ok([offset, epoch, Value::Array(entries)]) = <[Value; 3]>::try_from(items) else { return None };
    let (offset, epoch) = (text(&offset)?.parse().ok()?, Epoch::parse(text(&epoch)?)?);
    let mut publications = Vec::with_capacity(entries.len() / 2);
    let mut entries = entries.into_iter();
    while let (Some(id), Some(Value::BulkString(body))) = (entries.next(), entries.next()) {
        let id = text(&id)?.split('-').next()?.parse().ok()?;
        // What another version has stored is not there for this one.
        if body.first() == Some(&wire::bus::VERSION) {
            publications.push((id, body));
        }
    }
    Some(Answer::Page { ticket, offset, epoch, publications })
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

impl Shared {
    /// The command of a job.
    pub(super) fn compose(&self, job: &Job) -> Cmd {
        match &job.what {
            What::Call(cmd, _) => (**cmd).clone(),
            What::Ask(ask) => self.command(ask),
        }
    }

    fn command(&self, ask: &Ask) -> Cmd {
        let (keys, scripts) = (&self.keys, &self.scripts);
        let milliseconds =
            |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        match ask {
            Ask::Publish { channel, body, key, kept: Some(kept), .. } => {
                let (meta, stream) = (keys.meta(channel), keys.stream(channel));
                let result = (!key.is_empty()).then(|| keys.result(channel, key));
                let mut names = vec![meta.as_str(), stream.as_str()];
                names.extend(result.as_deref());
                let mut cmd = scripts.publish.call(&names);
                cmd.arg(keys.topic(channel)).arg(self.verb()).arg(self.epoch().as_str()).arg(kept.size);
                cmd.arg(milliseconds(kept.ttl)).arg(milliseconds(kept.meta_ttl));
                cmd.arg(milliseconds(relay::RESULT_TTL)).arg(body.as_slice());
                cmd
            }
            Ask::Publish { channel, body, key, kept: None, .. } if key.is_empty() => {
                let mut cmd = redis::cmd(self.verb());
                cmd.arg(keys.topic(channel)).arg(payload::unplaced(body));
                cmd
            }
            Ask::Publish { channel, body, key, kept: None, .. } => {
                let mut cmd = scripts.publish_once.call(&[&keys.result(channel, key)]);
                cmd.arg(keys.topic(channel)).arg(self.verb()).arg(milliseconds(relay::RESULT_TTL));
                cmd.arg(payload::unplaced(body));
                cmd
            }
            Ask::Read { channel, since, limit, reverse, kept, .. } => {
                // Before the first there is nothing, and Redis has no name for it.
                let limit = if *reverse && *since == Some(0) { 0 } else { *limit };
                let mut cmd = scripts.read.call(&[&keys.meta(channel), &keys.stream(channel)]);
                cmd.arg(self.epoch().as_str()).arg(milliseconds(kept.meta_ttl)).arg(limit);
                cmd.arg(since.map(|since| since.to_string()).unwrap_or_default());
                cmd.arg(u8::from(*reverse)).arg(PAGE_BYTES_MAX);
                cmd
            }
            Ask::Renew { channel, epoch } => {
                let mut cmd = scripts.renew.call(&[&keys.meta(channel), &keys.stream(channel)]);
                cmd.arg(epoch.as_str()).arg(self.epoch().as_str());
                cmd
            }
            Ask::Send { to, body } => {
                let mut cmd = redis::cmd(self.verb());
                cmd.arg(keys.edge_topic(*to)).arg(payload::words(self.edge, body));
                cmd
            }
            Ask::Remove { channel, .. } => {
                let mut cmd = redis::cmd("DEL");
                cmd.arg(keys.stream(channel));
                cmd
            }
            // The rest takes other ways: see `Redis::ask`.
            Ask::Want { .. }
            | Ask::Unwant { .. }
            | Ask::Enter { .. }
            | Ask::Leave { .. }
            | Ask::Presence { .. }
            | Ask::PresenceStats { .. } => {
                debug_assert!(false, "not a command");
                redis::cmd("PING")
            }
        }
    }
}
