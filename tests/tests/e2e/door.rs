//! The door: who is let in, how strangers are turned away, and that those who dawdle there cost the others nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use tests::client::{self, Client, Stream};
use tests::metrics;
use tests::wait;
use tests::world::World;

const UPGRADE: &str = "GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// Sends bytes to the plain listener and returns what comes until the end or the end of an HTTP head.
fn answer(world: &World, request: &str) -> String {
    let mut stream = TcpStream::connect(world.plain).unwrap();
    stream.set_read_timeout(Some(client::WITHIN)).unwrap();
    let _ = stream.write_all(request.as_bytes());
    let mut got = Vec::new();
    let mut bytes = [0; 1024];
    while !got.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut bytes) {
            Ok(read @ 1..) => got.extend(&bytes[..read]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&got).into_owned()
}

fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no HTTP answer: {answer:?}"))
}

/// Waits until the server has closed a connection; what it says before is dropped.
fn closed(mut stream: impl Read) {
    let mut bytes = [0; 4096];
    while let Ok(1..) = stream.read(&mut bytes) {}
}

/// A round trip of an established client, which must be quick whatever happens at the door.
fn round_trip(client: &mut Client) -> Duration {
    let started = wait::now();
    client.call(&json!({ "rpc": { "method": "x", "data": {} } })).unwrap();
    started.elapsed()
}

#[test]
fn plain_and_secure_listeners_meet_in_the_same_channels() {
    let world = World::start().unwrap();
    let mut secure = Client::of(&world, "ann").unwrap();
    let mut plain = Client::plain(&world).unwrap();
    plain.connect(&world.token("bob").unwrap()).unwrap();
    secure.subscribe("news").unwrap();
    plain.publish("news", &json!("across")).unwrap();
    assert_eq!(secure.push_of("pub").unwrap()["data"], json!("across"));
}

#[test]
fn ipv6_is_served() {
    let world = World::start().unwrap();
    let Some(address) = world.secure6 else { return eprintln!("this machine has no IPv6 loopback") };
    let stream = Stream::open(&world, address, Some("localhost")).unwrap();
    let mut client = Client::over(stream, &world.wss(), &[]).unwrap();
    client.connect(&world.token("ann").unwrap()).unwrap();
    client.subscribe("news").unwrap();
}

#[test]
fn only_pages_of_allowed_origins_come_in() {
    let world = World::builder()
        .gateway("[websocket]\nallowed_origins = [\"https://app.example.com\", \"https://*.example.org\"]\n")
        .start()
        .unwrap();
    for (origin, code) in [
        ("https://app.example.com", 101),
        ("https://a.example.org", 101),
        ("https://example.com", 403),
        ("http://app.example.com", 403),
        ("https://app.example.com.evil.test", 403),
        ("null", 403),
    ] {
        assert_eq!(status(&answer(&world, &format!("{UPGRADE}Origin: {origin}\r\n\r\n"))), code, "{origin}");
    }
    assert_eq!(status(&answer(&world, &format!("{UPGRADE}\r\n"))), 101, "no browser, no origin");
}

#[test]
fn what_is_no_upgrade_is_answered_in_http() {
    let world = World::start().unwrap();
    assert_eq!(
        status(&answer(&world, &UPGRADE.replace("/connection/websocket", "/elsewhere").to_owned().add_end())),
        404
    );
    assert_eq!(status(&answer(&world, "GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\n\r\n")), 426);
    assert_eq!(status(&answer(&world, &UPGRADE.replace("GET", "POST").add_end())), 405);
    assert_eq!(status(&answer(&world, &UPGRADE.replace("Version: 13", "Version: 8").add_end())), 426);
    assert_eq!(status(&answer(&world, &format!("{UPGRADE}X-Long: {}\r\n\r\n", "x".repeat(100_000)))), 431);
    assert_eq!(status(&answer(&world, "nonsense\r\n\r\n")), 400);
}

trait AddEnd {
    /// The blank line after the headers.
    fn add_end(self) -> String;
}

impl AddEnd for String {
    fn add_end(mut self) -> String {
        self.push_str("\r\n");
        self
    }
}

#[test]
fn one_byte_at_a_time_is_slow_but_right() {
    let world = World::start().unwrap();
    for name in [None, Some("localhost")] {
        let address = name.map_or(world.plain, |_| world.secure);
        let mut stream = Stream::open(&world, address, name).unwrap();
        let connect = json!({ "id": 1, "connect": { "token": world.token("ann").unwrap() } }).to_string();
        let mut bytes = format!("{UPGRADE}\r\n").into_bytes();
        bytes.extend([0x81, 0x80 | 126]);
        bytes.extend(u16::try_from(connect.len()).unwrap().to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(connect.as_bytes());
        for byte in bytes {
            stream.write_all(&[byte]).unwrap();
            stream.flush().unwrap();
        }
        let mut got = Vec::new();
        while !String::from_utf8_lossy(&got).contains("\"client\":") {
            let mut some = [0; 512];
            let read = stream.read(&mut some).unwrap();
            assert_ne!(read, 0, "closed after {}", String::from_utf8_lossy(&got));
            got.extend(&some[..read]);
        }
    }
}

#[test]
fn who_dawdles_at_any_step_is_closed_at_its_deadline() {
    let world = World::builder()
        .gateway("[limits]\nhandshake_timeout = \"1s\"\nupgrade_timeout = \"1s\"\n")
        .relay("[client]\nstale_close_delay = \"1s\"\n")
        .start()
        .unwrap();
    let mut good = Client::of(&world, "ann").unwrap();
    let started = wait::now();
    // Nothing at all; half a ClientHello; a handshake and no request; half a request; an upgrade and no command.
    let nothing = client::from(1, world.secure).unwrap();
    let mut half_hello = client::from(1, world.secure).unwrap();
    half_hello.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).unwrap();
    let mut shaken = Stream::open(&world, world.secure, Some("localhost")).unwrap();
    shaken.handshake().unwrap();
    let mut half_request = client::from(1, world.plain).unwrap();
    half_request.write_all(&UPGRADE.as_bytes()[..40]).unwrap();
    let mut upgraded = client::from(1, world.plain).unwrap();
    upgraded.write_all(format!("{UPGRADE}\r\n").as_bytes()).unwrap();
    closed(nothing);
    closed(half_hello);
    closed(shaken);
    closed(half_request);
    closed(upgraded);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(took > Duration::from_millis(900), "{took:?}");
    good.subscribe("news").unwrap();
}

#[test]
fn a_dripping_upgrade_gains_no_time() {
    let world = World::builder().gateway("[limits]\nupgrade_timeout = \"1s\"\n").start().unwrap();
    let mut stream = client::from(1, world.plain).unwrap();
    let started = wait::now();
    for byte in UPGRADE.as_bytes() {
        if stream.write_all(&[*byte]).is_err() || started.elapsed() > Duration::from_secs(5) {
            break;
        }
        wait::pause(Duration::from_millis(50));
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[test]
fn a_flood_at_the_cap_is_refused_and_those_inside_do_not_notice() {
    let cap = 50;
    let world = World::builder()
        .gateway(&format!("[limits]\nconnections = {cap}\n[shards]\ncount = 1\n"))
        .start()
        .unwrap();
    let mut good = Client::of(&world, "ann").unwrap();
    good.subscribe("news").unwrap();
    let before = world.gateway.private_bytes().unwrap();
    // A refusal may be quick enough to be seen by connect itself.
    let flood: Vec<TcpStream> = (0..2_000).filter_map(|_| TcpStream::connect(world.plain).ok()).collect();
    let slowest = (0..100).map(|_| round_trip(&mut good)).max().unwrap();
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    world.metric(metrics::REFUSED, &["cause=\"total\""], |n| n >= (2_000 - cap) as f64).unwrap();
    let grown = world.gateway.private_bytes().unwrap().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes for a flood at the cap");
    drop(flood);
    wait::until("room for somebody new", client::WITHIN, || Client::of(&world, "bob").ok()).unwrap();
    eprintln!("flood at the cap: slowest round trip {slowest:?}, grown by {grown} bytes");
}

#[test]
fn one_source_cannot_take_everything() {
    let world = World::builder()
        .gateway("[limits]\nconnections_per_source = 10\n[shards]\ncount = 1\n")
        .start()
        .unwrap();
    let greedy: Vec<TcpStream> = (0..40).map(|_| client::from(7, world.plain).unwrap()).collect();
    world.metric(metrics::REFUSED, &["cause=\"source\""], |n| n == 30.0).unwrap();
    let mut client = Client::of(&world, "ann").unwrap();
    client.subscribe("news").unwrap();
    drop(greedy);
}

#[test]
fn a_flood_of_half_open_handshakes_is_bounded_and_unnoticed() {
    let world = World::builder().gateway("[limits]\nhandshakes = 200\n").start().unwrap();
    let mut good = Client::of(&world, "ann").unwrap();
    let before = world.gateway.private_bytes().unwrap();
    let mut flood = Vec::new();
    for _ in 0..3_000 {
        // A refusal may be quick enough to be seen by connect itself.
        let Ok(mut stream) = TcpStream::connect(world.secure) else { continue };
        let _ = stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]);
        flood.push(stream);
    }
    let slowest = (0..100).map(|_| round_trip(&mut good)).max().unwrap();
    let grown = world.gateway.private_bytes().unwrap().saturating_sub(before);
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    assert!(grown < 16 << 20, "{grown} bytes");
    world.metric(metrics::REFUSED, &["cause=\"handshakes\""], |n| n >= 2_000.0).unwrap();
    eprintln!("half-open handshakes: slowest round trip {slowest:?}, grown by {grown} bytes");
}
