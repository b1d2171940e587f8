//! Commands, both ways.

use serde::de::MapAccess;

use super::{
    lines::{Lines, deep},
    object::{Fill, Json, Object, object},
    text::{self, document, key},
};
use crate::client::{
    command::{
        BadRequest, Command, Connect, History, Publish, Request, Resume, Rpc, Since, SubRefresh, Subscribe,
    },
    shapes::{Data, In, Nothing, Token},
};

/// The commands of one message.
#[derive(Clone, Debug)]
pub(in crate::client) struct Commands<'a> {
    /// `None` when there are no more, or none to be trusted.
    lines: Option<Lines<'a>>,
    any: bool,
    readable: bool,
}

impl<'a> Commands<'a> {
    pub(in crate::client) fn new(message: &'a [u8]) -> Self {
        let lines = Lines::new(message);
        Self { readable: lines.is_some(), lines, any: false }
    }
}

impl<'a> Commands<'a> {
    /// What has not been read.
    pub(in crate::client) fn rest(&self) -> &'a [u8] {
        self.lines.as_ref().map_or(&[], Lines::rest)
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, BadRequest>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.readable {
            self.readable = true;
            return Some(Err(BadRequest::Malformed));
        }
        let result = match self.lines.as_mut()?.next() {
            Some(line) => read(line),
            None if self.any => return None,
            None => Err(BadRequest::Empty),
        };
        self.any = true;
        if result.is_err() {
            self.lines = None;
        }
        Some(result)
    }
}

fn read(line: &str) -> Result<Command<'_>, BadRequest> {
    if line == "{}" {
        return Ok(Command { id: 0, request: Request::Pong });
    }
    if deep(line) {
        return Err(BadRequest::Deep);
    }
    let Json(envelope) =
        serde_json::from_str::<Json<Envelope<'_>>>(line).map_err(|_| BadRequest::Malformed)?;
    match (envelope.id, envelope.request) {
        (0, None) => Ok(Command { id: 0, request: Request::Pong }),
        (_, None) => Err(BadRequest::NoRequest),
        (id, Some((_, request @ Request::Send { .. }))) => Ok(Command { id, request }),
        (0, Some(_)) => Err(BadRequest::NoId),
        (id, Some((_, request))) => Ok(Command { id, request }),
    }
}

/// A command as it is read: of several requests, the first in the protocol's order of fields counts.
#[derive(Default)]
struct Envelope<'a> {
    id: u32,
    request: Option<(u8, Request<'a>)>,
}

impl<'de> Envelope<'de> {
    fn read<A: MapAccess<'de>, T: Object<'de>>(
        &mut self,
        map: &mut A,
        rank: u8,
        request: impl FnOnce(T) -> Request<'de>,
    ) -> Result<(), A::Error> {
        if let Some(Json(value)) = map.next_value()?
            && self.request.as_ref().is_none_or(|(other, _)| rank <= *other)
        {
            self.request = Some((rank, request(value)));
        }
        Ok(())
    }
}

impl<'de> Object<'de> for Envelope<'de> {
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "id" => self.id.fill(map)?,
            "connect" => self.read(map, 0, Request::Connect)?,
            "ping" => self.read(map, 1, |Nothing| Request::Ping)?,
            "subscribe" => self.read(map, 2, Request::Subscribe)?,
            "unsubscribe" => self.read(map, 3, |In { channel }| Request::Unsubscribe { channel })?,
            "publish" => self.read(map, 4, Request::Publish)?,
            "presence" => self.read(map, 5, |In { channel }| Request::Presence { channel })?,
            "presence_stats" => self.read(map, 6, |In { channel }| Request::PresenceStats { channel })?,
            "history" => self.read(map, 7, Request::History)?,
            "rpc" => self.read(map, 8, Request::Rpc)?,
            "send" => self.read(map, 9, |Data { data }| Request::Send { data })?,
            "refresh" => self.read(map, 10, |Token { token }| Request::Refresh { token })?,
            "sub_refresh" => self.read(map, 11, Request::SubRefresh)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

object!(In { "channel" => channel });
object!(Data { "data" => data });
object!(Token { "token" => token });
object!(Connect {
    "token" => token, "data" => data, "name" => name, "version" => version, "subs" => subs as Entries,
});
object!(Resume { "recover" => recover, "offset" => offset, "epoch" => epoch });
object!(Subscribe {
    "channel" => channel, "token" => token, "recover" => recover, "epoch" => epoch, "offset" => offset, "data" => data,
    "positioned" => positioned, "recoverable" => recoverable, "join_leave" => join_leave, "delta" => delta,
    "tf" => filter as Verbatim, "flag" => flag, "type" => kind,
});
object!(Publish { "channel" => channel, "data" => data });
object!(History { "channel" => channel, "limit" => limit, "since" => since, "reverse" => reverse });
object!(Since { "offset" => offset, "epoch" => epoch });
object!(Rpc { "method" => method, "data" => data });
object!(SubRefresh { "channel" => channel, "token" => token });

/// Appends a command.
pub(in crate::client) fn command(command: &Command<'_>, out: &mut Vec<u8>) {
    document(out, |o| {
        o.number(key!("id"), command.id.into());
        match &command.request {
            Request::Pong => {}
            Request::Connect(connect) => o.object(key!("connect"), |o| write_connect(o, connect)),
            Request::Ping => o.object(key!("ping"), |_| {}),
            Request::Subscribe(subscribe) => o.object(key!("subscribe"), |o| write_subscribe(o, subscribe)),
            Request::Unsubscribe { channel } => {
                o.object(key!("unsubscribe"), |o| o.text(key!("channel"), channel));
            }
            Request::Publish(publish) => o.object(key!("publish"), |o| {
                o.text(key!("channel"), &publish.channel);
                o.raw(key!("data"), publish.data);
            }),
            Request::Presence { channel } => o.object(key!("presence"), |o| o.text(key!("channel"), channel)),
            Request::PresenceStats { channel } => {
                o.object(key!("presence_stats"), |o| o.text(key!("channel"), channel));
            }
            Request::History(history) => o.object(key!("history"), |o| write_history(o, history)),
            Request::Rpc(rpc) => o.object(key!("rpc"), |o| {
                o.text(key!("method"), &rpc.method);
                o.raw(key!("data"), rpc.data);
            }),
            Request::Send { data } => o.object(key!("send"), |o| o.raw(key!("data"), data)),
            Request::Refresh { token } => o.object(key!("refresh"), |o| o.text(key!("token"), token)),
            Request::SubRefresh(refresh) => o.object(key!("sub_refresh"), |o| {
                o.text(key!("channel"), &refresh.channel);
                o.text(key!("token"), &refresh.token);
            }),
        }
    });
}

fn write_connect(o: &mut text::Object<'_>, connect: &Connect<'_>) {
    o.text(key!("token"), &connect.token);
    o.raw(key!("data"), connect.data);
    if !connect.subs.is_empty() {
        o.object(key!("subs"), |o| {
            for resume in &connect.subs {
                o.entry(&resume.channel, |o| {
                    o.flag(key!("recover"), resume.recover);
                    o.text(key!("epoch"), &resume.epoch);
                    o.number(key!("offset"), resume.offset);
                });
            }
        });
    }
    o.text(key!("name"), &connect.name);
    o.text(key!("version"), &connect.version);
}

fn write_subscribe(o: &mut text::Object<'_>, subscribe: &Subscribe<'_>) {
    o.text(key!("channel"), &subscribe.channel);
    o.text(key!("token"), &subscribe.token);
    o.flag(key!("recover"), subscribe.recover);
    o.text(key!("epoch"), &subscribe.epoch);
    o.number(key!("offset"), subscribe.offset);
    o.raw(key!("data"), subscribe.data);
    o.flag(key!("positioned"), subscribe.positioned);
    o.flag(key!("recoverable"), subscribe.recoverable);
    o.flag(key!("join_leave"), subscribe.join_leave);
    o.text(key!("delta"), &subscribe.delta);
    o.raw(key!("tf"), subscribe.filter);
    o.signed(key!("flag"), subscribe.flag);
    o.signed(key!("type"), subscribe.kind.into());
}

fn write_history(o: &mut text::Object<'_>, history: &History<'_>) {
    o.text(key!("channel"), &history.channel);
    o.signed(key!("limit"), history.limit.into());
    if let Some(since) = &history.since {
        o.object(key!("since"), |o| {
            o.number(key!("offset"), since.offset);
            o.text(key!("epoch"), &since.epoch);
        });
    }
    o.flag(key!("reverse"), history.reverse);
}
