//! What backends have done with the sessions of a user: their words checked, and made a question to all shards.

use serde_json::json;
use wire::ClientId;
use wire::code;
use wire::limits::REASON_BYTES_MAX;
use wire::link::SESSION_BYTES;
use wire::survey::{Act, Command, Question, Subscribe};

use super::methods::{result, survey, whole};
use super::words::{self, bytes, text};
use super::{Outcome, Refusal};
use crate::limits::API_WHITELIST_MAX;
use crate::state::Relay;

/// Something to be done with a user's sessions.
pub(super) async fn command(
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
    // Where connections do not begin with their user's channels, clients subscribe by themselves.
    if wanted.where_listed == Some(true) && !relay.lists_channels() {
        return result(&json!({}));
    }
    let command = Command { user: text(&wanted.user).to_owned(), client, session, act };
    whole(survey(relay, Question::Command(command)).await?)?;
    result(&json!({}))
}

pub(super) fn subscribe(relay: &Relay, wanted: &words::Session<'_>) -> Result<Act, Refusal> {
    let channel = text(&wanted.channel);
    if channel.is_empty() {
        return Err(Refusal::bad("channel is missing"));
    }
    relay.format_of(channel)?;
    let recover = wanted.recover_since.as_ref();
    Ok(Act::Subscribe(Box::new(Subscribe {
        channel: channel.to_owned(),
        expire_at: match wanted.where_listed {
            Some(true) => relay.listed_until(),
            _ => u64::try_from(wanted.expire_at.unwrap_or_default()).unwrap_or_default(),
        },
        info: bytes(wanted.info, &wanted.b64info).ok_or(Refusal::bad("b64info is not base64"))?.into_owned(),
        data: bytes(wanted.data, &wanted.b64data).ok_or(Refusal::bad("b64data is not base64"))?.into_owned(),
        recover: recover.map(|since| (since.offset.unwrap_or_default(), text(&since.epoch).to_owned())),
        overrides: wanted.r#override.as_ref().map(words::Override::overrides).unwrap_or_default(),
    })))
}

pub(super) fn unsubscribe(relay: &Relay, wanted: &words::Session<'_>) -> Result<Act, Refusal> {
    let channel = text(&wanted.channel);
    if !channel.is_empty() {
        relay.format_of(channel)?;
    }
    let usual = (code::UNSUBSCRIBED.code, code::UNSUBSCRIBED.reason);
    let (code, reason) = reason(wanted.unsubscribe.as_ref(), usual, 2000..=2999)?;
    Ok(Act::Unsubscribe { channel: channel.to_owned(), code, reason })
}

pub(super) fn disconnect(_: &Relay, wanted: &words::Session<'_>) -> Result<Act, Refusal> {
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

pub(super) fn refresh(_: &Relay, wanted: &words::Session<'_>) -> Result<Act, Refusal> {
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
