//! What a server said, as a client reads it.

use std::borrow::Cow;

use serde::de::MapAccess;

use super::{
    lines::Lines,
    object::{Fill, Json, Object, object},
};
use crate::client::{
    received::{
        Answer, Counts, Ended, Envelope, Event, Failure, Garbled, Info, Message, Page, Pushed, Received,
        Refreshed, Session, Subscription,
    },
    shapes::{About, Data, Nothing, Present},
};

/// A server's messages of one message.
#[derive(Clone, Debug)]
pub(in crate::client) struct Messages<'a> {
    lines: Option<Lines<'a>>,
    readable: bool,
}

impl<'a> Messages<'a> {
    pub(in crate::client) fn new(message: &'a [u8]) -> Self {
        let lines = Lines::new(message);
        Self { readable: lines.is_some(), lines }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Received<'a>, Garbled>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.readable {
            self.readable = true;
            return Some(Err(Garbled));
        }
        let line = self.lines.as_mut()?.next()?;
        let result = quick(line).map_or_else(|| read(line), Ok);
        if result.is_err() {
            self.lines = None;
        }
        Some(result)
    }
}

/// Recognises pings and plain publications, which are nearly all a subscriber hears, as servers write them. The payload's end
/// is found by its brackets and quotes; it is not checked to be JSON. `None` is for [`read`] to look at.
fn quick(line: &str) -> Option<Received<'_>> {
    if line == "{}" {
        return Some(Received::Ping);
    }
    let rest = line.strip_prefix(r#"{"push":{"channel":""#)?;
    let (channel, rest) = rest.split_once('"')?;
    if channel.contains('\\') {
        return None;
    }
    let rest = rest.strip_prefix(r#","pub":{"data":"#)?;
    let (data, rest) = rest.split_at(value_len(rest)?);
    let inner = rest.strip_suffix("}}}")?;
    let offset = match inner.strip_prefix(r#","offset":"#) {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        None if inner.is_empty() => 0,
        _ => return None,
    };
    let message = Message { data: data.as_bytes(), offset, ..Message::default() };
    Some(Received::Push { channel: Cow::Borrowed(channel), number: 0, event: Event::Publication(message) })
}

/// Bytes of the JSON value at the start of `json`, if it ends there before something else does.
fn value_len(json: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut at = 0;
    while let Some(&byte) = json.as_bytes().get(at) {
        match byte {
            b'"' => at = string_end(json, at + 1)?,
            b'{' | b'[' => open += 1,
            b'}' | b']' => open = open.checked_sub(1)?,
            // A bare number or word ends before what follows it.
            _ if open == 0 => return bare_len(json.as_bytes()),
            _ => {}
        }
        at += 1;
        if open == 0 {
            return Some(at);
        }
    }
    None
}

/// Index of the quote that ends the string whose content starts at `start`: the first one not escaped.
fn string_end(json: &str, start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let quote = at + json[at..].find('"')?;
        let before = &json.as_bytes()[start..quote];
        let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 0 {
            return Some(quote);
        }
        at = quote + 1;
    }
}

fn bare_len(json: &[u8]) -> Option<usize> {
    let len = json.iter().position(|b| matches!(b, b',' | b'}'))?;
    let word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.');
    (len > 0 && json[..len].iter().all(word)).then_some(len)
}

fn read(line: &str) -> Result<Received<'_>, Garbled> {
    let Json(envelope) = serde_json::from_str::<Json<Envelope<'_>>>(line).map_err(|_| Garbled)?;
    Ok(Received::from(envelope))
}

/// Reads an object that decides which kind its parent is.
fn kind<'de, A: MapAccess<'de>, T: Object<'de>, K>(
    map: &mut A,
    slot: &mut Option<K>,
    kind: impl FnOnce(T) -> K,
) -> Result<(), A::Error> {
    if let Some(Json(value)) = map.next_value()? {
        *slot = Some(kind(value));
    }
    Ok(())
}

impl<'de> Object<'de> for Envelope<'de> {
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        let slot = &mut self.answer;
        match name {
            "id" => self.id.fill(map)?,
            "push" => self.push.fill(map)?,
            "error" => kind(map, slot, Answer::Error)?,
            "connect" => kind(map, slot, Answer::Connect)?,
            "subscribe" => kind(map, slot, Answer::Subscribe)?,
            "unsubscribe" => kind(map, slot, |Nothing| Answer::Unsubscribe)?,
            "publish" => kind(map, slot, |Nothing| Answer::Publish)?,
            "presence" => kind(map, slot, |Present { members }| Answer::Presence(members))?,
            "presence_stats" => kind(map, slot, Answer::PresenceStats)?,
            "history" => kind(map, slot, Answer::History)?,
            "rpc" => kind(map, slot, |Data { data }| Answer::Rpc { data })?,
            "refresh" => kind(map, slot, Answer::Refresh)?,
            "sub_refresh" => kind(map, slot, Answer::SubRefresh)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'de> Object<'de> for Pushed<'de> {
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        let slot = &mut self.event;
        match name {
            "channel" => self.channel.fill(map)?,
            "id" => self.number.fill(map)?,
            "pub" => kind(map, slot, Event::Publication)?,
            "join" => kind(map, slot, |About { info }| Event::Join(info.unwrap_or_default()))?,
            "leave" => kind(map, slot, |About { info }| Event::Leave(info.unwrap_or_default()))?,
            "unsubscribe" => kind(map, slot, Event::Unsubscribe)?,
            "subscribe" => kind(map, slot, Event::Subscribe)?,
            "message" => kind(map, slot, |Data { data }| Event::Message { data })?,
            "refresh" => kind(map, slot, Event::Refresh)?,
            "disconnect" => kind(map, slot, Event::Disconnect)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'de> Object<'de> for Counts {
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "num_clients" => self.clients.fill(map)?,
            "num_users" => self.users.fill(map)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

object!(About { "info" => info });
object!(Present { "presence" => members as Entries });
object!(Failure { "code" => code, "message" => message, "temporary" => temporary });
object!(Session {
    "client" => client, "version" => version, "expires" => expires, "ttl" => ttl_s, "data" => data,
    "subs" => subs as Entries, "ping" => ping_s, "pong" => pong, "session" => session, "node" => node,
});
object!(Subscription {
    "expires" => expires, "ttl" => ttl_s, "recoverable" => recoverable, "epoch" => epoch,
    "publications" => publications as List, "recovered" => recovered, "offset" => offset, "positioned" => positioned,
    "data" => data, "was_recovering" => was_recovering, "delta" => delta, "id" => number,
});
object!(Message {
    "data" => data, "offset" => offset, "info" => info, "tags" => tags as Texts, "delta" => delta,
});
object!(Info { "user" => user, "client" => client, "conn_info" => conn_info, "chan_info" => chan_info });
object!(Ended { "code" => code, "reason" => reason });
object!(Page { "publications" => publications as List, "epoch" => epoch, "offset" => offset });
object!(Refreshed { "client" => client, "version" => version, "expires" => expires, "ttl" => ttl_s });
