//! What compression gains and costs: bytes sent and CPU of the gateway per delivery of a kilobyte of JSON, to TLS subscribers that take
//! it compressed and to as many that do not, one after the other in one world.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::load::Load;
use super::{Figure, Options, Target};
use crate::client::Client;
use crate::metrics;
use crate::wait;
use crate::world::World;

const SUBSCRIBERS: usize = 2_000;
const SECONDS: u64 = 10;
/// Publications per second: slow enough for the reader on the same machine.
const RATE: u32 = 15;
/// Longer than publishing takes, so that subscribers are there to its end.
const SPARE_SECONDS: u64 = 10;
/// Counters come once a second.
const COUNTED_WITHIN: Duration = Duration::from_millis(1500);
const CHANNEL: &str = "deflate";
const SENT: &str = "headland_gateway_sent_bytes_total";

/// Means over all deliveries.
struct Cost {
    bytes: f64,
    cpu_us: f64,
}

pub(super) fn run(options: &Options) -> Result<Vec<Figure>> {
    let subscribers = options.connections.unwrap_or(SUBSCRIBERS);
    let seconds = options.seconds.unwrap_or(SECONDS);
    let world = World::builder().gateway("[shards]\ncount = 1\n[websocket]\ncompression = true\n").start()?;
    let plain = cost(&world, subscribers, seconds, false)?;
    let deflated = cost(&world, subscribers, seconds, true)?;
    Ok(vec![
        Figure::told("payload", sample(0).to_string().len() as f64, "B"),
        Figure::told("plain, bytes per delivery", plain.bytes, "B"),
        Figure::told("compressed, bytes per delivery", deflated.bytes, "B"),
        Figure::aimed("bytes compressed / plain", deflated.bytes / plain.bytes, "x", Target::AtMost(0.7)),
        Figure::told("plain, CPU per delivery", plain.cpu_us, "us"),
        Figure::told("compressed, CPU per delivery", deflated.cpu_us, "us"),
        Figure::aimed("CPU compressed / plain", deflated.cpu_us / plain.cpu_us, "x", Target::AtMost(1.1)),
    ])
}

/// Publishes at a steady rate while a load generator's connections are subscribed.
fn cost(world: &World, subscribers: usize, seconds: u64, deflate: bool) -> Result<Cost> {
    // Those of the last round are gone.
    world.metric(metrics::CONNECTIONS, &["state=\"established\""], |now| now == 0.0)?;
    let (count, time) = (subscribers.to_string(), (seconds + SPARE_SECONDS).to_string());
    let shape = ["-n", &count, "--seconds", &time, "--subscribe", CHANNEL, "--threads", "1"];
    let args = if deflate { [&shape[..], &["--deflate"]].concat() } else { shape.to_vec() };
    thread::scope(|scope| {
        let load = scope.spawn(|| Load::run(world, "idle", true, &args));
        let measured = measure(world, subscribers, seconds);
        load.join().map_err(|_| anyhow::anyhow!("the load generator's thread panicked"))??;
        measured
    })
}

fn measure(world: &World, subscribers: usize, seconds: u64) -> Result<Cost> {
    let mut press = Client::of(world, "press")?;
    let everybody = |now| now > subscribers as f64;
    world.metric(metrics::CONNECTIONS, &["state=\"established\""], everybody)?;
    world.metric("headland_gateway_subscriptions", &[], |now| now >= subscribers as f64)?;
    wait::pause(COUNTED_WITHIN);
    let (before, cpu) = (world.metrics()?, world.gateway.cpu()?);
    let started = wait::now();
    for number in 0..RATE * seconds as u32 {
        let due = Duration::from_secs(1) * number / RATE;
        wait::pause(due.saturating_sub(started.elapsed()));
        press.publish(CHANNEL, &sample(number))?;
    }
    let expected = f64::from(RATE) * seconds as f64 * subscribers as f64;
    let first = before.sum(metrics::DELIVERIES, &[]);
    world.metric(metrics::DELIVERIES, &[], |now| now - first >= expected)?;
    let (after, cpu) = (world.metrics()?, world.gateway.cpu()? - cpu);
    let difference = |name| after.sum(name, &[]) - before.sum(name, &[]);
    let deliveries = difference(metrics::DELIVERIES);
    ensure!(deliveries >= expected, "{deliveries} of {expected} deliveries");
    Ok(Cost { bytes: difference(SENT) / deliveries, cpu_us: cpu.as_secs_f64() * 1e6 / deliveries })
}

/// A chat message as an application would publish it, about a kilobyte, no two the same.
fn sample(number: u32) -> Value {
    const WORDS: &[&str] = &[
        "the",
        "release",
        "is",
        "ready",
        "could",
        "you",
        "look",
        "at",
        "my",
        "branch",
        "before",
        "lunch",
        "tests",
        "pass",
        "on",
        "staging",
        "but",
        "latency",
        "went",
        "up",
        "after",
        "we",
        "moved",
        "that",
        "queue",
        "again",
        "thanks",
        "everybody",
        "meeting",
        "tomorrow",
        "customers",
        "in",
        "Zürich",
        "asked",
        "for",
        "an",
        "invoice",
    ];
    let mut dice = number.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut roll = move |sides: usize| {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (dice >> 8) as usize % sides
    };
    let mut text = |count: usize| (0..count).map(|_| WORDS[roll(WORDS.len())]).collect::<Vec<_>>().join(" ");
    let (body, quoted, topic) = (text(55), text(20), text(4));
    let mut id = |digits: u32| (0..digits).map(|_| format!("{:x}", roll(16))).collect::<String>();
    let reactions: Vec<Value> =
        [":+1:", ":tada:"].iter().map(|name| json!({ "name": name, "users": [id(12), id(12)] })).collect();
    json!({
        "type": "message", "id": id(24), "channel": id(12), "thread": id(24),
        "created_at": format!("2025-03-{:02}T10:{:02}:07.{}Z", number % 28 + 1, number % 60, number % 1000),
        "user": { "id": id(12), "name": "Maria Lindqvist", "avatar": format!("https://cdn.example.com/a/{}.png", id(16)) },
        "text": body, "topic": topic, "reply_to": { "id": id(24), "text": quoted }, "reactions": reactions,
        "edited": false, "pinned": false, "mentions": [id(12)], "attachments": [],
    })
}
