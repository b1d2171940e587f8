//! Goal: the program keeps the link's contract and says what is wrong. Method: the real program, a real socket, a gateway's
//! side of the link.

mod link;
mod program;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use link::Link;
use program::{Folder, Relay, fails, free_port};
use wire::code;
use wire::frame::{Greeting, Purpose, VERSION, Welcome};
use wire::link::{ToRelay, ToShard};
use wire::stats::{ShardStats, TransportStats};
use wire::token::Kind;

const CHAT: &str = "[[channel.namespaces]]\nname = \"chat\"\nhistory_size = 50000\nhistory_ttl = \"5m\"\n";
const TLS: &str =
    "[[tls.certificates]]\ncertificate = \"{folder}/server.pem\"\nkey = \"{folder}/server-key.pem\"\n";
/// An ECDSA P-256 signature scheme.
const ECDSA: u16 = 0x0403;

fn handshake() -> Vec<u8> {
    [&[b' '; 64][..], b"TLS 1.3, server CertificateVerify\0", &[7; 32]].concat()
}

#[test]
fn a_shard_that_does_not_read_costs_bounded_memory_and_misses_nothing_once_it_does() {
    let relay = Relay::start(CHAT);
    let (mut one, mut two) = (relay.connect(Purpose::Shard), relay.connect(Purpose::Shard));
    two.subscribe("chat:1");
    let data = vec![b'x'; 4096];
    let count = 10_000u64;
    (1..=count).for_each(|offset| assert_eq!(one.publish("chat:1", &data), offset));
    let (_, metrics) = relay.get("/metrics");
    let queued = metrics.lines().find_map(|line| line.strip_prefix("headland_relay_queued_bytes ")).unwrap();
    assert!(queued.parse::<f64>().unwrap() <= 16.0 * 1024.0 * 1024.0, "{queued}");
    assert!(metrics.contains("headland_relay_gaps_total 1"), "{metrics}");
    let history = count as usize * 4200;
    assert!(relay.private_bytes() < history + 64 * 1024 * 1024, "{}", relay.private_bytes());
    for expected in 1..=count {
        two.next(|message| match message {
            ToShard::Publication { publication, .. } => assert_eq!(publication.offset, expected),
            other => panic!("{other:?}"),
        });
    }
}

#[test]
fn tokens_with_the_shared_secret_are_verified() {
    let relay = Relay::start("[client.token]\nhmac_secret_key = \"secret\"\n");
    let mut shard = relay.connect(Purpose::Shard);
    // {"alg":"HS256","typ":"JWT"} . {"sub":"42"} . HMAC-SHA256 with "secret"
    let message = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9";
    let key = jsonwebtoken::EncodingKey::from_secret(b"secret");
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    let token = format!("{message}.{signature}");
    shard.ask(
        |request| ToRelay::Verify { request, kind: Kind::Connection, token: &token },
        |answer| {
            assert!(matches!(answer, ToShard::Verified { claims, .. } if claims.user == "42"), "{answer:?}");
        },
    );
    shard.ask(
        |request| ToRelay::Verify { request, kind: Kind::Connection, token: "x.y.z" },
        |answer| {
            let ToShard::Failed { code, .. } = answer else { panic!("{answer:?}") };
            assert_eq!(*code, code::UNAUTHORIZED.code);
        },
    );
}

#[test]
fn settings_come_at_once_and_on_every_reload_and_a_bad_reload_changes_nothing() {
    let relay = Relay::start(CHAT);
    let mut control = relay.connect(Purpose::Control);
    assert_eq!(control.settings().namespaces[0].name, "chat");
    relay.folder.configure(relay.http, "[client]\nping_intervall = \"1s\"\n");
    relay.signal("HUP");
    let said = relay.says("stays as it was");
    assert!(
        said.contains(":6: unknown key 'ping_intervall' in [client]; did you mean 'ping_interval'?"),
        "{said}"
    );
    relay.folder.configure(relay.http, "[client]\nping_interval = \"9s\"\n");
    relay.signal("HUP");
    let settings = control.settings();
    assert_eq!(settings.client.ping_interval_ms, 9_000);
    assert!(settings.namespaces.is_empty());
    assert_eq!(relay.connect(Purpose::Control).settings(), settings);
}

#[test]
fn the_key_signs_handshakes_and_nothing_else_and_still_does_after_it_was_replaced() {
    let folder = Folder::new();
    let first = folder.certificate("server");
    let relay = Relay::start_in(folder, TLS);
    let mut control = relay.connect(Purpose::Control);
    let certificate = control.settings().certificates.remove(0);
    assert_eq!(certificate.schemes, [ECDSA]);
    let mut signer = relay.connect(Purpose::Sign);
    let verifies = |pair: &rcgen::KeyPair, signature: &[u8]| {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, pair.public_key_raw());
        key.verify(&handshake(), signature).is_ok()
    };
    assert!(verifies(&first, &signer.sign(certificate.key, ECDSA, &handshake()).unwrap()));
    assert_eq!(signer.sign(certificate.key, ECDSA, b"anything else"), None);
    assert_eq!(signer.sign(certificate.key, 0x0804, &handshake()), None, "not this key's scheme");
    assert_eq!(signer.sign(certificate.key + 1, ECDSA, &handshake()), None, "no such key");
    // More at once than one read of the relay takes; answers come in order.
    let messages: Vec<_> =
        (0..300).map(|n| if n % 3 == 0 { b"not one".to_vec() } else { handshake().to_vec() }).collect();
    let together =
        signer.sign_all(certificate.key, ECDSA, &messages.iter().map(|m| &m[..]).collect::<Vec<_>>());
    for (n, signature) in together.iter().enumerate() {
        assert_eq!(signature.is_none(), n % 3 == 0);
        assert!(signature.as_ref().is_none_or(|signature| verifies(&first, signature)));
    }

    let second = relay.folder.certificate("server");
    relay.signal("HUP");
    let replaced = control.settings().certificates.remove(0);
    assert_ne!(replaced.key, certificate.key);
    assert_ne!(replaced.chain, certificate.chain);
    assert!(verifies(&second, &signer.sign(replaced.key, ECDSA, &handshake()).unwrap()));
    assert!(verifies(&first, &signer.sign(certificate.key, ECDSA, &handshake()).unwrap()));
}

#[test]
fn another_version_is_told_ours_and_then_closed() {
    let relay = Relay::start("");
    let mut link = Link::raw(&relay.folder.file("relay.sock"));
    let greeting = Greeting { version: VERSION + 1, purpose: Purpose::Shard, gateway: 1, shard: 0 };
    link.write(&greeting.encode());
    assert_eq!(Welcome::decode(&link.read_greeting().unwrap()).unwrap().version, VERSION);
    assert!(link.closed());
    relay.says("run gateway and relay of one release");
}

#[test]
fn what_is_no_gateway_is_closed() {
    let relay = Relay::start("");
    let mut link = Link::raw(&relay.folder.file("relay.sock"));
    link.write(b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n");
    assert!(link.read_greeting().is_none() && link.closed());
    relay.says("not a Headland link greeting");
    let mut shard = relay.connect(Purpose::Shard);
    shard.write(&u32::MAX.to_le_bytes());
    assert!(shard.closed());
    relay.says("over the bound");
}

/// Only root can become somebody else, so elsewhere this checks nothing.
#[test]
fn another_user_is_refused_unless_allowed() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    let greeting = Greeting { version: VERSION, purpose: Purpose::Control, gateway: 1, shard: 0 }.encode();
    let greeting: String = greeting.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let welcomed = |relay: &Relay| {
        let path = relay.folder.file("relay.sock");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let script = format!(
            "use IO::Socket::UNIX; $s = IO::Socket::UNIX->new(Peer => '{}') or die $!; \
             syswrite($s, \"{greeting}\"); exit(sysread($s, $b, 4) ? 0 : 9)",
            path.display()
        );
        Command::new("perl").args(["-e", &script]).uid(65534).status().unwrap().success()
    };
    let relay = Relay::start("");
    assert!(!welcomed(&relay));
    relay.says("user 65534 may not connect: if it runs the gateway, add it to link.allowed_uids");
    assert!(relay.get("/metrics").1.contains("headland_relay_links_refused_total 1"));
    let relay = Relay::start("allowed_uids = [65534]\n");
    assert!(welcomed(&relay));
}

#[test]
fn metrics_and_health_tell_of_the_shards() {
    let relay = Relay::start("");
    assert!(relay.get("/health").1.contains("\"ready\":false"));
    assert!(relay.get("/health/ready").0.contains("503"));
    let mut shard = relay.connect(Purpose::Shard);
    let stats = ShardStats {
        established: 5,
        closing: 1,
        refused: [1, 2, 3, 4, 5, 6, 7, 8],
        handshakes_resumed: 7,
        transports: std::array::from_fn(|way| TransportStats {
            sessions: way as u64,
            deliveries: 10 * way as u64,
            ..TransportStats::default()
        }),
        closes: vec![(3008, 9)],
        turns: [1; 13],
        process_private_bytes: 6000,
        ..ShardStats::default()
    };
    shard.send(&ToRelay::Stats(Box::new(stats)));
    shard.subscribe("news");
    let (status, metrics) = relay.get("/metrics");
    assert!(status.contains("200"));
    for line in [
        "headland_gateway_connections{shard=\"3\",state=\"established\"} 5",
        "headland_gateway_refused_total{shard=\"3\",cause=\"source\"} 2",
        "headland_gateway_handshakes_resumed_total{shard=\"3\"} 7",
        "headland_gateway_sessions{shard=\"3\",transport=\"websocket\",encoding=\"protobuf\"} 1",
        "headland_gateway_sessions{shard=\"3\",transport=\"sse\",encoding=\"json\"} 5",
        "headland_gateway_deliveries_total{shard=\"3\",transport=\"poll\",encoding=\"protobuf\"} 70",
        "headland_gateway_closes_total{shard=\"3\",code=\"3008\"} 9",
        "headland_gateway_bytes_per_connection{gateway=\"0000000000000007\"} 1000",
        "headland_gateway_turn_seconds_bucket{shard=\"3\",le=\"+Inf\"} 13",
        "headland_relay_channels 1",
        "headland_relay_shard_links 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let (status, health) = relay.get("/health/ready");
    assert!(status.contains("200") && health.contains("\"shard\":3"), "{health}");
}

#[test]
fn sigterm_ends_it_cleanly_and_takes_the_socket_along() {
    let mut relay = Relay::start("");
    let _shard = relay.connect(Purpose::Shard);
    relay.signal("TERM");
    assert!(relay.wait().success());
    assert!(!relay.folder.file("relay.sock").exists());
}

#[test]
fn a_dead_relays_socket_is_replaced_but_not_a_living_ones_and_nothing_else() {
    let folder = Folder::new();
    drop(UnixListener::bind(folder.file("relay.sock")).unwrap());
    let relay = Relay::start_in(folder, "");
    let mode = fs::metadata(relay.folder.file("relay.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    relay.folder.configure(free_port(), "");
    let (code, said) = fails(&relay.folder);
    assert!(code == 1 && said.contains("another relay answers on"), "{said}");
    relay.connect(Purpose::Control).settings();

    let folder = Folder::new();
    folder.write("relay.sock", "precious");
    folder.configure(free_port(), "");
    let (code, said) = fails(&folder);
    assert!(code == 1 && said.contains("exists and is not a socket"), "{said}");
    assert_eq!(fs::read_to_string(folder.file("relay.sock")).unwrap(), "precious");
}

#[test]
fn failing_starts_say_what_to_do() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    folder.configure(address, "");
    assert_eq!(
        fails(&folder),
        (
            1,
            format!(
                "headland-relay: {address} is in use: stop what listens there, or set http.address to another port"
            )
        )
    );
    folder.configure(free_port(), "[client]\ninsecur = true\n");
    let file = folder.file("relay.toml").display().to_string();
    assert_eq!(
        fails(&folder),
        (2, format!("headland-relay: {file}:6: unknown key 'insecur' in [client]; did you mean 'insecure'?"))
    );
    folder.certificate("server");
    folder.certificate("other");
    let other = TLS.replace("server-key", "other-key");
    folder.configure(free_port(), &other);
    let (code, said) = fails(&folder);
    assert!(code == 1 && said.contains("check that both files are of one pair"), "{said}");
    folder.configure(free_port(), &TLS.replace("server-key", "absent-key"));
    let (code, said) = fails(&folder);
    assert!(code == 1 && said.ends_with("absent-key.pem: there is no such file"), "{said}");
    fs::remove_file(folder.file("relay.toml")).unwrap();
    assert_eq!(fails(&folder), (1, format!("headland-relay: {file}: there is no such file")));
}
