//! The faults: each strikes once, and mends what it broke before it returns.

use std::time::Duration;

use anyhow::{Context, Result};

use super::place::{Kind, Place};
use crate::sim::random::Random;
use crate::wait;

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) strike: fn(&mut Place, &mut Random) -> Result<()>,
}

const RELAY: Fault = Fault { name: "relay killed", strike: relay };
const GATEWAY: Fault = Fault { name: "gateway killed", strike: gateway };
const PACKETS: Fault = Fault { name: "packets dropped", strike: packets };
const CUT: Fault = Fault { name: "link cut", strike: cut };
const REDIS: Fault = Fault { name: "redis killed", strike: redis };
const HANG: Fault = Fault { name: "redis hangs", strike: hang };
const BUFFER: Fault = Fault { name: "redis output buffer tiny", strike: buffer };
const SUBSCRIBERS: Fault = Fault { name: "redis drops subscribers", strike: subscribers };
const PRIMARY: Fault = Fault { name: "primary killed", strike: primary };
const NODE: Fault = Fault { name: "node killed", strike: node };
const POSTGRES: Fault = Fault { name: "postgres killed", strike: postgres };
const SLOTS: Fault = Fault { name: "slots migrated", strike: slots };

/// Slots moved at once.
const SLOTS_MOVED: u64 = 40;

/// What can happen in a place.
pub(super) fn faults(place: &Place) -> Vec<Fault> {
    let own: &[Fault] = match place.kind {
        Kind::Local | Kind::Mesh => &[],
        Kind::Redis => &[REDIS, HANG, SUBSCRIBERS],
        Kind::RedisCluster => &[PRIMARY, SLOTS],
    };
    let links: &[Fault] = match place.kind {
        _ if place.nets.is_empty() => &[],
        Kind::Redis => &[PACKETS, CUT, BUFFER],
        _ => &[PACKETS, CUT],
    };
    let stores: &[Fault] = match &place.stored {
        None => &[],
        Some(stored) if stored.postgres.is_none() => &[NODE],
        Some(_) => &[NODE, POSTGRES],
    };
    [&[RELAY, GATEWAY], own, links, stores].concat()
}

fn some_edge(place: &Place, random: &mut Random) -> usize {
    random.index(place.edges().len())
}

fn a_while(random: &mut Random, low_ms: u64, high_ms: u64) {
    wait::pause(Duration::from_millis(random.between(low_ms, high_ms)));
}

fn relay(place: &mut Place, random: &mut Random) -> Result<()> {
    let edge = some_edge(place, random);
    place.restart_relay(edge, || a_while(random, 0, 2_000))
}

fn gateway(place: &mut Place, random: &mut Random) -> Result<()> {
    let edge = some_edge(place, random);
    place.restart_gateway(edge)
}

fn packets(place: &mut Place, random: &mut Random) -> Result<()> {
    let net = &place.nets[some_edge(place, random)];
    net.drop_packets(random.between(2, 20) as u32)?;
    a_while(random, 2_000, 6_000);
    net.drop_packets(0)
}

fn cut(place: &mut Place, random: &mut Random) -> Result<()> {
    let net = &place.nets[some_edge(place, random)];
    net.drop_packets(100)?;
    a_while(random, 500, 8_000);
    net.drop_packets(0)
}

fn redis(place: &mut Place, random: &mut Random) -> Result<()> {
    let redis = place.redis.as_mut().context("a server")?;
    redis.kill()?;
    a_while(random, 0, 3_000);
    redis.run()
}

fn hang(place: &mut Place, random: &mut Random) -> Result<()> {
    let redis = place.redis.as_ref().context("a server")?;
    redis.pause()?;
    a_while(random, 200, 3_000);
    redis.resume()
}

fn buffer(place: &mut Place, random: &mut Random) -> Result<()> {
    let redis = place.redis.as_ref().context("a server")?;
    let limit = |text: &str| redis.command(&["config", "set", "client-output-buffer-limit", text]);
    limit("pubsub 1kb 512b 1")?;
    // Nobody is slow enough on a machine of one's own: the link of one edge is made slow.
    let net = &place.nets[some_edge(place, random)];
    net.drop_packets(40)?;
    a_while(random, 2_000, 5_000);
    net.drop_packets(0)?;
    limit("pubsub 32mb 8mb 60").map(|_| ())
}

fn subscribers(place: &mut Place, random: &mut Random) -> Result<()> {
    let redis = place.redis.as_ref().context("a server")?;
    redis.command(&["client", "kill", "type", "pubsub"])?;
    a_while(random, 0, 500);
    Ok(())
}

fn primary(place: &mut Place, random: &mut Random) -> Result<()> {
    let cluster = place.cluster.as_mut().context("a cluster")?;
    // A primary whose replica is not up to date would lose what it acknowledged, whatever Headland does.
    cluster.until_replicated()?;
    let slot = random.below(16_384) as u16;
    let old = cluster.primary(slot)?;
    cluster.nodes[old].kill()?;
    cluster.primary_other_than(slot, old)?;
    a_while(random, 500, 3_000);
    cluster.nodes[old].run()?;
    cluster.until_replicated()
}

fn node(place: &mut Place, random: &mut Random) -> Result<()> {
    let nodes = &mut place.stored.as_mut().context("nodes")?.nodes;
    let count = nodes.len();
    let node = &mut nodes[random.index(count)];
    node.program.kill()?;
    a_while(random, 0, 3_000);
    node.again()
}

fn postgres(place: &mut Place, random: &mut Random) -> Result<()> {
    let server = place.stored.as_mut().and_then(|stored| stored.postgres.as_mut()).context("a server")?;
    server.kill()?;
    a_while(random, 0, 3_000);
    server.run()
}

fn slots(place: &mut Place, random: &mut Random) -> Result<()> {
    let cluster = place.cluster.as_ref().context("a cluster")?;
    let first = random.below(16_384 - SLOTS_MOVED * 128);
    for index in 0..SLOTS_MOVED {
        // Partitions stand 128 slots apart.
        let slot = (first + index * 128) as u16;
        let from = cluster.primary(slot)?;
        let other = (0..16_384u16).step_by(1024).find_map(|slot| {
            let node = cluster.primary(slot).ok()?;
            (node != from).then_some(node)
        });
        cluster.migrate(slot, other.context("another primary")?)?;
    }
    Ok(())
}
