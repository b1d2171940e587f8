//! Channels as clients see them on the wire: exact replies, rights, positions, who is there.

use serde_json::{Value, json};
use tests::client::Client;
use tests::metrics;
use tests::world::World;

fn error(reply: &Value) -> u64 {
    reply["error"]["code"].as_u64().unwrap_or_else(|| panic!("wanted an error, got {reply}"))
}

#[test]
fn a_channel_without_history_has_no_position() {
    let world = World::start().unwrap();
    let mut client = Client::of(&world, "ann").unwrap();
    assert_eq!(client.subscribe("news").unwrap(), json!({}));
    let reply = client.call(&json!({ "publish": { "channel": "news", "data": { "a": [1, "x"] } } })).unwrap();
    assert_eq!(reply["publish"], json!({}));
    let push = client.push().unwrap();
    assert_eq!(push["channel"], json!("news"));
    assert_eq!(push["pub"]["data"], json!({ "a": [1, "x"] }));
    assert!(push["pub"].get("offset").is_none(), "{push}");
}

#[test]
fn a_channel_with_history_counts_and_recovers() {
    let world = World::start().unwrap();
    let mut writer = Client::of(&world, "bob").unwrap();
    let first = writer.subscribe("short:x").unwrap();
    let epoch = first["epoch"].as_str().unwrap().to_owned();
    assert_eq!(first, json!({ "recoverable": true, "positioned": true, "epoch": epoch }));
    for number in 1..=3 {
        writer.publish("short:x", &json!(number)).unwrap();
        assert_eq!(writer.push_of("pub").unwrap()["offset"], json!(number));
    }
    let from = |offset: u64, epoch: &str| {
        let mut client = Client::of(&world, "ann").unwrap();
        let recover = json!({ "channel": "short:x", "recover": true, "offset": offset, "epoch": epoch });
        client.call(&json!({ "subscribe": recover })).unwrap()["subscribe"].take()
    };
    let got = from(1, &epoch);
    assert_eq!((&got["recovered"], &got["was_recovering"]), (&json!(true), &json!(true)), "{got}");
    assert_eq!(got["offset"], json!(1), "a recovered reply carries the asked position: {got}");
    let offsets: Vec<&Value> = got["publications"].as_array().unwrap().iter().map(|p| &p["offset"]).collect();
    assert_eq!(offsets, [&json!(2), &json!(3)]);
    let top = from(3, &epoch);
    assert_eq!(top["recovered"], json!(true), "nothing was missed: {top}");
    assert!(top.get("publications").is_none(), "{top}");
    let other = from(1, "AAAAAAAA");
    assert!(other.get("recovered").is_none() && other["was_recovering"] == json!(true), "{other}");
    assert_eq!(other["offset"], json!(3), "an unrecovered reply carries the top: {other}");
    writer.publish("short:x", &json!(4)).unwrap();
    writer.publish("short:x", &json!(5)).unwrap();
    let lost = from(1, &epoch);
    assert!(lost.get("recovered").is_none() && lost.get("publications").is_none(), "never in part: {lost}");
}

#[test]
fn who_will_not_take_an_unrecovered_subscription_gets_an_error() {
    let world = World::start().unwrap();
    let mut client = Client::of(&world, "ann").unwrap();
    let ask = json!({ "channel": "short:y", "recover": true, "offset": 7, "epoch": "AAAAAAAA", "flag": 2 });
    assert_eq!(error(&client.call(&json!({ "subscribe": ask })).unwrap()), 112);
    client.subscribe("short:y").unwrap();
}

#[test]
fn a_second_subscription_to_the_same_channel_is_an_error() {
    let world = World::start().unwrap();
    let mut client = Client::of(&world, "ann").unwrap();
    client.subscribe("news").unwrap();
    assert_eq!(error(&client.call(&json!({ "subscribe": { "channel": "news" } })).unwrap()), 105);
    let reply = client.call(&json!({ "unsubscribe": { "channel": "news" } })).unwrap();
    assert_eq!(reply["unsubscribe"], json!({}));
    client.subscribe("news").unwrap();
}

#[test]
fn rights_are_those_of_the_namespace() {
    let world = World::start().unwrap();
    let mut client = Client::of(&world, "ann").unwrap();
    for (command, code) in [
        (json!({ "subscribe": { "channel": "closed:x" } }), 103),
        (json!({ "publish": { "channel": "closed:x", "data": {} } }), 103),
        (json!({ "subscribe": { "channel": "nowhere:x" } }), 102),
        (json!({ "publish": { "channel": "nowhere:x", "data": {} } }), 102),
        (json!({ "history": { "channel": "nowhere:x" } }), 102),
        (json!({ "subscribe": { "channel": "x".repeat(256) } }), 106),
        (json!({ "subscribe": { "channel": "ünïcode" } }), 107),
        // Only subscribers publish and read in `chat`, and this client is none.
        (json!({ "publish": { "channel": "chat:x", "data": {} } }), 103),
        (json!({ "presence": { "channel": "chat:x" } }), 103),
        (json!({ "presence_stats": { "channel": "chat:x" } }), 103),
        (json!({ "history": { "channel": "chat:x" } }), 103),
        // What a namespace does not keep cannot be asked for.
        (json!({ "presence": { "channel": "short:x" } }), 108),
        (json!({ "history": { "channel": "news" } }), 108),
    ] {
        let reply = client.call(&command).unwrap();
        assert!(
            matches!(reply["error"]["code"].as_u64(), Some(c) if c == code),
            "{command}: wanted {code}, got {reply}"
        );
        assert!(reply["error"].get("temporary").is_none(), "{reply}");
    }
}

#[test]
fn presence_join_and_leave_follow_sessions_not_users() {
    let world = World::start().unwrap();
    let mut watcher = Client::of(&world, "eve").unwrap();
    watcher.subscribe("chat:who").unwrap();
    let mut tabs = [Client::of(&world, "ann").unwrap(), Client::of(&world, "ann").unwrap()];
    for tab in &mut tabs {
        tab.subscribe("chat:who").unwrap();
        loop {
            if watcher.push_of("join").unwrap()["info"]["user"] == json!("ann") {
                break;
            }
        }
    }
    let stats = watcher.call(&json!({ "presence_stats": { "channel": "chat:who" } })).unwrap();
    assert_eq!(stats["presence_stats"], json!({ "num_clients": 3, "num_users": 2 }));
    let [first, _second] = tabs;
    drop(first);
    assert_eq!(watcher.push_of("leave").unwrap()["info"]["user"], json!("ann"));
    let presence = watcher.call(&json!({ "presence": { "channel": "chat:who" } })).unwrap();
    let members = presence["presence"]["presence"].as_object().unwrap().clone();
    assert_eq!(members.len(), 2, "{presence}");
    assert!(members.iter().all(|(id, info)| info["client"] == json!(id)), "{presence}");
}

#[test]
fn a_leave_reaches_the_others_when_somebody_unsubscribes() {
    let world = World::start().unwrap();
    let mut ann = Client::of(&world, "ann").unwrap();
    let mut bob = Client::of(&world, "bob").unwrap();
    ann.subscribe("chat:leave").unwrap();
    bob.subscribe("chat:leave").unwrap();
    bob.call(&json!({ "unsubscribe": { "channel": "chat:leave" } })).unwrap();
    assert_eq!(ann.push_of("leave").unwrap()["info"]["user"], json!("bob"));
}

#[test]
fn history_is_bounded_and_paged() {
    let world = World::start().unwrap();
    let mut client = Client::of(&world, "ann").unwrap();
    for number in 1..=5 {
        client.publish("short:h", &json!(number)).unwrap();
    }
    let mut history = |ask: Value| client.call(&json!({ "history": ask })).unwrap()["history"].take();
    let top = history(json!({ "channel": "short:h" }));
    assert_eq!(top["offset"], json!(5), "{top}");
    assert!(top.get("publications").is_none(), "no limit asks for the position only: {top}");
    let all = history(json!({ "channel": "short:h", "limit": -1 }));
    let data = |page: &Value| {
        page["publications"].as_array().unwrap().iter().map(|p| p["data"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(data(&all), [json!(3), json!(4), json!(5)], "three are kept");
    let since = json!({ "offset": 3, "epoch": top["epoch"] });
    let page = history(json!({ "channel": "short:h", "limit": 1, "since": since }));
    assert_eq!(data(&page), [json!(4)]);
    let back = history(json!({ "channel": "short:h", "limit": 2, "reverse": true }));
    assert_eq!(data(&back), [json!(5), json!(4)]);
    let stale = json!({ "offset": 3, "epoch": "AAAAAAAA" });
    let reply =
        client.call(&json!({ "history": { "channel": "short:h", "limit": 1, "since": stale } })).unwrap();
    assert_eq!(error(&reply), 112);
}

#[test]
fn payloads_arrive_byte_for_byte() {
    let world = World::start().unwrap();
    let mut client = Client::of(&world, "ann").unwrap();
    client.subscribe("news").unwrap();
    // Numbers beyond doubles, escapes and key order survive only when nobody parses them.
    let data = r#"{"z":1,"a":123456789012345678901234567890,"s":"\u00e9\n\"\\","e":1.0e5,"n":null}"#;
    client.text(&format!(r#"{{"id":50,"publish":{{"channel":"news","data":{data}}}}}"#)).unwrap();
    let frame = client.text_with("\"pub\"").unwrap();
    assert!(frame.contains(data), "{frame}");
}

#[test]
fn presence_follows_the_settings_while_sessions_last() {
    let world = World::start().unwrap();
    let mut client = Client::of(&world, "ann").unwrap();
    client.subscribe("news").unwrap();
    let present = |count: f64| world.metric(metrics::MEMBERS, &[], |members| members == count).unwrap();
    present(0.0);
    for (presence, count) in [(true, 1.0), (false, 0.0)] {
        world.reload_relay(&format!("[channel.without_namespace]\npresence = {presence}\n")).unwrap();
        present(count);
    }
    client.publish("news", &json!(1)).unwrap();
}
