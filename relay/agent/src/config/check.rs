//! Whether the values fit each other, and what they become: settings for gateways, bounds for the bus, secrets for tokens.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::config::{ConfigError, Places, Problem};
use wire::settings::{self, ClientOptions, RecoveryMode, Settings};

use super::{Config, Secret};
use crate::limits::{CERTIFICATES_MAX, FILE_BYTES_MAX, NAMESPACES_MAX};
use crate::{files, jwks};

/// A configuration whose values fit each other. Certificates are still to be read ([`crate::Keyring`]).
#[derive(Debug)]
pub struct Checked {
    /// As written.
    pub config: Config,
    /// For gateways, without certificates.
    pub settings: Settings,
    /// For the bus.
    pub limits: relay::Limits,
}

impl Checked {
    pub(super) fn new(config: Config, places: &Places) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        client(&config, places, &mut problems);
        http(&config, places, &mut problems);
        certificates(&config, places, &mut problems);
        bounds(&config, places, &mut problems);
        super::demo::check(&config, places, &mut problems);
        let jwks = keys(&config, places, &mut problems);
        let default_namespace = config.channel.without_namespace.options("", config.channel.history_meta_ttl);
        namespace(&default_namespace, "channel.without_namespace", places, &mut problems);
        let namespaces = namespaces(&config, places, &mut problems);
        if !problems.is_empty() {
            return Err(ConfigError(problems));
        }
        let settings = Settings {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            client: options(&config),
            default_namespace,
            namespaces,
            jwks,
            hmac: config.client.token.secrets().next().is_some(),
            certificates: Vec::new(),
        };
        let limits = limits(&config);
        Ok(Self { config, settings, limits })
    }
}

impl super::Token {
    /// The shared secrets, the present one first.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        [&self.hmac_secret_key, &self.hmac_previous_secret_key]
            .into_iter()
            .filter(|secret| !secret.is_empty())
    }
}

fn options(config: &Config) -> ClientOptions {
    let client = &config.client;
    ClientOptions {
        allow_anonymous_connect_without_token: client.allow_anonymous_connect_without_token,
        insecure: client.insecure,
        ping_interval_ms: milliseconds(client.ping_interval),
        pong_timeout_ms: milliseconds(client.pong_timeout),
        stale_close_delay_ms: milliseconds(client.stale_close_delay),
        expired_close_delay_ms: milliseconds(client.expired_close_delay),
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

/// Loopback, private (RFC 1918, RFC 4193), shared (RFC 6598) and link-local addresses. "All interfaces" is not among them.
pub fn private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => private(IpAddr::V4(v4)),
            None => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        },
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

/// Every public key as one JWK set.
fn keys(config: &Config, places: &Places, problems: &mut Vec<Problem>) -> String {
    let token = &config.client.token;
    let mut set = jwks::Set::default();
    let pems = [
        ("rsa_public_key", &token.rsa_public_key, jwks::Kind::Rsa),
        ("ecdsa_public_key", &token.ecdsa_public_key, jwks::Kind::Ecdsa),
        ("eddsa_public_key", &token.eddsa_public_key, jwks::Kind::Eddsa),
    ];
    for (key, pem, kind) in pems {
        let Some(pem) = pem else { continue };
        if let Err(what) = set.add_pem(kind, pem) {
            problems.push(places.problem(&format!("client.token.{key}"), &what));
        }
    }
    if let Some(text) = &token.jwks
        && let Err(what) = set.add_set(text)
    {
        problems.push(places.problem("client.token.jwks", &what));
    }
    if let Some(path) = &token.jwks_file {
        let added = read(path).and_then(|text| set.add_set(&text));
        if let Err(what) = added {
            let text = format!("{}: {what}", path.display());
            problems.push(places.problem("client.token.jwks_file", &text));
        }
    }
    set.finish()
}

fn read(path: &Path) -> Result<String, String> {
    files::read(path, FILE_BYTES_MAX)
        .map_err(|error| error.to_string())
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "is not text".to_owned()))
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
        let options = namespace_table.options(name, config.channel.history_meta_ttl);
        namespace(&options, &path, places, problems);
        made.push(options);
    }
    made.sort_by(|one, other| one.name.cmp(&other.name));
    made
}

fn namespace(options: &settings::Namespace, path: &str, places: &Places, problems: &mut Vec<Problem>) {
    const CACHE: &str = "force_recovery and force_recovery_mode = \"cache\"";
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
