//! Replies and pushes as a server writes them.

use wire::link::{ClientInfo, Publication};

use super::write::{Message, document};
use crate::client::reply::{Connected, Expiry, Push, Reply, Subscribed};

/// Appends a reply.
pub(in crate::client) fn reply(id: u32, reply: &Reply<'_>, out: &mut Vec<u8>) {
    document(out, |m| {
        m.number(1, id.into());
        match reply {
            Reply::Error(error) => m.message(2, |m| {
                m.number(1, error.code.into());
                m.text(2, error.message);
                m.flag(3, error.temporary);
            }),
            Reply::Refused(refusal) => m.message(2, |m| {
                m.number(1, refusal.code.into());
                m.text(2, &refusal.message);
                m.flag(3, refusal.temporary);
            }),
            Reply::Connect(connected) => m.message(5, |m| write_connected(m, connected)),
            Reply::Subscribe(subscribed) => m.message(6, |m| write_subscribed(m, subscribed)),
            Reply::Unsubscribe => m.message(7, |_| {}),
            Reply::Publish => m.message(8, |_| {}),
            Reply::Presence(members) => m.message(9, |m| {
                for info in *members {
                    m.client_entry(1, info.client, |m| write_info(m, info));
                }
            }),
            Reply::PresenceStats { clients, users } => m.message(10, |m| {
                m.number(1, (*clients).into());
                m.number(2, (*users).into());
            }),
            Reply::History { publications, epoch, offset } => m.message(11, |m| {
                m.list(1, publications, write_publication);
                m.text(2, epoch);
                m.number(3, *offset);
            }),
            Reply::Rpc { data } => m.message(13, |m| m.bytes(1, data)),
            Reply::Refresh { client, version, expiry } => m.message(14, |m| {
                m.client(1, *client);
                m.text(2, version);
                write_expiry(m, 3, *expiry);
            }),
            Reply::SubRefresh { expiry } => m.message(15, |m| write_expiry(m, 1, *expiry)),
        }
    });
}

/// Appends a push.
pub(in crate::client) fn push(channel: &str, push: &Push<'_>, out: &mut Vec<u8>) {
    document(out, |m| {
        m.message(4, |m| {
            m.text(2, channel);
            write_push(m, push);
        });
    });
}

/// Appends a push that names its channel by number.
pub(in crate::client) fn push_by_number(number: u32, push: &Push<'_>, out: &mut Vec<u8>) {
    document(out, |m| {
        m.message(4, |m| {
            m.number(1, number.into());
            write_push(m, push);
        });
    });
}

fn write_push(m: &mut Message<'_>, push: &Push<'_>) {
    match push {
        Push::Publication(publication) => m.message(4, |m| write_publication(m, publication)),
        Push::Delta { publication, patch } => m.message(4, |m| write_delta(m, publication, *patch)),
        Push::Join(info) => m.message(5, |m| m.message(1, |m| write_info(m, info))),
        Push::Leave(info) => m.message(6, |m| m.message(1, |m| write_info(m, info))),
        Push::Unsubscribe(unsubscribe) => m.message(7, |m| {
            m.number(2, unsubscribe.code.into());
            m.text(3, unsubscribe.reason);
        }),
        Push::Message { data } => m.message(8, |m| m.bytes(1, data)),
        Push::Subscribe(subscribed) => m.message(9, |m| write_pushed_subscription(m, subscribed)),
        Push::Refresh(expiry) => m.message(12, |m| write_expiry(m, 1, *expiry)),
        Push::Disconnect { code, reason } => m.message(11, |m| {
            m.number(1, (*code).into());
            m.text(2, reason);
        }),
    }
}

fn write_connected(m: &mut Message<'_>, connected: &Connected<'_>) {
    m.client(1, connected.client);
    m.text(2, connected.version);
    write_expiry(m, 3, connected.expiry);
    m.bytes(5, connected.data);
    for (channel, subscribed) in connected.subs {
        m.entry(6, channel, |m| write_subscribed(m, subscribed));
    }
    m.number(7, connected.ping_s.into());
    m.flag(8, connected.pong);
    m.text(9, connected.session);
    m.text(10, connected.node);
}

fn write_subscribed(m: &mut Message<'_>, subscribed: &Subscribed<'_>) {
    write_expiry(m, 1, subscribed.expiry);
    m.flag(3, subscribed.recoverable);
    m.text(6, subscribed.epoch);
    if subscribed.delta {
        let mut patches = subscribed.patches.iter();
        m.list(7, subscribed.publications, |m, publication| {
            write_delta(m, publication, patches.next().and_then(Option::as_deref));
        });
    } else {
        m.list(7, subscribed.publications, write_publication);
    }
    m.flag(8, subscribed.recovered);
    m.number(9, subscribed.offset);
    m.flag(10, subscribed.positioned);
    m.bytes(11, subscribed.data);
    m.flag(12, subscribed.was_recovering);
    m.flag(13, subscribed.delta);
    m.number(14, subscribed.number.into());
}

/// The push has fewer fields than the reply, with numbers of their own.
fn write_pushed_subscription(m: &mut Message<'_>, subscribed: &Subscribed<'_>) {
    m.flag(1, subscribed.recoverable);
    m.text(4, subscribed.epoch);
    m.number(5, subscribed.offset);
    m.flag(6, subscribed.positioned);
    m.bytes(7, subscribed.data);
}

fn write_publication(m: &mut Message<'_>, publication: &Publication<'_>) {
    write_delta(m, publication, None);
}

/// The payload, or the patch that makes it.
fn write_delta(m: &mut Message<'_>, publication: &Publication<'_>, patch: Option<&[u8]>) {
    m.bytes(4, patch.unwrap_or(publication.data));
    if let Some(info) = &publication.info {
        m.message(5, |m| write_info(m, info));
    }
    m.number(6, publication.offset);
    publication.tags.iter().for_each(|(name, value)| m.pair(7, name, value));
    m.flag(8, patch.is_some());
}

fn write_info(m: &mut Message<'_>, info: &ClientInfo<'_>) {
    m.text(1, info.user);
    m.client(2, info.client);
    m.bytes(3, info.conn_info);
    m.bytes(4, info.chan_info);
}

/// `expires` and, in the field after it, `ttl`.
fn write_expiry(m: &mut Message<'_>, number: u32, expiry: Expiry) {
    if let Expiry::Seconds(ttl) = expiry {
        m.flag(number, true);
        m.number(number + 1, ttl.into());
    }
}
