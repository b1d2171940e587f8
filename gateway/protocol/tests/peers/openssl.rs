//! Our TLS against OpenSSL's command-line client and server: suites, key updates both ways, resumption, refusals.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use super::echo::{DEADLINE, Echo, End, Identity, Program, read};
use protocol::tls::{
    Cause, ClientOptions, Handshake, Misbehaviour, Opened, Progress, Suite, Trust, client_config,
};

const TLS13: [(&str, Suite); 3] = [
    ("TLS_AES_128_GCM_SHA256", Suite::Aes128),
    ("TLS_AES_256_GCM_SHA384", Suite::Aes256),
    ("TLS_CHACHA20_POLY1305_SHA256", Suite::ChaCha),
];
const TLS12: [(&str, Suite); 3] = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", Suite::Aes128Tls12),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", Suite::Aes256Tls12),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", Suite::ChaChaTls12),
];

fn client(echo: &Echo, identity: &Identity, options: &[&str]) -> Program {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-connect", &echo.address.to_string(), "-servername", "localhost"])
        .args(["-verify_return_error", "-verify_hostname", "localhost", "-CAfile"])
        .arg(&identity.certificate_file)
        .args(options);
    Program::start(&mut command)
}

fn ecdsa(name: &str) -> Identity {
    Identity::new(name, &rcgen::PKCS_ECDSA_P256_SHA256)
}

fn closed(suite: Suite) -> End {
    End::Closed { suite, resumed: false, http11: false }
}

#[test]
fn s_client_updates_keys_both_ways_in_every_suite_of_tls13() {
    let identity = ecdsa("s_client-13");
    let echo = Echo::new(identity.server_config());
    for (name, suite) in TLS13 {
        let mut program = client(&echo, &identity, &["-tls1_3", "-ciphersuites", name]);
        program.say("first line");
        program.hear("first line");
        for round in 0..4 {
            // A command is only seen at the beginning of a read, so each waits for the answer before it.
            program.say(if round % 2 == 0 { "k" } else { "K" });
            program.hear("KEYUPDATE");
            program.say(&format!("line {round} after an update"));
            program.hear(&format!("line {round} after an update"));
            program.say(&format!("server, rekey {round}"));
            program.hear(&format!("server, rekey {round}"));
        }
        program.say("Q");
        assert_eq!(echo.end(), closed(suite), "{name}");
    }
}

#[test]
fn s_client_speaks_tls12_in_every_suite() {
    let identity = ecdsa("s_client-12");
    let echo = Echo::new(identity.server_config());
    for (name, suite) in TLS12 {
        let mut program = client(&echo, &identity, &["-tls1_2", "-cipher", name]);
        for round in 0..4 {
            program.say(&format!("line {round} of tls12"));
            program.hear(&format!("line {round} of tls12"));
        }
        program.say("Q");
        assert_eq!(echo.end(), closed(suite), "{name}");
    }
}

#[test]
fn s_client_may_not_renegotiate() {
    let identity = ecdsa("s_client-renegotiates");
    let echo = Echo::new(identity.server_config());
    let mut program = client(&echo, &identity, &["-tls1_2"]);
    program.say("before");
    program.hear("before");
    program.say("R");
    assert_eq!(echo.end(), End::Misbehaved(Misbehaviour::Renegotiation));
}

#[test]
fn s_client_resumes_with_a_ticket() {
    let identity = ecdsa("s_client-resumes");
    let echo = Echo::new(identity.server_config());
    for (version, suite) in [("-tls1_3", Suite::Aes128), ("-tls1_2", Suite::Aes128Tls12)] {
        let mut file = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        file.push(format!("session{version}-{}", std::process::id()));
        let name = file.to_str().unwrap();
        for (option, resumed) in [("-sess_out", false), ("-sess_in", true)] {
            let mut program = client(&echo, &identity, &[version, option, name]);
            program.say("hello");
            program.hear("hello");
            program.say("Q");
            assert_eq!(echo.end(), End::Closed { suite, resumed, http11: false });
            program.wait();
        }
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn s_client_agrees_on_http11_and_on_nothing_else() {
    let identity = ecdsa("s_client-alpn");
    let echo = Echo::new(identity.server_config());
    let mut program = client(&echo, &identity, &["-alpn", "h2,http/1.1"]);
    program.hear("ALPN protocol: http/1.1");
    program.say("Q");
    assert_eq!(echo.end(), End::Closed { suite: Suite::Aes128, resumed: false, http11: true });

    let program = client(&echo, &identity, &["-alpn", "h2"]);
    program.hear("alert no application protocol");
    assert_eq!(echo.end(), End::Failed(Cause::NoProtocol));
}

#[test]
fn s_client_verifies_certificates_of_every_kind() {
    for (name, algorithm) in [("rsa", &rcgen::PKCS_RSA_SHA256), ("ed25519", &rcgen::PKCS_ED25519)] {
        let identity = Identity::new(&format!("s_client-{name}"), algorithm);
        let echo = Echo::new(identity.server_config());
        for (version, suite) in [("-tls1_3", Suite::Aes128), ("-tls1_2", Suite::Aes128Tls12)] {
            let mut program = client(&echo, &identity, &[version]);
            program.say("hello");
            program.hear("hello");
            program.say("Q");
            assert_eq!(echo.end(), closed(suite), "{name}");
        }
    }
}

#[test]
fn s_client_that_distrusts_us_is_counted_as_its_alert() {
    let (identity, other) = (ecdsa("s_client-distrusts"), ecdsa("s_client-other"));
    let echo = Echo::new(identity.server_config());
    let program = client(&echo, &other, &[]);
    assert!(matches!(echo.end(), End::Failed(Cause::Alerted(42..=51))));
    assert!(!program.wait().0);
}

/// `s_server -rev` answers each line reversed.
#[test]
fn our_client_uses_s_server_in_every_suite() {
    let identity = ecdsa("s_server");
    let trust = Trust::Roots(vec![identity.certificate.clone()]);
    let config = client_config(&ClientOptions { trust, ..ClientOptions::default() }).unwrap();
    let both = TLS13.map(|pair| ("-tls1_3", "-ciphersuites", pair)).into_iter().chain(TLS12.map(|pair| {
        let [version, option] = ["-tls1_2", "-cipher"];
        (version, option, pair)
    }));
    for (version, option, (name, suite)) in both {
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-rev", version, option, name, "-cert"]);
        command.arg(&identity.certificate_file).arg("-key").arg(&identity.key_file);
        let program = Program::start(&mut command);
        let accepting = program.hear("ACCEPT");
        let address = accepting.split_whitespace().last().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();

        let mut handshake = Handshake::client(&config, "localhost".try_into().unwrap()).unwrap();
        let (mut input, mut out) = (Vec::new(), Vec::new());
        let mut traffic = loop {
            let progress = handshake.receive(&mut input, &mut out).unwrap();
            stream.write_all(&out).unwrap();
            out.clear();
            if let Progress::Done(done) = progress {
                break done.traffic;
            }
            assert!(read(&mut stream, &mut input), "the server left");
        };
        assert_eq!(traffic.suite(), suite);
        for round in 0..3 {
            traffic.seal(format!("{round} olleh\n").as_bytes(), &mut out).unwrap();
            if version == "-tls1_3" {
                traffic.request_key_update(&mut out).unwrap();
            }
            stream.write_all(&out).unwrap();
            out.clear();
            let mut heard = Vec::new();
            while !heard.ends_with(b"\n") {
                let (used, opened) = traffic.open(&mut input).unwrap();
                match opened {
                    Opened::Data(data) => heard.extend_from_slice(data),
                    Opened::Nothing => {}
                    Opened::Incomplete { .. } => assert!(read(&mut stream, &mut input)),
                    Opened::Closed => panic!("closed"),
                }
                input.drain(..used);
            }
            assert_eq!(String::from_utf8(heard).unwrap(), format!("hello {round}\n"));
        }
    }
}
