//! The relay's configuration file: every key with its prose and default, and what it becomes.

mod admission;
mod bus;
mod check;
mod mesh;
mod namespace;
mod node;
mod proxy;
mod redis;
mod token;
mod word;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use wire::channel::Boundaries;
use wire::config::{ConfigError, Loaded, load};
use wire::config_table;

pub use admission::{Admission, Rate, RateLimit, Refusals};
pub use bus::{Bus, BusKind};
pub use check::Checked;
pub use mesh::{Mesh, MeshError, Peer};
pub use namespace::{Namespace, WithoutNamespace};
pub use node::{Node, Rights};
pub use proxy::{
    ChannelProxies, ClientProxies, ConnectProxy, Headers, HttpOptions, NamedProxy, Proxy, RefreshProxy, Rpc,
    RpcNamespace, RpcWithoutNamespace,
};
pub use redis::{Redis, RedisTls, Sentinel};
pub use token::{SubscriptionToken, Token};
pub use wire::config::{Secret, private};
pub use word::{Deciding, DeltaType, ErrorMode, Errors, Format, Kind, Mode, Storing};

/// Variables with this prefix override single values: `HEADLAND_RELAY_CLIENT_PING_INTERVAL=10s`.
pub const PREFIX: &str = "HEADLAND_RELAY_";

config_table! {
    /// The whole file.
    pub struct Config {
        /// The unix socket that gateways of this box connect to.
        link: Link = Link::default(),
        /// Metrics and health, on the private side.
        http: Http = Http::default(),
        /// The server API: backends publish, and command what sessions do, at http.address/api/.
        http_api: HttpApi = HttpApi::default(),
        /// Client connections. Gateways are told on every reload.
        client: Client = Client::default(),
        /// Who may come. Gateways are told on every reload.
        admission: Admission = Admission::default(),
        /// Channels.
        channel: Channel = Channel::default(),
        /// Calls (rpc) of clients.
        rpc: Rpc = Rpc::default(),
        /// Backends that namespaces name.
        proxies: Vec<NamedProxy> = Vec::new(),
        /// Certificates. Their private keys never leave this program.
        tls: Tls = Tls::default(),
        /// How publications cross edges.
        bus: Bus = Bus::default(),
        /// Nodes: who stores messages, and knows who may be where.
        node: Node = Node::default(),
        /// Bounds on memory.
        limits: Bounds = Bounds::default(),
    }
}

config_table! {
    /// `[link]`.
    pub struct Link {
        /// Where the socket is made. Its folder must exist; access to the folder is access to the relay.
        path: PathBuf = PathBuf::from("/run/headland/relay.sock"),
        /// User ids whose processes may connect besides root and the relay's own user.
        allowed_uids: Vec<u32> = Vec::new(),
    }
}

config_table! {
    /// `[http]`.
    pub struct Http {
        /// Address of /metrics and /health. Must be loopback or private.
        address: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9000)),
        /// Listen there even if the address is public.
        allow_public_address: bool = false,
    }
}

config_table! {
    /// `[http_api]`.
    pub struct HttpApi {
        /// What requests show in the field X-API-Key. Without a key there is no API.
        key: Secret = Secret::default(),
        /// Further keys that are as good: the one before, or one for each backend.
        more_keys: Vec<Secret> = Vec::new(),
        /// Development only: requests need no key. http.address must be loopback.
        insecure: bool = false,
        /// "transport" tells errors by HTTP statuses as well; otherwise they are in the body of a 200.
        error_mode: ErrorMode = ErrorMode::default(),
    }
}

config_table! {
    /// `[client]`.
    pub struct Client {
        /// Let clients connect without a token, as anonymous users.
        allow_anonymous_connect_without_token: bool = false,
        /// Refuse tokens without a user.
        disallow_anonymous_connection_tokens: bool = false,
        /// Development only: every command is permitted to everybody.
        insecure: bool = false,
        /// How often the server pings. 0s never does.
        ping_interval: Duration = Duration::from_secs(25),
        /// How long a pong may take.
        pong_timeout: Duration = Duration::from_secs(8),
        /// How long an upgraded connection may stay without a connect command.
        stale_close_delay: Duration = Duration::from_secs(10),
        /// How long an expired connection may take to refresh its token.
        expired_close_delay: Duration = Duration::from_secs(25),
        /// How long an expired subscription may take to refresh its token.
        expired_sub_close_delay: Duration = Duration::from_secs(25),
        /// Subscriptions of one connection, those that the server makes included.
        channel_limit: u32 = 128,
        /// Bytes that may wait for one connection; past it, it is closed as slow.
        queue_max_size: u32 = 1_048_576,
        /// Publications in one recovery; past it, the client has to load its state anew.
        recovery_max_publication_limit: u32 = 300,
        /// Publications in one history answer.
        history_max_publication_limit: u32 = 300,
        /// Connections of one user at once, on all gateways of this relay; more are closed with 3504. 0 is any number.
        user_connection_limit: u32 = 0,
        /// How often one connection may command what.
        rate_limit: RateLimit = RateLimit::default(),
        /// Backends that decide on connections.
        proxy: ClientProxies = ClientProxies::default(),
        /// Personal channels.
        subscribe_to_user_personal_channel: PersonalChannel = PersonalChannel::default(),
        /// How tokens (JWT) are verified. With none of these keys there are no valid tokens.
        token: Token = Token::default(),
        /// How subscription tokens are verified, if not as those of connections.
        subscription_token: SubscriptionToken = SubscriptionToken::default(),
    }
}

config_table! {
    /// `[client.subscribe_to_user_personal_channel]`.
    pub struct PersonalChannel {
        /// Subscribe each user's connections to the user's personal channel: "#42" for the user 42.
        enabled: bool = false,
        /// The namespace of personal channels: "own" makes it "own:#42".
        personal_channel_namespace: String = String::new(),
        /// A new connection of a user ends the user's other ones (3504). Needs enabled.
        single_connection: bool = false,
    }
}

config_table! {
    /// `[channel]`.
    pub struct Channel {
        /// Bytes of a channel name.
        max_length: u32 = 255,
        /// What ends the namespace in a channel name. Empty: there are no namespaces.
        namespace_boundary: String = Boundaries::default().namespace,
        /// What begins the users in the name of a user-limited channel: "dialog#42,43". Empty: there are none.
        user_boundary: String = Boundaries::default().user,
        /// What stands between those users. Empty: there is one.
        user_separator: String = Boundaries::default().separator,
        /// What begins the name of a channel that is entered with a subscription token alone. Empty: there are none.
        private_prefix: String = Boundaries::default().private,
        /// Backends that decide on what happens in channels, where a namespace wants it and names no other.
        proxy: ChannelProxies = ChannelProxies::default(),
        /// How long offset and epoch of a channel outlive its publications where its namespace does not say.
        history_meta_ttl: Duration = Duration::from_secs(720 * 3600),
        /// Channels without a colon in their name.
        without_namespace: WithoutNamespace = WithoutNamespace::default(),
        /// Channels named "name:...": one table for each name.
        namespaces: Vec<Namespace> = Vec::new(),
    }
}

config_table! {
    /// `[tls]`.
    pub struct Tls {
        /// One table for each certificate. The first serves clients that name no or an unknown host.
        certificates: Vec<Certificate> = Vec::new(),
    }
}

config_table! {
    /// `[[tls.certificates]]`.
    pub struct Certificate {
        /// PEM file: the certificate, then those of its issuers.
        certificate: PathBuf = PathBuf::new(),
        /// PEM file: the private key, readable by the relay alone.
        key: PathBuf = PathBuf::new(),
    }
}

config_table! {
    /// `[limits]`.
    pub struct Bounds {
        /// Channels known at once. Past it, unused streams are forgotten; if there are none, new channels are refused.
        channels: usize = relay::Limits::default().channels,
        /// Bytes of history. Past it, the channels that were quiet for longest lose their publications.
        history_bytes: usize = relay::Limits::default().history_bytes,
        /// Bytes of presence. Past it, nobody new is entered.
        presence_bytes: usize = relay::Limits::default().presence_bytes,
        /// Clients present in one channel. Past it, nobody new is entered.
        presence_per_channel: usize = relay::Limits::default().presence_per_channel,
        /// How long clients stay present after the link of their shard was lost, so that a restart is no leave and join.
        presence_grace: Duration = relay::Limits::default().presence_grace,
    }
}

/// Reads and checks a configuration. Reads no other file than those that keys name, and those only in [`Checked::new`].
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
        "headland-relay: every key with its default.\n\
         Each single value can also be set by a variable: client.ping_interval by HEADLAND_RELAY_CLIENT_PING_INTERVAL.\n\
         Durations are texts such as \"25s\", \"5m\", \"720h\". On SIGHUP the file is read again; [link], [http], [bus],\n\
         [node] and [limits] take effect at the next start.",
    )
}
