//! What is common to every mode, checked: typed options become a [`Plan`], or a sentence that says what is wrong.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::client::encoding::Encoding;
use protocol::tls::{self, ClientOptions, Trust};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tuning::{DESCRIPTORS_RESERVED, Needs, Side, Weight};

use crate::credentials::Credentials;
use crate::limits::{CA_BYTES_MAX, CONNECTIONS_MAX, OPENING_DEFAULT, THREADS_MAX};
use crate::manner::{Goal, Manner};
use crate::options::CommonArgs;
use crate::pattern::Pattern;
use crate::server::Server;
use crate::sources::Sources;
use crate::target::Target;
use crate::worker::Brief;

/// A run that can begin.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to.
    pub target: Target,
    /// At once.
    pub connections: u32,
    /// With a file table each.
    pub threads: u32,
    /// Who the clients are.
    pub credentials: Credentials,
    /// Whose cost is measured.
    pub server: Server,
    /// For a connection to become usable.
    pub timeout: Duration,
    /// As given; each mode has its own default.
    pub nap: Option<Duration>,
    /// Report doubtful figures too.
    pub force: bool,
    /// Where the report goes as JSON.
    pub json: Option<PathBuf>,
    sources: Sources,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    origin: Option<String>,
    deflate: bool,
    encoding: Encoding,
    opening: u32,
}

/// Where Debian and most others keep the authorities that the system trusts.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

impl Plan {
    /// Checks what is common to all modes. `tables` is how many threads the mode wants when not told.
    pub fn new(common: &CommonArgs, connections: u32, tables: usize) -> Result<Self, String> {
        if connections == 0 || connections > CONNECTIONS_MAX {
            return Err(format!("--connections must be between 1 and {CONNECTIONS_MAX}"));
        }
        let target = Target::parse(&common.url)?;
        let sources = match &common.sources {
            Some(text) => Sources::parse(text)?,
            None => Sources::suited_to(&target, connections),
        };
        if !sources.fits(&target) {
            return Err("--sources and --url are of different address families".to_owned());
        }
        let tls = if target.tls { Some(client_tls(common, &target)?) } else { None };
        Ok(Self {
            threads: threads(common.threads, tables, connections)?,
            credentials: credentials(common)?,
            server: Server::new(common.server_pid.clone())?,
            timeout: seconds("--timeout", common.timeout)?,
            nap: common.nap_ms.map(Duration::from_millis),
            force: common.force,
            json: common.json.clone(),
            origin: common.origin.clone(),
            deflate: common.deflate,
            encoding: if common.protobuf { Encoding::Protobuf } else { Encoding::Json },
            opening: common.opening.unwrap_or(OPENING_DEFAULT),
            connections,
            target,
            sources,
            tls,
        })
    }

    /// What this machine lacks for the run, as sentences, with whether each would stop it.
    pub fn lacks(&self) -> Vec<(bool, String)> {
        let sources = self.sources.count() as u64;
        let side = if self.target.is_local() { Side::Both { sources } } else { Side::Generator { sources } };
        let (connections, tables) = (u64::from(self.connections), u64::from(self.threads));
        let needs = Needs { connections, rate: 0, tables, side };
        let findings = tuning::check(&needs).into_iter();
        findings.map(|finding| (finding.0.weight == Weight::Stops, finding.to_string())).collect()
    }

    /// One brief per thread.
    pub fn briefs(&self, goal: Goal, nap: Duration) -> Vec<Brief> {
        let manner = Manner {
            tls: self.tls.clone(),
            authority: self.target.authority.clone(),
            path: self.target.path.clone(),
            origin: self.origin.clone(),
            deflate: self.deflate,
            encoding: self.encoding,
            goal,
        };
        let brief = |thread| Brief {
            thread,
            threads: self.threads,
            addr: self.target.addr,
            sources: self.sources.clone(),
            manner: manner.clone(),
            opening: self.opening,
            timeout: self.timeout,
            slots: self.share(thread, self.connections) + 1,
            nap: self.nap.unwrap_or(nap),
            birth: Duration::ZERO,
        };
        (0..self.threads).map(brief).collect()
    }

    /// How many of `total` connections thread `thread` holds.
    pub fn share(&self, thread: u32, total: u32) -> u32 {
        total / self.threads + u32::from(thread < total % self.threads)
    }

    /// Connections being opened at once, on all threads.
    pub fn opening(&self) -> u32 {
        self.opening.saturating_mul(self.threads)
    }

    /// What was asked, for the report.
    pub fn setting(&self) -> Vec<(&'static str, String)> {
        vec![
            ("connections", self.connections.to_string()),
            ("threads", self.threads.to_string()),
            ("sources", self.sources.count().to_string()),
            ("tls", self.target.tls.to_string()),
            ("protocol", self.encoding.subprotocol().to_owned()),
        ]
    }
}

/// A length of time as typed; the error names the option.
pub fn seconds(option: &str, value: f64) -> Result<Duration, String> {
    if !(0.0..=1e6).contains(&value) {
        return Err(format!("{option} must be between 0 and 1000000 seconds"));
    }
    Ok(Duration::from_secs_f64(value))
}

/// A rate as typed; 0 is none. The error names the option.
pub fn rate(option: &str, value: f64) -> Result<f64, String> {
    if value != 0.0 && !(1e-3..=1e7).contains(&value) {
        return Err(format!("{option} must be 0 or between 0.001 and 10000000 per second"));
    }
    Ok(value)
}

/// As many as wanted, and at least as many as the descriptor limit asks for.
fn threads(wanted: Option<usize>, default: usize, connections: u32) -> Result<u32, String> {
    let (nofile, _) = sys::raise_nofile().map_err(|error| format!("RLIMIT_NOFILE: {error}"))?;
    let needed = threads_for(connections, nofile);
    let cores = sys::cores().map_or(1, |cores| cores.len());
    let threads = wanted.unwrap_or_else(|| default.min(cores)).max(needed).max(1);
    if threads > THREADS_MAX {
        return Err(format!(
            "{connections} connections under a limit of {nofile} descriptors take {threads} threads, more than \
             {THREADS_MAX}: raise RLIMIT_NOFILE (ulimit -n)"
        ));
    }
    Ok(u32::try_from(threads).expect("invariant: at most THREADS_MAX"))
}

/// Threads whose file tables hold `connections` when each may have `nofile` descriptors.
fn threads_for(connections: u32, nofile: u64) -> usize {
    // One more for the publisher.
    let each = nofile.saturating_sub(DESCRIPTORS_RESERVED + 1).max(1);
    usize::try_from(u64::from(connections).div_ceil(each)).unwrap_or(usize::MAX)
}

fn credentials(common: &CommonArgs) -> Result<Credentials, String> {
    Ok(match (&common.token, &common.token_hmac_secret) {
        (Some(token), _) => Credentials::Token(token.clone()),
        (None, Some(secret)) => Credentials::signed(secret, Pattern::parse(&common.user)?),
        (None, None) => Credentials::Anonymous,
    })
}

fn client_tls(
    common: &CommonArgs,
    target: &Target,
) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
    let name = common.server_name.clone().unwrap_or_else(|| target.host.clone());
    let server = ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is not a host name"))?;
    let trust = if common.insecure { Trust::Insecure } else { Trust::Roots(roots(common.ca.as_deref())?) };
    let config = tls::client_config(&ClientOptions { trust, ..ClientOptions::default() })
        .map_err(|error| error.to_string())?;
    Ok((config, server))
}

fn roots(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    let path = file.unwrap_or_else(|| Path::new(SYSTEM_CA));
    let advice = "give --ca FILE with the server's authority, or --insecure for a test server";
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(CA_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|error| format!("{}: {error}; {advice}", path.display()))?;
    let roots: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    if roots.is_empty() {
        return Err(format!("{} holds no certificate; {advice}", path.display()));
    }
    Ok(roots)
}
