//! Start, reload and stop.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::{sync::watch, time};
use wire::config::ConfigError;
use wire::token::Kind;

use crate::bus;
use crate::config::{self, Checked};
use crate::fetch;
use crate::http;
use crate::limits::{FILE_BYTES_MAX, STOP_WITHIN, TICK};
use crate::link::{Socket, SocketError};
use crate::log::log;
use crate::node::Node;
use crate::state::{ApplyError, Relay};
use crate::{clock::Clock, files};

/// Tokio threads: the links of a box and its private side need no more, and the cores are the gateway's.
const THREADS: usize = 2;

/// Why the relay does not start: a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    File(String, String),
    /// What the file says.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Certificates and keys.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The bus.
    #[error(transparent)]
    Bus(#[from] bus::BusError),
    /// The link's socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The private address.
    #[error("{0} is in use: stop what listens there, or set http.address to another port")]
    PortInUse(SocketAddr),
    /// The private address is not this machine's.
    #[error("{0} is not an address of this machine: set http.address to one of its private addresses")]
    NoSuchAddress(SocketAddr),
    /// The port needs a right.
    #[error("this user may not listen on {0}: set http.address to a port above 1023")]
    PortDenied(SocketAddr),
    /// Anything else the system refused.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

impl StartError {
    /// Whether the configuration is at fault rather than the machine.
    pub const fn is_config(&self) -> bool {
        matches!(self, Self::Config(_))
    }
}

/// Reads and checks a configuration with the certificates and keys it names. The result says what it would run.
pub fn check_config(file: &Path) -> Result<String, StartError> {
    let checked = read(file)?;
    // A relay that is made and dropped has read every key and fitted every message.
    Relay::new(&checked, 0)?;
    bus::check(&checked)?;
    Ok(format!(
        "{}: good; {} namespaces, {} certificates, link on {}, metrics on {}",
        file.display(),
        checked.settings.namespaces.len(),
        checked.config.tls.certificates.len(),
        checked.config.link.path.display(),
        checked.config.http.address,
    ))
}

/// Runs until SIGTERM or SIGINT. SIGHUP reads the configuration again.
pub fn run(file: &Path) -> Result<(), StartError> {
    let checked = read(file)?;
    let relay = Arc::new(Relay::new(&checked, seed()?)?);
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("relay")
        .enable_all()
        .build()
        .map_err(|error| StartError::System("starting threads", error))?;
    let result = runtime.block_on(serve(file, &checked, relay));
    runtime.shutdown_timeout(STOP_WITHIN);
    result
}

fn read(file: &Path) -> Result<Checked, StartError> {
    let name = file.display().to_string();
    let bytes = files::read(file, FILE_BYTES_MAX)
        .map_err(|error| StartError::File(name.clone(), error.to_string()))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| StartError::File(name.clone(), "is not UTF-8 text".to_owned()))?;
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(config::read(&name, &text, variables)?)
}

/// From the system's random source, so that epochs of two runs differ.
fn seed() -> Result<u64, StartError> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| StartError::System("random numbers", io::Error::other("the system gives none")))?;
    Ok(u64::from_le_bytes(bytes))
}

async fn serve(file: &Path, checked: &Checked, relay: Arc<Relay>) -> Result<(), StartError> {
    let handler = |kind| signal(kind).map_err(|error| StartError::System("signals", error));
    let mut reload = handler(SignalKind::hangup())?;
    let (mut terminate, mut interrupt) =
        (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    let http = listen(checked.config.http.address).await?;
    // A gateway that finds the relay finds the keys too, if they can be had.
    let keys = tokio::join!(fetch::once(&relay, Kind::Connection), fetch::once(&relay, Kind::Subscription));
    let link = &checked.config.link;
    let socket = Socket::bind(&link.path, &link.allowed_uids)?;
    log!("link on {}, metrics on {}", link.path.display(), checked.config.http.address);
    let access = relay.access();
    match (access.is_off(), access.is_insecure()) {
        (true, _) => log!("the server API is off: http_api.key is not set"),
        (_, true) => log!(
            "server API on http://{}/api/ WITHOUT A KEY: http_api.insecure is set",
            checked.config.http.address
        ),
        _ => log!("server API on http://{}/api/", checked.config.http.address),
    }
    if let Some(nodes) = &checked.nodes {
        relay.connect_node(Node::new(nodes, &relay));
    }
    if let Some(bus) = bus::start(checked, &relay, (seed()?, seed()?))? {
        relay.connect(bus);
    }
    let (stop, stopped) = watch::channel(false);
    let http = tokio::spawn(http::serve(http, Arc::clone(&relay), stopped));
    tokio::select! {
        () = socket.serve(Arc::clone(&relay)) => {}
        () = ticks(&relay) => {}
        () = relay.listen() => {}
        () = fetch::keep(&relay, Kind::Connection, keys.0) => {}
        () = fetch::keep(&relay, Kind::Subscription, keys.1) => {}
        () = reloads(file, checked, &relay, &mut reload) => {}
        _ = terminate.recv() => log!("SIGTERM: stopping"),
        _ = interrupt.recv() => log!("SIGINT: stopping"),
    }
    drop(socket);
    let _ = stop.send(true);
    let _ = time::timeout(STOP_WITHIN, http).await;
    log!("stopped");
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => StartError::PortInUse(address),
        io::ErrorKind::AddrNotAvailable => StartError::NoSuchAddress(address),
        io::ErrorKind::PermissionDenied => StartError::PortDenied(address),
        _ => StartError::System("listening on http.address", error),
    })
}

/// Lets time pass for the bus and the keys.
async fn ticks(relay: &Relay) {
    let mut ticks = time::interval(TICK);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    for count in 0u64.. {
        ticks.tick().await;
        relay.tick();
        if count.is_multiple_of(100) {
            relay.retire_keys();
        }
    }
}

/// Reads the configuration again on each signal. A bad one changes nothing and says why.
async fn reloads(file: &Path, started: &Checked, relay: &Relay, signal: &mut Signal) {
    while signal.recv().await.is_some() {
        let took = Clock::start();
        match read(file).and_then(|checked| Ok(relay.apply(&checked).map(|()| checked)?)) {
            Ok(checked) => {
                let fixed = [
                    ("[link]", checked.config.link != started.config.link),
                    ("[http]", checked.config.http != started.config.http),
                    ("[bus]", checked.config.bus != started.config.bus),
                    ("[node]", checked.config.node != started.config.node),
                    ("[limits]", checked.config.limits != started.config.limits),
                ];
                for (table, _) in fixed.iter().filter(|(_, changed)| *changed) {
                    log!("{table} has changed: that takes effect at the next start");
                }
                log!("SIGHUP: reloaded in {} ms, {} keys", took.now().as_millis(), relay.keys());
            }
            Err(error) => log!("SIGHUP: the configuration stays as it was: {error}"),
        }
    }
}
