//! The process: limits, settings, shards, signals. Owns start and end; the main thread only waits for the relay and for signals.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use protocol::{
    admission::{Caps, Rate},
    shard::{Echo, Options},
    upgrade::Rules,
};

use crate::{
    config::{Config, compression, origins, transports},
    control::Control,
    limits::{DESCRIPTORS_RESERVED, POLLS_PER_MEASURE, SHARDS_MAX, SITE_TIMES},
    policy::Maker,
    reactor::Order,
    sandbox::Sandbox,
    shards::{Opened, Process, Shards},
};

/// Runs until a signal or a failure. SIGTERM drains; a second signal, or SIGINT, ends at once.
pub fn run(config: &Config) -> anyhow::Result<()> {
    let (terminated, interrupted) = signals()?;
    let stopping = || terminated.load(Ordering::Relaxed) || interrupted.load(Ordering::Relaxed);
    let (per_shard, count) = capacity(config)?;
    let options = options(config, per_shard, count);
    let gateway = random_number();
    let needs_tls = config.listeners.iter().any(|listener| listener.tls);
    let process = Arc::new(Process::new()?);
    let relay = &config.link.path;
    // One asker for each shard, and this thread.
    let mut sandbox = Sandbox::begin(&config.sandbox, relay, count + 1)?;
    let maker = Maker::new(&config.tls, needs_tls)?;
    let mut control = Control::new(relay.clone(), sandbox.opener(), gateway);
    let policy = loop {
        if stopping() {
            return Ok(());
        }
        if let Some(settings) = control.next() {
            break maker.make(settings)?;
        }
    };
    let opened = Opened::new(config, count, &mut sandbox)?;
    let locked = sandbox.lock();
    let shards = Shards::start(config, opened, &options, &policy, gateway, &process)?;
    locked.seal();
    announce(config, &shards, per_shard, count);
    let mut polls = 0;
    while !stopping() {
        // Reading the process's memory map takes longer the more it holds: once a second is enough for a statistic.
        if polls % POLLS_PER_MEASURE == 0 {
            process.measure();
        }
        polls += 1;
        if shards.any_ended() {
            return shards.join();
        }
        if let Some(settings) = control.next() {
            match maker.make(settings) {
                Ok(policy) => shards.order(|| Order::Apply(Arc::clone(&policy))),
                Err(error) => eprintln!("headland-gateway: new settings are not used: {error}"),
            }
        }
    }
    if terminated.swap(false, Ordering::Relaxed) {
        let window_ms = u64::try_from(config.drain.window.as_millis()).unwrap_or(u64::MAX);
        eprintln!("headland-gateway: draining over {:?}; a second signal ends at once", config.drain.window);
        shards.order(|| Order::Drain { window_ms });
        while !shards.all_ended() && !stopping() {
            // Reloads do not matter any more; this waits and keeps looking at the signals.
            control.next();
        }
        if shards.all_ended() {
            return shards.join();
        }
    }
    Ok(())
}

fn signals() -> anyhow::Result<(Arc<AtomicBool>, Arc<AtomicBool>)> {
    let (terminated, interrupted) = (Arc::default(), Arc::default());
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&terminated))?;
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupted))?;
    Ok((terminated, interrupted))
}

/// Connections per shard and shards, from what is asked and what the descriptor limit allows.
fn capacity(config: &Config) -> anyhow::Result<(u32, usize)> {
    sys::raise_nofile()?;
    let nofile = sys::soft_nofile()?;
    let room = nofile.saturating_sub(DESCRIPTORS_RESERVED);
    anyhow::ensure!(
        room > 0,
        "the limit of {nofile} open files leaves no room for connections: raise it (systemd: LimitNOFILE=1048576, shell: ulimit -n)"
    );
    let cores = sys::cores()?.len().max(1);
    let wanted = u64::from(config.limits.connections);
    let count = match config.shards.count {
        0 => cores.max(usize::try_from(wanted.div_ceil(room)).unwrap_or(SHARDS_MAX)),
        asked => asked as usize,
    };
    anyhow::ensure!(
        count <= SHARDS_MAX,
        "{wanted} connections need {count} shards of {room} descriptors, more than the {SHARDS_MAX} allowed: raise the limit of open files (systemd: LimitNOFILE=1048576)"
    );
    let total = if wanted == 0 { room * count as u64 } else { wanted };
    let tables = count as u64;
    // The kernel's hash spreads connections evenly but not exactly: a shard may take somewhat more than its share.
    let share = total.div_ceil(tables) + total.div_ceil(tables) / 16 + 64;
    let per_shard = if count == 1 { total.min(room) } else { share.min(room) };
    for finding in tuning::check(&tuning::Needs::edge(total, tables)) {
        eprintln!("headland-gateway: {finding}");
    }
    Ok((u32::try_from(per_shard).unwrap_or(u32::MAX), count))
}

fn options(config: &Config, per_shard: u32, count: usize) -> Options {
    let share = |whole: u32| if whole == 0 { 0 } else { whole.div_ceil(count as u32) };
    let rate = |tokens, burst| Rate::new(tokens, Duration::from_secs(1), burst).share(count as u32);
    let (per_source, burst) =
        (config.limits.connection_rate_per_source, config.limits.connection_burst_per_source);
    let ms = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    Options {
        caps: Caps {
            total: per_shard,
            per_source: share(config.limits.connections_per_source),
            handshaking: share(config.limits.handshakes),
            rate: rate(config.limits.connection_rate, config.limits.connection_rate),
            source_rate: rate(per_source, burst),
            site_rate: rate(per_source.saturating_mul(SITE_TIMES), burst.saturating_mul(SITE_TIMES)),
            handshake_wait: config.limits.handshake_wait.min(config.limits.handshake_timeout),
        },
        handshake_timeout_ms: ms(config.limits.handshake_timeout),
        upgrade_timeout_ms: ms(config.limits.upgrade_timeout),
        message_bytes_max: config.limits.message_size_limit as usize,
        rules: Rules {
            path: config.websocket.handler_prefix.clone(),
            origins: origins(config),
            transports: transports(config),
            compression: compression(config),
            ..Rules::default()
        },
        tls: config.listeners.iter().map(|listener| listener.tls).collect(),
        echo: Echo {
            listeners: config.listeners.iter().map(|listener| listener.echo).collect(),
            message_bytes_max: config.echo.message_size_limit as usize,
        },
    }
}

fn announce(config: &Config, shards: &Shards, per_shard: u32, count: usize) {
    for (listener, address) in config.listeners.iter().zip(&shards.addresses) {
        let scheme = if listener.tls { "wss" } else { "ws" };
        let path = &config.websocket.handler_prefix;
        let echo = if listener.echo { ", which only echoes: for conformance tests" } else { "" };
        eprintln!("headland-gateway: listening on {scheme}://{address}{path}{echo}");
    }
    eprintln!("headland-gateway: {count} shards, up to {per_shard} connections each");
}

/// Tells this process from others to the relay; nothing depends on its secrecy.
fn random_number() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
