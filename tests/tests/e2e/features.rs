//! What channels can do beyond publications, positions and presence: calls, as programs and unmodified clients use them.

use std::collections::HashSet;

use serde_json::{Value, json};
use tests::client::Client;
use tests::script;
use tests::world::World;

fn call(client: &mut Client, data: &Value) -> Value {
    client.call(&json!({ "rpc": { "method": "publish", "data": data } })).unwrap()
}

#[test]
fn a_publish_call_is_made_once_however_often_and_by_whomever_it_is_repeated() {
    let world = World::start().unwrap();
    let mut watcher = Client::of(&world, "eve").unwrap();
    let epoch = watcher.subscribe("short:once").unwrap()["epoch"].take();
    let mut clients: Vec<Client> = (0..4).map(|_| Client::of(&world, "ann").unwrap()).collect();
    let publish = json!({ "channel": "short:once", "data": { "n": 1 }, "idempotency_key": "k1" });
    // All at once, on connections of different shards.
    for client in &mut clients {
        client.command(&json!({ "rpc": { "method": "publish", "data": publish } })).unwrap();
    }
    let answers: Vec<Value> =
        clients.iter_mut().map(|client| client.message().unwrap()["rpc"]["data"].take()).collect();
    let first = json!({ "offset": 1, "epoch": epoch, "duplicate": false });
    let again = json!({ "offset": 1, "epoch": epoch, "duplicate": true });
    assert_eq!(answers.iter().filter(|answer| **answer == first).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == again).count(), 3, "{answers:?}");
    let other = json!({ "channel": "short:once", "data": { "n": 2 }, "idempotency_key": "k2" });
    assert_eq!(call(&mut clients[0], &other)["rpc"]["data"]["offset"], json!(2));
    assert_eq!(call(&mut clients[1], &publish)["rpc"]["data"], again);
    let heard: HashSet<u64> =
        (0..2).map(|_| watcher.push_of("pub").unwrap()["offset"].as_u64().unwrap()).collect();
    assert_eq!(heard, HashSet::from([1, 2]));
}

#[test]
fn a_publish_call_has_the_rights_of_publish_and_refuses_what_it_cannot_read() {
    let world = World::start().unwrap();
    let mut client = Client::of(&world, "ann").unwrap();
    for (arguments, code) in [
        (json!({ "channel": "closed:x", "data": 1, "idempotency_key": "k" }), 103),
        (json!({ "channel": "chat:not-subscribed", "data": 1 }), 103),
        (json!({ "channel": "nowhere:x", "data": 1 }), 102),
        (json!({ "channel": "news" }), 107),
        (json!({ "data": 1 }), 107),
        (json!({ "channel": "news", "data": 1, "idempotency_key": "k".repeat(257) }), 107),
        (json!({ "channel": "news", "data": 1, "tags": { "a": 1 } }), 107),
        (json!("publish"), 107),
    ] {
        assert_eq!(call(&mut client, &arguments)["error"]["code"], json!(code), "{arguments}");
    }
    let reply = client.call(&json!({ "rpc": { "method": "publish" } })).unwrap();
    assert_eq!(reply["error"]["code"], json!(107));
    // A channel without history has no position, but duplicates are known in it too.
    let plain = json!({ "channel": "news", "data": 1, "idempotency_key": "k", "tags": { "a": "1" } });
    let answer = |duplicate: bool| json!({ "offset": 0, "epoch": "", "duplicate": duplicate });
    client.subscribe("news").unwrap();
    assert_eq!(call(&mut client, &plain)["rpc"]["data"], answer(false));
    assert_eq!(call(&mut client, &plain)["rpc"]["data"], answer(true));
    let push = client.push_of("pub").unwrap();
    assert_eq!(push["tags"], json!({ "a": "1" }), "{push}");
    assert_eq!(push["info"]["user"], json!("ann"), "{push}");
}

/// Namespaces of what the scripts are about.
const FEATURES: &str = r#"
[[channel.namespaces]]
name = "short"
history_size = 100
history_ttl = "5m"
allow_subscribe_for_client = true
allow_publish_for_client = true

[[channel.namespaces]]
name = "cache"
history_size = 10
history_ttl = "5m"
force_recovery = true
force_recovery_mode = "cache"
auto_cache_recover = true
allow_subscribe_for_client = true
allow_publish_for_client = true

[[channel.namespaces]]
name = "match"
history_size = 100
history_ttl = "5m"
force_recovery = true
join_leave = true
force_push_join_leave = true
allowed_delta_types = ["fossil"]
delta_publish = true
allow_tags_filter = true
allow_subscribe_for_client = true
allow_publish_for_client = true

[[channel.namespaces]]
name = "number"
history_size = 100
history_ttl = "5m"
force_recovery = true
join_leave = true
force_push_join_leave = true
allowed_delta_types = ["fossil"]
delta_publish = true
allow_channel_compaction = true
allow_subscribe_for_client = true
allow_publish_for_client = true

[[channel.namespaces]]
name = "object"
publication_data_format = "json_object"
allow_publish_for_client = true
"#;

#[test]
fn the_last_publication_is_what_a_cache_gives() {
    let world = World::builder().relay(FEATURES).start().unwrap();
    let mut client = Client::of(&world, "ann").unwrap();
    let first = client.subscribe("cache:x").unwrap();
    assert_eq!(first["was_recovering"], json!(true), "{first}");
    assert!(first.get("recovered").is_none() && first.get("publications").is_none(), "{first}");
    for number in 1..=3 {
        client.publish("cache:x", &json!(number)).unwrap();
    }
    let mut other = Client::of(&world, "bob").unwrap();
    let got = other.subscribe("cache:x").unwrap();
    assert_eq!(got["publications"][0]["data"], json!(3), "{got}");
    assert_eq!(got["publications"].as_array().unwrap().len(), 1, "{got}");
    assert_eq!(got["recovered"], json!(true));
    let mut back = Client::of(&world, "bob").unwrap();
    let ask = json!({ "channel": "cache:x", "recover": true, "offset": 3, "epoch": got["epoch"] });
    let got = back.call(&json!({ "subscribe": ask })).unwrap()["subscribe"].take();
    assert_eq!((&got["recovered"], &got["offset"]), (&json!(true), &json!(3)), "{got}");
    assert!(got.get("publications").is_none(), "nothing is new: {got}");
}

#[test]
fn publications_are_what_their_namespace_says() {
    let world = World::builder().relay(FEATURES).start().unwrap();
    let mut client = Client::of(&world, "ann").unwrap();
    for publish in [json!({ "channel": "object:x", "data": [1] }), json!({ "channel": "object:x" })] {
        assert_eq!(
            client.call(&json!({ "publish": publish })).unwrap()["error"]["code"],
            json!(107),
            "{publish}"
        );
        assert_eq!(call(&mut client, &publish)["error"]["code"], json!(107), "{publish}");
    }
    client.publish("object:x", &json!({})).unwrap();
}

#[test]
fn a_channel_is_named_by_its_number_only_to_those_who_offer_it() {
    let world = World::builder().relay(FEATURES).start().unwrap();
    let (mut ann, mut bob) = (Client::of(&world, "ann").unwrap(), Client::of(&world, "bob").unwrap());
    let plain = ann.subscribe("number:n").unwrap();
    assert!(plain.get("id").is_none(), "{plain}");
    let reply = bob.call(&json!({ "subscribe": { "channel": "number:n", "flag": 1 } })).unwrap();
    let number = reply["subscribe"]["id"].as_u64().unwrap();
    ann.publish("number:n", &json!({ "a": 1 })).unwrap();
    let text = ann.text_with("\"pub\"").unwrap();
    assert!(text.starts_with(r#"{"push":{"channel":"number:n","pub""#), "{text}");
    let text = bob.text_with("\"pub\"").unwrap();
    assert!(text.starts_with(&format!(r#"{{"push":{{"id":{number},"pub""#)), "{text}");
    // Another channel has another number, and where it is not allowed there is none.
    let other = bob.call(&json!({ "subscribe": { "channel": "number:m", "flag": 1 } })).unwrap();
    assert_ne!(other["subscribe"]["id"].as_u64().unwrap(), number);
    let none = bob.call(&json!({ "subscribe": { "channel": "short:n", "flag": 1 } })).unwrap();
    assert!(none["subscribe"].get("id").is_none(), "{none}");
}

/// Scenarios of scripts in a world with these namespaces.
macro_rules! scripts {
    ($file:literal, $encoding:literal, $($name:ident)*) => {$(
        #[test]
        fn $name() {
            let world = World::builder().relay(FEATURES).start().unwrap();
            script::run(&world, $file, concat!(stringify!($name), $encoding), &world.wss()).unwrap();
        }
    )*};
}

mod npm {
    use super::*;

    scripts! { "features.mjs", "",
        publishes_once
        a_cache_gives_the_last_publication
        differences_make_the_publications_in_both_encodings
        differences_go_on_after_a_recovery
        only_publications_that_pass_the_filter_arrive
        a_filter_that_makes_no_sense_is_refused
        everything_arrives_in_channels_with_numbers
    }
}

mod npm_protobuf {
    use super::*;

    scripts! { "features.mjs", " protobuf",
        publishes_once
        a_cache_gives_the_last_publication
        differences_go_on_after_a_recovery
        only_publications_that_pass_the_filter_arrive
    }
}

mod pypi {
    use super::*;

    scripts! { "sdk.py", "",
        publishes_once
        differences_make_the_publications
        only_publications_that_pass_the_filter_arrive
        everything_arrives_in_channels_with_numbers
    }
}

mod pypi_protobuf {
    use super::*;

    scripts! { "sdk.py", " protobuf",
        publishes_once
        differences_make_the_publications
        only_publications_that_pass_the_filter_arrive
        everything_arrives_in_channels_with_numbers
    }
}
