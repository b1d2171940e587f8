//! Commands, both ways.

use super::{
    read::{Message, message},
    write::{self, document},
};
use crate::{
    client::{
        command::{
            BadRequest, Command, Connect, History, Publish, Request, Resume, Rpc, Since, SubRefresh,
            Subscribe,
        },
        shapes::{Data, In, Nothing, Token},
    },
    protobuf::{Delimited, Fields, Malformed},
};

/// The commands of one message.
#[derive(Clone, Debug)]
pub(in crate::client) struct Commands<'a> {
    /// `None` when there are no more, or none to be trusted.
    messages: Option<Delimited<'a>>,
    any: bool,
}

impl<'a> Commands<'a> {
    pub(in crate::client) const fn new(message: &'a [u8]) -> Self {
        Self { messages: Some(Delimited::new(message)), any: false }
    }

    /// What has not been read.
    pub(in crate::client) fn rest(&self) -> &'a [u8] {
        self.messages.as_ref().map_or(&[], Delimited::rest)
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, BadRequest>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = match self.messages.as_mut()?.next() {
            Some(bytes) => bytes.map_err(BadRequest::from).and_then(read),
            None if self.any => return None,
            None => Err(BadRequest::Empty),
        };
        self.any = true;
        if result.is_err() {
            self.messages = None;
        }
        Some(result)
    }
}

impl From<Malformed> for BadRequest {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Numbers of a command's requests.
mod kind {
    pub(super) const CONNECT: u32 = 4;
    pub(super) const SUBSCRIBE: u32 = 5;
    pub(super) const UNSUBSCRIBE: u32 = 6;
    pub(super) const PUBLISH: u32 = 7;
    pub(super) const PRESENCE: u32 = 8;
    pub(super) const PRESENCE_STATS: u32 = 9;
    pub(super) const HISTORY: u32 = 10;
    pub(super) const PING: u32 = 11;
    pub(super) const SEND: u32 = 12;
    pub(super) const RPC: u32 = 13;
    pub(super) const REFRESH: u32 = 14;
    pub(super) const SUB_REFRESH: u32 = 15;
    /// Of several requests, the first in this order counts.
    pub(super) const ORDER: [u32; 12] = [
        CONNECT,
        PING,
        SUBSCRIBE,
        UNSUBSCRIBE,
        PUBLISH,
        PRESENCE,
        PRESENCE_STATS,
        HISTORY,
        RPC,
        SEND,
        REFRESH,
        SUB_REFRESH,
    ];
}

/// Of a command with several requests only the one that counts is read; the others need only be bytes.
fn read(bytes: &[u8]) -> Result<Command<'_>, BadRequest> {
    if bytes.is_empty() {
        return Ok(Command { id: 0, request: Request::Pong });
    }
    let mut id = 0;
    let mut first: Option<usize> = None;
    for field in Fields::new(bytes) {
        let (number, value) = field?;
        if number == 1 {
            id = value.uint32()?;
        } else if let Some(rank) = kind::ORDER.iter().position(|known| *known == number) {
            value.bytes()?;
            first = Some(first.map_or(rank, |first| first.min(rank)));
        }
    }
    match (id, first.map(|rank| kind::ORDER[rank])) {
        (0, None) => Ok(Command { id: 0, request: Request::Pong }),
        (_, None) => Err(BadRequest::NoRequest),
        (0, Some(number)) if number != kind::SEND => Err(BadRequest::NoId),
        (id, Some(number)) => Ok(Command { id, request: request(bytes, number)? }),
    }
}

fn request(bytes: &[u8], number: u32) -> Result<Request<'_>, Malformed> {
    Ok(match number {
        kind::CONNECT => Request::Connect(gather(bytes, number)?),
        kind::SUBSCRIBE => Request::Subscribe(gather(bytes, number)?),
        kind::UNSUBSCRIBE => Request::Unsubscribe { channel: gather::<In<'_>>(bytes, number)?.channel },
        kind::PUBLISH => Request::Publish(gather(bytes, number)?),
        kind::PRESENCE => Request::Presence { channel: gather::<In<'_>>(bytes, number)?.channel },
        kind::PRESENCE_STATS => Request::PresenceStats { channel: gather::<In<'_>>(bytes, number)?.channel },
        kind::HISTORY => Request::History(gather(bytes, number)?),
        kind::RPC => Request::Rpc(gather(bytes, number)?),
        kind::SEND => Request::Send { data: gather::<Data<'_>>(bytes, number)?.data },
        kind::REFRESH => Request::Refresh { token: gather::<Token<'_>>(bytes, number)?.token },
        kind::SUB_REFRESH => Request::SubRefresh(gather(bytes, number)?),
        _ => {
            gather::<Nothing>(bytes, number)?;
            Request::Ping
        }
    })
}

/// A message that is in a field of that number; if it comes in parts, all of them.
fn gather<'a, T: Message<'a>>(bytes: &'a [u8], number: u32) -> Result<T, Malformed> {
    let mut gathered = T::default();
    for field in Fields::new(bytes) {
        let (found, value) = field?;
        if found == number {
            gathered.merge(value.bytes()?)?;
        }
    }
    Ok(gathered)
}

message!(In { 1 => channel });
message!(Data { 1 => data });
message!(Token { 1 => token });
message!(Connect { 1 => token, 2 => data, 3 => subs as Entries, 4 => name, 5 => version });
message!(Resume { 3 => recover, 6 => epoch, 7 => offset });
message!(Subscribe {
    1 => channel, 2 => token, 3 => recover, 6 => epoch, 7 => offset, 8 => data, 9 => positioned, 10 => recoverable,
    11 => join_leave, 12 => delta, 13 => filter, 14 => flag, 15 => kind,
});
message!(Publish { 1 => channel, 2 => data });
message!(History { 1 => channel, 7 => limit, 8 => since, 9 => reverse });
message!(Since { 1 => offset, 2 => epoch });
message!(Rpc { 1 => data, 2 => method });
message!(SubRefresh { 1 => channel, 2 => token });

/// Appends a command.
pub(in crate::client) fn command(command: &Command<'_>, out: &mut Vec<u8>) {
    document(out, |m| {
        m.number(1, command.id.into());
        match &command.request {
            Request::Pong => {}
            Request::Connect(connect) => m.message(kind::CONNECT, |m| write_connect(m, connect)),
            Request::Ping => m.message(kind::PING, |_| {}),
            Request::Subscribe(subscribe) => m.message(kind::SUBSCRIBE, |m| write_subscribe(m, subscribe)),
            Request::Unsubscribe { channel } => m.message(kind::UNSUBSCRIBE, |m| m.text(1, channel)),
            Request::Publish(publish) => m.message(kind::PUBLISH, |m| {
                m.text(1, &publish.channel);
                m.bytes(2, publish.data);
            }),
            Request::Presence { channel } => m.message(kind::PRESENCE, |m| m.text(1, channel)),
            Request::PresenceStats { channel } => m.message(kind::PRESENCE_STATS, |m| m.text(1, channel)),
            Request::History(history) => m.message(kind::HISTORY, |m| write_history(m, history)),
            Request::Rpc(rpc) => m.message(kind::RPC, |m| {
                m.bytes(1, rpc.data);
                m.text(2, &rpc.method);
            }),
            Request::Send { data } => m.message(kind::SEND, |m| m.bytes(1, data)),
            Request::Refresh { token } => m.message(kind::REFRESH, |m| m.text(1, token)),
            Request::SubRefresh(refresh) => m.message(kind::SUB_REFRESH, |m| {
                m.text(1, &refresh.channel);
                m.text(2, &refresh.token);
            }),
        }
    });
}

fn write_connect(m: &mut write::Message<'_>, connect: &Connect<'_>) {
    m.text(1, &connect.token);
    m.bytes(2, connect.data);
    for resume in &connect.subs {
        m.entry(3, &resume.channel, |m| {
            m.flag(3, resume.recover);
            m.text(6, &resume.epoch);
            m.number(7, resume.offset);
        });
    }
    m.text(4, &connect.name);
    m.text(5, &connect.version);
}

fn write_subscribe(m: &mut write::Message<'_>, subscribe: &Subscribe<'_>) {
    m.text(1, &subscribe.channel);
    m.text(2, &subscribe.token);
    m.flag(3, subscribe.recover);
    m.text(6, &subscribe.epoch);
    m.number(7, subscribe.offset);
    m.bytes(8, subscribe.data);
    m.flag(9, subscribe.positioned);
    m.flag(10, subscribe.recoverable);
    m.flag(11, subscribe.join_leave);
    m.text(12, &subscribe.delta);
    m.bytes(13, subscribe.filter);
    m.signed(14, subscribe.flag);
    m.signed(15, subscribe.kind.into());
}

fn write_history(m: &mut write::Message<'_>, history: &History<'_>) {
    m.text(1, &history.channel);
    m.signed(7, history.limit.into());
    if let Some(since) = &history.since {
        m.message(8, |m| {
            m.number(1, since.offset);
            m.text(2, &since.epoch);
        });
    }
    m.flag(9, history.reverse);
}
