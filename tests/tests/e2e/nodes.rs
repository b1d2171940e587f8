//! A node behind an edge, as clients meet both: what is published is stored first, history and recovery are the store's, and who is no
//! member any more hears nothing more.

use std::time::Duration;

use serde_json::{Value, json};
use tests::bus;
use tests::client::Client;
use tests::node::{Node, Plan};
use tests::redis::Server;
use tests::rest::Rest;
use tests::script::Script;
use tests::wait;
use tests::world::World;

/// How soon whatever is delivered at once has come.
const SOON: Duration = Duration::from_secs(60);

/// A node, edges that know it, and two users of one workspace in one channel.
struct Scene {
    node: Node,
    edges: Vec<World>,
    ann: Rest,
    ben: Rest,
    /// The channel's id, and its name on the bus.
    channel: String,
    stream: String,
    live: String,
}

impl Scene {
    /// Each edge with this TOML over that of nodes.
    fn new(edges: &[&str]) -> Self {
        let plan = Plan::new().unwrap();
        let edge = |text: &&str| World::builder().relay(&plan.relay()).relay(text).start().unwrap();
        let edges: Vec<World> = edges.iter().map(edge).collect();
        let relays: Vec<_> = edges.iter().map(|edge| edge.http).collect();
        let node = plan.start(&relays, "").unwrap();
        let mut ann = Rest::found(node.http, "acme", "ann").unwrap();
        let ben = Rest::register(node.http, "acme", "ben").unwrap();
        let (_, made) = channel(&mut ann, "all", &[ben.id()]);
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        let (channel, stream, live) = (text("id"), text("stream"), text("live"));
        Self { node, edges, ann, ben, channel, stream, live }
    }

    /// The user's connection to an edge, and what `connect` was answered with.
    fn connect(&self, edge: usize, rest: &Rest, subs: &Value) -> (Client, Value) {
        wait::until("a session", SOON, || {
            let mut client = Client::secure(&self.edges[edge]).ok()?;
            let wanted = json!({ "connect": { "token": rest.token(), "subs": subs } });
            let reply = client.call(&wanted).ok()?;
            reply.get("connect").cloned().map(|connected| (client, connected))
        })
        .unwrap()
    }

    fn path(&self) -> String {
        format!("/v1/channels/{}/messages", self.channel)
    }

    fn post(&mut self, text: &str) -> Value {
        let path = self.path();
        self.ann.call("POST", &path, Some(&json!({ "body": text }))).unwrap().expect(201).unwrap()
    }

    /// Where the stream is.
    fn top(&mut self) -> u64 {
        let path = format!("{}?limit=1", self.path());
        let page = self.ann.call("GET", &path, None).unwrap().expect(200).unwrap();
        page["offset"].as_u64().unwrap()
    }

    /// The texts in the store, oldest first.
    fn stored(&mut self) -> Vec<String> {
        let path = format!("{}?after=0&limit=100", self.path());
        let page = self.ann.call("GET", &path, None).unwrap().expect(200).unwrap();
        let texts = page["messages"].as_array().unwrap().iter();
        texts.map(|message| message["body"].as_str().unwrap().to_owned()).collect()
    }
}

fn channel(rest: &mut Rest, name: &str, members: &[&str]) -> (String, Value) {
    let wanted = json!({ "name": name, "members": members });
    let made = rest.call("POST", "/v1/channels", Some(&wanted)).unwrap().expect(201).unwrap();
    (made["id"].as_str().unwrap().to_owned(), made)
}

/// The next publication of a channel, other pushes dropped.
fn next(client: &mut Client, channel: &str) -> Value {
    loop {
        let push = client.push().unwrap();
        if push["channel"] == channel && push.get("pub").is_some() {
            return push["pub"].clone();
        }
    }
}

fn publish(client: &mut Client, channel: &str, text: &str, key: &str) -> Value {
    let data = json!({ "channel": channel, "data": { "body": text }, "idempotency_key": key });
    client.call(&json!({ "rpc": { "method": "publish", "data": data } })).unwrap()
}

#[test]
fn a_message_is_stored_before_its_sender_knows_and_reaches_both_devices_of_everybody() {
    let mut scene = Scene::new(&[""]);
    let (mut ann, connected) = scene.connect(0, &scene.ann, &json!({}));
    let sub = &connected["subs"][&scene.stream];
    assert_eq!((&sub["recoverable"], &sub["positioned"]), (&json!(true), &json!(true)), "{connected}");
    let (mut ben, _) = scene.connect(0, &scene.ben, &json!({}));
    let (mut phone, _) = scene.connect(0, &scene.ben, &json!({}));
    let stream = scene.stream.clone();

    let reply = publish(&mut ann, &stream, "by rpc", "k1");
    assert_eq!((&reply["rpc"]["data"]["offset"], reply.get("error")), (&json!(1), None), "{reply}");
    assert_eq!(scene.stored(), ["by rpc"]);
    ann.publish(&stream, &json!({ "body": "by publish" })).unwrap();
    scene.post("by REST");
    assert_eq!(scene.stored(), ["by rpc", "by publish", "by REST"]);

    for client in [&mut ann, &mut ben, &mut phone] {
        for (offset, text) in [(1, "by rpc"), (2, "by publish"), (3, "by REST")] {
            let publication = next(client, &stream);
            assert_eq!(
                (&publication["offset"], &publication["data"]["body"]),
                (&json!(offset), &json!(text))
            );
            let user = format!("{}.{}", scene.ann.workspace["id"].as_str().unwrap(), scene.ann.id());
            assert_eq!(publication["info"]["user"], json!(user));
            assert_eq!(publication["tags"]["kind"], "message");
        }
    }
    // The same key again: the same place, and nobody hears of it.
    let again = publish(&mut ann, &stream, "by rpc", "k1");
    assert_eq!(
        (&again["rpc"]["data"]["offset"], &again["rpc"]["data"]["duplicate"]),
        (&json!(1), &json!(true)),
        "{again}"
    );
    scene.post("last");
    assert_eq!(next(&mut ben, &stream)["data"]["body"], "last");
    assert_eq!(scene.stored().len(), 4);
}

#[test]
fn what_is_published_has_to_be_a_message_of_a_member() {
    let scene = Scene::new(&[""]);
    let (mut ann, _) = scene.connect(0, &scene.ann, &json!({}));
    let data = json!({ "channel": scene.stream, "data": { "text": "no body" } });
    let reply = ann.call(&json!({ "rpc": { "method": "publish", "data": data } })).unwrap();
    assert_eq!(reply["error"]["code"], 107, "{reply}");
    let eve = Rest::register(scene.node.http, "acme", "eve").unwrap();
    let (mut eve, connected) = scene.connect(0, &eve, &json!({}));
    assert!(connected["subs"].get(&scene.stream).is_none(), "{connected}");
    let reply = publish(&mut eve, &scene.stream, "let me in", "");
    assert_eq!(reply["error"]["code"], 103, "{reply}");
    for channel in [&scene.stream, &scene.live] {
        let reply = eve.call(&json!({ "subscribe": { "channel": channel } })).unwrap();
        assert_eq!(reply["error"]["code"], 103, "{reply}");
    }
    let typing = json!({ "publish": { "channel": scene.live, "data": { "type": "typing" } } });
    assert_eq!(eve.call(&typing).unwrap()["error"]["code"], 103);
    ann.subscribe(&scene.live).unwrap();
    assert!(ann.call(&typing).unwrap().get("publish").is_some());
    assert_eq!(next(&mut ann, &scene.live)["data"]["type"], "typing");
}

#[test]
fn history_and_recovery_are_the_stores_and_outlive_the_relay() {
    let mut scene = Scene::new(&[""]);
    let (mut ben, connected) = scene.connect(0, &scene.ben, &json!({}));
    let epoch = connected["subs"][&scene.stream]["epoch"].clone();
    let stream = scene.stream.clone();
    for number in 1..=3 {
        scene.post(&format!("m{number}"));
    }
    assert_eq!(next(&mut ben, &stream)["data"]["body"], "m1");
    drop(ben);
    // Edited while nobody looks: it takes a place of its own.
    let path = format!("{}?limit=1", scene.path());
    let last = scene.ann.call("GET", &path, None).unwrap().expect(200).unwrap()["messages"][0].clone();
    let path = format!("{}/{}", scene.path(), last["id"].as_str().unwrap());
    scene.ann.call("PATCH", &path, Some(&json!({ "body": "m3!" }))).unwrap().expect(200).unwrap();
    scene.edges[0].restart_relay().unwrap();
    scene.post("m4");
    let at = json!({ &stream: { "recover": true, "offset": 1, "epoch": epoch } });
    let (mut ben, connected) = scene.connect(0, &scene.ben, &at);
    let sub = &connected["subs"][&stream];
    assert_eq!((&sub["recovered"], &sub["epoch"]), (&json!(true), &epoch), "{connected}");
    let told: Vec<(u64, &str, &str)> = sub["publications"]
        .as_array()
        .unwrap()
        .iter()
        .map(|publication| {
            let data = &publication["data"];
            (
                publication["offset"].as_u64().unwrap(),
                data["type"].as_str().unwrap(),
                data["body"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [(2, "message", "m2"), (3, "message", "m3!"), (4, "edited", "m3!"), (5, "message", "m4")]
    );
    scene.post("m5");
    assert_eq!(next(&mut ben, &stream)["offset"], 6);
    let (mut ann, _) = scene.connect(0, &scene.ann, &json!({}));
    let wanted = json!({ "history": { "channel": stream, "limit": 2, "reverse": true } });
    let page = ann.call(&wanted).unwrap();
    let offsets: Vec<&Value> =
        page["history"]["publications"].as_array().unwrap().iter().map(|one| &one["offset"]).collect();
    assert_eq!(offsets, [&json!(6), &json!(5)], "{page}");
}

#[test]
fn who_is_removed_hears_nothing_more_within_a_second_on_every_edge_and_who_is_added_does() {
    let redis = Server::start().unwrap();
    let star = bus::star(&redis.address());
    members_come_and_go(&[&star, &star]);
}

#[test]
fn the_same_holds_in_a_mesh() {
    let addresses = bus::meeting(2).unwrap();
    let mesh = |edge: usize| bus::mesh(edge, addresses[edge], &addresses);
    members_come_and_go(&[&mesh(0), &mesh(1)]);
}

fn members_come_and_go(edges: &[&str]) {
    let mut scene = Scene::new(edges);
    let stream = scene.stream.clone();
    let (mut here, _) = scene.connect(0, &scene.ben, &json!({}));
    let (mut there, _) = scene.connect(1, &scene.ben, &json!({}));
    let (mut ann, _) = scene.connect(1, &scene.ann, &json!({}));
    scene.post("for all");
    for client in [&mut here, &mut there, &mut ann] {
        assert_eq!(next(client, &stream)["data"]["body"], "for all");
    }
    let path = format!("/v1/channels/{}/members/{}", scene.channel, scene.ben.id());
    scene.ann.call("DELETE", &path, None).unwrap().expect(204).unwrap();
    let removed = wait::now();
    for client in [&mut here, &mut there] {
        loop {
            let push = client.push().unwrap();
            if push["channel"] == stream && push.get("unsubscribe").is_some() {
                break;
            }
        }
    }
    let took = wait::now() - removed;
    assert!(took < Duration::from_secs(1), "{took:?}");
    scene.post("not for ben");
    assert_eq!(next(&mut ann, &stream)["data"]["body"], "not for ben");
    let reply = publish(&mut here, &stream, "still here?", "");
    assert!(reply.get("error").is_some(), "{reply}");
    let reply = here.call(&json!({ "subscribe": { "channel": stream } })).unwrap();
    assert_eq!(reply["error"]["code"], 103, "{reply}");

    scene.ann.call("PUT", &path, None).unwrap();
    for client in [&mut here, &mut there] {
        loop {
            let push = client.push().unwrap();
            assert_ne!(push["pub"]["data"]["body"], "not for ben");
            if push["channel"] == stream && push.get("subscribe").is_some() {
                break;
            }
        }
    }
    scene.post("for all again");
    for client in [&mut here, &mut there] {
        assert_eq!(next(client, &stream)["data"]["body"], "for all again");
    }
}

#[test]
fn what_a_killed_node_has_stored_is_told_by_the_next_one_once_and_in_order() {
    let mut scene = Scene::new(&[""]);
    let stream = scene.stream.clone();
    let (mut ben, connected) = scene.connect(0, &scene.ben, &json!({}));
    let mut offset = connected["subs"][&stream]["offset"].as_u64().unwrap_or(0);
    let mut known: Vec<String> = Vec::new();
    let mut top = 0;
    for round in 0..4 {
        // Several at once, killed in the middle of it.
        let posters: Vec<_> = (0..4)
            .map(|poster| {
                let (mut rest, path) = (scene.ann.another(), scene.path());
                std::thread::spawn(move || {
                    let mut stored = Vec::new();
                    for number in 0..200 {
                        let text = format!("{round}.{poster}.{number}");
                        let answer = rest.call("POST", &path, Some(&json!({ "body": text, "key": text })));
                        match answer {
                            Ok(answer) if answer.status == 201 => stored.push(text),
                            _ => break,
                        }
                    }
                    stored
                })
            })
            .collect();
        let before = top;
        wait::until("some messages", SOON, || {
            top = scene.top();
            (top > before + 20).then_some(())
        })
        .unwrap();
        scene.node.program.kill().unwrap();
        for poster in posters {
            known.extend(poster.join().unwrap());
        }
        scene.node.again().unwrap();
    }
    let mut heard = Vec::new();
    wait::until("everything that was acknowledged", 3 * SOON, || {
        while let Some(message) = ben.next(Duration::from_millis(200)).unwrap() {
            let push = &message["push"];
            if push["channel"] == stream && push.get("pub").is_some() {
                offset += 1;
                assert_eq!(push["pub"]["offset"], json!(offset), "in order, once");
                heard.push(push["pub"]["data"]["body"].as_str().unwrap().to_owned());
            }
        }
        known.iter().all(|text| heard.contains(text)).then_some(())
    })
    .unwrap();
    assert!(known.len() > 80, "{}", known.len());
}

#[test]
fn without_its_node_an_edge_refuses_at_once_and_goes_on_when_it_is_back() {
    let mut scene = Scene::new(&[""]);
    let stream = scene.stream.clone();
    let (mut ben, _) = scene.connect(0, &scene.ben, &json!({}));
    let (mut ann, _) = scene.connect(0, &scene.ann, &json!({}));
    scene.node.program.kill().unwrap();
    let asked = wait::now();
    for _ in 0..3 {
        let reply = publish(&mut ann, &stream, "lost", "k");
        assert_eq!(
            (&reply["error"]["code"], &reply["error"]["temporary"]),
            (&json!(100), &json!(true)),
            "{reply}"
        );
    }
    assert!(wait::now() - asked < Duration::from_secs(2), "at once");
    scene.node.again().unwrap();
    let found = wait::until("the node to be asked again", SOON, || {
        let reply = publish(&mut ann, &stream, "found", "k");
        reply.get("rpc").cloned()
    });
    assert_eq!(found.unwrap()["data"]["offset"], 1);
    assert_eq!(next(&mut ben, &stream)["data"]["body"], "found");
    let health = tests::metrics::get(scene.edges[0].http, "/health").unwrap().1;
    assert!(health.contains(r#""breaker":"closed""#), "{health}");
}

#[test]
fn a_relay_that_was_away_is_told_what_was_stored_meanwhile_and_sessions_hear_of_it() {
    let mut scene = Scene::new(&[""]);
    let stream = scene.stream.clone();
    let (mut ben, _) = scene.connect(0, &scene.ben, &json!({}));
    scene.edges[0].kill_relay().unwrap();
    for number in 1..=5 {
        scene.post(&format!("m{number}"));
    }
    assert_eq!(scene.stored().len(), 5, "what is acknowledged is stored, whoever is there to hear of it");
    scene.edges[0].restart_relay().unwrap();
    for number in 1..=5 {
        assert_eq!(next(&mut ben, &stream)["data"]["body"], json!(format!("m{number}")));
    }
    scene.post("m6");
    assert_eq!(next(&mut ben, &stream)["offset"], 6);
}

#[test]
fn the_npm_sdk_follows_its_users_channels_through_lost_connections() {
    let mut scene = Scene::new(&[""]);
    drop(scene.connect(0, &scene.ben, &json!({})));
    let scenario =
        ["follows_the_channels_of_its_user_through_lost_connections", scene.ben.token(), &scene.stream]
            .join(" ");
    let mut script = Script::start(&scene.edges[0], "nodes.mjs", &scenario, &scene.edges[0].ws()).unwrap();
    for word in ["wire", "relay"] {
        script.hear(word).unwrap();
        if word == "relay" {
            scene.edges[0].restart_relay().unwrap();
        }
        scene.post(&format!("{word} 1"));
        scene.post(&format!("{word} 2"));
        script.say("posted").unwrap();
    }
    script.hear("member").unwrap();
    let path = format!("/v1/channels/{}/members/{}", scene.channel, scene.ben.id());
    scene.ann.call("DELETE", &path, None).unwrap().expect(204).unwrap();
    script.hear("gone").unwrap();
    scene.post("not for ben");
    script.say("posted").unwrap();
    script.end().unwrap();
}

#[test]
fn the_pypi_sdk_subscribes_by_itself_and_recovers_from_the_store() {
    let mut scene = Scene::new(&["[node]\nsubscribe_on_connect = false\n"]);
    let (_, connected) = scene.connect(0, &scene.ben, &json!({}));
    assert!(connected["subs"].get(&scene.stream).is_none(), "{connected}");
    let scenario =
        ["subscribes_by_itself_and_recovers_from_the_store", scene.ben.token(), &scene.stream].join(" ");
    let mut script = Script::start(&scene.edges[0], "nodes.py", &scenario, &scene.edges[0].ws()).unwrap();
    script.hear("away").unwrap();
    for number in 0..200 {
        scene.post(&format!("m{number}"));
    }
    // The edge's copy is gone: everything comes from the store.
    scene.edges[0].restart_relay().unwrap();
    script.say("posted").unwrap();
    script.hear("member").unwrap();
    let path = format!("/v1/channels/{}/members/{}", scene.channel, scene.ben.id());
    scene.ann.call("DELETE", &path, None).unwrap().expect(204).unwrap();
    script.end().unwrap();
}

#[test]
fn messages_of_fast_channels_are_delivered_at_once_and_stored_soon() {
    let mut scene = Scene::new(&[""]);
    let wanted = json!({ "name": "quick", "members": [scene.ben.id()], "delivery": "fast" });
    let made = scene.ann.call("POST", "/v1/channels", Some(&wanted)).unwrap().expect(201).unwrap();
    let stream = made["stream"].as_str().unwrap().to_owned();
    (scene.channel, scene.stream) = (made["id"].as_str().unwrap().to_owned(), stream.clone());
    assert!(stream.starts_with("fast:"), "{made}");
    let (mut ann, _) = scene.connect(0, &scene.ann, &json!({}));
    let (mut ben, connected) = scene.connect(0, &scene.ben, &json!({}));
    assert!(connected["subs"].get(&stream).is_some(), "{connected}");
    for number in 0..10 {
        let reply = publish(&mut ann, &stream, &format!("m{number}"), &format!("k{number}"));
        assert!(reply.get("rpc").is_some(), "{reply}");
    }
    for number in 0..10 {
        assert_eq!(next(&mut ben, &stream)["data"]["body"], json!(format!("m{number}")));
    }
    let all = wait::until("all of them to be stored", SOON, || {
        let stored = scene.stored();
        (stored.len() == 10).then_some(stored)
    });
    assert_eq!(all.unwrap()[9], "m9");
    let eve = Rest::register(scene.node.http, "acme", "eve").unwrap();
    let (mut eve, _) = scene.connect(0, &eve, &json!({}));
    assert_eq!(publish(&mut eve, &stream, "me too", "")["error"]["code"], 103);
}
