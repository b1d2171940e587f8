//! Links and forwarded publications when 2 to 32 edges are joined by blind broadcast, as a mesh, or through a star's server.
//!
//! The mesh is counted: by real relays and gateways as far as they fit one machine, and by the relays' own pure machines, passing bytes
//! to each other, for every size. Broadcast and star follow from the same workload by their definition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use relay::bus::{Ask, EdgeId, Tell, Ticket};
use relay::mesh::{List, Mesh};
use relay::{Event, Limits, LinkId, Transmit};
use serde_json::json;
use wire::link::Publication;
use wire::settings::{Namespace, Settings};

use super::{Figure, Options, Target};
use crate::bus;
use crate::client::Client;
use crate::wait;
use crate::world::World;

/// Sizes that are counted.
const SIZES: [usize; 6] = [2, 3, 4, 8, 16, 32];
/// Sizes that are run with real programs, too.
const REAL: [usize; 3] = [2, 4, 8];
const CHANNELS: usize = 100;
/// Edges with a subscriber of one channel.
const SUBSCRIBED: usize = 3;
const PUBLICATIONS: usize = 2_000;
const WITHIN: Duration = Duration::from_secs(20);

/// Who subscribes to what, and what is published where.
struct Workload {
    edges: usize,
    /// Of each channel, the edges that want it.
    wanted: Vec<Vec<usize>>,
    /// Edge and channel.
    published: Vec<(usize, usize)>,
}

/// Messages that cross a link, and links.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    links: usize,
    /// A publication on its way to a channel's owner, a server or an edge.
    messages: u64,
    /// Publications that came to subscribers' edges, each edge's own included.
    delivered: u64,
}

pub(super) fn run(_: &Options) -> Result<Vec<Figure>> {
    println!("{CHANNELS} channels, each wanted by {SUBSCRIBED} edges at most; publications from any edge\n");
    println!("       blind broadcast          mesh             star        mesh, real programs");
    println!("edges  links  msgs/pub    links  msgs/pub    links  msgs/pub    msgs/pub");
    let mut largest = Vec::new();
    let mut same = true;
    for edges in SIZES {
        let workload = Workload::new(edges);
        let (broadcast, star, mesh) = (workload.broadcast(), workload.star(), simulate(&workload)?);
        ensure!(mesh.delivered == star.delivered, "{edges}: {mesh:?} delivers as much as {star:?}");
        let each = |counts: Counts| counts.messages as f64 / PUBLICATIONS as f64;
        let real = if REAL.contains(&edges) { Some(real(&workload)?) } else { None };
        let shown = real.map_or_else(|| "-".to_owned(), |real| format!("{:.2}", each(real)));
        println!(
            "{edges:>5}  {:>5}  {:>8.2}    {:>5}  {:>8.2}    {:>5}  {:>8.2}    {shown:>8}",
            broadcast.links,
            each(broadcast),
            mesh.links,
            each(mesh),
            star.links,
            each(star),
        );
        same &= real.is_none_or(|real| real == mesh);
        largest = vec![
            (broadcast.links as f64, each(broadcast)),
            (mesh.links as f64, each(mesh)),
            (star.links as f64, each(star)),
        ];
    }
    let [broadcast, mesh, star] = largest[..] else { anyhow::bail!("three ways are counted") };
    let per = "msgs/pub";
    Ok(vec![
        Figure::told("32 edges, links of broadcast and mesh", mesh.0, ""),
        Figure::told("32 edges, links of a star", star.0, ""),
        Figure::told("32 edges, blind broadcast", broadcast.1, per),
        Figure::told("32 edges, mesh", mesh.1, per),
        Figure::told("32 edges, star", star.1, per),
        Figure::aimed("32 edges, mesh / blind broadcast", mesh.1 / broadcast.1, "x", Target::AtMost(0.2)),
        Figure::aimed(
            "real programs count as simulated",
            f64::from(u8::from(same)),
            "",
            Target::AtLeast(1.0),
        ),
    ])
}

impl Workload {
    fn new(edges: usize) -> Self {
        let mut random = 0x9e37_79b9_u64 + edges as u64;
        let mut below = |bound: usize| {
            // xorshift64
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % bound as u64) as usize
        };
        let mut wanted = Vec::new();
        for _ in 0..CHANNELS {
            let mut found = Vec::new();
            while found.len() < SUBSCRIBED.min(edges) {
                let edge = below(edges);
                if !found.contains(&edge) {
                    found.push(edge);
                }
            }
            wanted.push(found);
        }
        let published = (0..PUBLICATIONS).map(|_| (below(edges), below(CHANNELS))).collect();
        Self { edges, wanted, published }
    }

    /// Every publication to every other edge.
    fn broadcast(&self) -> Counts {
        let messages = (self.published.len() * (self.edges - 1)) as u64;
        Counts { links: self.edges * (self.edges - 1) / 2, messages, delivered: self.delivered() }
    }

    /// To the server, and from there to the edges that want it.
    fn star(&self) -> Counts {
        let delivered = self.delivered();
        Counts { links: self.edges, messages: self.published.len() as u64 + delivered, delivered }
    }

    fn delivered(&self) -> u64 {
        self.published.iter().map(|(_, channel)| self.wanted[*channel].len() as u64).sum()
    }
}

/// In a namespace with history, as what has none may go by another way.
fn channel(number: usize) -> String {
    format!("short:{number}")
}

/// Pure machines that pass bytes to each other.
fn simulate(workload: &Workload) -> Result<Counts> {
    let names: Vec<String> = (0..workload.edges).map(bus::edge_name).collect();
    let list = List::new(names.iter().map(String::as_str))?;
    let kept = Namespace {
        name: "short".to_owned(),
        history_size: 3,
        history_ttl_ms: 300_000,
        ..Namespace::default()
    };
    let settings = Settings { namespaces: vec![kept], ..Settings::default() };
    let now = Duration::from_secs(60);
    let mut edges: Vec<Mesh> = (0..workload.edges as u64)
        .zip(&names)
        .map(|(run, name)| {
            Mesh::new(Duration::ZERO, name, list.clone(), &settings, &Limits::default(), (run, run))
        })
        .collect();
    let mut delivered = 0;
    let mut links = BTreeMap::new();
    for one in 0..workload.edges {
        for other in one + 1..workload.edges {
            let mut open = |edge: usize, peer: usize| -> Result<LinkId> {
                Ok(edges[edge].opened(now, &names[peer], EdgeId(peer as u64), &mut |_| ())?)
            };
            let (here, there) = (open(one, other)?, open(other, one)?);
            links.insert((one, here), (other, there));
            links.insert((other, there), (one, here));
        }
    }
    let mut told = |tell: Tell<'_>| delivered += u64::from(matches!(tell, Tell::Publication { .. }));
    settle(&mut edges, &links, now, &mut told)?;
    for (number, wanted) in workload.wanted.iter().enumerate() {
        for edge in wanted {
            edges[*edge].ask(now, Ask::Want { channel: channel(number).into() }, &mut told);
        }
    }
    settle(&mut edges, &links, now, &mut told)?;
    let body = wire::bus::body(&Publication { data: b"{}", ..Publication::default() })?;
    for (ticket, (edge, number)) in (0..).zip(&workload.published) {
        let channel: Arc<str> = channel(*number).into();
        let publish = Ask::Publish {
            ticket: Ticket(ticket),
            channel,
            body: body.clone(),
            key: Box::default(),
            kept: None,
        };
        edges[*edge].ask(now, publish, &mut told);
    }
    settle(&mut edges, &links, now, &mut told)?;
    let messages = edges.iter().map(|edge| edge.counters().forwarded + edge.counters().received).sum();
    Ok(Counts { links: links.len() / 2, messages, delivered })
}

/// Passes bytes on until nobody has any.
fn settle(
    edges: &mut [Mesh],
    links: &BTreeMap<(usize, LinkId), (usize, LinkId)>,
    now: Duration,
    told: &mut dyn FnMut(Tell<'_>),
) -> Result<()> {
    let mut moved = true;
    let mut out = Vec::new();
    while std::mem::take(&mut moved) {
        for edge in 0..edges.len() {
            while let Some(Event::Ready(link) | Event::Close(link)) = edges[edge].event() {
                let (other, there) = links.get(&(edge, link)).copied().context("a link of this world")?;
                while edges[edge].transmit(now, link, &mut out) == Transmit::Write {
                    let taken = edges[other].receive(now, there, &out, told)?;
                    ensure!(taken == out.len(), "frames come whole");
                    moved = true;
                }
            }
        }
    }
    Ok(())
}

/// Real relays and gateways with a client each.
fn real(workload: &Workload) -> Result<Counts> {
    let addresses = bus::meeting(workload.edges)?;
    let worlds: Vec<World> = (0..workload.edges)
        .map(|edge| {
            let told = bus::mesh(edge, addresses[edge], &addresses);
            let world = World::builder().relay(&format!("{told}position_check = \"1h\"\n"));
            world.gateway("[shards]\ncount = 1\n").start()
        })
        .collect::<Result<_>>()?;
    for world in &worlds {
        world.metric("headland_mesh_link_up", &[], |up| up == (workload.edges - 1) as f64)?;
    }
    let mut clients: Vec<Client> =
        worlds.iter().map(|world| Client::of(world, "ann")).collect::<Result<_>>()?;
    for (number, wanted) in workload.wanted.iter().enumerate() {
        for edge in wanted {
            let subscribed =
                wait::until("a subscription", WITHIN, || clients[*edge].subscribe(&channel(number)).ok());
            subscribed?;
        }
    }
    for (edge, number) in &workload.published {
        clients[*edge].publish(&channel(*number), &json!({}))?;
    }
    let wanted = |edge: usize| {
        let on = |(_, number): &&(usize, usize)| workload.wanted[*number].contains(&edge);
        workload.published.iter().filter(on).count() as f64
    };
    let mut counts = Counts { links: workload.edges * (workload.edges - 1) / 2, ..Counts::default() };
    for (edge, world) in worlds.iter().enumerate() {
        let came = world.metric("headland_relay_bus_publications_total", &[], |came| came >= wanted(edge))?;
        counts.delivered += came as u64;
        let metrics = world.metrics()?;
        counts.messages += metrics.sum("headland_mesh_forwarded_total", &[]) as u64;
        counts.messages += metrics.sum("headland_mesh_received_total", &[]) as u64;
    }
    Ok(counts)
}
