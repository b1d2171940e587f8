//! Clients that take too long to read: they go, with a reason, and nobody beside them notices.

use std::time::Duration;

use serde_json::json;
use socket2::SockRef;
use tests::client::{Client, Stream};
use tests::metrics;
use tests::wait;
use tests::world::World;

/// A subscriber that will not read, with little room in its kernel.
fn deaf(world: &World, user: &str, secure: bool) -> Client {
    let (address, name, url) = match secure {
        true => (world.secure, Some("localhost"), world.wss()),
        false => (world.plain, None, world.ws()),
    };
    let stream = Stream::open(world, address, name).unwrap();
    SockRef::from(stream.tcp()).set_recv_buffer_size(4096).unwrap();
    let mut client = Client::over(stream, &url, &[]).unwrap();
    client.connect(&world.token(user).unwrap()).unwrap();
    client.subscribe("news").unwrap();
    client
}

#[test]
fn who_does_not_read_is_closed_as_slow_and_the_others_get_everything() {
    let queue_bytes = 256 * 1024;
    let world =
        World::builder().relay(&format!("[client]\nqueue_max_size = {queue_bytes}\n")).start().unwrap();
    let mut good = Client::of(&world, "ann").unwrap();
    good.subscribe("news").unwrap();
    let mut writer = Client::of(&world, "eve").unwrap();
    let deaf: Vec<Client> = (0..20).map(|i| deaf(&world, &format!("deaf-{i}"), i % 2 == 0)).collect();
    let before = world.gateway.private_bytes().unwrap();
    let (mut number, mut slowest, mut most) = (0_u64, Duration::ZERO, 0);
    let text = "x".repeat(16 * 1024);
    loop {
        let started = wait::now();
        writer.publish("news", &json!({ "number": number, "text": text })).unwrap();
        assert_eq!(good.push_of("pub").unwrap()["data"]["number"], json!(number));
        slowest = slowest.max(started.elapsed());
        most = most.max(world.gateway.private_bytes().unwrap().saturating_sub(before));
        number += 1;
        let gone = world.metrics().unwrap().sum(metrics::CLOSES, &["code=\"3008\""]);
        if gone >= deaf.len() as f64 {
            break;
        }
        assert!(number < 2_000, "{gone} of {} slow readers are gone after {number} publications", deaf.len());
    }
    let bound = deaf.len() as u64 * queue_bytes + (4 << 20);
    assert!(most < bound, "{most} bytes for {} slow readers", deaf.len());
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    world.metric(metrics::BACKLOG, &[], |bytes| bytes == 0.0).unwrap();
    eprintln!(
        "slow readers: gone after {number} publications, {most} bytes at most, slowest delivery {slowest:?}"
    );
}

#[test]
fn who_reads_slowly_but_keeps_up_stays() {
    let world = World::start().unwrap();
    let mut writer = Client::of(&world, "eve").unwrap();
    let mut slow = deaf(&world, "slow", true);
    let text = "x".repeat(16 * 1024);
    for number in 0..60 {
        writer.publish("news", &json!({ "number": number, "text": text })).unwrap();
        if number % 10 == 9 {
            wait::pause(Duration::from_millis(100));
            for expected in number - 9..=number {
                assert_eq!(slow.push_of("pub").unwrap()["data"]["number"], json!(expected));
            }
        }
    }
}

#[test]
fn who_writes_without_reading_answers_is_bounded_too() {
    let world = World::builder().relay("[client]\nqueue_max_size = 65536\n").start().unwrap();
    let mut good = Client::of(&world, "ann").unwrap();
    let mut flood = deaf(&world, "flood", false);
    flood.stream().tcp().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let command = |id: u32| json!({ "id": id, "rpc": { "method": "x".repeat(200), "data": {} } }).to_string();
    world.gateway.forget_peak().unwrap();
    let before = world.gateway.peak_bytes().unwrap();
    // Until the server closes, or stops reading because nothing is read from it.
    let sent = (1000..200_000).take_while(|id| flood.text(&command(*id)).is_ok()).count();
    let grown = world.gateway.peak_bytes().unwrap().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes after {sent} commands");
    good.subscribe("news").unwrap();
    eprintln!("a writer that never reads: {sent} commands taken, grown by {grown} bytes");
}
