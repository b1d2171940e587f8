//! The four buses as data, and the real edges that promises are kept on.
#![allow(non_upper_case_globals, reason = "tests are named after these")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use serde_json::{Value, json};
use tests::bus::{self, owner};
use tests::metrics;
use tests::redis::{Cluster, Server};
use tests::shared::shared;
use tests::world::World;

use crate::shard::Shard;

/// What a bus is, and what it can do.
pub(crate) struct Bus {
    /// How many edges share it here.
    edges: usize,
    /// Connections that each of them keeps.
    links: usize,
    servers: fn() -> Servers,
    /// Whether a channel's stream is gone when the relay of that edge was killed.
    kept_by: fn(channel: &str, edge: usize) -> bool,
    place: Mutex<Weak<Place>>,
}

pub(crate) static local: Bus = Bus {
    edges: 1,
    links: 0,
    servers: || Servers::None,
    kept_by: |_, _| true,
    place: Mutex::new(Weak::new()),
};
pub(crate) static mesh: Bus = Bus {
    edges: MESH,
    links: MESH - 1,
    servers: || Servers::None,
    kept_by: |channel, edge| owner(channel, MESH) == edge,
    place: Mutex::new(Weak::new()),
};
pub(crate) static star: Bus = Bus {
    edges: 3,
    // For publications, questions and subscriptions.
    links: 3,
    servers: || Servers::Star(shared(&STAR, || Server::start().unwrap())),
    kept_by: |_, _| false,
    place: Mutex::new(Weak::new()),
};
pub(crate) static cluster: Bus = Bus {
    edges: 3,
    // The same to each of three primaries.
    links: 9,
    servers: || Servers::Cluster(shared(&CLUSTER, || Cluster::start().unwrap())),
    kept_by: |_, _| false,
    place: Mutex::new(Weak::new()),
};

/// Edges of a mesh.
const MESH: usize = 3;
static STAR: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// What edges stand on.
enum Servers {
    None,
    Star(Arc<Server>),
    Cluster(Arc<Cluster>),
}

/// Edges on one bus.
pub(crate) struct Place {
    pub(crate) edges: Vec<World>,
    _servers: Servers,
}

impl Bus {
    /// Edges that promises share which disturb nobody.
    pub(crate) fn place(&'static self) -> Arc<Place> {
        shared(&self.place, || self.own_place())
    }

    /// Edges of a promise's own.
    pub(crate) fn own_place(&self) -> Place {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let servers = (self.servers)();
        let meeting = bus::meeting(self.edges).unwrap();
        let edge = |edge: usize| {
            let told = servers.told(edge, &meeting);
            let world = World::builder().relay(&format!("{told}linger = \"100ms\"\n{COMMON}"));
            // Places that are there at the same time are systems of their own.
            world.relay(&format!("[bus.redis]\nprefix = \"place-{number}\"\n")).start().unwrap()
        };
        let place = Place { edges: (0..self.edges).map(edge).collect(), _servers: servers };
        place.edges.iter().for_each(|world| self.joined(world));
        place
    }

    /// Waits until an edge has all its connections.
    pub(crate) fn joined(&self, edge: &World) {
        edge.metric("headland_relay_bus_link_up", &[], |up| up == self.links as f64).unwrap();
    }

    /// Whether a channel's stream was kept by the relay of that edge, and by nobody else.
    pub(crate) fn is_kept_by(&self, channel: &str, edge: usize) -> bool {
        (self.kept_by)(channel, edge)
    }
}

impl Servers {
    /// What an edge is told of its bus.
    fn told(&self, edge: usize, meeting: &[SocketAddr]) -> String {
        match self {
            Self::None if meeting.len() > 1 => bus::mesh(edge, meeting[edge], meeting),
            Self::None => "[bus]\nkind = \"local\"\n".to_owned(),
            Self::Star(server) => bus::star(&server.address()),
            Self::Cluster(nodes) => bus::cluster(&nodes.addresses()[..2]),
        }
    }
}

impl Place {
    /// A shard of an edge, counted on from the first again where there are fewer.
    pub(crate) fn shard(&self, edge: usize) -> Shard {
        Shard::open(&self.edges[edge % self.edges.len()])
    }

    /// Has an edge's server API forget what a channel keeps; the error's code if there is one.
    pub(crate) fn remove(&self, edge: usize, channel: &str) -> Option<u64> {
        let edge = &self.edges[edge % self.edges.len()];
        let asked = json!({ "channel": channel }).to_string();
        let answered =
            metrics::post(edge.http, "/api/history_remove", &[("X-API-Key", "a key")], &asked).unwrap();
        let answer: Value = serde_json::from_str(&answered.body).unwrap();
        answer["error"]["code"].as_u64()
    }

    /// One shard of each edge, and another one of the first.
    pub(crate) fn shards(&self) -> Vec<Shard> {
        (0..=self.edges.len()).map(|edge| self.shard(edge)).collect()
    }
}

/// Channels of a test, enough that every edge of a mesh owns some.
pub(crate) fn channels(namespace: &str, test: &str) -> Vec<String> {
    (0..8).map(|number| format!("{namespace}:{test} {number}")).collect()
}

/// What promises are about, in all places.
const COMMON: &str = r#"
[limits]
presence_grace = "2s"

[http_api]
key = "a key"

[[channel.namespaces]]
name = "kept"
history_size = 1000
history_ttl = "5m"

[[channel.namespaces]]
name = "few"
history_size = 3
history_ttl = "5m"

[[channel.namespaces]]
name = "brief"
history_size = 3
history_ttl = "300ms"

[[channel.namespaces]]
name = "loose"

[[channel.namespaces]]
name = "room"
presence = true
join_leave = true
"#;
