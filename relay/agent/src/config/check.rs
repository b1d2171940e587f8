//! Whether the values fit each other, and what they become: settings for gateways, bounds for the bus, secrets for tokens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::channel::Boundaries;
use wire::config::{ConfigError, Places, Problem, private};
use wire::pattern::NotAPattern;
use wire::settings::{self, ClientOptions, RecoveryMode, Settings};

use super::{Config, admission};
use crate::fetch::Endpoint;
use crate::files;
use crate::limits::{API_KEYS_MAX, CERTIFICATES_MAX, FILE_BYTES_MAX, NAMESPACES_MAX};
use crate::proxy::Proxies;

/// A configuration whose values fit each other. Certificates are still to be read ([`crate::Keyring`]).
#[derive(Debug)]
pub struct Checked {
    /// As written.
    pub config: Config,
    /// For gateways, without certificates.
    pub settings: Settings,
    /// For the bus.
    pub limits: relay::Limits,
    /// How a shared bus is followed, where there is one.
    pub following: Option<relay::Following>,
    /// The server or cluster of a bus over Redis.
    pub(crate) redis: Option<crate::redis::Settings>,
    /// Where public keys are fetched, for tokens of connections and for those of subscriptions.
    pub(crate) endpoints: [Option<Endpoint>; 2],
    /// The backends, and which of them decides on what.
    pub(crate) proxies: Proxies,
    /// The nodes, where there are some.
    pub(crate) nodes: Option<crate::node::Settings>,
}

impl Checked {
    pub(super) fn new(config: Config, places: &Places) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        client(&config, places, &mut problems);
        http(&config, places, &mut problems);
        http_api(&config, places, &mut problems);
        admission::check(&config, places, &mut problems);
        certificates(&config, places, &mut problems);
        bounds(&config, places, &mut problems);
        config.bus.check(places, &mut problems);
        let redis = config.bus.redis(&config.limits, places, &mut problems);
        personal(&config, places, &mut problems);
        let boundaries = boundaries(&config, places, &mut problems);
        let (tokens, connection_keys) = config.client.token.checked("client.token", places, &mut problems);
        let other = &config.client.subscription_token;
        let other = other.enabled.then(|| other.checked("client.subscription_token", places, &mut problems));
        let (subscription_tokens, subscription_keys) = other.unzip();
        let without = &config.channel.without_namespace;
        let (mut default_namespace, regex) = without.options("", config.channel.history_meta_ttl);
        let at = "channel.without_namespace";
        config.by_node(without.rights.0, &mut default_namespace, at, places, &mut problems);
        namespace(&default_namespace, regex, "channel.without_namespace", places, &mut problems);
        let namespaces = namespaces(&config, places, &mut problems);
        let nodes = config.nodes(places, &mut problems);
        let (backend, proxies) = super::proxy::checked(&config, &boundaries, places, &mut problems);
        if !problems.is_empty() {
            return Err(ConfigError(problems));
        }
        let settings = Settings {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            client: options(&config),
            backend,
            admission: admission::settings(&config),
            default_namespace,
            namespaces,
            boundaries,
            tokens,
            subscription_tokens,
            certificates: Vec::new(),
        };
        let limits = limits(&config);
        let endpoints = [connection_keys, subscription_keys.flatten()];
        let following = config.bus.following();
        Ok(Self { config, settings, limits, following, redis, endpoints, proxies, nodes })
    }
}

fn options(config: &Config) -> ClientOptions {
    let client = &config.client;
    let personal = &client.subscribe_to_user_personal_channel;
    ClientOptions {
        allow_anonymous_connect_without_token: client.allow_anonymous_connect_without_token,
        disallow_anonymous_connection_tokens: client.disallow_anonymous_connection_tokens,
        insecure: client.insecure,
        personal_channel: personal.enabled.then(|| personal.personal_channel_namespace.clone()),
        single_connection: personal.single_connection,
        user_connection_limit: client.user_connection_limit,
        ping_interval_ms: milliseconds(client.ping_interval),
        pong_timeout_ms: milliseconds(client.pong_timeout),
        stale_close_delay_ms: milliseconds(client.stale_close_delay),
        expired_close_delay_ms: milliseconds(client.expired_close_delay),
        expired_sub_close_delay_ms: milliseconds(client.expired_sub_close_delay),
        channel_limit: client.channel_limit,
        channel_max_length: config.channel.max_length,
        queue_max_size: client.queue_max_size,
        recovery_max_publication_limit: client.recovery_max_publication_limit,
        history_max_publication_limit: client.history_max_publication_limit,
    }
}

fn limits(config: &Config) -> relay::Limits {
    let bounds = &config.limits;
    relay::Limits {
        channels: bounds.channels,
        history_bytes: bounds.history_bytes,
        presence_bytes: bounds.presence_bytes,
        presence_per_channel: bounds.presence_per_channel,
        presence_grace: bounds.presence_grace,
        ..relay::Limits::default()
    }
}

/// Checked to fit before.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn client(config: &Config, places: &Places, problems: &mut Vec<Problem>) {
    let client = &config.client;
    let times = [
        ("ping_interval", client.ping_interval),
        ("pong_timeout", client.pong_timeout),
        ("stale_close_delay", client.stale_close_delay),
        ("expired_close_delay", client.expired_close_delay),
        ("expired_sub_close_delay", client.expired_sub_close_delay),
    ];
    for (key, time) in times {
        if time.as_millis() > u128::from(u32::MAX) {
            problems.push(places.problem(&format!("client.{key}"), "is over 49 days"));
        }
    }
    let pings = !client.ping_interval.is_zero();
    if pings && client.ping_interval < Duration::from_secs(1) {
        problems.push(places.problem("client.ping_interval", "is below 1s (0s turns pings off)"));
    }
    if pings && (client.pong_timeout.is_zero() || client.pong_timeout >= client.ping_interval) {
        problems.push(places.problem("client.pong_timeout", "must be above 0s and below ping_interval"));
    }
    if client.stale_close_delay.is_zero() {
        problems.push(places.problem("client.stale_close_delay", "must be above 0s"));
    }
    let counts = [
        ("client.channel_limit", client.channel_limit, 1, u32::from(u16::MAX)),
        ("client.queue_max_size", client.queue_max_size, 4096, 1 << 30),
        ("client.recovery_max_publication_limit", client.recovery_max_publication_limit, 1, 100_000),
        ("client.history_max_publication_limit", client.history_max_publication_limit, 1, 100_000),
        ("channel.max_length", config.channel.max_length, 1, 1024),
    ];
    for (key, found, least, most) in counts {
        if !(least..=most).contains(&found) {
            problems.push(places.problem(key, &format!("found {found}, expected {least} to {most}")));
        }
    }
    if config.channel.history_meta_ttl.is_zero() {
        problems.push(places.problem("channel.history_meta_ttl", "must be above 0s"));
    }
}

fn http(config: &Config, places: &Places, problems: &mut Vec<Problem>) {
    let address = config.http.address;
    if !private(address.ip()) && !config.http.allow_public_address {
        problems.push(places.problem(
            "http.address",
            &format!(
                "{} is a public address and metrics are for the private side: \
                 use a loopback or private one, or set allow_public_address = true",
                address.ip()
            ),
        ));
    }
}

fn http_api(config: &Config, places: &Places, problems: &mut Vec<Problem>) {
    let address = config.http.address.ip();
    if config.http_api.insecure && !address.is_loopback() {
        let text =
            format!("needs no key, and http.address is {address}: it must be loopback, or set a key instead");
        problems.push(places.problem("http_api.insecure", &text));
    }
    let keys = config.http_api.more_keys.len();
    if keys > API_KEYS_MAX {
        let text = format!("has {keys} keys, at most {API_KEYS_MAX} are allowed");
        problems.push(places.problem("http_api.more_keys", &text));
    }
}

fn certificates(config: &Config, places: &Places, problems: &mut Vec<Problem>) {
    let certificates = &config.tls.certificates;
    if certificates.len() > CERTIFICATES_MAX {
        let text = format!("has {} tables, at most {CERTIFICATES_MAX} are allowed", certificates.len());
        problems.push(places.problem("tls.certificates", &text));
    }
    for (index, certificate) in certificates.iter().enumerate() {
        for (key, path) in [("certificate", &certificate.certificate), ("key", &certificate.key)] {
            if path.as_os_str().is_empty() {
                problems.push(
                    places
                        .problem(&format!("tls.certificates[{index}].{key}"), "is missing: name a PEM file"),
                );
            }
        }
    }
}

fn bounds(config: &Config, places: &Places, problems: &mut Vec<Problem>) {
    let least = [
        ("limits.channels", config.limits.channels, 16),
        ("limits.history_bytes", config.limits.history_bytes, 4 << 20),
        ("limits.presence_bytes", config.limits.presence_bytes, 1 << 20),
        ("limits.presence_per_channel", config.limits.presence_per_channel, 1),
    ];
    for (key, found, least) in least {
        if found < least {
            problems.push(places.problem(key, &format!("found {found}, expected at least {least}")));
        }
    }
    if config.limits.channels > u32::MAX as usize / 2 {
        problems.push(places.problem("limits.channels", "is beyond what the table can index"));
    }
}

/// A file of text that a key names.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    files::read(path, FILE_BYTES_MAX)
        .map_err(|error| error.to_string())
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "is not text".to_owned()))
}

/// The marks in channel names: none may be in another, or names would be read in two ways.
fn boundaries(config: &Config, places: &Places, problems: &mut Vec<Problem>) -> Boundaries {
    let channel = &config.channel;
    let marks = [
        ("namespace_boundary", &channel.namespace_boundary),
        ("user_boundary", &channel.user_boundary),
        ("user_separator", &channel.user_separator),
        ("private_prefix", &channel.private_prefix),
    ];
    for (index, (key, mark)) in marks.iter().enumerate() {
        let path = format!("channel.{key}");
        if mark.chars().any(char::is_control) {
            problems.push(places.problem(&path, "has a control character"));
        }
        let clash = marks[..index].iter().find(|(_, other)| {
            !mark.is_empty()
                && !other.is_empty()
                && (mark.contains(other.as_str()) || other.contains(mark.as_str()))
        });
        if let Some((other, _)) = clash {
            problems.push(places.problem(&path, &format!("and {other} contain each other")));
        }
    }
    if channel.namespace_boundary.is_empty() && !channel.namespaces.is_empty() {
        problems.push(places.problem("channel.namespace_boundary", "is empty but there are namespaces"));
    }
    Boundaries {
        namespace: channel.namespace_boundary.clone(),
        user: channel.user_boundary.clone(),
        separator: channel.user_separator.clone(),
        private: channel.private_prefix.clone(),
    }
}

/// Personal channels have names, in a namespace that exists.
fn personal(config: &Config, places: &Places, problems: &mut Vec<Problem>) {
    let personal = &config.client.subscribe_to_user_personal_channel;
    let path = "client.subscribe_to_user_personal_channel";
    let name = &personal.personal_channel_namespace;
    if personal.single_connection && !personal.enabled {
        problems.push(places.problem(&format!("{path}.single_connection"), "needs enabled"));
    }
    if personal.enabled && config.channel.user_boundary.is_empty() {
        problems.push(places.problem(&format!("{path}.enabled"), "needs channel.user_boundary"));
    }
    if !name.is_empty() && !config.channel.namespaces.iter().any(|namespace| namespace.name == *name) {
        let text = format!("{name:?} is not the name of a namespace");
        problems.push(places.problem(&format!("{path}.personal_channel_namespace"), &text));
    }
}

fn namespaces(config: &Config, places: &Places, problems: &mut Vec<Problem>) -> Vec<settings::Namespace> {
    let mut made: Vec<settings::Namespace> = Vec::new();
    let found = &config.channel.namespaces;
    if found.len() > NAMESPACES_MAX {
        let text = format!("has {} tables, at most {NAMESPACES_MAX} are allowed", found.len());
        problems.push(places.problem("channel.namespaces", &text));
    }
    for (index, namespace_table) in found.iter().enumerate() {
        let path = format!("channel.namespaces[{index}]");
        let name = &namespace_table.name;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let text = if name.is_empty() {
            Some("is missing".to_owned())
        } else if !name.bytes().all(allowed) {
            Some(format!("found {name:?}, expected letters, digits, '-', '_' and '.'"))
        } else if made.iter().any(|other| other.name == *name) {
            Some(format!("{name:?} is already the name of another namespace"))
        } else {
            None
        };
        problems.extend(text.map(|text| places.problem(&format!("{path}.name"), &text)));
        let (mut options, regex) = namespace_table.options(name, config.channel.history_meta_ttl);
        config.by_node(namespace_table.rights.0, &mut options, &path, places, problems);
        namespace(&options, regex, &path, places, problems);
        made.push(options);
    }
    made.sort_by(|one, other| one.name.cmp(&other.name));
    made
}

fn namespace(
    options: &settings::Namespace,
    regex: Option<NotAPattern>,
    path: &str,
    places: &Places,
    problems: &mut Vec<Problem>,
) {
    const CACHE: &str = "force_recovery and force_recovery_mode = \"cache\"";
    if let Some(error) = regex {
        problems.push(places.problem(&format!("{path}.channel_regex"), &error.to_string()));
    }
    let history = options.has_history();
    let cache = options.force_recovery_mode == RecoveryMode::Cache;
    let needs = [
        ("history_size", options.history_size > 0, options.history_ttl_ms > 0, "history_ttl"),
        ("history_ttl", options.history_ttl_ms > 0, options.history_size > 0, "history_size"),
        ("force_recovery", options.force_recovery, history, "history_size and history_ttl"),
        ("force_positioning", options.force_positioning, history, "history_size and history_ttl"),
        ("allow_recovery", options.allow_recovery, history, "history_size and history_ttl"),
        ("allow_positioning", options.allow_positioning, history, "history_size and history_ttl"),
        ("force_push_join_leave", options.force_push_join_leave, options.join_leave, "join_leave"),
        ("auto_cache_recover", options.auto_cache_recover, options.force_recovery && cache, CACHE),
        ("allowed_delta_types", options.allow_delta_fossil, history, "history_size and history_ttl"),
    ];
    for (key, set, given, needed) in needs {
        if set && !given {
            problems.push(places.problem(&format!("{path}.{key}"), &format!("needs {needed}")));
        }
    }
    if history && options.history_meta_ttl_ms < options.history_ttl_ms {
        problems.push(places.problem(&format!("{path}.history_meta_ttl"), "is below history_ttl"));
    }
}

/// Where a configuration keeps what cannot be told apart by its values alone: the files a reload reads again.
impl Config {
    /// The certificate and key files.
    pub fn certificate_files(&self) -> impl Iterator<Item = (&PathBuf, &PathBuf)> {
        self.tls.certificates.iter().map(|pair| (&pair.certificate, &pair.key))
    }
}
