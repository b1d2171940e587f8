//! Where the servers are: the one, what sentinels say, or a cluster's map of slots.
//!
//! Owns when that is looked at and what follows from it: which node has which partition, and which channels are subscribed to anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use redis::Value;
use relay::Backoff;
use relay::partition::slot;
use tokio::time::{self, Instant};

use super::dial;
use super::limits::TOPOLOGY_PAUSE;
use super::node::Node;
use super::settings::Place;
use super::shared::Shared;
use super::trouble::Trouble;

/// Who has which partition: addresses, `None` where nobody has it just now.
type Owners = Vec<Option<String>>;

/// Looks now and then, and when something seems to have changed, until the end of the program.
pub(super) async fn keep(shared: Arc<Shared>, began: Instant) {
    let mut backoff = Backoff::new(TOPOLOGY_PAUSE.0, TOPOLOGY_PAUSE.1, shared.seed());
    loop {
        match look(&shared).await {
            Ok(owners) => {
                if apply(&shared, &owners, began) {
                    backoff.worked();
                }
            }
            Err(trouble) => {
                if trouble.refusal() {
                    shared.counters.refused(1);
                }
                shared.said.note(&trouble.to_string());
            }
        }
        time::sleep(backoff.failed()).await;
        tokio::select! {
            () = shared.nudged.notified() => {}
            () = time::sleep(shared.settings.topology_interval) => backoff.worked(),
        }
    }
}

async fn look(shared: &Arc<Shared>) -> Result<Owners, Trouble> {
    let one = |address: String| vec![Some(address)];
    match &shared.settings.place {
        Place::Servers(addresses) => match addresses.as_slice() {
            [address] => Ok(one(address.clone())),
            several => first(shared, several).await.map(one),
        },
        Place::Sentinels { name, addresses, login } => {
            dial::primary(&shared.settings, name, addresses, login).await.map(one)
        }
        Place::Cluster(seeds) => cluster(shared, seeds).await,
    }
}

/// The first of several that is a primary; the present one while it is connected.
async fn first(shared: &Shared, addresses: &[String]) -> Result<String, Trouble> {
    if let Some(node) = shared.node(0).filter(|node| node.writes.is_open()) {
        return Ok(node.address.clone());
    }
    let mut last = Trouble::Unused;
    for address in addresses {
        match dial::server(&shared.settings, address).await {
            Ok(_) => return Ok(address.clone()),
            Err(trouble) => last = trouble,
        }
    }
    Err(last)
}

/// The cluster's map, from any node that answers: first those that are in use.
async fn cluster(shared: &Arc<Shared>, seeds: &[String]) -> Result<Owners, Trouble> {
    let known: BTreeSet<String> =
        shared.nodes().into_iter().flatten().map(|node| node.address.clone()).collect();
    let mut last = Trouble::Unused;
    for address in known.iter().chain(seeds.iter().filter(|seed| !known.contains(*seed))) {
        match ask(shared, address).await {
            Ok(owners) if owners.iter().any(Option::is_some) => return Ok(owners),
            Ok(_) => last = Trouble::Other(address.clone(), "knows no primary of any slot".to_owned()),
            Err(trouble) => last = trouble,
        }
    }
    Err(last)
}

async fn ask(shared: &Arc<Shared>, address: &str) -> Result<Owners, Trouble> {
    let (mut commands, _) = dial::server(&shared.settings, address).await?;
    let reply: Value = redis::cmd("CLUSTER")
        .arg("SLOTS")
        .query_async(&mut commands.connection)
        .await
        .map_err(|error| Trouble::of(address, &error))?;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let ranges = ranges(&reply, host);
    let owner = |slot: u16| ranges.range(..=slot).next_back().filter(|(_, (last, _))| slot <= *last);
    let owners =
        (0..shared.keys.partitions()).map(|partition| owner(slot(partition)).map(|(_, (_, at))| at.clone()));
    Ok(owners.collect())
}

/// The ranges of CLUSTER SLOTS: first slot, then last slot and the primary's address. A node that does not know its own name is
/// where it was asked.
fn ranges(reply: &Value, host: &str) -> BTreeMap<u16, (u16, String)> {
    let Value::Array(entries) = reply else { return BTreeMap::new() };
    let range = |entry: &Value| {
        let Value::Array(parts) = entry else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = parts.as_slice() else {
            return None;
        };
        let [name, Value::Int(port), ..] = primary.as_slice() else { return None };
        let name = match name {
            Value::BulkString(name) if !name.is_empty() && name != b"?" => {
                String::from_utf8(name.clone()).ok()?
            }
            _ => host.to_owned(),
        };
        Some((u16::try_from(*first).ok()?, (u16::try_from(*last).ok()?, format!("{name}:{port}"))))
    };
    entries.iter().filter_map(range).collect()
}

/// Makes it so; true if anything has changed.
fn apply(shared: &Arc<Shared>, owners: &[Option<String>], began: Instant) -> bool {
    let before = shared.nodes();
    let mut nodes: BTreeMap<String, Arc<Node>> =
        before.iter().flatten().map(|node| (node.address.clone(), Arc::clone(node))).collect();
    let wanted: BTreeSet<&String> = owners.iter().flatten().collect();
    for address in &wanted {
        if !nodes.contains_key(*address) {
            nodes.insert((*address).clone(), Node::start(shared, address, began));
        }
    }
    // Whoever nobody has just now stays where it was: that is where it may come back.
    let after: Vec<Option<Arc<Node>>> = owners
        .iter()
        .zip(&before)
        .map(|(owner, before)| owner.as_ref().and_then(|owner| nodes.get(owner)).or(before.as_ref()).cloned())
        .collect();
    shared.set_nodes(after.clone());
    let (mut changed, mut failed_over) = (false, false);
    for (partition, (before, after)) in before.iter().zip(&after).enumerate() {
        let same = match (before, after) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after),
            (None, None) => true,
            _ => false,
        };
        if !same {
            shared.counters.moved(1);
            // A primary that is one no more was replaced by a replica, which may not have heard its last words.
            failed_over |= before.as_ref().is_some_and(|before| !wanted.contains(&before.address));
        }
        if same && !shared.topics().unsettled(partition) {
            continue;
        }
        changed = true;
        let session = after.as_ref().and_then(|after| after.session());
        shared.assign(partition, session);
        if let Some(after) = after {
            after.bell.notify_one();
        }
    }
    for node in nodes.values() {
        if !after.iter().flatten().any(|used| Arc::ptr_eq(used, node)) {
            node.stop();
        }
    }
    if failed_over {
        shared.forgot();
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_slots_is_read() {
        let node = |name: &str, port| Value::Array(vec![Value::BulkString(name.into()), Value::Int(port)]);
        let entry =
            |first, last, name| Value::Array(vec![Value::Int(first), Value::Int(last), node(name, 7000)]);
        let reply = Value::Array(vec![entry(0, 99, "10.0.0.1"), entry(101, 16383, "")]);
        let ranges = ranges(&reply, "10.0.0.9");
        assert_eq!(ranges[&0], (99, "10.0.0.1:7000".to_owned()));
        assert_eq!(ranges[&101], (16383, "10.0.0.9:7000".to_owned()));
    }
}
