//! TLS as clients meet it: certificates by name, versions, replacement without dropping anyone, and OpenSSL with its key updates.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tests::client::{self, Client, Stream};
use tests::wait;
use tests::world::World;

/// The certificate that the server shows under a name.
fn shown(world: &World, name: &str) -> CertificateDer<'static> {
    let mut stream = Stream::open(world, world.secure, Some(name)).unwrap();
    stream.handshake().unwrap();
    stream.certificate().unwrap()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn certificates_are_chosen_by_name_and_the_first_is_for_everybody_else() {
    let world = World::builder()
        .certificate("first", &["localhost", "nobody.test"])
        .certificate("second", &["second.test"])
        .start()
        .unwrap();
    let [first, second] =
        ["first", "second"].map(|name| der(&fs::read_to_string(world.file(&format!("{name}.pem"))).unwrap()));
    assert_eq!(shown(&world, "localhost"), first);
    assert_eq!(shown(&world, "second.test"), second);
    assert_eq!(shown(&world, "nobody.test"), first);
}

#[test]
fn certificates_of_other_kinds_of_keys_work() {
    for kind in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519, &rcgen::PKCS_RSA_SHA256] {
        let world = World::start().unwrap();
        let made = world.authority.server_with(&["localhost"], kind).unwrap();
        world.replace_certificate("server", &made).unwrap();
        wait::until("the new certificate", client::WITHIN, || {
            (shown(&world, "localhost") == der(&made.chain)).then_some(())
        })
        .unwrap();
        Client::of(&world, "ann").unwrap().subscribe("news").unwrap();
    }
}

#[test]
fn a_new_certificate_drops_nobody() {
    let world = World::start().unwrap();
    let old = shown(&world, "localhost");
    let mut client = Client::of(&world, "ann").unwrap();
    client.subscribe("news").unwrap();
    let made = world.authority.server(&["localhost"]).unwrap();
    world.replace_certificate("server", &made).unwrap();
    let new = wait::until("the new certificate", client::WITHIN, || {
        let now = shown(&world, "localhost");
        (now != old).then_some(now)
    });
    assert_eq!(new.unwrap(), der(&made.chain));
    client.publish("news", &json!("still here")).unwrap();
    assert_eq!(client.push_of("pub").unwrap()["data"], json!("still here"));
}

#[test]
fn both_versions_are_spoken_and_nothing_older() {
    let world = World::start().unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(client::tls_versions(&world, &[version]).unwrap());
        let stream = Stream::with(config, world.secure, "localhost").unwrap();
        let mut client = Client::over(stream, &world.wss(), &[]).unwrap();
        client.connect(&world.token("ann").unwrap()).unwrap();
        client.subscribe("news").unwrap();
        client.publish("news", &json!(1)).unwrap();
        assert_eq!(client.push_of("pub").unwrap()["data"], json!(1));
    }
    let address = world.secure.to_string();
    let old = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&old.stderr).into_owned() + &String::from_utf8_lossy(&old.stdout);
    let refused = ["alert protocol version", "alert handshake failure", "no protocols available"];
    assert!(refused.iter().any(|words| said.contains(words)), "{said}");
}

#[test]
fn openssl_updates_keys_both_ways_in_the_middle_of_a_session() {
    let world = World::start().unwrap();
    let address = world.secure.to_string();
    let authority = world.file("ca.pem").display().to_string();
    let mut openssl = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &address,
            "-servername",
            "localhost",
            "-CAfile",
            &authority,
            "-verify_return_error",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = openssl.stdin.take().unwrap();
    let (sender, said) = channel();
    for mut from in [
        Box::new(openssl.stdout.take().unwrap()) as Box<dyn Read + Send>,
        Box::new(openssl.stderr.take().unwrap()),
    ] {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                let _ = sender.send(String::from_utf8_lossy(&bytes[..read]).into_owned());
            }
        });
    }
    // Everything since the last time that something was heard: two frames may come in one piece.
    let mut all = String::new();
    let mut heard = |wanted: &str| {
        while !all.contains(wanted) {
            all += &said
                .recv_timeout(client::WITHIN)
                .unwrap_or_else(|_| panic!("waited for {wanted}, got {all}"));
        }
        let end = all.find(wanted).map_or(0, |at| at + wanted.len());
        all.drain(..end);
    };
    // s_client reads commands only once it has connected.
    heard("Verify return code: 0");
    let upgrade = "GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stdin.write_all(upgrade.as_bytes()).unwrap();
    heard("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let token = world.token("ann").unwrap();
    for (round, command) in [
        json!({ "id": 1, "connect": { "token": token } }),
        json!({ "id": 2, "subscribe": { "channel": "news" } }),
        json!({ "id": 3, "publish": { "channel": "news", "data": "three updates" } }),
    ]
    .iter()
    .enumerate()
    {
        // `K` updates our key and asks the server to update its own.
        stdin.write_all(b"K\n").unwrap();
        heard("KEYUPDATE");
        stdin.write_all(&masked_with_zeros(&command.to_string())).unwrap();
        let answer = [format!("\"id\":{}", round + 1), "\"data\":\"three updates\"".to_owned()];
        heard(&answer[usize::from(round == 2)]);
    }
    openssl.kill().unwrap();
    openssl.wait().unwrap();
}

/// A text frame whose mask changes nothing, so that it can be read in a trace.
fn masked_with_zeros(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let mut frame = vec![0x81];
    match length {
        0..=125 => frame.push(0x80 | length as u8),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

#[test]
fn a_session_is_resumed_from_a_ticket_by_any_shard() {
    let world = World::start().unwrap();
    let config = client::tls(&world).unwrap();
    let mut resumed = 0;
    for _ in 0..8 {
        let stream = Stream::with(Arc::clone(&config), world.secure, "localhost").unwrap();
        let mut client = Client::over(stream, &world.wss(), &[]).unwrap();
        client.connect(&world.token("ann").unwrap()).unwrap();
        client.subscribe("news").unwrap();
        resumed += usize::from(client.stream().resumed());
    }
    assert_eq!(resumed, 7, "all but the first");
    world.metric(tests::metrics::RESUMED, &[], |n| n == 7.0).unwrap();
}

#[test]
fn a_client_that_ends_with_close_notify_is_gone_at_once() {
    let world = World::start().unwrap();
    let mut client = Client::of(&world, "ann").unwrap();
    client.subscribe("chat:x").unwrap();
    client.stream().close_notify().unwrap();
    world.metric(tests::metrics::CONNECTIONS, &["state=\"established\""], |n| n == 0.0).unwrap();
}

#[test]
fn tls_1_2_can_be_switched_off() {
    let agreed = |world: &World, version: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args([
            "s_client",
            "-brief",
            version,
            "-connect",
            &world.secure.to_string(),
            "-servername",
            "localhost",
        ]);
        openssl.arg("-CAfile").arg(world.file("ca.pem")).arg("-verify_return_error");
        let out = openssl.stdin(Stdio::null()).output().unwrap();
        out.status.success()
    };
    let world = World::start().unwrap();
    assert!(agreed(&world, "-tls1_2") && agreed(&world, "-tls1_3"), "both by default");
    assert!(!agreed(&world, "-tls1_1"), "nothing older");
    let world = World::builder().gateway("[tls]\ntls12 = false\n").start().unwrap();
    assert!(agreed(&world, "-tls1_3") && !agreed(&world, "-tls1_2"));
}
