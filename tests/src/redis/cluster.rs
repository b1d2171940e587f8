//! A cluster of six: three primaries, each with a replica, made by `redis-cli --cluster create`.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{CLIENT, READY_WITHIN, Server};
use crate::wait;

/// Servers of a cluster.
const NODES: usize = 6;
/// A silent server is dead after this long; far below what an operator would set, so that tests need not wait.
const NODE_TIMEOUT_MS: u32 = 1500;

/// Six processes.
#[derive(Debug)]
pub struct Cluster {
    /// All of them; which are primaries changes with time.
    pub nodes: Vec<Server>,
}

impl Cluster {
    /// Starts six and joins them.
    pub fn start() -> Result<Self> {
        let lines = format!(
            "cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-node-timeout {NODE_TIMEOUT_MS}\n\
             cluster-require-full-coverage no\n"
        );
        let nodes: Vec<Server> = (0..NODES).map(|_| Server::with(&lines)).collect::<Result<_>>()?;
        let mut create = Command::new(CLIENT);
        create.args(["--cluster", "create"]).args(nodes.iter().map(Server::address));
        create.args(["--cluster-replicas", "1", "--cluster-yes"]);
        let output = create.output().context("redis-cli does not start")?;
        if !output.status.success() {
            bail!("redis-cli --cluster create: {}", String::from_utf8_lossy(&output.stdout));
        }
        let cluster = Self { nodes };
        for node in &cluster.nodes {
            node.until(&["cluster", "info"], |text| {
                text.contains("cluster_state:ok") && text.contains("cluster_slots_ok:16384")
            })?;
            node.until(&["cluster", "nodes"], |text| text.matches("slave ").count() == NODES / 2)?;
        }
        cluster.until_replicated()?;
        Ok(cluster)
    }

    /// Where the nodes answer.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(Server::address).collect()
    }

    /// Waits until every replica that runs has its primary's data.
    pub fn until_replicated(&self) -> Result<()> {
        for node in self.nodes.iter().filter(|node| node.program().is_some()) {
            node.until(&["info", "replication"], |text| {
                text.contains("role:master") || text.contains("master_link_status:up")
            })?;
        }
        Ok(())
    }

    /// Which node is the primary of a slot, as the nodes that run see it.
    pub fn primary(&self, slot: u16) -> Result<usize> {
        self.primary_other_than(slot, usize::MAX)
    }

    /// Waits until another node than this is the primary of a slot: after it was killed.
    pub fn primary_other_than(&self, slot: u16, old: usize) -> Result<usize> {
        let what = format!("a primary of slot {slot}");
        let found = || {
            let asked = self.nodes.iter().find(|node| node.program().is_some())?;
            let text = asked.command(&["cluster", "nodes"]).ok()?;
            let line = text.lines().find(|line| {
                let mut words = line.split(' ');
                let flags = words.nth(2).unwrap_or_default();
                flags.contains("master")
                    && !flags.contains("fail")
                    && words.skip(5).any(|range| holds(range, slot))
            })?;
            let address = line.split(' ').nth(1)?.split('@').next()?;
            self.nodes.iter().position(|node| node.address() == address)
        };
        wait::until(&what, READY_WITHIN, || found().filter(|node| *node != old))
    }

    /// A node's id in the cluster.
    pub fn id(&self, node: usize) -> Result<String> {
        self.nodes[node].command(&["cluster", "myid"])
    }

    /// Moves a slot with its keys from its primary to another node.
    pub fn migrate(&self, slot: u16, to: usize) -> Result<()> {
        let from = self.primary(slot)?;
        let (slot, from_id, to_id) = (slot.to_string(), self.id(from)?, self.id(to)?);
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        target.command(&["cluster", "setslot", &slot, "importing", &from_id])?;
        source.command(&["cluster", "setslot", &slot, "migrating", &to_id])?;
        loop {
            let keys = source.command(&["cluster", "getkeysinslot", &slot, "100"])?;
            let keys: Vec<&str> = keys.lines().filter(|line| !line.is_empty()).collect();
            if keys.is_empty() {
                break;
            }
            let port = target.port().to_string();
            let words = ["migrate", "127.0.0.1", &port, "", "0", "5000", "keys"];
            source.command(&[&words[..], &keys[..]].concat())?;
        }
        target.command(&["cluster", "setslot", &slot, "node", &to_id])?;
        source.command(&["cluster", "setslot", &slot, "node", &to_id])?;
        Ok(())
    }
}

/// Whether a range as `CLUSTER NODES` prints it ("5-9", "7") has the slot.
fn holds(range: &str, slot: u16) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let bounds = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
    bounds.is_some_and(|(first, last)| (first..=last).contains(&slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_slots_are_understood() {
        assert!(holds("0-5460", 5460) && holds("7", 7));
        assert!(!holds("0-5460", 5461) && !holds("[7->-abc]", 7));
    }
}
