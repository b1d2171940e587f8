//! A world for a test: one relay and one gateway as child processes, on ports and in a folder of their own.
//! What a test sets is what it is about; everything else has a default.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::{Value, json};
use toml::Table;

use crate::credentials::{Authority, ServerCertificate, Signer, hs256};
use crate::folder::Folder;
use crate::metrics::{self, Metrics};
use crate::process::{self, Program};
use crate::wait;

/// How long a program may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The shared secret of tests' tokens.
pub const SECRET: &str = "a secret of tests, long enough for HS256";

/// How often other ports are tried when somebody took one between its choice and its use.
const TRIES: usize = 4;

/// What a world starts from.
#[derive(Clone, Debug)]
pub struct Builder {
    relay: Table,
    gateway: Table,
    jwks: Option<Value>,
    certificates: Vec<(&'static str, Vec<&'static str>)>,
    programs: Option<PathBuf>,
    echo: bool,
    inside: Option<(String, IpAddr)>,
}

/// A running edge. Dropping it ends both programs and removes the folder.
#[derive(Debug)]
pub struct World {
    /// The relay.
    pub relay: Program,
    /// The gateway.
    pub gateway: Program,
    /// Where clients connect with TLS.
    pub secure: SocketAddr,
    /// Where clients connect without.
    pub plain: SocketAddr,
    /// The same with TLS over IPv6, where the machine has it.
    pub secure6: Option<SocketAddr>,
    /// Metrics and health.
    pub http: SocketAddr,
    /// Who signed the certificates.
    pub authority: Authority,
    programs: PathBuf,
    folder: Folder,
    /// Where the relay runs, if not where the test does.
    namespace: Option<String>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            relay: defaults(RELAY),
            gateway: Table::new(),
            jwks: None,
            certificates: Vec::new(),
            programs: None,
            echo: false,
            inside: None,
        }
    }
}

impl Builder {
    /// Lays TOML over the relay's defaults: tables merge, everything else replaces.
    #[must_use]
    pub fn relay(mut self, text: &str) -> Self {
        merge(&mut self.relay, defaults(text));
        self
    }

    /// Lays TOML over the gateway's defaults.
    #[must_use]
    pub fn gateway(mut self, text: &str) -> Self {
        merge(&mut self.gateway, defaults(text));
        self
    }

    /// Gives the relay public keys of tokens.
    #[must_use]
    pub fn jwks(mut self, signers: &[Signer]) -> Self {
        let keys: Vec<Value> = signers.iter().filter_map(|signer| signer.jwk().ok()).collect();
        self.jwks = Some(json!({ "keys": keys }));
        self.relay("[client.token]\njwks_file = \"{folder}/jwks.json\"\n")
    }

    /// Certificates instead of the default one: the file's name (`NAME.pem`, `NAME-key.pem`) and whom it is for.
    #[must_use]
    pub fn certificate(mut self, name: &'static str, names: &[&'static str]) -> Self {
        self.certificates.push((name, names.to_vec()));
        self
    }

    /// Listeners that echo instead of speaking the client protocol.
    #[must_use]
    pub fn echo(mut self) -> Self {
        self.echo = true;
        self
    }

    /// Runs the relay in a network namespace, with this address for metrics and health.
    #[must_use]
    pub fn relay_in(mut self, namespace: &str, address: IpAddr) -> Self {
        self.inside = Some((namespace.to_owned(), address));
        self
    }

    /// Takes the programs from another folder than that of this build.
    #[must_use]
    pub fn programs(mut self, folder: PathBuf) -> Self {
        self.programs = Some(folder);
        self
    }

    /// Starts both programs and waits until they answer.
    pub fn start(self) -> Result<World> {
        let mut tries = 1..TRIES;
        loop {
            match self.clone().attempt() {
                // Both programs say so in their own words.
                Err(error) if format!("{error:#}").contains("in use") => {
                    if tries.next().is_none() {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
    }

    fn attempt(self) -> Result<World> {
        let programs = self.programs.map_or_else(process::programs, Ok)?;
        let folder = Folder::new()?;
        let authority = Authority::new()?;
        fs::write(folder.file("ca.pem"), authority.certificate())?;
        let mut certificates = String::new();
        let usual = vec![("server", vec!["localhost", "127.0.0.1", "::1"])];
        for (name, names) in if self.certificates.is_empty() { &usual } else { &self.certificates } {
            install(&folder, name, &authority.server(names)?)?;
            certificates.push_str(&format!(
                "[[tls.certificates]]\ncertificate = \"{{folder}}/{name}.pem\"\nkey = \"{{folder}}/{name}-key.pem\"\n"
            ));
        }
        if let Some(jwks) = &self.jwks {
            fs::write(folder.file("jwks.json"), jwks.to_string())?;
        }
        let (ports, secure6) = ports()?;
        let [secure, plain, mut http] = ports;
        let (namespace, address) = self.inside.unzip();
        if let Some(address) = address {
            http.set_ip(address);
        }
        let mut relay = defaults(&format!("{LINK}[http]\naddress = \"{http}\"\n{certificates}"));
        merge(&mut relay, self.relay);
        let listeners = [(Some(secure), true), (Some(plain), false), (secure6, true)];
        let listeners = listeners.iter().filter_map(|(address, tls)| {
            address.map(|address| {
                format!("[[listeners]]\naddress = \"{address}\"\ntls = {tls}\necho = {}\n", self.echo)
            })
        });
        let mut gateway = defaults(&format!("{LINK}{}", listeners.collect::<String>()));
        merge(&mut gateway, self.gateway);
        fs::write(folder.file("relay.toml"), folder.fill(&relay.to_string()))?;
        fs::write(folder.file("gateway.toml"), folder.fill(&gateway.to_string()))?;
        let relay = launch(&programs, &folder, "relay", namespace.as_deref())?;
        let gateway = launch(&programs, &folder, "gateway", None)?;
        let mut world =
            World { relay, gateway, secure, plain, secure6, http, authority, programs, folder, namespace };
        world.ready()?;
        Ok(world)
    }
}

impl World {
    /// A world with a test's overlays still to come.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A world with defaults.
    pub fn start() -> Result<Self> {
        Builder::default().start()
    }

    /// A file of this world's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.file(name)
    }

    /// The URL of the TLS listener.
    pub fn wss(&self) -> String {
        format!("wss://localhost:{}/connection/websocket", self.secure.port())
    }

    /// The URL of the plain listener.
    pub fn ws(&self) -> String {
        format!("ws://127.0.0.1:{}/connection/websocket", self.plain.port())
    }

    /// A token for a user that never expires.
    pub fn token(&self, user: &str) -> Result<String> {
        self.token_of(&json!({ "sub": user }))
    }

    /// A token with these claims, signed with the shared secret.
    pub fn token_of(&self, claims: &Value) -> Result<String> {
        hs256(SECRET, claims)
    }

    /// Unix seconds now, as tokens count.
    #[allow(clippy::disallowed_methods, reason = "real programs run in real time")]
    pub fn unix(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |time| time.as_secs())
    }

    /// The relay's metrics now.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::scrape(self.http)
    }

    /// Waits until a metric satisfies a condition.
    pub fn metric(&self, name: &str, labels: &[&str], holds: impl Fn(f64) -> bool) -> Result<f64> {
        let mut last = f64::NAN;
        let found = wait::until(&format!("{name} {labels:?}"), READY_WITHIN, || {
            last = self.metrics().ok()?.sum(name, labels);
            holds(last).then_some(last)
        });
        found.with_context(|| format!("{name} {labels:?} was last {last}"))
    }

    /// Kills the relay as a crash would and waits for nothing.
    pub fn kill_relay(&mut self) -> Result<()> {
        self.relay.kill()
    }

    /// Starts the relay again after it was killed.
    pub fn restart_relay(&mut self) -> Result<()> {
        self.relay = launch(&self.programs, &self.folder, "relay", self.namespace.as_deref())?;
        self.ready()
    }

    /// Kills the gateway as a crash would and starts it again.
    pub fn restart_gateway(&mut self) -> Result<()> {
        self.gateway.kill()?;
        self.gateway = launch(&self.programs, &self.folder, "gateway", None)?;
        self.ready()
    }

    /// Lays TOML over the relay's file and tells it to read it again.
    pub fn reload_relay(&self, text: &str) -> Result<()> {
        let path = self.file("relay.toml");
        let mut table = defaults(&fs::read_to_string(&path)?);
        merge(&mut table, defaults(&self.folder.fill(text)));
        fs::write(&path, table.to_string())?;
        self.relay.signal(Signal::HUP)
    }

    /// Puts another certificate in the place of one and tells the relay.
    pub fn replace_certificate(&self, name: &str, made: &ServerCertificate) -> Result<()> {
        install(&self.folder, name, made)?;
        self.relay.signal(Signal::HUP)
    }

    fn ready(&mut self) -> Result<()> {
        for address in [self.http, self.plain, self.secure] {
            let within = Duration::from_secs(1);
            let answered = wait::until(&format!("an answer on {address}"), READY_WITHIN, || {
                if self.relay.check().is_err() || self.gateway.check().is_err() {
                    return Some(false);
                }
                TcpStream::connect_timeout(&address, within).is_ok().then_some(true)
            });
            self.relay.check()?;
            self.gateway.check()?;
            let logs =
                || format!("relay:\n{}\ngateway:\n{}", self.relay.last_lines(), self.gateway.last_lines());
            answered.with_context(logs)?;
        }
        let (status, body) = metrics::get(self.http, "/health")?;
        anyhow::ensure!(status == 200, "/health answered {status}: {body}");
        // Sockets listen early, and before its link is up a shard answers with temporary errors, which is for other tests.
        let shards =
            wait::until("the gateway to say how many shards it has", READY_WITHIN, || self.shards())?;
        self.metric(metrics::LINKS, &[], |links| links >= shards)?;
        Ok(())
    }

    /// As many as the gateway last said it has.
    fn shards(&self) -> Option<f64> {
        let log = self.gateway.log();
        let line = log.lines().rev().find(|line| line.contains(" shards, "))?;
        line.split_whitespace().find_map(|word| word.parse().ok())
    }
}

fn launch(programs: &Path, folder: &Folder, name: &str, namespace: Option<&str>) -> Result<Program> {
    let config = folder.file(&format!("{name}.toml")).display().to_string();
    let program = programs.join(format!("headland-{name}"));
    let args = ["run", "--config", &config];
    Program::start_in(namespace, &program, &args, folder.file(&format!("{name}.log")))
}

/// Puts a certificate where the relay's configuration says.
fn install(folder: &Folder, name: &str, made: &ServerCertificate) -> Result<()> {
    fs::write(folder.file(&format!("{name}-key.pem")), &made.key)?;
    fs::write(folder.file(&format!("{name}.pem")), &made.chain)?;
    Ok(())
}

/// Three addresses on the loopback that nobody listens on, taken from the system, all held at once and then given back; and the
/// first port on the IPv6 loopback, where there is one.
fn ports() -> Result<([SocketAddr; 3], Option<SocketAddr>)> {
    let hold = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    loop {
        let held = [hold()?, hold()?, hold()?];
        let found = [held[0].local_addr()?, held[1].local_addr()?, held[2].local_addr()?];
        match TcpListener::bind((Ipv6Addr::LOCALHOST, found[0].port())) {
            Ok(sixth) => return Ok((found, Some(sixth.local_addr()?))),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(_) => return Ok((found, None)),
        }
    }
}

/// A test's own TOML.
pub(crate) fn defaults(text: &str) -> Table {
    text.parse().unwrap_or_else(|error| panic!("a test's own TOML: {error}\n{text}"))
}

/// Lays one table over another.
pub(crate) fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(toml::Value::Table(under)), toml::Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

const LINK: &str = "[link]\npath = \"{folder}/relay.sock\"\n";

/// Everything allowed where a test wants to see it work; `closed` for where it must not.
const RELAY: &str = r#"
[client.token]
hmac_secret_key = "a secret of tests, long enough for HS256"

[channel.without_namespace]
allow_subscribe_for_client = true
allow_publish_for_client = true

[[channel.namespaces]]
name = "chat"
history_size = 100
history_ttl = "5m"
force_recovery = true
presence = true
join_leave = true
force_push_join_leave = true
allow_subscribe_for_client = true
allow_publish_for_subscriber = true
allow_history_for_subscriber = true
allow_presence_for_subscriber = true

[[channel.namespaces]]
name = "short"
history_size = 3
history_ttl = "5m"
force_recovery = true
allow_subscribe_for_client = true
allow_publish_for_client = true
allow_history_for_client = true

[[channel.namespaces]]
name = "closed"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_changes_what_it_names_and_nothing_else() {
        let mut under = defaults("a = 1\n[t]\nx = 1\ny = 2\n");
        merge(&mut under, defaults("[t]\ny = 3\n"));
        assert_eq!(under, defaults("a = 1\n[t]\nx = 1\ny = 3\n"));
    }

    #[test]
    fn addresses_are_distinct() {
        let (found, _) = ports().unwrap();
        assert!((1..found.len()).all(|i| !found[..i].contains(&found[i])));
    }
}
