//! How often strangers may come and clients may command; that lists change at run time; and that bytes which drip gain no time in any
//! phase of a connection's life.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use tests::client::{self, Client};
use tests::metrics;
use tests::wait;
use tests::world::World;

const UPGRADE: &str = "GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Whether a plain connection is let in: it gets an answer rather than a reset.
fn let_in(mut stream: TcpStream) -> bool {
    let mut answer = [0; 12];
    stream.write_all(UPGRADE.as_bytes()).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer.ends_with(b" 101")
}

fn refused(world: &World, cause: &str, count: f64) {
    world.metric(metrics::REFUSED, &[&format!("cause=\"{cause}\"")], |n| n >= count).unwrap();
}

#[test]
fn one_source_comes_at_its_rate_and_others_at_theirs() {
    let world = World::builder()
        .gateway(
            "[limits]\nconnection_rate_per_source = 1\nconnection_burst_per_source = 8\n[shards]\ncount = 1\n",
        )
        .start()
        .unwrap();
    let let_in = (0..40).filter(|_| let_in(client::from(7, world.plain).unwrap())).count();
    assert!((8..=12).contains(&let_in), "{let_in} of 40");
    refused(&world, "source_rate", 28.0);
    assert!(self::let_in(client::from(8, world.plain).unwrap()));
}

#[test]
fn all_together_come_at_a_rate() {
    let world =
        World::builder().gateway("[limits]\nconnection_rate = 20\n[shards]\ncount = 1\n").start().unwrap();
    let let_in = (0..100u8).filter(|source| let_in(client::from(source + 2, world.plain).unwrap())).count();
    assert!((10..60).contains(&let_in), "{let_in} of 100");
    refused(&world, "rate", 40.0);
}

#[test]
fn the_lists_of_prefixes_change_at_run_time() {
    let world = World::start().unwrap();
    let mut inside = Client::of(&world, "ann").unwrap();
    assert!(let_in(client::from(66, world.plain).unwrap()));
    world
        .reload_relay(
            "[admission]\ndeny = [\"127.0.0.64/26\", \"2001:db8::/32\"]\nallow = [\"127.0.0.65\"]\n",
        )
        .unwrap();
    wait::until("the list to hold", client::WITHIN, || {
        (!let_in(client::from(66, world.plain).unwrap())).then_some(())
    })
    .unwrap();
    assert!(let_in(client::from(65, world.plain).unwrap()), "allowed above the denied");
    assert!(let_in(client::from(2, world.plain).unwrap()), "not on any list");
    refused(&world, "denied", 1.0);
    inside.subscribe("news").unwrap();
    world.reload_relay("[admission]\ndeny = []\n").unwrap();
    wait::until("the list to be empty", client::WITHIN, || {
        let_in(client::from(66, world.plain).unwrap()).then_some(())
    })
    .unwrap();
}

#[test]
fn commands_above_their_rate_are_errors_and_too_many_of_those_the_end() {
    let world = World::builder()
        .relay(
            "[client.rate_limit]\npublish = { rate = 3, interval = \"1h\" }\nrefused = { rate = 5, interval = \"1h\" }\n",
        )
        .start()
        .unwrap();
    let mut greedy = Client::of(&world, "ann").unwrap();
    let publish = json!({ "publish": { "channel": "news", "data": 1 } });
    for number in 0..8 {
        let reply = greedy.call(&publish).unwrap();
        let code = reply["error"]["code"].as_u64();
        assert_eq!(code, (number >= 3).then_some(111), "publication {number}: {reply}");
        assert_eq!(reply["error"].get("temporary").is_some(), number >= 3, "{reply}");
    }
    // Others and other commands have buckets of their own.
    greedy.subscribe("news").unwrap();
    Client::of(&world, "bob").unwrap().publish("news", &json!(1)).unwrap();
    greedy.command(&publish).unwrap();
    assert_eq!(greedy.closed().unwrap().code, 3509);
}

#[test]
fn bytes_that_drip_gain_no_time_in_any_phase() {
    let world = World::builder()
        .gateway("[limits]\nhandshake_timeout = \"1s\"\nupgrade_timeout = \"1s\"\n")
        .relay("[client]\nstale_close_delay = \"1s\"\nping_interval = \"1s\"\npong_timeout = \"500ms\"\n")
        .start()
        .unwrap();
    let hello = [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03][..], &[7; 500]].concat();
    drips(client::from(1, world.secure).unwrap(), &hello);
    drips(client::from(1, world.plain).unwrap(), UPGRADE.as_bytes());
    let mut upgraded = client::from(1, world.plain).unwrap();
    upgraded.write_all(UPGRADE.as_bytes()).unwrap();
    drips(upgraded, &a_long_message());
    // In a session, whoever is in the middle of a message can answer no ping.
    let mut session = Client::plain(&world).unwrap();
    session.connect(&world.token("ann").unwrap()).unwrap();
    let stream = session.stream().tcp().try_clone().unwrap();
    drips(stream, &a_long_message());
    world.metric(metrics::CLOSES, &["code=\"3012\""], |count| count == 1.0).unwrap();
    world.metric(metrics::CLOSES, &["code=\"3502\""], |count| count == 1.0).unwrap();
}

/// The head of a masked text frame of 60,000 bytes, and some of them.
fn a_long_message() -> Vec<u8> {
    [&[0x81, 0xfe, 0xea, 0x60, 0, 0, 0, 0][..], &[b' '; 500]].concat()
}

/// Writes byte by byte until the server has closed, which it does about when it would have without a byte.
fn drips(mut stream: TcpStream, bytes: &[u8]) {
    let started = wait::now();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    for byte in bytes {
        // Goodbyes are read away.
        let ended = matches!(stream.read(&mut [0; 512]), Ok(0));
        if ended || stream.write_all(&[*byte]).is_err() {
            let took = started.elapsed();
            assert!(took < Duration::from_secs(8), "{took:?}");
            return;
        }
    }
    panic!("still there after {:?}", started.elapsed());
}
