//! What one publication costs in the bus: 128 bytes to two links that keep up, with and without history.
//!
//! `cargo bench -p relay` prints nanoseconds for each, the median of several runs.

use std::time::{Duration, Instant};

use relay::{Broker, Limits, LinkId, Transmit};
use wire::link::ToRelay;
use wire::settings::{Namespace, Settings};
use wire::tags::Tags;

const PUBLICATIONS: u32 = 200_000;
const CHANNELS: u32 = 1_000;
const RUNS: usize = 5;

fn main() {
    for (name, prefix) in [("without history", "plain"), ("with history of 100", "chat")] {
        let mut each: Vec<f64> = (0..RUNS).map(|_| run(prefix)).collect();
        each.sort_by(f64::total_cmp);
        println!("{name}: {:.0} ns for one publication", each[RUNS / 2]);
    }
}

#[allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn run(prefix: &str) -> f64 {
    let namespace = |name: &str, history_size| Namespace {
        name: name.to_owned(),
        history_size,
        history_ttl_ms: 60_000 * u64::from(history_size.min(1)),
        ..Namespace::default()
    };
    let namespaces = vec![namespace("chat", 100), namespace("plain", 0)];
    let settings = Settings { namespaces, ..Settings::default() };
    let mut broker = Broker::new(settings, Limits::default(), 1);
    let links = [LinkId(1), LinkId(2)];
    let channels: Vec<String> = (0..CHANNELS).map(|number| format!("{prefix}:{number}")).collect();
    for link in links {
        broker.link_opened(link);
        for channel in &channels {
            broker.receive(
                Duration::ZERO,
                link,
                &ToRelay::Subscribe { request: 1, channel, recover: None, latest: false },
            );
        }
    }
    let data = [b'x'; 128];
    let mut out = Vec::new();
    let began = Instant::now();
    for number in 0..PUBLICATIONS {
        let channel = &channels[(number % CHANNELS) as usize];
        broker.receive(
            Duration::ZERO,
            links[0],
            &ToRelay::Publish {
                request: number,
                channel,
                data: &data,
                info: None,
                tags: Tags::NONE,
                key: "",
                skip_history: false,
                delta: false,
            },
        );
        if number % 64 == 0 {
            links.iter().for_each(|link| while broker.transmit(*link, &mut out) == Transmit::Write {});
            while broker.event().is_some() {}
        }
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(PUBLICATIONS)
}
