//! `cargo xtask up`: a working secure edge on this machine, from nothing but this repository.

mod config;
mod hints;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::supervise::{End, Programs};
use crate::{install, paths};

/// How long a program may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Port of wss://.
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Also listen without TLS (ws://), as behind a proxy of one's own.
    #[arg(long, value_name = "PORT")]
    plain: Option<u16>,
    /// Port of the relay's metrics and health, on 127.0.0.1.
    #[arg(long, default_value_t = 9443)]
    metrics: u16,
    /// Port of the node's REST and of the chat page, on 127.0.0.1.
    #[arg(long, default_value_t = 9444)]
    node: u16,
    /// Address to listen on; 0.0.0.0 lets other machines in.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Another name that clients call this machine by; goes into the certificate.
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// A page of yours that may connect from a browser, such as http://localhost:3000. The chat page always may.
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// No chat page: nothing is installed from npm.
    #[arg(long)]
    no_demo: bool,
    /// Take built programs from this folder instead of building them.
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// Where keys, configuration, logs and the link's socket go, instead of `up` in the build folder.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// Where one run keeps its files.
pub(crate) struct Place {
    folder: PathBuf,
}

impl Place {
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// The addresses of one run. A listener's first address is the one that was asked for; the other is the same in IPv6, since
/// `localhost` means both and clients differ in which they try.
pub(crate) struct Addresses {
    pub(crate) secure: Vec<SocketAddr>,
    pub(crate) plain: Vec<SocketAddr>,
    pub(crate) metrics: SocketAddr,
    pub(crate) node: SocketAddr,
}

impl Addresses {
    /// Where clients connect to.
    pub(crate) fn url(&self) -> String {
        format!("wss://localhost:{}/connection/websocket", self.secure[0].port())
    }
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    let addresses = Addresses {
        secure: listen(args.bind, args.port, "--port")?,
        plain: args.plain.map_or(Ok(Vec::new()), |port| listen(args.bind, port, "--plain"))?,
        metrics: SocketAddr::from((Ipv4Addr::LOCALHOST, args.metrics)),
        node: SocketAddr::from((Ipv4Addr::LOCALHOST, args.node)),
    };
    free(addresses.metrics, "--metrics")?;
    free(addresses.node, "--node")?;
    let programs = match &args.programs {
        Some(folder) => folder.clone(),
        None if build()? => paths::target().join("release"),
        None => return Ok(false),
    };
    let place = Place { folder: args.folder.clone().unwrap_or_else(|| paths::target().join("up")) };
    fs::create_dir_all(&place.folder).with_context(|| format!("making {}", place.folder.display()))?;
    let library = if args.no_demo { None } else { install::library() };
    let made = prepare(&programs, &place, &args.name)?;
    config::write(&place, &addresses, &made, library.as_deref(), &args.origin)?;
    let hints = hints::text(&place, &addresses, &made.token, library.is_some());
    serve(&programs, &place, &addresses, &hints)
}

fn build() -> Result<bool> {
    println!("building the programs (release; the first time takes some minutes)");
    let mut build = paths::cargo([
        "build",
        "--release",
        "--package",
        "gateway",
        "--package",
        "agent",
        "--package",
        "nodes",
        "--package",
        "tests",
    ]);
    for program in ["headland-gateway", "headland-relay", "headland-node", "dev-credentials"] {
        build.args(["--bin", program]);
    }
    Ok(build.status()?.success())
}

/// What tokens are signed with, and one of them.
struct Made {
    secret: String,
    token: String,
}

/// Makes the credentials.
fn prepare(programs: &Path, place: &Place, names: &[String]) -> Result<Made> {
    let mut credentials = std::process::Command::new(programs.join("dev-credentials"));
    credentials
        .arg(&place.folder)
        .args(["localhost", "127.0.0.1", "::1"])
        .args(names)
        .stderr(Stdio::inherit());
    let made = credentials.output().context("dev-credentials does not start")?;
    let made: Value =
        serde_json::from_slice(&made.stdout).context("the development certificate was not made")?;
    let word =
        |name: &str| made[name].as_str().map(str::to_owned).context("dev-credentials said something else");
    Ok(Made { secret: word("secret")?, token: word("token")? })
}

fn serve(programs: &Path, place: &Place, addresses: &Addresses, hints: &str) -> Result<bool> {
    let mut running = Programs::new()?;
    let outcome = start(&mut running, programs, place, addresses)?;
    let end = match outcome {
        Some(end) => end,
        None => {
            println!("{hints}");
            running.wait()
        }
    };
    match end {
        End::Asked => {
            println!("stopping");
            Ok(true)
        }
        End::Died { name, status, last } => {
            eprintln!("{name} ended ({status}); its last lines ({}):\n{last}", place.folder.display());
            Ok(false)
        }
    }
}

/// Starts node, relay, gateway, each once the one before answers.
fn start(
    running: &mut Programs,
    programs: &Path,
    place: &Place,
    addresses: &Addresses,
) -> Result<Option<End>> {
    let programs_in_order = [
        ("headland-node", addresses.node),
        ("headland-relay", addresses.metrics),
        ("headland-gateway", addresses.secure[0]),
    ];
    for (name, ready) in programs_in_order {
        let file = place.file(&format!("{}.toml", name.trim_start_matches("headland-")));
        let args = ["run", "--config", file.to_str().context("the build folder's name is not UTF-8")?];
        running.start(name, &programs.join(name), &args, place.file(&format!("{name}.log")))?;
        let answers = || TcpStream::connect_timeout(&reach(ready), Duration::from_secs(1)).is_ok();
        if let Some(end) = running.until(&format!("{name} on {ready}"), READY_WITHIN, answers)? {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

/// An address one can connect to, for one that is listened on.
fn reach(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The address to listen on and its IPv6 sibling, where there is one and this machine has IPv6.
fn listen(ip: IpAddr, port: u16, option: &str) -> Result<Vec<SocketAddr>> {
    let asked = SocketAddr::new(ip, port);
    free(asked, option)?;
    let sibling = match ip {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Some(Ipv6Addr::LOCALHOST),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Some(Ipv6Addr::UNSPECIFIED),
        _ => None,
    };
    // The loopback tells whether there is IPv6 at all; the wildcard may be kept from being tried beside its sibling.
    let sibling = sibling.filter(|_| TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok());
    Ok([Some(asked), sibling.map(|ip| SocketAddr::from((ip, port)))].into_iter().flatten().collect())
}

/// Refuses an address that cannot be listened on before anything is built, with what to do about it.
fn free(address: SocketAddr, option: &str) -> Result<()> {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    let port = address.port();
    let Err(error) = TcpListener::bind(address) else { return Ok(()) };
    match error.kind() {
        AddrInUse => bail!(
            "port {port} is in use: see who has it with `ss -ltnp sport = :{port}`, or choose another with {option}"
        ),
        PermissionDenied => bail!(
            "port {port} needs a right that this user does not have: choose one from 1024 on with {option}, or allow it with \
             `sysctl net.ipv4.ip_unprivileged_port_start={port}`"
        ),
        AddrNotAvailable => {
            bail!("{} is not an address of this machine: see `ip address`, or leave --bind out", address.ip())
        }
        _ => Err(error).with_context(|| format!("{address} cannot be listened on")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_refused_with_what_to_do() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let error = free(taken.local_addr().unwrap(), "--port").unwrap_err().to_string();
        assert!(error.contains("in use") && error.contains("--port"), "{error}");
    }
}
