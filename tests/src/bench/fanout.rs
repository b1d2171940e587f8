//! Deliveries per CPU-second of the gateway to many TLS subscribers of one channel, next to a bare loop of `send` in the same run.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::load::Load;
use super::{Figure, Options, Target, sends};
use crate::client::Client;
use crate::world::World;

const SUBSCRIBERS: usize = 2_000;
const PAYLOAD_BYTES: usize = 128;
const SECONDS: u64 = 10;
/// What TLS 1.3 adds to a message: header, content type, tag.
const RECORD_BYTES: usize = 5 + 1 + 16;

pub(super) fn run(options: &Options) -> Result<Vec<Figure>> {
    let subscribers = options.connections.unwrap_or(SUBSCRIBERS);
    let seconds = options.seconds.unwrap_or(SECONDS);
    // One shard against one bare loop: two of either would share this machine's cores with the reader.
    let world = World::builder().gateway("[shards]\ncount = 1\n").start()?;
    let bytes = message_bytes(&world)?;
    let bare = sends::per_cpu_second(subscribers, bytes, Duration::from_secs(seconds))?;
    let (count, time, payload) = (subscribers.to_string(), seconds.to_string(), PAYLOAD_BYTES.to_string());
    let fanout = |in_flight: &str| {
        let shape = ["-n", &count, "--threads", "1", "--payload", &payload, "--seconds", &time];
        let args = [shape.as_slice(), &["--in-flight", in_flight]].concat();
        Load::run(&world, "fanout", true, &args)
    };
    let relay_before = world.relay.cpu()?;
    let one = fanout("1")?;
    let relay = world.relay.cpu()? - relay_before;
    let eight = fanout("8")?;
    let per = "deliveries per server CPU-second";
    let (one_rate, eight_rate) = (one.figure(per)?, eight.figure(per)?);
    Ok(vec![
        Figure::told("message on the wire", bytes as f64, "B"),
        Figure::told("bare send", bare, "/CPU-s"),
        Figure::told("one in flight", one_rate, "/CPU-s"),
        Figure::aimed("one in flight / bare send", one_rate / bare, "x", Target::AtLeast(0.85)),
        Figure::told("one in flight, p50", one.figure("delivery p50")?, "ms"),
        Figure::told("one in flight, p99", one.figure("delivery p99")?, "ms"),
        Figure::told("one in flight, max", one.figure("delivery max")?, "ms"),
        Figure::told("one in flight, relay CPU", relay.as_secs_f64(), "s"),
        Figure::told("8 in flight", eight_rate, "/CPU-s"),
        Figure::aimed("8 in flight / one", eight_rate / one_rate, "x", Target::AtLeast(4.0)),
        Figure::told("8 in flight, p50", eight.figure("delivery p50")?, "ms"),
        Figure::told("8 in flight, p99", eight.figure("delivery p99")?, "ms"),
        Figure::told("8 in flight, max", eight.figure("delivery max")?, "ms"),
    ])
}

/// Bytes of one delivery on a TLS connection, by asking for one.
fn message_bytes(world: &World) -> Result<usize> {
    let mut client = Client::of(world, "probe")?;
    client.subscribe("fanout")?;
    let data = json!("x".repeat(PAYLOAD_BYTES - 2));
    client.publish("fanout", &data)?;
    let text = client.last_frame_with("\"pub\"")?;
    let header = if text.len() < 126 { 2 } else { 4 };
    Ok(text.len() + header + RECORD_BYTES)
}
