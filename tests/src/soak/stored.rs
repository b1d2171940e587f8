//! Nodes behind the edges of a soak: what is published is stored before it is acknowledged, so nothing that any program forgets is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::ledger::{Books, Channel, Id, Place};
use crate::node::{self, Node, Plan};
use crate::postgres;
use crate::rest::Rest;
use crate::world::Builder;

/// Messages of one page.
const PAGE: usize = 200;
/// Pages of one channel: a soak that stores more is too long to be checked.
const PAGES_MAX: usize = 5_000;

/// Subscriptions are the clients' own business here, since they say what they have seen; at once they get as much as a node gives.
const RELAY: &str = r#"
[node]
subscribe_on_connect = false

[client]
recovery_max_publication_limit = 1000
"#;

/// What the nodes store in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Store {
    /// One node with its embedded database.
    Sqlite,
    /// Two nodes over one PostgreSQL.
    Postgres,
}

/// Nodes that are to be started once the relays' addresses are known.
#[derive(Debug)]
pub(super) struct Planned {
    plans: Vec<Plan>,
    postgres: Option<postgres::Server>,
}

/// The nodes with the channels and people of the soak.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) nodes: Vec<Node>,
    pub(super) postgres: Option<postgres::Server>,
    /// By channel: id and name on the bus.
    channels: Vec<(String, String)>,
    /// Tokens by user.
    pub(super) tokens: BTreeMap<String, String>,
    owner: Mutex<Rest>,
}

impl Planned {
    pub(super) fn new(store: Store) -> Result<Self> {
        let (count, postgres) = match store {
            Store::Sqlite => (1, None),
            Store::Postgres => (2, Some(postgres::Server::start()?)),
        };
        let plans = (0..count).map(|_| Plan::new()).collect::<Result<_>>()?;
        Ok(Self { plans, postgres })
    }

    /// Tells an edge of them.
    pub(super) fn behind(&self, edge: Builder) -> Builder {
        let addresses: Vec<SocketAddr> = self.plans.iter().map(|plan| plan.http).collect();
        edge.relay(&node::relay(&addresses)).relay(RELAY)
    }

    /// Starts the nodes; makes the channels, with all these users in all of them.
    pub(super) fn start(self, relays: &[SocketAddr], channels: usize, users: &[String]) -> Result<Stored> {
        let store = match &self.postgres {
            None => String::new(),
            Some(server) => node::store(&server.database()?),
        };
        let text = format!("{store}[tokens]\naccess_lifetime = \"24h\"\n");
        let start = |plan: Plan| plan.start(relays, &text);
        let nodes: Vec<Node> = self.plans.into_iter().map(start).collect::<Result<_>>()?;
        let address = nodes[0].http;
        let mut owner = Rest::found(address, "soak", "owner")?;
        let people: Vec<Rest> =
            users.iter().map(|user| Rest::register(address, "soak", user)).collect::<Result<_>>()?;
        let ids: Vec<&str> = people.iter().map(Rest::id).collect();
        let mut made = Vec::with_capacity(channels);
        for number in 0..channels {
            let body = json!({ "name": format!("channel {number}"), "members": ids });
            let channel = owner.call("POST", "/v1/channels", Some(&body))?.expect(201)?;
            let word = |name: &str| channel[name].as_str().map(str::to_owned).context(name.to_owned());
            made.push((word("id")?, word("stream")?));
        }
        let tokens =
            users.iter().zip(&people).map(|(user, rest)| (user.clone(), rest.token().to_owned())).collect();
        let owner = Mutex::new(owner);
        Ok(Stored { nodes, postgres: self.postgres, channels: made, tokens, owner })
    }
}

impl Stored {
    pub(super) fn names(&self) -> Vec<String> {
        self.channels.iter().map(|(_, stream)| stream.clone()).collect()
    }

    /// Who posts by REST, to the node of this number.
    pub(super) fn poster(&self, user: &str, number: usize) -> Result<Poster> {
        let token = self.tokens.get(user).cloned().with_context(|| format!("no user {user}"))?;
        let address = self.nodes[number % self.nodes.len()].http;
        let ids = self.channels.iter().map(|(id, _)| id.clone()).collect();
        Ok(Poster { rest: Rest::with(address, token), channels: ids })
    }

    /// Compares the store with what was acknowledged: how many messages it has, and in words what is wrong with them.
    pub(super) fn check(&self, books: &Books) -> Result<(u64, Vec<String>)> {
        let mut owner = self.owner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (mut count, mut wrong) = (0, Vec::new());
        for (channel, (id, _)) in self.channels.iter().enumerate() {
            let stored = messages(&mut owner, id)?;
            count += stored.len() as u64;
            let ids: BTreeSet<Id> = stored.values().copied().collect();
            if ids.len() != stored.len() {
                wrong.push(format!("channel {channel}: a publication is stored twice"));
            }
            let acknowledged = books.acknowledged.get(&channel).into_iter().flatten();
            for (Place { offset, .. }, id) in acknowledged {
                if stored.get(offset) != Some(id) {
                    wrong.push(format!(
                        "channel {channel}: {id} was acknowledged at {offset} and is not stored there"
                    ));
                }
            }
            if stored.keys().copied().ne(1..=stored.len() as u64) {
                wrong.push(format!("channel {channel}: offsets have gaps"));
            }
        }
        Ok((count, wrong))
    }
}

/// Every message of a channel by its offset.
fn messages(rest: &mut Rest, channel: &str) -> Result<BTreeMap<u64, Id>> {
    let mut found = BTreeMap::new();
    let mut cursor = "0.0".to_owned();
    for _ in 0..PAGES_MAX {
        let path = format!("/v1/channels/{channel}/messages?after={cursor}&limit={PAGE}");
        let page = rest.call("GET", &path, None)?.expect(200)?;
        let list = page["messages"].as_array().context("messages")?;
        for message in list {
            let offset = message["offset"].as_u64().context("an offset")?;
            found.insert(offset, message["body"]["id"].as_u64().context("an id")?);
        }
        match page["newer"].as_str() {
            Some(newer) if !list.is_empty() => cursor = newer.to_owned(),
            _ => return Ok(found),
        }
    }
    anyhow::bail!("channel {channel} has more than {PAGES_MAX} pages")
}

/// Somebody who posts by REST.
#[derive(Debug)]
pub(super) struct Poster {
    rest: Rest,
    channels: Vec<String>,
}

impl Poster {
    pub(super) fn post(&mut self, channel: Channel, id: Id) -> Result<Place> {
        let path = format!("/v1/channels/{}/messages", self.channels[channel]);
        let key = format!("key-{id}");
        let answer = self.rest.request(
            "POST",
            &path,
            &[("idempotency-key", &key)],
            Some(&json!({ "body": { "id": id } })),
        )?;
        ensure!(matches!(answer.status, 200 | 201), "answered {}: {}", answer.status, answer.body);
        let (offset, epoch) = (answer.body["message"]["offset"].as_u64(), answer.body["epoch"].as_str());
        let (offset, epoch) = offset.zip(epoch).context("no place")?;
        Ok(Place { offset, epoch: epoch.to_owned() })
    }
}
