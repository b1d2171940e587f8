//! Start and stop.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::{sync::watch, time};
use wire::config::{ConfigError, Secret};

use crate::clock::Clock;
use crate::config::{self, Checked};
use crate::demo::Demo;
use crate::fast::{Bounds, Fast, Queue};
use crate::http;
use crate::limits::{FILE_BYTES_MAX, STOP_WITHIN};
use crate::log::log;
use crate::message;
use crate::numbers::{self, Numbers};
use crate::problem::Problem;
use crate::relays::dispatch::Work;
use crate::relays::{Api, Dispatch, Teller};
use crate::state::{Node, Parts};
use crate::store::route::Router;
use crate::store::{self, Store, StoreError, moving};
use crate::tokens::{self, Keys, Newcomer};

/// The file of the queue of fast channels, in the node's folder.
const QUEUE: &str = "queue.db";

/// Why the node does not start: a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    File(String, io::Error),
    /// What the file says.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A database.
    #[error("{0}: {1}")]
    Store(String, StoreError),
    /// The private address.
    #[error("{0} is in use: stop what listens there, or set http.address to another port")]
    PortInUse(SocketAddr),
    /// The private address is not this machine's.
    #[error("{0} is not an address of this machine: set http.address to one of its private addresses")]
    NoSuchAddress(SocketAddr),
    /// A user who cannot be made.
    #[error("{0}")]
    User(String),
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

/// Reads and checks a configuration. The result says what it would run.
pub fn check_config(file: Option<&Path>) -> Result<String, StartError> {
    let checked = read(file)?;
    demo(&checked)?;
    let databases: usize = checked.clusters.iter().map(|(_, databases)| databases.len()).sum();
    Ok(format!(
        "good; {databases} databases in {} clusters, {} relays, REST on {}",
        checked.clusters.len(),
        checked.config.relays.addresses.len(),
        checked.config.http.address,
    ))
}

/// Runs until SIGTERM or SIGINT.
pub fn run(file: Option<&Path>) -> Result<(), StartError> {
    let checked = read(file)?;
    let runtime = Builder::new_multi_thread()
        .thread_name("node")
        .enable_all()
        .build()
        .map_err(|error| StartError::System("starting threads", error))?;
    let result = runtime.block_on(serve(checked));
    runtime.shutdown_timeout(STOP_WITHIN);
    result
}

fn read(file: Option<&Path>) -> Result<Checked, StartError> {
    let (name, text) = match file {
        Some(file) => (file.display().to_string(), text(file)?),
        None => ("no file".to_owned(), String::new()),
    };
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(config::read(&name, &text, variables)?)
}

fn text(file: &Path) -> Result<String, StartError> {
    use io::Read;
    let failed = |error| StartError::File(file.display().to_string(), error);
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(failed)?;
    opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(io::Error::other(format!("is over {FILE_BYTES_MAX} bytes"))));
    }
    Ok(text)
}

async fn serve(checked: Checked) -> Result<(), StartError> {
    let handler = |kind| signal(kind).map_err(|error| StartError::System("signals", error));
    let (mut terminate, mut interrupt) =
        (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    let address = checked.config.http.address;
    let listener = listen(address).await?;
    let (node, work) = assemble(checked).await?;
    log!(
        "REST on http://{address}/v1/, described at /openapi.json; node {} of the system",
        node.numbers.number()
    );
    if node.checked.config.relays.addresses.is_empty() {
        log!("relays.addresses is empty: what is stored is told to nobody");
    }
    let (stop, stopped) = watch::channel(false);
    let mut routes = http::routes(&node);
    if let Some(demo) = demo(&node.checked)? {
        let workspace = &node.checked.config.demo.workspace;
        let failed = |problem: Problem| {
            StartError::System("the chat page's workspace", io::Error::other(problem.text().to_owned()))
        };
        tokens::ensure_workspace(&node, workspace).await.map_err(failed)?;
        log!("chat page on http://{address}/demo/, for workspace {workspace}");
        routes = routes.merge(demo.routes());
    }
    let http = tokio::spawn(http::serve(listener, Arc::clone(&node), routes, stopped));
    // On the runtime's own threads, where what wakes it is near.
    let mut telling = tokio::spawn({
        let node = Arc::clone(&node);
        async move { node.teller.serve(work, || node.clock.unix()).await }
    });
    tokio::select! {
        () = tokens::keep(&node) => {}
        () = message::keep_marks(&node) => {}
        () = message::keep_fast(&node) => {}
        () = numbers::keep(&node) => {}
        _ = &mut telling => {}
        _ = terminate.recv() => log!("SIGTERM: stopping"),
        _ = interrupt.recv() => log!("SIGINT: stopping"),
    }
    let _ = stop.send(true);
    // What the last requests store is told as well.
    let _ = time::timeout(STOP_WITHIN, http).await;
    telling.abort();
    let last = async {
        message::flush_marks(&node).await;
        node.teller.write_books().await;
        leave(&node).await;
    };
    let _ = time::timeout(STOP_WITHIN, last).await;
    log!("stopped");
    Ok(())
}

/// A node with its databases open, that serves nothing yet.
async fn assemble(checked: Checked) -> Result<(Arc<Node>, Work), StartError> {
    let clock = Clock::start();
    let router = Arc::new(databases(&checked).await?);
    let control = |error| StartError::Store("the control database".to_owned(), error);
    let numbers = Numbers::lease(&**router.control(), &clock).await.map_err(control)?;
    let keys = Keys::open(&**router.control(), &checked.config.tokens, &clock).await.map_err(control)?;
    let (dispatch, work) = Dispatch::new();
    let relays = &checked.config.relays;
    let api = Api::new(&relays.addresses, relays.api_key.bytes());
    let teller = Teller::new(Arc::clone(&router), api, &work);
    let fast = queue(&checked).await?;
    let parts = Parts { router, numbers, keys, fast, dispatch, teller, clock };
    let node = Node::new(checked, parts)
        .map_err(|problem| StartError::System("passwords", io::Error::other(problem.text().to_owned())))?;
    Ok((Arc::new(node), work))
}

async fn leave(node: &Node) {
    node.numbers.release(&**node.router.control(), node.clock.unix()).await;
}

/// Makes a user, and the workspace if it is not there, whether people may register or not. The result says who it is.
pub fn add_user(
    file: Option<&Path>,
    workspace: &str,
    name: String,
    password: String,
) -> Result<String, StartError> {
    let checked = read(file)?;
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StartError::System("starting threads", error))?;
    runtime.block_on(async {
        let (node, _work) = assemble(checked).await?;
        let newcomer = Newcomer { name, password, display_name: None };
        let made = tokens::enlist(&node, workspace, newcomer).await;
        leave(&node).await;
        let (workspace, user) = made.map_err(|problem| StartError::User(problem.text().to_owned()))?;
        Ok(format!("user {} ({}) of workspace {} ({})", user.name, user.id, workspace.name, workspace.id))
    })
}

/// Moves a workspace, by name or id, to another cluster; without one, ends the move that is under way. The result says what was done.
pub fn move_workspace(file: Option<&Path>, workspace: &str, to: Option<&str>) -> Result<String, StartError> {
    let checked = read(file)?;
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StartError::System("starting threads", error))?;
    runtime.block_on(async {
        let router = databases(&checked).await?;
        let failed = |error| StartError::Store(format!("workspace {workspace}"), error);
        let route = match router.control().route_by_name(workspace).await.map_err(failed)? {
            Some(route) => route.workspace.id,
            None => workspace.parse().map_err(|()| failed(StoreError::Missing))?,
        };
        let Some(to) = to else {
            moving::abandon(&router, route).await.map_err(failed)?;
            return Ok("it stays where it is".to_owned());
        };
        let moved = moving::move_workspace(&router, route, to).await.map_err(failed)?;
        Ok(format!(
            "it is on {to}: {} entries and {} rows were copied, and for {} ms it took no writes",
            moved.entries,
            moved.rows,
            moved.frozen.as_millis()
        ))
    })
}

/// The chat page, where one is configured.
fn demo(checked: &Checked) -> Result<Option<Demo>, StartError> {
    let demo = &checked.config.demo;
    let (Some(url), Some(library)) = (&demo.url, &demo.library) else { return Ok(None) };
    let opened = Demo::open(url, &demo.workspace, library);
    opened.map(Some).map_err(|error| StartError::System("the chat page", io::Error::other(error)))
}

/// The node's own folder, made if it is missing. SQLite does not say why it cannot open a file where nothing may be written; the system
/// does.
fn folder(checked: &Checked) -> Result<PathBuf, StartError> {
    let folder = &checked.config.store.folder;
    let made = || {
        std::fs::create_dir_all(folder)?;
        std::fs::File::options().create(true).append(true).open(folder.join(QUEUE))?;
        folder.canonicalize()
    };
    made().map_err(|error| StartError::File(folder.display().to_string(), error))
}

/// The queue of messages that are delivered before they are stored: on this node's own disk, whatever the databases are.
async fn queue(checked: &Checked) -> Result<Fast, StartError> {
    let config = &checked.config.fast;
    let file = folder(checked)?.join(QUEUE);
    let bounds = Bounds { messages: config.messages, bytes: config.bytes };
    let opened = Queue::open(&file, bounds).await;
    let queue =
        opened.map_err(|error| StartError::File(file.display().to_string(), io::Error::other(error)))?;
    let (messages, _) = queue.levels();
    log!("messages of fast channels wait in {} to be stored: {messages} now", file.display());
    Ok(Fast::new(queue))
}

/// Opens every database once and brings it to this version.
async fn databases(checked: &Checked) -> Result<Router, StartError> {
    if checked.is_embedded() {
        log!("everything is stored in {} (SQLite)", folder(checked)?.display());
    }
    let mut opened: Vec<(Secret, Arc<dyn Store>)> = Vec::new();
    let control = open(&mut opened, "store.control", &checked.control).await?;
    let mut clusters = Vec::new();
    for (name, databases) in &checked.clusters {
        let mut stores = Vec::new();
        for (place, database) in databases.iter().enumerate() {
            stores.push(open(&mut opened, &format!("database {place} of cluster {name}"), database).await?);
        }
        clusters.push((name.clone(), stores));
    }
    let failed = |error| StartError::Store("the clusters".to_owned(), error);
    Router::new(control, clusters).await.map_err(failed)
}

/// One that is named twice is opened once.
async fn open(
    opened: &mut Vec<(Secret, Arc<dyn Store>)>,
    name: &str,
    url: &Secret,
) -> Result<Arc<dyn Store>, StartError> {
    if let Some((_, known)) = opened.iter().find(|(known, _)| known == url) {
        return Ok(Arc::clone(known));
    }
    let text = String::from_utf8_lossy(url.bytes()).into_owned();
    let store = store::open(&text).await.map_err(|error| StartError::Store(name.to_owned(), error))?;
    opened.push((url.clone(), Arc::clone(&store)));
    Ok(store)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => StartError::PortInUse(address),
        io::ErrorKind::AddrNotAvailable => StartError::NoSuchAddress(address),
        _ => StartError::System("listening on http.address", error),
    })
}
