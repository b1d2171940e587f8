//! What an adapter to Redis is made from: where the servers are, who we are to them, and times.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::config::Secret;

/// What an adapter is made from. The configuration has been checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the servers are.
    pub place: Place,
    /// Whom Redis knows us as.
    pub login: Login,
    /// TLS to every server, sentinels included.
    pub tls: Option<Tls>,
    /// The number of the database; 0 in a cluster.
    pub database: u32,
    /// What every key and topic begins with. Edges with the same prefix are one system.
    pub prefix: String,
    /// How many replicas must have a publication with history before it is acknowledged.
    pub wait_replicas: u32,
    /// How long they may take.
    pub wait_timeout: Duration,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long a command may take.
    pub answer_timeout: Duration,
    /// How often the map of a cluster is looked at even if nothing seems to have changed.
    pub topology_interval: Duration,
    /// An edge that did not say for so long that it lives is taken for gone.
    pub lease: Duration,
    /// How long the members of an edge that is gone stay before they are taken for gone too.
    pub presence_grace: Duration,
    /// Members of one channel.
    pub members_max: usize,
}

/// Where the servers are: addresses are `host:port`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// One server. With several addresses, the first that answers and is a primary.
    Servers(Vec<String>),
    /// Sentinels know the one server.
    Sentinels {
        /// What they call it.
        name: String,
        /// Where they are.
        addresses: Vec<String>,
        /// Whom they know us as.
        login: Login,
    },
    /// A cluster; some of its nodes.
    Cluster(Vec<String>),
}

/// A user and its password; both may be empty.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Login {
    /// Empty: the default user.
    pub user: String,
    /// Empty: none.
    pub password: Secret,
}

impl Eq for Login {}

/// TLS of connections to Redis.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Whom to trust, and what to show.
    pub client: Arc<ClientConfig>,
    /// The name in the servers' certificates; empty: the host of each address.
    pub name: String,
}

impl Settings {
    pub(super) const fn cluster(&self) -> bool {
        matches!(self.place, Place::Cluster(_))
    }
}
