//! The node's configuration file: every key with its prose and default, and what it becomes.

mod check;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use wire::config::Secret;
use wire::config::{ConfigError, Data, Field, Loaded, Reader, Shape, Value, load};
use wire::config_table;

pub use check::Checked;

/// Variables with this prefix override single values: `HEADLAND_NODE_TOKENS_ISSUER=example.com`.
pub const PREFIX: &str = "HEADLAND_NODE_";

config_table! {
    /// The whole file.
    pub struct Config {
        /// Who may make workspaces, and become a user of one: "open" lets everybody, "closed" nobody.
        registration: Registration = Registration::default(),
        /// Where clients, relays and monitoring ask.
        http: Http = Http::default(),
        /// The databases.
        store: Store = Store::default(),
        /// The relays of the system: what is stored is told to any one of them.
        relays: Relays = Relays::default(),
        /// The tokens that clients show to nodes and to edges.
        tokens: Tokens = Tokens::default(),
        /// Messages that are delivered before they are stored.
        fast: Fast = Fast::default(),
        /// Bounds.
        limits: Limits = Limits::default(),
        /// A chat page for development.
        demo: Demo = Demo::default(),
    }
}

config_table! {
    /// `[http]`.
    pub struct Http {
        /// Where to listen. Must be loopback or private: what stands between clients and nodes (TLS, name) is another program's.
        address: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9100)),
        /// Listen there even if the address is public.
        allow_public_address: bool = false,
        /// Sites whose pages may use the REST API ("https://app.example.com"); "*" is any. Pages from this address always may.
        allowed_origins: Vec<String> = Vec::new(),
        /// The field in which a proxy before the node says who the client is ("X-Forwarded-For"; its last address counts). Unset, the
        /// other end of the connection is the client.
        client_address_field: Option<String> = None,
    }
}

config_table! {
    /// `[store]`.
    pub struct Store {
        /// Where the embedded SQLite database is, while no other is named, and the queue of fast channels. Made if it is missing.
        folder: PathBuf = PathBuf::from("headland-node-data"),
        /// The database of routes, keys and numbers: "postgres://user:password@host/database" or "sqlite:FILE". All nodes of a system have the
        /// same.
        control: Option<Secret> = None,
        /// Where workspaces live: one table for each cluster. A new workspace goes to the first.
        clusters: Vec<Cluster> = Vec::new(),
    }
}

config_table! {
    /// `[[store.clusters]]`.
    pub struct Cluster {
        /// What the routes call it. Never changes.
        name: String = String::new(),
        /// Its databases. The first has users, channels and members; channels' messages are spread over all. Neither order nor
        /// number may change later.
        databases: Vec<Secret> = Vec::new(),
    }
}

config_table! {
    /// `[relays]`.
    pub struct Relays {
        /// The server API of each: "10.0.0.5:9000". One that answers is enough. None: messages are stored, and nobody is told.
        addresses: Vec<SocketAddr> = Vec::new(),
        /// What is shown to them: one of their http_api.key.
        api_key: Secret = Secret::default(),
        /// What relays show when they ask this node: their node.key. Unset, they are not answered.
        key: Secret = Secret::default(),
    }
}

config_table! {
    /// `[tokens]`.
    pub struct Tokens {
        /// The `iss` of tokens. A URL, if anything is to find the keys by it.
        issuer: String = "headland".to_owned(),
        /// The `aud` of tokens.
        audience: String = "headland".to_owned(),
        /// How long an access token is good: at most so long does a user who may come no more stay.
        access_lifetime: Duration = Duration::from_secs(900),
        /// How long a client may stay away before the user signs in again.
        refresh_lifetime: Duration = Duration::from_secs(720 * 3600),
        /// How long one key signs.
        rotate_every: Duration = Duration::from_secs(720 * 3600),
        /// How long a key is published before it signs: longer than relays and others keep the set of keys.
        publish_before: Duration = Duration::from_secs(2 * 3600),
    }
}

config_table! {
    /// `[limits]`.
    pub struct Limits {
        /// Connections of clients and relays at once; more wait.
        connections: usize = 4096,
        /// Requests under way; more are refused with 503.
        requests: usize = 1024,
        /// Passwords hashed at once, each in 19 MiB; 0 is one less than there are cores. Some more wait, the rest is refused with 503.
        hashes: usize = 0,
        /// Failed sign-ins of one account that are forgotten in five minutes; more are refused with 429 until then. 0 is any number.
        failures_per_account: u32 = 10,
        /// The same from one address.
        failures_per_source: u32 = 100,
        /// Bytes of pages of messages that are kept to be served again.
        page_cache_bytes: usize = 64 * 1024 * 1024,
    }
}

config_table! {
    /// `[fast]`.
    pub struct Fast {
        /// Messages that may wait for the store, in the file queue.db of store.folder; more are refused. Another node does not have them:
        /// the folder outlives the program.
        messages: u64 = 1_000_000,
        /// The same in bytes.
        bytes: u64 = 1024 * 1024 * 1024,
    }
}

config_table! {
    /// `[demo]`.
    pub struct Demo {
        /// The edge that the page at /demo/ connects to, "wss://localhost:8443/connection/websocket". Unset, there is no page.
        url: Option<String> = None,
        /// The workspace that the page proposes; made at start if there is none of this name.
        workspace: String = "demo".to_owned(),
        /// The client library: dist/centrifuge.js of the npm package `centrifuge`.
        library: Option<PathBuf> = None,
    }
}

/// Who may register.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Registration {
    /// Everybody.
    #[default]
    Open,
    /// Nobody.
    Closed,
}

impl Field for Registration {
    fn shape() -> Shape {
        Shape::Text("one of \"open\", \"closed\"".to_owned())
    }

    fn blank() -> Self {
        Self::default()
    }

    fn read(&mut self, reader: &mut Reader, value: &Value) {
        match &value.data {
            Data::Text(text) if text == "open" => *self = Self::Open,
            Data::Text(text) if text == "closed" => *self = Self::Closed,
            _ => reader.expected(value, &Self::shape().allowed()),
        }
    }

    fn show(&self) -> Option<String> {
        Some(if *self == Self::Open { "\"open\"" } else { "\"closed\"" }.to_owned())
    }
}

/// Reads and checks a configuration. Reads no other file.
pub fn read(
    file: &str,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Checked, ConfigError> {
    let Loaded { value, places } = load::<Config>(file, text, PREFIX, variables)?;
    Checked::new(value, &places)
}

/// The default configuration with prose.
pub fn document() -> String {
    wire::config::document::<Config>(
        "headland-node: every key with its default.\n\
         Each single value can also be set by a variable: tokens.issuer by HEADLAND_NODE_TOKENS_ISSUER.\n\
         Durations are texts such as \"25s\", \"5m\", \"720h\". Without a file the node runs on SQLite in store.folder.",
    )
}
