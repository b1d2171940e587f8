//! A backend that decides over HTTP or gRPC: unmodified SDKs without tokens, and what a backend that is slow, broken or away costs.

use std::time::Duration;

use serde_json::{Value, json};
use tests::backend::Backend;
use tests::client::{Client, Stream};
use tests::script::{self, Script};
use tests::world::{Builder, World};
use tests::{metrics, wait};

const WITHIN: Duration = Duration::from_secs(30);

fn world(backend: &Backend) -> Builder {
    World::builder().relay(&backend.config())
}

macro_rules! scenarios {
    ($module:ident, $kind:literal, $words:literal, $($file:literal: $($name:ident)*;)*) => {
        mod $module {
            use super::*;

            $($(
                #[test]
                fn $name() {
                    let backend = Backend::start($kind).unwrap();
                    let world = world(&backend).start().unwrap();
                    script::run(&world, $file, concat!(stringify!($name), $words), &world.wss()).unwrap();
                }
            )*)*
        }
    };
}

macro_rules! everything {
    ($module:ident, $kind:literal, $words:literal) => {
        scenarios! { $module, $kind, $words,
            "proxy.mjs":
                a_cookie_or_a_field_of_the_request_says_who_it_is
                a_client_says_who_it_is_and_gets_its_channels
                who_is_refused_stays_away
                channels_open_to_whom_the_backend_lets_in
                publications_are_what_the_backend_makes_of_them
                calls_are_answered_by_the_backend_and_publish_by_the_edge
                a_session_goes_on_as_long_as_the_backend_says
                a_subscription_goes_on_as_long_as_the_backend_says;
            "proxy.py": a_whole_session nobody_is_refused;
        }
    };
}

everything!(http, "http", "");
everything!(grpc, "grpc", "");
everything!(http_protobuf, "http", " protobuf");

#[test]
fn without_websocket_it_is_the_same() {
    let backend = Backend::start("http").unwrap();
    let transports = "[http_stream]\nenabled = true\n[sse]\nenabled = true\n";
    let world = world(&backend).gateway(transports).start().unwrap();
    for way in ["http_stream", "sse"] {
        let url = world.wss().replace("wss:", "https:").replace("websocket", way);
        for scenario in [
            "a_client_says_who_it_is_and_gets_its_channels",
            "calls_are_answered_by_the_backend_and_publish_by_the_edge",
        ] {
            script::run(&world, "proxy.mjs", scenario, &url).unwrap();
        }
    }
}

fn connect(world: &World, user: &str) -> (Client, Value) {
    let mut client = Client::secure(world).unwrap();
    let reply = client.call(&json!({ "connect": { "data": { "user": user } } })).unwrap();
    (client, reply)
}

fn outcomes(world: &World, proxy: &str, outcome: &str) -> f64 {
    let labels = [&*format!("proxy=\"{proxy}\""), &*format!("outcome=\"{outcome}\"")];
    world.metrics().unwrap().sum("headland_relay_proxy_calls_total", &labels)
}

fn breaker(world: &World, proxy: &str) -> String {
    let (_, body) = metrics::get(world.http, "/health").unwrap();
    let health: Value = serde_json::from_str(&body).unwrap();
    let all = health["proxies"].as_array().unwrap();
    let found = all.iter().find(|found| found["name"] == *proxy).unwrap();
    found["breaker"].as_str().unwrap().to_owned()
}

#[test]
fn whoever_has_a_token_needs_no_backend() {
    let mut backend = Backend::start("http").unwrap();
    let world = world(&backend).start().unwrap();
    let mut ann = Client::of(&world, "ann").unwrap();
    assert_eq!(backend.calls("connect").unwrap(), 0);
    let reply = ann.call(&json!({ "rpc": { "method": "whoami" } })).unwrap();
    assert_eq!(reply["rpc"]["data"]["user"], json!("ann"));
}

#[test]
fn each_kind_of_trouble_costs_a_temporary_error_and_nobody_else_waits() {
    for kind in ["http", "grpc"] {
        let mut backend = Backend::start(kind).unwrap();
        let world = world(&backend).start().unwrap();
        let mut ann = Client::of(&world, "ann").unwrap();
        for (mood, outcome) in [("slow", "late"), ("garbage", "broken"), ("status", "status")] {
            backend.feel(mood).unwrap();
            let began = wait::now();
            let (_, reply) = connect(&world, "bob");
            assert_eq!(reply["error"]["code"], json!(100), "{kind} {mood}: {reply}");
            assert_eq!(reply["error"]["temporary"], json!(true), "{kind} {mood}: {reply}");
            assert!(began.elapsed() < Duration::from_secs(2), "{kind} {mood}: the deadline is a second");
            assert!(outcomes(&world, "connect", outcome) >= 1.0, "{kind} {mood} is counted as {outcome}");
            let calls = backend.calls("rpc").unwrap();
            let reply = ann.call(&json!({ "rpc": { "method": "echo", "data": 1 } })).unwrap();
            assert_eq!(reply["error"]["code"], json!(100), "{kind} {mood}: {reply}");
            assert_eq!(backend.calls("rpc").unwrap(), calls + 1, "{kind} {mood}: a call is never made twice");
            backend.feel("well").unwrap();
            assert!(connect(&world, "bob").1.get("connect").is_some());
            let reply = ann.call(&json!({ "rpc": { "method": "echo", "data": 1 } })).unwrap();
            assert_eq!(reply["rpc"]["data"], json!(1), "{kind} {mood}: {reply}");
        }
        // While one waits for a slow answer, others chat.
        backend.feel("slow").unwrap();
        let mut waiting = Client::secure(&world).unwrap();
        waiting.command(&json!({ "connect": { "data": { "user": "bob" } } })).unwrap();
        let began = wait::now();
        ann.publish("news", &json!(1)).unwrap();
        assert!(began.elapsed() < Duration::from_millis(800));
    }
}

#[test]
fn a_backend_that_fails_is_left_alone_and_found_well_again() {
    for kind in ["http", "grpc"] {
        let mut backend = Backend::start(kind).unwrap();
        let world = world(&backend).start().unwrap();
        assert_eq!(breaker(&world, "connect"), "closed");
        backend.feel("status").unwrap();
        for _ in 0..5 {
            assert_eq!(connect(&world, "ann").1["error"]["code"], json!(100));
        }
        assert_eq!(breaker(&world, "connect"), "open");
        let asked = backend.calls("connect").unwrap();
        assert_eq!(connect(&world, "ann").1["error"]["temporary"], json!(true));
        assert_eq!(backend.calls("connect").unwrap(), asked, "{kind}: nobody asks it");
        assert!(outcomes(&world, "connect", "open") >= 1.0);
        assert_eq!(world.metrics().unwrap().sum("headland_relay_proxy_open", &["proxy=\"connect\""]), 1.0);
        assert_eq!(breaker(&world, "calls"), "closed", "others are still asked");
        assert!(world.relay.log().contains("backend connect"), "{}", world.relay.log());
        backend.feel("well").unwrap();
        wait::until("the backend to be asked again", WITHIN, || {
            connect(&world, "ann").1.get("connect").map(|_| ())
        })
        .unwrap();
        assert_eq!(breaker(&world, "connect"), "closed");
        assert!(world.relay.log().contains("answers again"));
    }
}

#[test]
fn a_backend_that_went_away_comes_back_at_the_same_place() {
    for kind in ["http", "grpc"] {
        let backend = Backend::start(kind).unwrap();
        let world = world(&backend).start().unwrap();
        let (mut ann, reply) = connect(&world, "ann");
        assert!(reply.get("connect").is_some(), "{reply}");
        let url = world.wss();
        let scenario = "a_client_comes_back_by_itself_when_the_backend_does";
        let port = backend.port();
        drop(backend);
        let reply = ann.call(&json!({ "rpc": { "method": "echo", "data": 1 } })).unwrap();
        assert_eq!(reply["error"]["code"], json!(100), "{kind}: {reply}");
        assert!(outcomes(&world, "calls", "unreachable") + outcomes(&world, "calls", "lost") >= 1.0);
        let mut script = Script::start(&world, "proxy.mjs", scenario, &url).unwrap();
        script.hear("refused").unwrap();
        let _backend = Backend::start_at(kind, port).unwrap();
        script.say("mended").unwrap();
        script.end().unwrap();
        wait::until("a call to be answered", WITHIN, || {
            let reply = ann.call(&json!({ "rpc": { "method": "echo", "data": 1 } })).unwrap();
            reply.get("rpc").map(|_| ())
        })
        .unwrap();
    }
}

#[test]
fn no_more_than_a_bound_is_asked_at_once_and_the_rest_is_told_so() {
    let mut backend = Backend::start("http").unwrap();
    let world = world(&backend).start().unwrap();
    backend.feel("slow").unwrap();
    let mut clients: Vec<Client> =
        (0..9).map(|number| Client::of(&world, &format!("user-{number}")).unwrap()).collect();
    for client in &mut clients {
        for _ in 0..32 {
            client.command(&json!({ "rpc": { "method": "echo", "data": 1 } })).unwrap();
        }
    }
    let mut codes = Vec::new();
    for client in &mut clients {
        for _ in 0..32 {
            codes.push(client.message().unwrap()["error"]["code"].as_u64().unwrap());
        }
    }
    assert_eq!(codes.iter().filter(|code| **code == 111).count(), 9 * 32 - 256, "{codes:?}");
}

#[test]
fn a_reload_changes_who_is_asked() {
    let backend = Backend::start("http").unwrap();
    let world = World::start().unwrap();
    let mut client = Client::secure(&world).unwrap();
    client.command(&json!({ "connect": {} })).unwrap();
    assert_eq!(client.closed().unwrap().code, 3501);
    world.reload_relay(&backend.config()).unwrap();
    wait::until("a connection without a token", WITHIN, || {
        let mut client = Client::secure(&world).ok()?;
        let reply = client.call(&json!({ "connect": { "data": { "user": "ann" } } })).ok()?;
        reply.get("connect").map(|_| ())
    })
    .unwrap();
}

#[test]
fn fields_of_the_request_are_told_to_connect_alone() {
    let backend = Backend::start("http").unwrap();
    let world = world(&backend).start().unwrap();
    let stream = Stream::open(&world, world.secure, Some("localhost")).unwrap();
    let mut client = Client::over(stream, &world.wss(), &[("Cookie", "sid=eve")]).unwrap();
    let reply = client.call(&json!({ "connect": {} })).unwrap();
    assert_eq!(reply["connect"]["data"], json!({ "hello": "eve", "by": "edge" }));
}
