//! The gateway's configuration: a TOML file, then the environment (`HEADLAND_GATEWAY_...`), checked as a whole.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use protocol::{
    http::{self, Endpoint, Transports},
    limits::HTTP_BODY_BYTES_MAX,
    upgrade::{self, Origin},
    ws::{Compression, limits::COMPRESSED_BYTES_MIN},
};
use wire::config::{ConfigError, Loaded, Problem};

use crate::limits::{LISTENERS_MAX, SHARDS_MAX};

/// Variables with this prefix override single values of the file.
pub const VARIABLES: &str = "HEADLAND_GATEWAY_";

wire::config_table! {
    /// The whole file.
    pub struct Config {
        /// The relay of this box.
        link: Link = Link::default(),
        /// Where clients connect.
        listeners: Vec<Listener> = Vec::new(),
        /// How the work is divided.
        shards: Shards = Shards::default(),
        /// What is let in.
        limits: Limits = Limits::default(),
        /// TLS.
        tls: Tls = Tls::default(),
        /// The HTTP upgrade.
        websocket: WebSocket = WebSocket::default(),
        /// Streamed responses, for networks that break WebSocket.
        http_stream: HttpStream = HttpStream::default(),
        /// Server-sent events, for the same.
        sse: Sse = Sse::default(),
        /// Commands of sessions over either.
        emulation: Emulation = Emulation::default(),
        /// Long polling, for networks that hold responses back.
        poll: Poll = Poll::default(),
        /// WebSockets that only listen.
        uni_websocket: UniWebSocket = UniWebSocket::default(),
        /// Listeners that echo.
        echo: Echo = Echo::default(),
        /// What happens on SIGTERM.
        drain: Drain = Drain::default(),
        /// What the program gives up once it runs.
        sandbox: Sandbox = Sandbox::default(),
    }
}

wire::config_table! {
    /// The relay of this box.
    pub struct Link {
        /// The relay's unix socket.
        path: PathBuf = PathBuf::from("/run/headland/relay.sock"),
    }
}

wire::config_table! {
    /// One address to listen on. Repeat the table for more.
    pub struct Listener {
        /// IPv4 or IPv6, with port. "[::]" takes IPv6 only: add another listener for IPv4.
        address: SocketAddr = SocketAddr::from(([0, 0, 0, 0], 8443)),
        /// TLS (wss://), or plain (ws://) for use behind a proxy of your own.
        tls: bool = true,
        /// For conformance tests only: speak no client protocol, but send every WebSocket message back as it came (compressed where websocket.compression is on).
        echo: bool = false,
        /// Connections that wait to be accepted, per shard. The kernel takes the smaller of this and net.core.somaxconn.
        backlog: u32 = 65_535,
        /// Unsent bytes in the kernel up to which a connection takes more; what a slow reader is owed above this is in our accounts.
        notsent_lowat: u32 = 16_384,
        /// A peer that acknowledges nothing for this long while data is in flight is gone.
        user_timeout: Duration = Duration::from_secs(45),
    }
}

wire::config_table! {
    /// How the work is divided.
    pub struct Shards {
        /// Threads with a loop each. 0 is one per core, or more where the descriptor limit is lower than the connections of a shard.
        count: u32 = 0,
        /// Keep each shard on a core.
        pin: bool = true,
    }
}

wire::config_table! {
    /// What is let in. Each shard enforces its share: listeners share ports, so the kernel spreads connections evenly.
    pub struct Limits {
        /// Connections in all. 0 is what the descriptor limit allows.
        connections: u32 = 0,
        /// Connections from one IPv4 address or IPv6 /64. 0 is no limit.
        connections_per_source: u32 = 0,
        /// Connections that have not finished their TLS handshake and upgrade; each costs about 8 KiB. 0 is no limit.
        handshakes: u32 = 20_000,
        /// Connections per second from everywhere. 0 is no limit.
        connection_rate: u32 = 0,
        /// Connections per second from one IPv4 address or IPv6 /64; from one IPv6 /48, 16 times as many. 0 is no limit. Many people
        /// share an address behind a carrier's or an office's router, and all of them come back at once.
        connection_rate_per_source: u32 = 0,
        /// Of these, as many may come at once.
        connection_burst_per_source: u32 = 100,
        /// Handshakes wait for their turn while established traffic goes first. One that would wait longer than this is refused before
        /// it costs anything.
        handshake_wait: Duration = Duration::from_secs(2),
        /// From accept to the end of the TLS handshake.
        handshake_timeout: Duration = Duration::from_secs(10),
        /// From there to the end of the HTTP upgrade.
        upgrade_timeout: Duration = Duration::from_secs(10),
        /// Largest WebSocket message from a client, in bytes.
        message_size_limit: u32 = 65_536,
    }
}

wire::config_table! {
    /// TLS. Certificates and keys are the relay's.
    pub struct Tls {
        /// TLS 1.2 beside 1.3.
        tls12: bool = true,
        /// X25519MLKEM768 before other key exchanges: a third more CPU per handshake.
        post_quantum: bool = false,
        /// Stateless session tickets, under keys of this process that are replaced every six hours.
        resumption: bool = true,
    }
}

wire::config_table! {
    /// The HTTP upgrade.
    pub struct WebSocket {
        /// The one path that is served.
        handler_prefix: String = upgrade::PATH.to_owned(),
        /// Browser pages that may connect: "https://app.example.com", "https://*.example.com", or "*" for all. Requests without an
        /// Origin header do not come from browsers and are let in.
        allowed_origins: Vec<String> = Vec::new(),
        /// Clients that offer permessage-deflate get what is published compressed, each message by itself: once for all of them, and
        /// nothing is kept for a connection. A kilobyte of JSON becomes about 0.6 of it, for more CPU per publication and, at the client,
        /// per message. Leave it off where a stranger's text and a secret can stand in one message: its length would tell.
        compression: bool = false,
        /// Shorter messages are not compressed, in bytes.
        compression_min_size: u32 = COMPRESSED_BYTES_MIN as u32,
        /// From 1, the fastest, to 9, the smallest.
        compression_level: u32 = 1,
    }
}

wire::config_table! {
    /// Streamed responses: a POST whose body begins a session, and whose response is what the session is told.
    pub struct HttpStream {
        /// Serve them.
        enabled: bool = false,
        /// The path.
        handler_prefix: String = http::HTTP_STREAM_PATH.to_owned(),
        /// Largest body, in bytes.
        max_request_body_size: u32 = 65_536,
    }
}

wire::config_table! {
    /// Server-sent events (EventSource): the same with the first commands in the query parameter cf_connect. JSON only.
    pub struct Sse {
        /// Serve them.
        enabled: bool = false,
        /// The path.
        handler_prefix: String = http::SSE_PATH.to_owned(),
        /// Largest body where a POST begins the session, in bytes.
        max_request_body_size: u32 = 65_536,
    }
}

wire::config_table! {
    /// Commands of http_stream and sse sessions: POST {session, node, data}. Served where one of those is.
    pub struct Emulation {
        /// The path.
        handler_prefix: String = http::EMULATION_PATH.to_owned(),
        /// Largest body, in bytes.
        max_request_body_size: u32 = 65_536,
        /// How long a connection may be between two requests.
        keep_alive: Duration = Duration::from_secs(60),
    }
}

wire::config_table! {
    /// Long polling: a POST as for http_stream, whose response ends with the first news. The session is as long as the response;
    /// the next one recovers from the position the client has.
    pub struct Poll {
        /// Serve it.
        enabled: bool = false,
        /// The path.
        handler_prefix: String = http::POLL_PATH.to_owned(),
        /// Largest body, in bytes.
        max_request_body_size: u32 = 65_536,
        /// The longest a response waits for news.
        timeout: Duration = Duration::from_secs(25),
    }
}

wire::config_table! {
    /// WebSockets that only listen: the first message is the connect request (or the query parameter cf_connect), then pushes come. JSON only.
    pub struct UniWebSocket {
        /// Serve them.
        enabled: bool = false,
        /// The path.
        handler_prefix: String = http::UNI_WEBSOCKET_PATH.to_owned(),
        /// Say why a connection ends by the close frame alone.
        disable_disconnect_push: bool = false,
    }
}

wire::config_table! {
    /// Listeners that echo, for conformance tests: as large as these may ask.
    pub struct Echo {
        /// Largest message, all fragments together, in bytes. One that does not read what it is owed is not read from meanwhile.
        message_size_limit: u32 = 16 * 1024 * 1024,
    }
}

wire::config_table! {
    /// What happens on SIGTERM.
    pub struct Drain {
        /// Connections are closed (3001, clients reconnect elsewhere) evenly over this time.
        window: Duration = Duration::from_secs(10),
    }
}

wire::config_table! {
    /// What the program gives up once it runs. What this kernel cannot do is said at the start.
    pub struct Sandbox {
        /// Drop all capabilities, privileges to come and core dumps; forbid files, outbound TCP and signals (landlock); allow only the
        /// system calls of a running gateway (seccomp), which make no socket, file, program or thread. Connections to the relay are
        /// then made by a small process beside it, which can make no others.
        enabled: bool = true,
        /// The user to become when started as root: a name or a number. The relay's link.allowed_uids must have it.
        user: Option<String> = None,
        /// The group to become; the user's own if unset. The relay's socket must belong to it.
        group: Option<String> = None,
    }
}

/// Reads and checks a configuration; `name` stands for the file in errors.
pub fn load(
    name: &str,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded<Config>, ConfigError> {
    let loaded: Loaded<Config> = wire::config::load(name, text, VARIABLES, variables)?;
    let problems = check(&loaded);
    if problems.is_empty() { Ok(loaded) } else { Err(ConfigError(problems)) }
}

/// The allowed origins of a checked configuration.
pub fn origins(config: &Config) -> Vec<Origin> {
    config.websocket.allowed_origins.iter().filter_map(|text| Origin::parse(text).ok()).collect()
}

/// How messages are compressed, if they are.
pub fn compression(config: &Config) -> Option<Compression> {
    let WebSocket { compression, compression_min_size, compression_level, .. } = config.websocket;
    // Checked to be a digit.
    let how = Compression { bytes_min: compression_min_size as usize, level: compression_level as u8 };
    compression.then_some(how)
}

/// What is served beside WebSocket.
pub fn transports(config: &Config) -> Transports {
    let endpoint = |on: bool, path: &String, bytes: u32| {
        on.then(|| Endpoint { path: path.clone(), body_bytes_max: bytes as usize })
    };
    let ms = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    let Config { http_stream, sse, emulation, poll, uni_websocket, .. } = config;
    let emulated = http_stream.enabled || sse.enabled;
    Transports {
        http_stream: endpoint(
            http_stream.enabled,
            &http_stream.handler_prefix,
            http_stream.max_request_body_size,
        ),
        sse: endpoint(sse.enabled, &sse.handler_prefix, sse.max_request_body_size),
        poll: endpoint(poll.enabled, &poll.handler_prefix, poll.max_request_body_size),
        emulation: endpoint(emulated, &emulation.handler_prefix, emulation.max_request_body_size),
        uni_websocket: uni_websocket.enabled.then(|| uni_websocket.handler_prefix.clone()),
        without_disconnect_push: uni_websocket.disable_disconnect_push,
        poll_timeout_ms: ms(poll.timeout),
        keep_alive_ms: ms(emulation.keep_alive),
    }
}

fn check(loaded: &Loaded<Config>) -> Vec<Problem> {
    let config = &loaded.value;
    let mut problems = Vec::new();
    let mut problem = |path: &str, text: &str| problems.push(loaded.places.problem(path, text));
    if config.listeners.is_empty() {
        problem(
            "listeners",
            "there is no listener: add [[listeners]] with an address such as \"0.0.0.0:8443\"",
        );
    }
    if config.listeners.len() > LISTENERS_MAX {
        problem("listeners", &format!("there are more than {LISTENERS_MAX} listeners"));
    }
    for (index, listener) in config.listeners.iter().enumerate() {
        let twice = |other: &Listener| other.address == listener.address && other.address.port() != 0;
        if config.listeners[..index].iter().any(twice) {
            problem(
                &format!("listeners[{index}].address"),
                &format!("{} is listened on twice", listener.address),
            );
        }
        if listener.backlog == 0 {
            problem(&format!("listeners[{index}].backlog"), "must be at least 1");
        }
    }
    if config.shards.count as usize > SHARDS_MAX {
        problem("shards.count", &format!("found {}, at most {SHARDS_MAX} are allowed", config.shards.count));
    }
    for (path, duration) in [
        ("limits.handshake_timeout", config.limits.handshake_timeout),
        ("limits.upgrade_timeout", config.limits.upgrade_timeout),
    ] {
        if duration < Duration::from_millis(100) || duration > Duration::from_secs(600) {
            problem(path, &format!("found {duration:?}, allowed are 100ms to 10m"));
        }
    }
    for (path, bytes) in [
        ("limits.message_size_limit", config.limits.message_size_limit),
        ("echo.message_size_limit", config.echo.message_size_limit),
    ] {
        if !(1024..=64 * 1024 * 1024).contains(&bytes) {
            problem(path, &format!("found {bytes}, allowed are 1024 to 67108864"));
        }
    }
    if !(1..=9).contains(&config.websocket.compression_level) {
        problem(
            "websocket.compression_level",
            &format!("found {}, allowed are 1 to 9", config.websocket.compression_level),
        );
    }
    if config.sandbox.group.is_some() && config.sandbox.user.is_none() {
        problem("sandbox.group", "needs sandbox.user");
    }
    let paths = [
        ("websocket", &config.websocket.handler_prefix),
        ("http_stream", &config.http_stream.handler_prefix),
        ("sse", &config.sse.handler_prefix),
        ("emulation", &config.emulation.handler_prefix),
        ("poll", &config.poll.handler_prefix),
        ("uni_websocket", &config.uni_websocket.handler_prefix),
    ];
    for (index, (table, path)) in paths.into_iter().enumerate() {
        if !path.starts_with('/') {
            problem(&format!("{table}.handler_prefix"), "must begin with /");
        }
        if paths[..index].iter().any(|(_, other)| *other == path) {
            problem(&format!("{table}.handler_prefix"), &format!("{path} is another endpoint's already"));
        }
    }
    for (table, bytes) in [
        ("http_stream", config.http_stream.max_request_body_size),
        ("sse", config.sse.max_request_body_size),
        ("emulation", config.emulation.max_request_body_size),
        ("poll", config.poll.max_request_body_size),
    ] {
        if !(1024..=HTTP_BODY_BYTES_MAX as u32).contains(&bytes) {
            problem(
                &format!("{table}.max_request_body_size"),
                &format!("found {bytes}, allowed are 1024 to {HTTP_BODY_BYTES_MAX}"),
            );
        }
    }
    for (path, duration) in
        [("poll.timeout", config.poll.timeout), ("emulation.keep_alive", config.emulation.keep_alive)]
    {
        if duration < Duration::from_secs(1) || duration > Duration::from_secs(600) {
            problem(path, &format!("found {duration:?}, allowed are 1s to 10m"));
        }
    }
    for (index, text) in config.websocket.allowed_origins.iter().enumerate() {
        if let Err(error) = Origin::parse(text) {
            problem(&format!("websocket.allowed_origins[{index}]"), &format!("found \"{text}\": {error}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        load("gateway.toml", text, []).unwrap_err().to_string()
    }

    #[test]
    fn the_smallest_file_is_a_listener() {
        let loaded = load("gateway.toml", "[[listeners]]\naddress = \"127.0.0.1:0\"", []).unwrap();
        assert!(loaded.value.listeners[0].tls);
        assert_eq!(loaded.value.limits.message_size_limit, 65_536);
    }

    #[test]
    fn a_missing_listener_is_explained() {
        assert!(refused("").contains("add [[listeners]]"), "{}", refused(""));
    }

    #[test]
    fn mistakes_are_placed() {
        let text = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[limits]\nmessage_size_limit = 5\n[websocket]\nallowed_origins = [\"nonsense\"]\ncompression_level = 0";
        let said = refused(text);
        assert!(said.contains("gateway.toml:4"), "{said}");
        assert!(said.contains("gateway.toml:6") && said.contains("gateway.toml:7"), "{said}");
        let said = refused("[[listners]]\naddress = \"127.0.0.1:0\"");
        assert!(said.contains("listeners"), "{said}");
    }

    #[test]
    fn the_environment_overrides() {
        let variables = [("HEADLAND_GATEWAY_SHARDS_COUNT".to_owned(), "3".to_owned())];
        let loaded = load("gateway.toml", "[[listeners]]\naddress = \"127.0.0.1:0\"", variables).unwrap();
        assert_eq!(loaded.value.shards.count, 3);
    }
}
