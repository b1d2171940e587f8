//! The shard threads: each with a file table, listeners and an epoll of its own, told what to do by a bounded channel.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use protocol::shard::{Options, Policy};
use sys::{EVENTS_DEFAULT, Handle, Kernel, ListenOptions, Meter, Opener, Waker};

use crate::{
    config::Config,
    reactor::{Order, Outside, Reactor, Setup},
    sandbox::Sandbox,
};

/// Running shards.
pub(crate) struct Shards {
    orders: Vec<(Sender<Order>, Waker)>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    /// Where the listeners are, as the system chose the ports.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// Orders one shard may have waiting; the main thread waits for room.
const ORDERS_MAX: usize = 16;

/// What the process as a whole measures, told to shards by the main thread.
pub(crate) struct Process {
    meter: Meter,
    private_bytes: AtomicU64,
    cpu_us: AtomicU64,
    /// A shard has freed much.
    trim: AtomicBool,
}

impl Process {
    pub(crate) fn new() -> io::Result<Self> {
        let (private_bytes, cpu_us, trim) = Default::default();
        Ok(Self { meter: Meter::open()?, private_bytes, cpu_us, trim })
    }

    /// Measures now, and gives freed memory back if a shard has asked for it: once for all of them, off their threads.
    pub(crate) fn measure(&self) {
        self.private_bytes.store(self.meter.private_bytes().unwrap_or(0), Ordering::Relaxed);
        let cpu = sys::process_cpu(None).unwrap_or_default();
        self.cpu_us.store(cpu.as_micros() as u64, Ordering::Relaxed);
        if self.trim.swap(false, Ordering::Relaxed) {
            sys::trim_heap();
        }
    }
}

struct Inbox {
    shard: usize,
    orders: Receiver<Order>,
    process: Arc<Process>,
}

impl Outside for Inbox {
    fn order(&mut self) -> Option<Order> {
        self.orders.try_recv().ok()
    }

    fn process(&mut self) -> (u64, u64) {
        (self.process.private_bytes.load(Ordering::Relaxed), self.process.cpu_us.load(Ordering::Relaxed))
    }

    fn trim(&mut self) {
        self.process.trim.store(true, Ordering::Relaxed);
    }

    fn say(&mut self, text: &str) {
        eprintln!("headland-gateway: shard {}: {text}", self.shard);
    }
}

/// What one thread is given.
struct Start {
    number: usize,
    waker: Waker,
    opener: Option<Opener>,
    keep: Vec<Handle>,
    core: Option<usize>,
    inbox: Inbox,
    setup: Setup,
    ready: Sender<()>,
}

/// What shards are given that has to be opened before privileges are dropped.
pub(crate) struct Opened {
    /// Listening sockets by shard.
    sockets: Vec<Vec<Handle>>,
    addresses: Vec<SocketAddr>,
    openers: Vec<Option<Opener>>,
}

impl Opened {
    /// Binds every listener once per shard.
    pub(crate) fn new(config: &Config, count: usize, sandbox: &mut Sandbox) -> anyhow::Result<Self> {
        let (sockets, addresses) = bind(config, count)?;
        Ok(Self { sockets, addresses, openers: (0..count).map(|_| sandbox.opener()).collect() })
    }
}

impl Shards {
    /// Starts the threads. Returns when all have their own file table.
    pub(crate) fn start(
        config: &Config,
        opened: Opened,
        options: &Options,
        policy: &Arc<Policy>,
        gateway: u64,
        process: &Arc<Process>,
    ) -> anyhow::Result<Self> {
        let Opened { sockets, addresses, openers } = opened;
        let count = sockets.len();
        let handed_over: Vec<Handle> = openers.iter().flatten().map(Opener::handle).collect();
        let wakers = (0..count).map(|_| Waker::new()).collect::<io::Result<Vec<_>>>()?;
        let cores = sys::cores()?;
        let (ready, started) = bounded(count);
        let mut orders = Vec::new();
        let mut threads = Vec::new();
        for (number, (listeners, opener)) in sockets.iter().zip(openers).enumerate() {
            let (sender, receiver) = bounded(ORDERS_MAX);
            orders.push((sender, wakers[number].clone()));
            let own = [Some(wakers[number].handle()), opener.as_ref().map(Opener::handle)];
            let keep = listeners.iter().copied().chain(own.into_iter().flatten()).collect();
            let start = Start {
                number,
                waker: wakers[number].clone(),
                opener,
                keep,
                core: config.shards.pin.then(|| cores[number % cores.len()]),
                inbox: Inbox { shard: number, orders: receiver, process: Arc::clone(process) },
                setup: Setup {
                    options: options.clone(),
                    policy: Arc::clone(policy),
                    listeners: listeners.clone(),
                    link: PathBuf::from(&config.link.path),
                    gateway,
                    shard: number as u16,
                },
                ready: ready.clone(),
            };
            threads.push(thread::Builder::new().name(format!("shard-{number}")).spawn(|| run(start))?);
        }
        drop(ready);
        // Each thread says so once; one that failed has dropped its sender.
        while started.recv().is_ok() {}
        // These are the shards' now: in this table listeners would outlive a drain.
        close_all(&sockets);
        close_all(&[handed_over]);
        Ok(Self { orders, threads, addresses })
    }

    pub(crate) fn order(&self, order: impl Fn() -> Order) {
        for (orders, waker) in &self.orders {
            // A shard that has ended takes no more.
            if orders.send(order()).is_ok() {
                waker.wake();
            }
        }
    }

    /// Whether a thread has ended, which none does by itself.
    pub(crate) fn any_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Whether all have.
    pub(crate) fn all_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for all. The first failure, if any.
    pub(crate) fn join(self) -> anyhow::Result<()> {
        for thread in self.threads {
            thread.join().map_err(|_| anyhow::anyhow!("a shard has panicked"))??;
        }
        Ok(())
    }
}

fn run(start: Start) -> io::Result<()> {
    let Start { number, waker, opener, keep, core, inbox, setup, ready } = start;
    sys::unshare_files()?;
    sys::close_others(&keep)?;
    // Without the right to pin, the scheduler places the thread.
    if let Some(Err(error)) = core.map(sys::pin_to_core)
        && number == 0
    {
        eprintln!("headland-gateway: shards are not pinned to cores: {error}");
    }
    let kernel = Kernel::with_waker(EVENTS_DEFAULT, waker)?.opened_by(opener);
    let mut reactor = Reactor::new(kernel, inbox, setup)?;
    drop(ready);
    while reactor.turn()? {}
    Ok(())
}

/// Listening sockets by shard, and the addresses by listener.
fn bind(config: &Config, shards: usize) -> anyhow::Result<(Vec<Vec<Handle>>, Vec<SocketAddr>)> {
    let mut sockets = vec![Vec::new(); shards];
    let mut addresses = Vec::new();
    for listener in &config.listeners {
        let options = ListenOptions {
            backlog: listener.backlog,
            reuse_port: true,
            nodelay: true,
            notsent_lowat: Some(listener.notsent_lowat),
            user_timeout_ms: Some(u32::try_from(listener.user_timeout.as_millis()).unwrap_or(u32::MAX)),
            v6only: true,
        };
        let mut address = listener.address;
        probe(address, &options)?;
        for own in &mut sockets {
            let handle = sys::listen(address, &options).map_err(|error| explain(address, &error))?;
            // A port chosen by the system for the first shard is everybody's.
            address = sys::local_addr(handle)?;
            own.push(handle);
        }
        addresses.push(address);
    }
    Ok((sockets, addresses))
}

/// Sharing a port with another program that shares it too would split the clients between the two.
fn probe(address: SocketAddr, options: &ListenOptions) -> anyhow::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let alone = ListenOptions { reuse_port: false, ..*options };
    let handle = sys::listen(address, &alone).map_err(|error| explain(address, &error))?;
    close_all(&[vec![handle]]);
    Ok(())
}

fn close_all(sockets: &[Vec<Handle>]) {
    for handle in sockets.iter().flatten() {
        sys::close(*handle);
    }
}

fn explain(address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there: stop it, or choose another port in [[listeners]]"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need the right to bind them: run with CAP_NET_BIND_SERVICE, or choose a higher port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: choose one of its own in [[listeners]]"
        }
        _ => "choose another address in [[listeners]]",
    };
    anyhow::anyhow!("cannot listen on {address}: {error}; {advice}")
}
