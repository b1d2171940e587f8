//! A bare subscriber with the `redis` crate: subscribes, counts, and nothing else.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use redis::AsyncCommands;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};

use super::Latency;
use crate::wait;

/// A topic of the bench's own.
const TOPIC: &str = "bench";

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// CPU seconds of a thread that receives so many messages of these topics while `publish` makes them.
pub(super) fn cpu(
    address: &str,
    topics: &[String],
    count: u64,
    publish: impl FnOnce() -> Result<()>,
) -> Result<f64> {
    let client = redis::Client::open(format!("redis://{address}"))?;
    let topics = topics.to_vec();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let receiver = thread::spawn(move || -> Result<f64> {
        runtime()?.block_on(async {
            let mut subscription = client.get_async_pubsub().await?;
            subscription.subscribe(&topics).await?;
            let mut messages = subscription.on_message();
            let before = own_cpu();
            ready.send(())?;
            for _ in 0..count {
                let message =
                    futures_util::StreamExt::next(&mut messages).await.context("no more messages")?;
                std::hint::black_box(message.get_payload_bytes());
            }
            Ok(own_cpu() - before)
        })
    });
    is_ready.recv().context("the bare subscriber did not begin")?;
    publish()?;
    receiver.join().map_err(|_| anyhow!("the bare subscriber panicked"))?
}

/// From `PUBLISH` on one connection until another has the message.
pub(super) fn latency(address: &str, count: usize, pause: Duration) -> Result<Latency> {
    let client = redis::Client::open(format!("redis://{address}"))?;
    let subscriber = client.clone();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let receiver = thread::spawn(move || -> Result<Vec<Instant>> {
        runtime()?.block_on(async {
            let mut subscription = subscriber.get_async_pubsub().await?;
            subscription.subscribe(TOPIC).await?;
            let mut messages = subscription.on_message();
            ready.send(())?;
            let mut times = Vec::with_capacity(count);
            while times.len() < count {
                futures_util::StreamExt::next(&mut messages).await.context("no more messages")?;
                times.push(wait::now());
            }
            Ok(times)
        })
    });
    is_ready.recv().context("the bare subscriber did not begin")?;
    let made = runtime()?.block_on(async {
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut times = Vec::with_capacity(count);
        for number in 0..count {
            times.push(wait::now());
            let () = connection.publish(TOPIC, number).await?;
            wait::pause(pause);
        }
        anyhow::Ok(times)
    })?;
    let heard = receiver.join().map_err(|_| anyhow!("the bare subscriber panicked"))??;
    let times = made.iter().zip(&heard).map(|(made, heard)| heard.saturating_duration_since(*made));
    Ok(Latency::of(times.collect()))
}

/// CPU seconds of this thread so far.
fn own_cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
