//! Whether the values fit each other, and the databases that they name.

use std::collections::HashSet;
use std::time::Duration;

use crate::demo::connect_source;
use crate::http::check;
use wire::config::{ConfigError, Places, Problem, Secret, private};

use super::{Config, Demo, Tokens};

/// A configuration whose values fit each other.
#[derive(Clone, PartialEq, Debug)]
pub struct Checked {
    /// As written.
    pub config: Config,
    /// The control database.
    pub control: Secret,
    /// The clusters by name, each with its databases; never empty.
    pub clusters: Vec<(String, Vec<Secret>)>,
}

impl Checked {
    pub(super) fn new(config: Config, places: &Places) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        http(&config, places, &mut problems);
        store(&config, places, &mut problems);
        relays(&config, places, &mut problems);
        tokens(&config.tokens, places, &mut problems);
        limits(&config, places, &mut problems);
        demo(&config.demo, places, &mut problems);
        if !problems.is_empty() {
            return Err(ConfigError(problems));
        }
        let embedded =
            || Secret::new(&format!("sqlite:{}", config.store.folder.join("headland.db").display()));
        let control = config.store.control.clone().unwrap_or_else(embedded);
        let mut clusters: Vec<_> = config
            .store
            .clusters
            .iter()
            .map(|cluster| (cluster.name.clone(), cluster.databases.clone()))
            .collect();
        if clusters.is_empty() {
            clusters.push(("main".to_owned(), vec![control.clone()]));
        }
        Ok(Self { config, control, clusters })
    }

    /// Whether the embedded database is used.
    pub const fn is_embedded(&self) -> bool {
        self.config.store.control.is_none()
    }
}

fn http(config: &Config, places: &Places, problems: &mut Vec<Problem>) {
    let http = &config.http;
    if !private(http.address.ip()) && !http.allow_public_address {
        let text = format!(
            "{} is a public address and nodes are on the private side: use a loopback or private one, or set \
             allow_public_address = true",
            http.address.ip()
        );
        problems.push(places.problem("http.address", &text));
    }
    for (index, origin) in http.allowed_origins.iter().enumerate() {
        let site = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let good =
            origin == "*" || site.is_some_and(|site| !site.is_empty() && !site.contains(['/', ' ', '*']));
        if !good {
            let text = "expected a site such as \"https://app.example.com\", or \"*\"";
            problems.push(places.problem(&format!("http.allowed_origins[{index}]"), text));
        }
    }
    if let Some(name) = &http.client_address_field
        && axum::http::HeaderName::try_from(name).is_err()
    {
        problems.push(places.problem("http.client_address_field", "is no name of a field"));
    }
}

fn store(config: &Config, places: &Places, problems: &mut Vec<Problem>) {
    let store = &config.store;
    if let Some(control) = &store.control
        && !known(control)
    {
        problems.push(places.problem("store.control", DATABASE));
    }
    if store.control.is_none() && !store.clusters.is_empty() {
        problems.push(places.problem("store.clusters", "need store.control: the database that knows them"));
    }
    let mut names = HashSet::new();
    for (index, cluster) in store.clusters.iter().enumerate() {
        let at = |key: &str| format!("store.clusters[{index}].{key}");
        if cluster.name.is_empty() {
            problems.push(places.problem(&at("name"), "is missing: what routes call the cluster"));
        } else if !names.insert(&cluster.name) {
            problems.push(places.problem(&at("name"), "is another cluster's already"));
        }
        if cluster.databases.is_empty() {
            problems.push(places.problem(&at("databases"), "is empty: a cluster has at least one"));
        }
        if !cluster.databases.iter().all(known) {
            problems.push(places.problem(&at("databases"), DATABASE));
        }
    }
}

const DATABASE: &str = "expected \"postgres://user:password@host/database\" or \"sqlite:FILE\"";

fn known(url: &Secret) -> bool {
    let schemes: [&[u8]; 3] = [b"sqlite:", b"postgres://", b"postgresql://"];
    schemes.iter().any(|scheme| url.bytes().strip_prefix(*scheme).is_some_and(|rest| !rest.is_empty()))
}

fn relays(config: &Config, places: &Places, problems: &mut Vec<Problem>) {
    let relays = &config.relays;
    if !relays.addresses.is_empty() && relays.api_key.is_empty() {
        problems.push(places.problem("relays.api_key", "is missing: relays take nothing without their key"));
    }
}

fn tokens(tokens: &Tokens, places: &Places, problems: &mut Vec<Problem>) {
    for (key, text) in [("issuer", &tokens.issuer), ("audience", &tokens.audience)] {
        if text.is_empty() || text.len() > 512 {
            problems.push(places.problem(&format!("tokens.{key}"), "must have 1 to 512 bytes"));
        }
    }
    let year = Duration::from_secs(366 * 24 * 3600);
    let times = [
        ("access_lifetime", tokens.access_lifetime, Duration::from_secs(24 * 3600)),
        ("refresh_lifetime", tokens.refresh_lifetime, year),
        ("rotate_every", tokens.rotate_every, year),
    ];
    for (key, time, most) in times {
        if time < Duration::from_secs(1) || time > most {
            let text = format!("must be between 1s and {}", wire::config::duration_text(most));
            problems.push(places.problem(&format!("tokens.{key}"), &text));
        }
    }
    if tokens.publish_before >= tokens.rotate_every {
        problems.push(places.problem("tokens.publish_before", "must be below rotate_every"));
    }
}

fn demo(demo: &Demo, places: &Places, problems: &mut Vec<Problem>) {
    let mut problem = |key: &str, text: &str| problems.push(places.problem(&format!("demo.{key}"), text));
    match (&demo.url, &demo.library) {
        (None, Some(_)) => problem("library", "needs url: without it there is no page"),
        (Some(_), None) => problem("library", "is missing: name dist/centrifuge.js of the npm package"),
        _ => {}
    }
    if demo.url.as_deref().is_some_and(|url| connect_source(url).is_none()) {
        problem("url", "expected an address such as \"wss://localhost:8443/connection/websocket\"");
    }
    if check::name(&demo.workspace).as_deref() != Ok(&demo.workspace) {
        problem("workspace", "must be a name as workspaces have, in lower case");
    }
}

fn limits(config: &Config, places: &Places, problems: &mut Vec<Problem>) {
    let limits = &config.limits;
    for (key, value) in [("connections", limits.connections), ("requests", limits.requests)] {
        if value == 0 || value > 1_000_000 {
            problems.push(places.problem(&format!("limits.{key}"), "must be between 1 and 1000000"));
        }
    }
    if limits.hashes > 1024 {
        problems.push(places.problem("limits.hashes", "is above 1024"));
    }
}
