//! What a relay is told of the bus it is on. Every text ends in `[bus]`, so more of its keys may follow.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::Result;

/// The edge shares Redis.
pub fn star(server: &str) -> String {
    format!("[bus.redis]\naddress = [{server:?}]\n[bus]\nkind = \"redis\"\n")
}

/// The edge shares a Redis Cluster, of which it is told these nodes.
pub fn cluster(nodes: &[String]) -> String {
    format!("[bus.redis]\naddress = {nodes:?}\n[bus]\nkind = \"redis-cluster\"\n")
}

/// One edge of a mesh, which listens at its own address and finds all of them, itself too, where it is told.
pub fn mesh(edge: usize, own: SocketAddr, seen: &[SocketAddr]) -> String {
    let peers = seen.iter().enumerate().map(|(peer, address)| {
        format!("[[bus.mesh.peers]]\nname = \"{}\"\naddress = \"{address}\"\n", edge_name(peer))
    });
    format!(
        "[bus.mesh]\nname = \"{}\"\naddress = \"{own}\"\nshared_key = \"a key of the tests' mesh\"\n{}[bus]\nkind = \"mesh\"\n",
        edge_name(edge),
        peers.collect::<String>()
    )
}

/// What the edges of a mesh are called; in the order of their numbers.
pub fn edge_name(edge: usize) -> String {
    format!("edge-{edge:02}")
}

/// Which edge of a mesh of so many owns a channel.
pub fn owner(channel: &str, edges: usize) -> usize {
    let names: Vec<String> = (0..edges).map(edge_name).collect();
    let list = relay::mesh::List::new(names.iter().map(String::as_str));
    list.map_or(0, |list| list.owner(channel))
}

/// Addresses for relays to meet at, all held at once and then given back: on a loopback address of their own, where nobody else
/// takes a port meanwhile.
pub fn meeting(count: usize) -> Result<Vec<SocketAddr>> {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // Fits: below 100.
    let own = Ipv4Addr::new(127, 100 + (std::process::id() % 100) as u8, high, low);
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind((own, 0))).collect::<Result<_, _>>()?;
    Ok(held.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?)
}
