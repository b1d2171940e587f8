//! Replies and pushes as a server writes them.

use wire::link::{ClientInfo, Publication};

use super::text::{Object, document, key};
use crate::client::reply::{Connected, Expiry, Push, Reply, Subscribed};

/// Appends a reply.
pub(in crate::client) fn reply(id: u32, reply: &Reply<'_>, out: &mut Vec<u8>) {
    document(out, |o| {
        o.number(key!("id"), id.into());
        match reply {
            Reply::Error(error) => o.object(key!("error"), |o| {
                o.number(key!("code"), error.code.into());
                o.text(key!("message"), error.message);
                o.flag(key!("temporary"), error.temporary);
            }),
            Reply::Refused(refusal) => o.object(key!("error"), |o| {
                o.number(key!("code"), refusal.code.into());
                o.text(key!("message"), &refusal.message);
                o.flag(key!("temporary"), refusal.temporary);
            }),
            Reply::Connect(connected) => o.object(key!("connect"), |o| write_connected(o, connected)),
            Reply::Subscribe(subscribed) => o.object(key!("subscribe"), |o| write_subscribed(o, subscribed)),
            Reply::Unsubscribe => o.object(key!("unsubscribe"), |_| {}),
            Reply::Publish => o.object(key!("publish"), |_| {}),
            Reply::Presence(members) => o.object(key!("presence"), |o| write_presence(o, members)),
            Reply::PresenceStats { clients, users } => o.object(key!("presence_stats"), |o| {
                o.number(key!("num_clients"), (*clients).into());
                o.number(key!("num_users"), (*users).into());
            }),
            Reply::History { publications, epoch, offset } => o.object(key!("history"), |o| {
                o.list(key!("publications"), publications, write_publication);
                o.text(key!("epoch"), epoch);
                o.number(key!("offset"), *offset);
            }),
            Reply::Rpc { data } => o.object(key!("rpc"), |o| o.payload(key!("data"), data)),
            Reply::Refresh { client, version, expiry } => o.object(key!("refresh"), |o| {
                o.client(key!("client"), *client);
                o.text(key!("version"), version);
                write_expiry(o, *expiry);
            }),
            Reply::SubRefresh { expiry } => o.object(key!("sub_refresh"), |o| write_expiry(o, *expiry)),
        }
    });
}

/// Appends a push.
pub(in crate::client) fn push(channel: &str, push: &Push<'_>, out: &mut Vec<u8>) {
    document(out, |o| {
        o.object(key!("push"), |o| {
            o.text(key!("channel"), channel);
            write_push(o, push);
        });
    });
}

/// Appends a push that names its channel by number.
pub(in crate::client) fn push_by_number(number: u32, push: &Push<'_>, out: &mut Vec<u8>) {
    document(out, |o| {
        o.object(key!("push"), |o| {
            o.number(key!("id"), number.into());
            write_push(o, push);
        });
    });
}

fn write_push(o: &mut Object<'_>, push: &Push<'_>) {
    match push {
        Push::Publication(publication) => {
            o.object(key!("pub"), |o| write_publication(o, publication));
        }
        Push::Delta { publication, patch } => {
            o.object(key!("pub"), |o| write_delta(o, publication, *patch));
        }
        Push::Join(info) => {
            o.object(key!("join"), |o| o.object(key!("info"), |o| write_info(o, info)));
        }
        Push::Leave(info) => {
            o.object(key!("leave"), |o| o.object(key!("info"), |o| write_info(o, info)));
        }
        Push::Unsubscribe(unsubscribe) => o.object(key!("unsubscribe"), |o| {
            o.number(key!("code"), unsubscribe.code.into());
            o.text(key!("reason"), unsubscribe.reason);
        }),
        Push::Subscribe(subscribed) => {
            o.object(key!("subscribe"), |o| write_subscribed(o, subscribed));
        }
        Push::Message { data } => o.object(key!("message"), |o| o.payload(key!("data"), data)),
        Push::Refresh(expiry) => o.object(key!("refresh"), |o| write_expiry(o, *expiry)),
        Push::Disconnect { code, reason } => o.object(key!("disconnect"), |o| {
            o.number(key!("code"), (*code).into());
            o.text(key!("reason"), reason);
        }),
    }
}

fn write_connected(o: &mut Object<'_>, connected: &Connected<'_>) {
    o.client(key!("client"), connected.client);
    o.text(key!("version"), connected.version);
    write_expiry(o, connected.expiry);
    o.payload(key!("data"), connected.data);
    if !connected.subs.is_empty() {
        o.object(key!("subs"), |o| {
            for (channel, subscribed) in connected.subs {
                o.entry(channel, |o| write_subscribed(o, subscribed));
            }
        });
    }
    o.number(key!("ping"), connected.ping_s.into());
    o.flag(key!("pong"), connected.pong);
    o.text(key!("session"), connected.session);
    o.text(key!("node"), connected.node);
}

fn write_subscribed(o: &mut Object<'_>, subscribed: &Subscribed<'_>) {
    write_expiry(o, subscribed.expiry);
    o.flag(key!("recoverable"), subscribed.recoverable);
    o.text(key!("epoch"), subscribed.epoch);
    if subscribed.delta {
        let mut patches = subscribed.patches.iter();
        o.list(key!("publications"), subscribed.publications, |o, publication| {
            write_delta(o, publication, patches.next().and_then(Option::as_deref));
        });
    } else {
        o.list(key!("publications"), subscribed.publications, write_publication);
    }
    o.flag(key!("recovered"), subscribed.recovered);
    o.number(key!("offset"), subscribed.offset);
    o.flag(key!("positioned"), subscribed.positioned);
    o.payload(key!("data"), subscribed.data);
    o.flag(key!("was_recovering"), subscribed.was_recovering);
    o.flag(key!("delta"), subscribed.delta);
    o.number(key!("id"), subscribed.number.into());
}

fn write_presence(o: &mut Object<'_>, members: &[ClientInfo<'_>]) {
    if members.is_empty() {
        return;
    }
    o.object(key!("presence"), |o| {
        for info in members {
            o.client_entry(info.client, |o| write_info(o, info));
        }
    });
}

fn write_publication(o: &mut Object<'_>, publication: &Publication<'_>) {
    o.payload(key!("data"), publication.data);
    write_about(o, publication);
}

/// Payload or patch in a string. A patch that is not text (of a payload that is none) cannot be: then the payload is given whole.
fn write_delta(o: &mut Object<'_>, publication: &Publication<'_>, patch: Option<&[u8]>) {
    let patch = patch.filter(|patch| std::str::from_utf8(patch).is_ok());
    match patch {
        Some(patch) => o.quoted(key!("data"), patch),
        None => o.quoted_payload(key!("data"), publication.data),
    }
    write_about(o, publication);
    o.flag(key!("delta"), patch.is_some());
}

fn write_about(o: &mut Object<'_>, publication: &Publication<'_>) {
    if let Some(info) = &publication.info {
        o.object(key!("info"), |o| write_info(o, info));
    }
    o.number(key!("offset"), publication.offset);
    if !publication.tags.is_empty() {
        o.object(key!("tags"), |o| publication.tags.iter().for_each(|(name, value)| o.pair(name, value)));
    }
}

/// `user` and `client` are the two members of the protocol that are written even when empty.
fn write_info(o: &mut Object<'_>, info: &ClientInfo<'_>) {
    o.text_always(key!("user"), info.user);
    o.client(key!("client"), info.client);
    o.payload(key!("conn_info"), info.conn_info);
    o.payload(key!("chan_info"), info.chan_info);
}

fn write_expiry(o: &mut Object<'_>, expiry: Expiry) {
    if let Expiry::Seconds(ttl) = expiry {
        o.flag(key!("expires"), true);
        o.number(key!("ttl"), ttl.into());
    }
}
