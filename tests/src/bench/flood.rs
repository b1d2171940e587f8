//! Whether established connections notice a flood of handshakes: the delivery times of a steady stream to 1,000 of them, without one
//! and under one at twice what the gateway can work on.
//!
//! The flood is a stranger's cheapest: one ClientHello, made once and sent on each of many connections, which costs the server a key
//! exchange and a signature and the stranger nothing. It is never finished.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use socket2::SockRef;

use super::handshake::{client_config, connect, drain};
use super::load::Load;
use super::{Figure, Options, Target};
use crate::metrics;
use crate::wait;
use crate::world::World;

const SUBSCRIBERS: usize = 1_000;
const SECONDS: u64 = 10;
/// Publications per second: each is 1,000 deliveries.
const PUBLICATIONS_PER_SECOND: &str = "25";
/// Strangers at once while the capacity is measured.
const STRANGERS: usize = 32;
/// How long the capacity is measured.
const CAPACITY_SECONDS: u64 = 3;
/// The flood over the capacity.
const FLOOD_TIMES: f64 = 2.0;
/// Threads of the flood: on a machine that does both ends, more would only take the gateway's processor away.
const FLOOD_THREADS: usize = 2;
/// How long a stranger of the flood stays, if there is room.
const STAYS: Duration = Duration::from_secs(3);
/// Strangers of one thread of the flood that stay at once.
const STAYING_MAX: usize = 7_000;
/// The flood comes in steps of this length.
const STEP: Duration = Duration::from_millis(5);
/// While the capacity is measured the gateway gets what it can take.
const NICE: i32 = 19;

pub(super) fn run(options: &Options) -> Result<Vec<Figure>> {
    sys::raise_nofile()?;
    let subscribers = options.connections.unwrap_or(SUBSCRIBERS);
    let seconds = options.seconds.unwrap_or(SECONDS).to_string();
    let world = World::builder().start()?;
    let hello = Arc::new(hello(&world)?);
    let count = subscribers.to_string();
    let shape = ["-n", &count, "--threads", "1", "--rate", PUBLICATIONS_PER_SECOND, "--in-flight", "64"];
    let stream =
        || Load::attempt(&world, "fanout", true, &[&shape[..], &["--seconds", &seconds, "--force"]].concat());
    let quiet = stream()?;
    let capacity = capacity(world.secure, &hello)?;
    let before = refusals(&world)?;
    let flood = Flood::new(world.secure, &hello, capacity * FLOOD_TIMES);
    let (flooded, flood) = thread::scope(|scope| -> Result<_> {
        let flooding: Vec<_> = (0..FLOOD_THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let everybody = |now| now > subscribers as f64;
                    world.metric(metrics::CONNECTIONS, &["state=\"established\""], everybody)?;
                    flood.run()
                })
            })
            .collect();
        let flooded = stream();
        flood.over.store(true, Ordering::Relaxed);
        let mut all = (0, 0.0_f64);
        for one in flooding {
            let (came, seconds) = one.join().map_err(|_| anyhow::anyhow!("the flood panicked"))??;
            all = (all.0 + came, all.1.max(seconds));
        }
        Ok((flooded?, all))
    })?;
    for (name, load) in [("quiet", &quiet), ("flooded", &flooded)] {
        if !load.broken().is_empty() {
            println!("{name}: {}", load.broken());
        }
    }
    let (came, flood_seconds) = flood;
    let refused = refusals(&world)? - before;
    let each_second = |count: f64| count / flood_seconds;
    let (quiet_ms, flooded_ms) = (quiet.figure("delivery p99")?, flooded.figure("delivery p99")?);
    Ok(vec![
        Figure::told("handshakes answered per second, at most", capacity, "/s"),
        Figure::told("flood", each_second(came as f64), "/s"),
        Figure::told("of these turned away before a signature", each_second(refused), "/s"),
        Figure::told("flood / what was worked on", came as f64 / (came as f64 - refused), "x"),
        Figure::told("quiet, p50", quiet.figure("delivery p50")?, "ms"),
        Figure::told("quiet, p99", quiet_ms, "ms"),
        Figure::told("flooded, p50", flooded.figure("delivery p50")?, "ms"),
        Figure::told("flooded, p99", flooded_ms, "ms"),
        Figure::told("flooded, max", flooded.figure("delivery max")?, "ms"),
        Figure::aimed("p99 flooded / quiet", flooded_ms / quiet_ms, "x", Target::AtMost(2.0)),
    ])
}

/// A ClientHello that the gateway takes.
fn hello(world: &World) -> Result<Vec<u8>> {
    let config = client_config(world.authority.certificate())?;
    let mut client = ClientConnection::new(config, ServerName::try_from("localhost")?)?;
    drain(|out| client.write_tls(out), usize::MAX)
}

/// First flights that the gateway answers per second when strangers wait for nothing else.
fn capacity(address: SocketAddr, hello: &Arc<Vec<u8>>) -> Result<f64> {
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let time = Duration::from_secs(CAPACITY_SECONDS);
    thread::scope(|scope| {
        let strangers: Vec<_> = (0..STRANGERS)
            .map(|stranger| {
                let (over, answered) = (&over, &answered);
                scope.spawn(move || -> Result<()> {
                    sys::lower_priority(NICE)?;
                    while !over.load(Ordering::Relaxed) {
                        let mut stream = connect(address, stranger)?;
                        stream.write_all(hello)?;
                        anyhow::ensure!(stream.read(&mut [0; 4096])? > 0, "a handshake was not answered");
                        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        wait::pause(Duration::from_secs(1));
        let before = answered.load(Ordering::Relaxed);
        wait::pause(time);
        let counted = answered.load(Ordering::Relaxed) - before;
        over.store(true, Ordering::Relaxed);
        for stranger in strangers {
            stranger.join().map_err(|_| anyhow::anyhow!("a stranger panicked"))??;
        }
        Ok(counted as f64 / time.as_secs_f64())
    })
}

/// Who was turned away at the door until now, for whatever reason; counters come once a second.
fn refusals(world: &World) -> Result<f64> {
    wait::pause(Duration::from_millis(1500));
    Ok(world.metrics()?.sum(metrics::REFUSED, &[]))
}

/// Strangers at a rate, whoever answers them.
struct Flood {
    address: SocketAddr,
    hello: Arc<Vec<u8>>,
    rate: f64,
    over: AtomicBool,
}

impl Flood {
    fn new(address: SocketAddr, hello: &Arc<Vec<u8>>, rate: f64) -> Self {
        Self { address, hello: Arc::clone(hello), rate, over: AtomicBool::new(false) }
    }

    /// One thread's part, until it is over; strangers that came, and in how many seconds.
    fn run(&self) -> Result<(u64, f64)> {
        let started = wait::now();
        let mut staying: VecDeque<(Duration, TcpStream)> = VecDeque::new();
        let mut came = 0_u64;
        while !self.over.load(Ordering::Relaxed) {
            let now = started.elapsed();
            while staying.front().is_some_and(|(until, _)| *until <= now) || staying.len() > STAYING_MAX {
                staying.pop_front();
            }
            let due = (now.as_secs_f64() * self.rate / FLOOD_THREADS as f64) as u64;
            if came >= due {
                wait::pause(STEP);
                continue;
            }
            came += 1;
            if let Ok(mut stream) = connect(self.address, came as usize) {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                // Who is turned away at once is a stranger too.
                let _ = stream.write_all(&self.hello);
                staying.push_back((now + STAYS, stream));
            }
        }
        Ok((came, started.elapsed().as_secs_f64()))
    }
}
