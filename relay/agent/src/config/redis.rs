//! `[bus.redis]`: where the servers are, who we are to them, and what an adapter is made from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use wire::config::{Places, Problem};
use wire::config_table;

use super::check::read_text;
use super::{Bounds, Bus, BusKind, Secret};
use crate::fetch;
use crate::redis::{Login, Place, Settings, Tls};

config_table! {
    /// `[bus.redis]`.
    pub struct Redis {
        /// "host:port" of the server; of several, the first that answers and is a primary. For a cluster: some of its nodes.
        address: Vec<String> = vec!["127.0.0.1:6379".to_owned()],
        /// The user of Redis's access list. Empty: the default user.
        user: String = String::new(),
        /// Its password.
        password: Secret = Secret::default(),
        /// A file with the password, readable by the relay alone. Not with password.
        password_file: Option<PathBuf> = None,
        /// The number of the database. A cluster has only 0.
        database: u32 = 0,
        /// What every key and topic begins with. Edges with the same prefix are one system.
        prefix: String = "headland".to_owned(),
        /// How many replicas must have a publication with history before its publisher is told that it is made; otherwise it gets a
        /// temporary error. Unset: 1 with sentinels or a cluster, where a replica may take over, else 0.
        wait_replicas: Option<u32> = None,
        /// How long they may take.
        wait_timeout: Duration = Duration::from_secs(1),
        /// How long making a connection may take.
        connect_timeout: Duration = Duration::from_secs(2),
        /// How often a cluster's map, or what sentinels say, is looked at even if nothing seems to have changed.
        topology_interval: Duration = Duration::from_secs(30),
        /// TLS to every server.
        tls: RedisTls = RedisTls::default(),
        /// Sentinels that know the server. With them, address is not used.
        sentinel: Sentinel = Sentinel::default(),
    }
}

config_table! {
    /// `[bus.redis.tls]`.
    pub struct RedisTls {
        /// Speak TLS.
        enabled: bool = false,
        /// PEM file with the authorities that sign the servers' certificates. Without it: those of the system.
        ca_file: Option<PathBuf> = None,
        /// PEM file with a certificate to show, where servers ask for one.
        certificate: Option<PathBuf> = None,
        /// PEM file with its private key, readable by the relay alone.
        key: Option<PathBuf> = None,
        /// The name in the servers' certificates. Empty: the host of each address.
        server_name: String = String::new(),
    }
}

config_table! {
    /// `[bus.redis.sentinel]`.
    pub struct Sentinel {
        /// What the sentinels call the server. Empty: there are none.
        name: String = String::new(),
        /// "host:port" of each.
        address: Vec<String> = Vec::new(),
        /// Their user. Empty: the default user.
        user: String = String::new(),
        /// Its password.
        password: Secret = Secret::default(),
    }
}

impl Bus {
    /// What an adapter to Redis is made from, where that is the bus.
    pub(super) fn redis(
        &self,
        bounds: &Bounds,
        places: &Places,
        problems: &mut Vec<Problem>,
    ) -> Option<Settings> {
        let cluster = match self.kind.0 {
            BusKind::Redis => false,
            BusKind::RedisCluster => true,
            _ => return None,
        };
        let redis = &self.redis;
        let before = problems.len();
        let mut problem =
            |key: &str, text: &str| problems.push(places.problem(&format!("bus.redis.{key}"), text));
        let place = redis.place(cluster, &mut problem);
        if cluster && redis.database != 0 {
            problem("database", "must be 0: a cluster has no other");
        }
        if redis.prefix.is_empty()
            || redis.prefix.contains(['{', '}'])
            || redis.prefix.chars().any(char::is_control)
        {
            problem(
                "prefix",
                "must not be empty, nor have braces or control characters: braces mark a cluster's slots",
            );
        }
        for (key, time) in [
            ("wait_timeout", redis.wait_timeout),
            ("connect_timeout", redis.connect_timeout),
            ("topology_interval", redis.topology_interval),
        ] {
            if time < Duration::from_millis(10) {
                problem(key, "must be at least 10ms");
            }
        }
        let password = redis.password(&mut problem);
        let tls = redis
            .tls
            .enabled
            .then(|| redis.tls.client().map_err(|(key, text)| problem(key, &text)).ok())
            .flatten();
        let replicated = !matches!(place, Place::Servers(_));
        (problems.len() == before).then(|| Settings {
            login: Login { user: redis.user.clone(), password },
            tls,
            database: redis.database,
            prefix: redis.prefix.clone(),
            wait_replicas: redis.wait_replicas.unwrap_or_else(|| u32::from(replicated)),
            wait_timeout: redis.wait_timeout,
            connect_timeout: redis.connect_timeout,
            answer_timeout: self.answer_timeout,
            topology_interval: redis.topology_interval,
            lease: crate::redis::limits::LEASE,
            presence_grace: bounds.presence_grace,
            members_max: bounds.presence_per_channel,
            place,
        })
    }
}

impl Redis {
    fn place(&self, cluster: bool, problem: &mut impl FnMut(&str, &str)) -> Place {
        let sentinel = &self.sentinel;
        let (key, addresses) = match sentinel.name.is_empty() {
            true => ("address", &self.address),
            false => ("sentinel.address", &sentinel.address),
        };
        if addresses.is_empty() {
            problem(key, "is empty: name at least one \"host:port\"");
        }
        for address in addresses {
            let port = address
                .rsplit_once(':')
                .filter(|(host, _)| !host.is_empty() && !host.contains(['/', '@', ' ']));
            if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                problem(key, &format!("found {address:?}, expected \"host:port\""));
            }
        }
        match (cluster, sentinel.name.is_empty()) {
            (true, true) => Place::Cluster(addresses.clone()),
            (false, true) => Place::Servers(addresses.clone()),
            (true, false) => {
                problem("sentinel.name", "a cluster has no sentinels: its nodes watch each other");
                Place::Cluster(Vec::new())
            }
            (false, false) => Place::Sentinels {
                name: sentinel.name.clone(),
                addresses: addresses.clone(),
                login: Login { user: sentinel.user.clone(), password: sentinel.password.clone() },
            },
        }
    }

    fn password(&self, problem: &mut impl FnMut(&str, &str)) -> Secret {
        let Some(path) = &self.password_file else { return self.password.clone() };
        if !self.password.is_empty() {
            problem("password_file", "cannot be used together with password");
        }
        match read_text(path) {
            Ok(text) if !text.trim_end().is_empty() => return Secret::new(text.trim_end()),
            Ok(_) => problem("password_file", &format!("{}: is empty", path.display())),
            Err(error) => problem("password_file", &format!("{}: {error}", path.display())),
        }
        Secret::default()
    }
}

impl RedisTls {
    /// Whom to trust and what to show. The error names the key that is wrong.
    fn client(&self) -> Result<Tls, (&'static str, String)> {
        let roots = fetch::roots(true, self.ca_file.as_deref()).map_err(|text| ("tls.ca_file", text))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config =
            versions.map_err(|error| ("tls.enabled", error.to_string()))?.with_root_certificates(roots);
        let client = match (&self.certificate, &self.key) {
            (None, None) => config.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let (chain, key) = (chain(certificate)?, private(key)?);
                config
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| ("tls.certificate", error.to_string()))?
            }
            _ => return Err(("tls.certificate", "and key belong together".to_owned())),
        };
        Ok(Tls { client: Arc::new(client), name: self.server_name.clone() })
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, (&'static str, String)> {
    let wrong = |text: String| ("tls.certificate", format!("{}: {text}", path.display()));
    let text = read_text(path).map_err(wrong)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let chain = chain.map_err(|error| wrong(error.to_string()))?;
    if chain.is_empty() { Err(wrong("holds no certificate in PEM form".to_owned())) } else { Ok(chain) }
}

fn private(path: &Path) -> Result<PrivateKeyDer<'static>, (&'static str, String)> {
    let wrong = |text: String| ("tls.key", format!("{}: {text}", path.display()));
    let text = read_text(path).map_err(wrong)?;
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| wrong(error.to_string()))
}
