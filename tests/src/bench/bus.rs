//! The star: what a relay's CPU-second carries from Redis to four gateways, next to a bare subscriber; how long a publication takes
//! from edge to edge, next to Redis's own; and how soon deliveries go on after Redis was restarted.

mod bare;
mod stream;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::{Figure, Options, Target};
use crate::bus;
use crate::redis::Server;
use crate::wait;
use crate::world::World;
use stream::{Audience, Publisher, name};

/// Gateways of the edge that is measured.
const GATEWAYS: u64 = 4;
/// Channels of the throughput and latency runs.
const CHANNELS: usize = 200;
/// Channels that are subscribed when Redis is restarted.
const MANY_CHANNELS: usize = 100_000;
const PAYLOAD_BYTES: usize = 128;
const SECONDS: u64 = 8;
/// Publications of the latency run, and the pause after each.
const PROBES: usize = 2_000;
const PROBE_EVERY: Duration = Duration::from_millis(2);

pub(super) fn run(options: &Options) -> Result<Vec<Figure>> {
    let time = Duration::from_secs(options.seconds.unwrap_or(SECONDS));
    let many = options.connections.unwrap_or(MANY_CHANNELS);
    let mut redis = Server::start()?;
    let bus = format!(
        "{}answer_timeout = \"20s\"\n[[channel.namespaces]]\nname = \"bus\"\nhistory_size = 10\nhistory_ttl = \"10m\"\n",
        bus::star(&redis.address())
    );
    let (near, far) = (World::builder().relay(&bus).start()?, World::builder().relay(&bus).start()?);
    let mut publisher = Publisher::open(&far, 99)?;

    let audience = Audience::open(&near, GATEWAYS, CHANNELS)?;
    let before = near.relay.cpu()?;
    let (audience, count) = audience
        .while_published(&mut publisher, |publisher| publisher.stream(time, CHANNELS, PAYLOAD_BYTES))?;
    let relay = (near.relay.cpu()? - before).as_secs_f64();
    let (audience, between) = audience.probes(|| publisher.probes(PROBES, PROBE_EVERY), PROBES)?;
    drop(audience);
    let busy = under_load(&near, &far, &mut publisher)?;

    let topics: Vec<String> = (0..CHANNELS).map(|channel| format!("headland:c:{}", name(channel))).collect();
    let bare = bare::cpu(&redis.address(), &topics, count, || {
        publisher.stream_count(count, CHANNELS, PAYLOAD_BYTES)
    })?;
    let own = bare::latency(&redis.address(), PROBES, PROBE_EVERY)?;

    let crowd = Audience::open(&near, 1, many)?;
    redis.kill()?;
    redis.run()?;
    let began = wait::now();
    let (first, last) = crowd.each_once(many, began, || publisher.once_each(many, PAYLOAD_BYTES))?;

    let (ours, theirs) = (count as f64 / relay, count as f64 / bare);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(vec![
        Figure::told("publications", count as f64, ""),
        Figure::told("a bare redis subscriber loop", theirs, "/CPU-s"),
        Figure::told("relay, to four gateways", ours, "/CPU-s"),
        Figure::aimed("relay / bare loop", ours / theirs, "x", Target::AtLeast(0.8)),
        Figure::told("edge to edge, p50", ms(between.p50), "ms"),
        Figure::told("edge to edge, p99", ms(between.p99), "ms"),
        Figure::told("the same while it is busy, p50", ms(busy.p50), "ms"),
        Figure::told("the same while it is busy, p99", ms(busy.p99), "ms"),
        Figure::told("Redis publish to subscribe, p50", ms(own.p50), "ms"),
        Figure::told("Redis publish to subscribe, p99", ms(own.p99), "ms"),
        Figure::told("channels subscribed at Redis's restart", many as f64, ""),
        Figure::told("first delivery after it answers again", first.as_secs_f64(), "s"),
        Figure::told("last first delivery of a channel", last.as_secs_f64(), "s"),
    ])
}

/// How long probes take while somebody else publishes as much as is answered.
fn under_load(near: &World, far: &World, publisher: &mut Publisher) -> Result<Latency> {
    let audience = Audience::open(near, 1, CHANNELS)?;
    let mut other = Publisher::open(far, 98)?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let loading = scope.spawn(|| -> Result<()> {
            while !done.load(Relaxed) {
                other.stream_count(1000, CHANNELS, PAYLOAD_BYTES)?;
            }
            Ok(())
        });
        let probed = audience.probes(|| publisher.probes(PROBES, PROBE_EVERY), PROBES);
        done.store(true, Relaxed);
        loading.join().map_err(|_| anyhow!("whoever made the load panicked"))??;
        Ok(probed?.1)
    })
}

/// Percentiles of what was measured.
#[derive(Clone, Copy, Debug)]
struct Latency {
    p50: Duration,
    p99: Duration,
}

impl Latency {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        Self { p50: at(50), p99: at(99) }
    }
}
