//! The edges and the bus they share, as real programs, with what is needed to strike them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};

use super::net::Net;
use super::stored::{Planned, Store, Stored};
use crate::bus;
use crate::redis::{Cluster, Server};
use crate::world::{Builder, World};

/// Which bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Kind {
    /// One edge alone.
    Local,
    /// A star around one Redis.
    Redis,
    /// Six nodes.
    RedisCluster,
    /// The edges' relays among themselves.
    Mesh,
}

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Place {
    /// Which bus.
    pub(super) kind: Kind,
    worlds: Vec<World>,
    /// Of each edge, where its link can be cut.
    pub(super) nets: Vec<Net>,
    /// The star's.
    pub(super) redis: Option<Server>,
    /// Where the mesh's relays meet.
    meeting: Vec<SocketAddr>,
    /// The cluster.
    pub(super) cluster: Option<Cluster>,
    /// What relays had repaired when they were killed.
    repaired: u64,
    /// The nodes, if there are any.
    pub(super) stored: Option<Stored>,
}

/// How a client may use the channels of a soak, and what history keeps: more than is published while anybody is away.
const NAMESPACE: &str = r#"
[[channel.namespaces]]
name = "soak"
history_size = 5000
history_ttl = "30m"
force_recovery = true
allow_subscribe_for_client = true
allow_publish_for_client = true
"#;

/// A position is checked this often, so that a lost tail is found within the soak.
const TIMES: &str = r#"
[bus]
position_check = "5s"

[client]
recovery_max_publication_limit = 2000
channel_limit = 512
"#;

impl Place {
    /// Starts the bus, then the edges, then nodes that have so many channels with all these users in them.
    pub(super) fn start(
        kind: Kind,
        edges: usize,
        (store, channels, users): (Option<Store>, usize, &[String]),
    ) -> Result<Self> {
        // Nodes and relays ask each other, so with nodes all stay on the loopback.
        let apart = matches!(kind, Kind::Redis | Kind::Mesh) && store.is_none();
        let nets = if apart { nets(edges) } else { Vec::new() };
        let redis = if kind == Kind::Redis { Some(Server::with("bind 0.0.0.0\n")?) } else { None };
        let cluster = if kind == Kind::RedisCluster { Some(Cluster::start()?) } else { None };
        let meeting = meeting(&nets, edges)?;
        let planned = store.map(Planned::new).transpose()?;
        let worlds = Vec::new();
        let mut place = Self { kind, worlds, nets, redis, meeting, cluster, repaired: 0, stored: None };
        for edge in 0..edges {
            let builder = World::builder().relay(&place.bus(edge)?).relay(TIMES).relay(NAMESPACE);
            let builder = match &planned {
                Some(planned) => planned.behind(builder),
                None => builder,
            };
            let world = place.within(builder, edge).start().with_context(|| format!("edge {edge}"))?;
            place.worlds.push(world);
        }
        if let Some(planned) = planned {
            let relays: Vec<SocketAddr> = place.edges().map(|edge| edge.http).collect();
            place.stored = Some(planned.start(&relays, channels, users)?);
        }
        Ok(place)
    }

    fn within(&self, builder: Builder, edge: usize) -> Builder {
        match self.nets.get(edge) {
            Some(net) => builder.relay_in(net.name(), net.inside()),
            None => builder,
        }
    }

    /// The relay's `[bus]`.
    fn bus(&self, edge: usize) -> Result<String> {
        let machine = self.nets.get(edge).map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), Net::machine);
        Ok(match self.kind {
            Kind::Local => "[bus]\nkind = \"local\"\n".to_owned(),
            Kind::Redis => {
                let port = self.redis.as_ref().context("a server")?.port();
                bus::star(&SocketAddr::from((machine, port)).to_string())
            }
            Kind::RedisCluster => bus::cluster(&self.cluster.as_ref().context("a cluster")?.addresses()),
            Kind::Mesh => bus::mesh(edge, self.meeting[edge], &self.meeting),
        })
    }

    /// The edges.
    pub(super) fn edges(&self) -> impl ExactSizeIterator<Item = &World> {
        self.worlds.iter()
    }

    /// Kills the relay of an edge and starts it again.
    pub(super) fn restart_relay(&mut self, edge: usize, meanwhile: impl FnOnce()) -> Result<()> {
        let world = &mut self.worlds[edge];
        self.repaired += repaired(world);
        world.kill_relay()?;
        meanwhile();
        world.restart_relay()
    }

    /// Kills the gateway of an edge and starts it again.
    pub(super) fn restart_gateway(&mut self, edge: usize) -> Result<()> {
        self.worlds[edge].restart_gateway()
    }

    /// Fails if anything does not run that should.
    pub(super) fn check(&mut self) -> Result<()> {
        for world in &mut self.worlds {
            world.relay.check()?;
            world.gateway.check()?;
        }
        for node in self.stored.iter_mut().flat_map(|stored| &mut stored.nodes) {
            node.program.check()?;
        }
        Ok(())
    }

    /// Publications that were lost on the way and repaired, by all relays.
    pub(super) fn repaired(&self) -> u64 {
        self.repaired + self.worlds.iter().map(repaired).sum::<u64>()
    }
}

/// A namespace for each edge, or none where that may not be made: then links are not cut.
fn nets(edges: usize) -> Vec<Net> {
    (0..edges).map(|_| Net::new()).collect::<Result<_>>().unwrap_or_else(|error| {
        eprintln!("links are left alone: {error:#}");
        Vec::new()
    })
}

/// An address for each relay: in its namespace, or on loopback.
fn meeting(nets: &[Net], edges: usize) -> Result<Vec<SocketAddr>> {
    let mut addresses = bus::meeting(edges)?;
    for (address, net) in addresses.iter_mut().zip(nets) {
        address.set_ip(net.inside());
    }
    Ok(addresses)
}

fn repaired(world: &World) -> u64 {
    world.metrics().map_or(0, |metrics| metrics.sum("headland_relay_bus_repaired_total", &[]) as u64)
}
