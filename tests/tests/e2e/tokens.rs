//! Who may connect and subscribe, as issuers of tokens and their keys say it: real programs, the unmodified SDKs, keys made by
//! openssl, and key sets that change.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use tests::client::{self, Client};
use tests::credentials::{Authority, Signer, hs256};
use tests::jwks::Endpoint;
use tests::script::{self, Script};
use tests::wait;
use tests::world::{Builder, SECRET, World};

macro_rules! with_the_sdk {
    ($kind:literal, $($world:expr => $($name:ident)*;)*) => {$($(
        #[test]
        fn $name() {
            let world = $world.start().unwrap();
            script::run(&world, "tokens.mjs", concat!(stringify!($name), $kind), &world.wss()).unwrap();
        }
    )*)*};
}

fn usual() -> Builder {
    World::builder()
}

fn short_grace() -> Builder {
    usual().relay("[client]\nexpired_close_delay = \"1s\"\nexpired_sub_close_delay = \"1s\"\n")
}

fn personal(more: &str) -> Builder {
    let own = "[[channel.namespaces]]\nname = \"own\"\nallow_publish_for_client = true\nallow_user_limited_channels = true\n";
    let table =
        "[client.subscribe_to_user_personal_channel]\nenabled = true\npersonal_channel_namespace = \"own\"\n";
    usual().relay(&format!("{table}{more}{own}"))
}

fn two_each() -> Builder {
    usual().relay("[client]\nuser_connection_limit = 2\n")
}

mod npm {
    use super::*;

    with_the_sdk! { "",
        usual() =>
            the_servers_channels_are_heard_and_what_was_missed_in_them_is_recovered
            the_servers_channels_survive_a_cut_wire
            a_private_channel_is_entered_with_a_token_from_a_callback
            an_expired_subscription_token_is_replaced
            a_token_of_somebody_else_ends_the_session;
        short_grace() =>
            a_subscription_about_to_expire_is_refreshed_and_stays
            a_subscription_that_is_not_refreshed_ends;
        personal("") => a_personal_channel_is_the_users_own;
        personal("single_connection = true\n") => a_new_tab_ends_the_one_before;
        two_each() => connections_too_many_are_refused;
    }
}

mod npm_protobuf {
    use super::*;

    with_the_sdk! { " protobuf",
        usual() =>
            the_servers_channels_are_heard_and_what_was_missed_in_them_is_recovered
            a_private_channel_is_entered_with_a_token_from_a_callback
            an_expired_subscription_token_is_replaced;
        short_grace() => a_subscription_about_to_expire_is_refreshed_and_stays;
    }
}

mod python {
    use super::*;

    #[test]
    fn enters_a_private_channel_and_hears_the_servers() {
        let world = World::start().unwrap();
        for kind in ["", " protobuf"] {
            let scenario = format!("enters_a_private_channel_and_hears_the_servers{kind}");
            script::run(&world, "sdk.py", &scenario, &world.wss()).unwrap();
        }
    }
}

/// A key made by openssl: the private one in a file, the public one as PEM.
fn openssl(folder: &Path, name: &str, options: &[&str]) -> String {
    let file = folder.join(format!("{name}.pem")).display().to_string();
    let run = |arguments: &[&str]| {
        let done = Command::new("openssl").args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    run(&[&["genpkey", "-out", &file], options].concat());
    run(&["pkey", "-in", &file, "-pubout"])
}

#[test]
fn keys_made_by_openssl_sign_with_every_algorithm() {
    let folder = std::env::temp_dir().join(format!("headland-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let rsa = openssl(&folder, "rsa", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let ed = openssl(&folder, "ed", &["-algorithm", "ED25519"]);
    for (curve, algorithm) in [("P-256", "ES256"), ("P-384", "ES384"), ("P-521", "ES512")] {
        let option = format!("ec_paramgen_curve:{curve}");
        let ec = openssl(&folder, "ec", &["-algorithm", "EC", "-pkeyopt", &option]);
        let keys = format!(
            "rsa_public_key = '''\n{rsa}'''\necdsa_public_key = '''\n{ec}'''\neddsa_public_key = '''\n{ed}'''\n"
        );
        let world = usual().relay(&format!("[client.token]\n{keys}")).start().unwrap();
        let rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map(|name| (name, "rsa"));
        let words: Vec<String> = [(algorithm, "ec"), ("EdDSA", "ed")]
            .iter()
            .chain(&rsa)
            .map(|(name, file)| format!("{name}={}", folder.join(format!("{file}.pem")).display()))
            .collect();
        let scenario = format!("connects_with_each_algorithm json {}", words.join(" "));
        script::run(&world, "tokens.mjs", &scenario, &world.wss()).unwrap();
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The reply to a connect with this token.
fn connect(world: &World, token: &str) -> serde_json::Value {
    Client::secure(world).unwrap().connect(token).unwrap()
}

#[test]
fn keys_are_fetched_and_fetched_again_when_a_token_has_another() {
    let (old, new) = (Signer::ed25519().unwrap(), Signer::p256().unwrap());
    let endpoint = Endpoint::start(&[&old], None).unwrap();
    let world = usual()
        .relay(&format!("[client.token]\njwks_public_endpoint = \"{}\"\n", endpoint.url()))
        .start()
        .unwrap();
    let claims = json!({ "sub": "ann" });
    let old = old.sign(&claims).unwrap();
    assert!(connect(&world, &old)["connect"]["client"].is_string(), "the keys are there from the start");
    assert_eq!(endpoint.asked(), 1);
    endpoint.serve(&[&new]);
    let mut script = Script::start(
        &world,
        "tokens.mjs",
        "a_token_with_a_new_key_is_asked_for_until_the_key_is_there",
        &world.wss(),
    )
    .unwrap();
    let mut given = 0;
    while script.listen().unwrap() == "token" {
        script.say(&new.sign(&claims).unwrap()).unwrap();
        given += 1;
    }
    script.end().unwrap();
    assert!(given > 1, "the first one was refused with the wish for another");
    assert_eq!(endpoint.asked(), 2);
    // The old key is gone with its set: another token is asked for, as it may be a key that is newer still. A shard speaks of an
    // unknown key once a second, so the first of these may not cause a fetch.
    wait::until("a third fetch", client::WITHIN, || {
        assert_eq!(connect(&world, &old)["error"]["code"], 109);
        let fetched = world.metrics().ok()?.sum("headland_relay_key_fetches_total", &["outcome=\"good\""]);
        (fetched >= 3.0).then_some(())
    })
    .unwrap();
    endpoint.fail();
    assert_eq!(connect(&world, &old)["error"]["code"], 109);
    assert!(
        connect(&world, &new.sign(&claims).unwrap())["connect"].is_object(),
        "a failed fetch changes nothing"
    );
}

#[test]
fn strangers_do_not_make_the_relay_ask_without_end() {
    let signer = Signer::ed25519().unwrap();
    let endpoint = Endpoint::start(&[], None).unwrap();
    let world = usual()
        .relay(&format!("[client.token]\njwks_public_endpoint = \"{}\"\n", endpoint.url()))
        .start()
        .unwrap();
    let token = signer.sign(&json!({ "sub": "ann" })).unwrap();
    for _ in 0..50 {
        assert_eq!(connect(&world, &token)["error"]["code"], 109);
    }
    assert!(endpoint.asked() <= 5, "{}", endpoint.asked());
}

#[test]
fn keys_are_fetched_over_https_from_an_authority_of_ones_own_and_from_no_other() {
    let signer = Signer::ed25519().unwrap();
    let authority = Authority::new().unwrap();
    let endpoint = Endpoint::start(&[&signer], Some(&authority)).unwrap();
    let file = std::env::temp_dir().join(format!("headland-ca-{}.pem", std::process::id()));
    std::fs::write(&file, authority.certificate()).unwrap();
    let table = format!("[client.token]\njwks_public_endpoint = \"{}\"\n", endpoint.url());
    let trusting =
        usual().relay(&format!("{table}jwks_root_ca_file = \"{}\"\n", file.display())).start().unwrap();
    let token = signer.sign(&json!({ "sub": "ann" })).unwrap();
    assert!(connect(&trusting, &token)["connect"].is_object());
    let wary = usual().relay(&table).start().unwrap();
    assert_eq!(connect(&wary, &token)["error"]["code"], 109);
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn the_previous_secret_and_the_audience_are_looked_at() {
    let more =
        "hmac_previous_secret_key = \"before\"\naudience = \"edge\"\nissuer_regex = \"^app-[0-9]+$\"\n";
    let world = usual().relay(&format!("[client.token]\n{more}")).start().unwrap();
    let good = json!({ "sub": "ann", "aud": ["edge", "x"], "iss": "app-12" });
    for secret in [SECRET, "before"] {
        assert!(connect(&world, &hs256(secret, &good).unwrap())["connect"].is_object(), "{secret}");
    }
    for claims in [json!({ "sub": "ann" }), json!({ "sub": "ann", "aud": "x", "iss": "app-1" })] {
        let mut client = Client::secure(&world).unwrap();
        client.command(&json!({ "connect": { "token": hs256(SECRET, &claims).unwrap() } })).unwrap();
        assert_eq!(client.closed().unwrap().code, 3500, "{claims}");
    }
    let over = usual()
        .relay("[client.token]\nhmac_previous_secret_key = \"before\"\nhmac_previous_secret_key_valid_until = 1\n")
        .start()
        .unwrap();
    let mut client = Client::secure(&over).unwrap();
    client.command(&json!({ "connect": { "token": hs256("before", &good).unwrap() } })).unwrap();
    assert_eq!(client.closed().unwrap().code, 3500);
}

#[test]
fn a_channel_of_the_servers_that_was_lost_ends_the_session_with_the_code_that_brings_it_back() {
    let mut world = World::start().unwrap();
    let token = world.token_of(&json!({ "sub": "ann", "channels": ["chat:1"] })).unwrap();
    let mut ann = Client::secure(&world).unwrap();
    let reply = ann.connect(&token).unwrap();
    assert!(reply["connect"]["subs"]["chat:1"]["recoverable"].as_bool().unwrap(), "{reply}");
    // History goes with the relay, so the position cannot be given back.
    world.kill_relay().unwrap();
    world.restart_relay().unwrap();
    assert_eq!(ann.closed().unwrap().code, 3010);
}

#[test]
fn connections_of_a_user_are_counted_again_when_the_relay_is_back() {
    let mut world = usual().relay("[client]\nuser_connection_limit = 1\n").start().unwrap();
    let token = world.token("ann").unwrap();
    let mut first = Client::secure(&world).unwrap();
    assert!(first.connect(&token).unwrap()["connect"].is_object());
    world.kill_relay().unwrap();
    world.restart_relay().unwrap();
    world.metric("headland_relay_counted_sessions", &[], |count| count == 1.0).unwrap();
    let mut second = Client::secure(&world).unwrap();
    second.command(&json!({ "connect": { "token": token } })).unwrap();
    assert_eq!(second.closed().unwrap().code, 3504);
    drop(first);
    wait::until("room for another", std::time::Duration::from_secs(60), || {
        let mut third = Client::secure(&world).ok()?;
        third.connect(&token).ok().filter(|reply| reply["connect"].is_object())
    })
    .unwrap();
}
