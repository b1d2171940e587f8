//! What a server said, as a client reads it.

use super::read::{Message as Fields, message, read};
use crate::{
    client::{
        received::{
            Answer, Counts, Ended, Envelope, Event, Failure, Garbled, Info, Message, Page, Pushed, Received,
            Refreshed, Session, Subscription,
        },
        shapes::{About, Data, Nothing, Present},
    },
    protobuf::{Delimited, Malformed, Value},
};

/// A server's messages of one message.
#[derive(Clone, Debug)]
pub(in crate::client) struct Messages<'a>(Option<Delimited<'a>>);

impl<'a> Messages<'a> {
    pub(in crate::client) const fn new(message: &'a [u8]) -> Self {
        Self(Some(Delimited::new(message)))
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Received<'a>, Garbled>;

    fn next(&mut self) -> Option<Self::Item> {
        let result =
            self.0.as_mut()?.next()?.and_then(read::<Envelope<'_>>).map(Received::from).map_err(|_| Garbled);
        if result.is_err() {
            self.0 = None;
        }
        Some(result)
    }
}

/// Reads a message that decides which kind its parent is.
fn kind<'a, T: Fields<'a>, K>(
    value: Value<'a>,
    slot: &mut Option<K>,
    kind: impl FnOnce(T) -> K,
) -> Result<(), Malformed> {
    *slot = Some(kind(read(value.bytes()?)?));
    Ok(())
}

impl<'a> Fields<'a> for Envelope<'a> {
    fn field(&mut self, number: u32, value: Value<'a>) -> Result<(), Malformed> {
        let slot = &mut self.answer;
        match number {
            1 => self.id = value.uint32()?,
            2 => kind(value, slot, Answer::Error)?,
            4 => self.push = Some(read(value.bytes()?)?),
            5 => kind(value, slot, Answer::Connect)?,
            6 => kind(value, slot, Answer::Subscribe)?,
            7 => kind(value, slot, |Nothing| Answer::Unsubscribe)?,
            8 => kind(value, slot, |Nothing| Answer::Publish)?,
            9 => kind(value, slot, |Present { members }| Answer::Presence(members))?,
            10 => kind(value, slot, Answer::PresenceStats)?,
            11 => kind(value, slot, Answer::History)?,
            13 => kind(value, slot, |Data { data }| Answer::Rpc { data })?,
            14 => kind(value, slot, Answer::Refresh)?,
            15 => kind(value, slot, |SubRefreshed(refreshed)| Answer::SubRefresh(refreshed))?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Fields<'a> for Pushed<'a> {
    fn field(&mut self, number: u32, value: Value<'a>) -> Result<(), Malformed> {
        let slot = &mut self.event;
        match number {
            1 => self.number = value.uint32()?,
            2 => self.channel = value.text()?,
            4 => kind(value, slot, Event::Publication)?,
            5 => kind(value, slot, |About { info }| Event::Join(info.unwrap_or_default()))?,
            6 => kind(value, slot, |About { info }| Event::Leave(info.unwrap_or_default()))?,
            7 => kind(value, slot, |Unsubscribed(ended)| Event::Unsubscribe(ended))?,
            8 => kind(value, slot, |Data { data }| Event::Message { data })?,
            9 => kind(value, slot, |PushedSubscription(subscription)| Event::Subscribe(subscription))?,
            11 => kind(value, slot, |Disconnected(ended)| Event::Disconnect(ended))?,
            12 => kind(value, slot, |SubRefreshed(refreshed)| Event::Refresh(refreshed))?,
            _ => {}
        }
        Ok(())
    }
}

#[derive(Default)]
struct Unsubscribed<'a>(Ended<'a>);

#[derive(Default)]
struct Disconnected<'a>(Ended<'a>);

#[derive(Default)]
struct PushedSubscription<'a>(Subscription<'a>);

/// An expiry without a session around it.
#[derive(Default)]
struct SubRefreshed<'a>(Refreshed<'a>);

message!(About { 1 => info });
message!(Present { 1 => members as Entries });
message!(Failure { 1 => code, 2 => message, 3 => temporary });
message!(Session {
    1 => client, 2 => version, 3 => expires, 4 => ttl_s, 5 => data, 6 => subs as Entries, 7 => ping_s,
    8 => pong, 9 => session, 10 => node,
});
message!(Subscription {
    1 => expires, 2 => ttl_s, 3 => recoverable, 6 => epoch, 7 => publications, 8 => recovered, 9 => offset,
    10 => positioned, 11 => data, 12 => was_recovering, 13 => delta, 14 => number,
});
message!(Message { 4 => data, 5 => info, 6 => offset, 7 => tags as Texts, 8 => delta });
message!(Info { 1 => user, 2 => client, 3 => conn_info, 4 => chan_info });
message!(Page { 1 => publications, 2 => epoch, 3 => offset });
message!(Refreshed { 1 => client, 2 => version, 3 => expires, 4 => ttl_s });

impl Fields<'_> for Counts {
    fn field(&mut self, number: u32, value: Value<'_>) -> Result<(), Malformed> {
        match number {
            1 => self.clients = value.uint32()?,
            2 => self.users = value.uint32()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Fields<'a> for Unsubscribed<'a> {
    fn field(&mut self, number: u32, value: Value<'a>) -> Result<(), Malformed> {
        match number {
            2 => self.0.code = value.uint32()?,
            3 => self.0.reason = value.text()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Fields<'a> for Disconnected<'a> {
    fn field(&mut self, number: u32, value: Value<'a>) -> Result<(), Malformed> {
        match number {
            1 => self.0.code = value.uint32()?,
            2 => self.0.reason = value.text()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Fields<'a> for PushedSubscription<'a> {
    fn field(&mut self, number: u32, value: Value<'a>) -> Result<(), Malformed> {
        match number {
            1 => self.0.recoverable = value.flag()?,
            4 => self.0.epoch = value.text()?,
            5 => self.0.offset = value.uint64()?,
            6 => self.0.positioned = value.flag()?,
            7 => self.0.data = value.bytes()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Fields<'a> for SubRefreshed<'a> {
    fn field(&mut self, number: u32, value: Value<'a>) -> Result<(), Malformed> {
        match number {
            1 => self.0.expires = value.flag()?,
            2 => self.0.ttl_s = value.uint32()?,
            _ => {}
        }
        Ok(())
    }
}
