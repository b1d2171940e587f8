//! What every bus over Redis promises beneath what a shard sees of it, on a single server and on a cluster alike.

use std::sync::{Arc, Mutex, Weak};

use agent::redis::{Place, Settings};
use relay::Epochs;
use relay::bus::Ask;
use tests::redis::{Cluster, Server};
use tests::shared::shared;
use tests::wait;

use crate::edge::{Edge, Heard, KEPT, WITHIN, settings};

/// What tests that run at the same time share.
static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// What a promise is kept on.
enum Servers {
    Star(Arc<Server>),
    Cluster(Arc<Cluster>),
}

impl Servers {
    fn star() -> Self {
        Self::Star(shared(&SERVER, || Server::start().unwrap()))
    }

    fn cluster() -> Self {
        Self::Cluster(shared(&CLUSTER, || Cluster::start().unwrap()))
    }

    fn settings(&self) -> Settings {
        settings(match self {
            Self::Star(server) => Place::Servers(vec![server.address()]),
            Self::Cluster(cluster) => Place::Cluster(cluster.addresses()[..2].to_vec()),
        })
    }

    /// Writes a text under a channel's own kind of key, as somebody else might.
    fn spoil(&self, prefix: &str, kind: char, channel: &str) {
        let tag = relay::partition::TAGS[relay::partition::partition(channel)];
        match self {
            Self::Star(server) => server.command(&["set", &format!("{prefix}:{kind}:{channel}"), "text"]),
            Self::Cluster(cluster) => cluster.nodes[0].command(&[
                "-c",
                "set",
                &format!("{prefix}:{{{tag}}}:{kind}:{channel}"),
                "text",
            ]),
        }
        .unwrap();
    }
}

macro_rules! on_both {
    ($($name:ident)*) => {
        mod star { $(#[test] fn $name() { super::$name(&super::Servers::star(), concat!("star ", stringify!($name))); })* }
        mod cluster {
            $(#[test] fn $name() { super::$name(&super::Servers::cluster(), concat!("cluster ", stringify!($name))); })*
        }
    };
}

on_both! {
    a_channel_that_is_no_longer_wanted_is_silent
    renewing_begins_anew_once
    words_reach_the_edges_they_are_for
    a_key_of_another_type_is_said_and_answered
}

fn a_channel_that_is_no_longer_wanted_is_silent(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let mut edge = Edge::ready(settings.clone());
    edge.join(channel);
    edge.redis.ask(Ask::Unwant { channel: channel.into() });
    let wanted = || edge.redis.levels().iter().any(|(name, count)| name.ends_with("_joined") && *count == 0);
    wait::until("the channel to part", WITHIN, || wanted().then_some(())).unwrap();
    let other = format!("{channel} other");
    edge.publish(channel, b"unheard", "");
    edge.join(&other);
    edge.publish(&other, b"heard", "");
    edge.publication(&other);
    assert!(!edge.so_far().iter().any(|heard| matches!(heard, Heard::Publication { .. })));
}

fn renewing_begins_anew_once(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let mut edge = Edge::ready(settings.clone());
    let (_, epoch, _) = edge.publish(channel, b"a", "");
    edge.publish(channel, b"b", "");
    let renew = |epoch| Ask::Renew { channel: channel.into(), epoch };
    edge.redis.ask(renew(Epochs::new(1).draw()));
    assert_eq!(edge.publish(channel, b"c", "").0, 3, "that epoch is not the stream's");
    edge.redis.ask(renew(relay::Epoch::parse(&epoch).unwrap()));
    let (offset, fresh, _) = edge.publish(channel, b"d", "");
    assert!(offset == 1 && fresh != epoch, "{offset} {fresh} {epoch}");
}

fn words_reach_the_edges_they_are_for(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let mut settings = settings.clone();
    settings.prefix = channel.replace(' ', "-");
    let mut edges: Vec<Edge> = (0..3).map(|_| Edge::ready(settings.clone())).collect();
    let ids: Vec<_> = edges.iter().map(|edge| edge.id).collect();
    for edge in &mut edges {
        let others: Vec<_> = ids.iter().copied().filter(|id| *id != edge.id).collect();
        edge.until("the others", |heard| (*heard == Heard::Edges(others.clone())).then_some(()));
    }
    for number in 0..10_u8 {
        edges[0].redis.ask(Ask::Send { to: None, body: vec![number] });
        edges[0].redis.ask(Ask::Send { to: Some(ids[2]), body: vec![100 + number] });
    }
    let words = |edge: &mut Edge, count: usize| -> Vec<u8> {
        let next = |heard: &Heard| match heard {
            Heard::Message { from, body } if *from == ids[0] => Some(body[0]),
            _ => None,
        };
        (0..count).map(|_| edge.until("words", next)).collect()
    };
    assert_eq!(words(&mut edges[1], 10), (0..10).collect::<Vec<u8>>());
    let both: Vec<u8> = (0..10).flat_map(|number| [number, 100 + number]).collect();
    assert_eq!(words(&mut edges[2], 20), both);
    assert!(!edges[0].so_far().iter().any(|heard| matches!(heard, Heard::Message { .. })), "not to itself");
    drop(edges.pop());
    edges[0].until("one to be gone", |heard| (*heard == Heard::Edges(vec![ids[1]])).then_some(()));
}

fn a_key_of_another_type_is_said_and_answered(servers: &Servers, channel: &str) {
    let settings = &servers.settings();
    let mut edge = Edge::ready(settings.clone());
    edge.publish(channel, b"x", "");
    servers.spoil(&settings.prefix, 's', channel);
    let ticket = edge.ask_publish(channel, b"x", "", Some(KEPT));
    assert!(matches!(edge.answer(ticket), Heard::Failed { .. }));
    let ticket = edge.ask_read(channel, None, 1, false);
    assert!(matches!(edge.answer(ticket), Heard::Failed { .. }));
    assert!(edge.total("errors") >= 2);
    edge.publish(&format!("{channel} other"), b"x", "");
}
