//! Parts of the edge that go away: the relay crashes, hangs, comes back, reads its file again; the gateway drains.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tests::client::{self, Client};
use tests::wait;
use tests::world::World;

#[test]
fn without_a_relay_clients_stay_and_commands_get_a_temporary_error() {
    let mut world = World::start().unwrap();
    let mut ann = Client::of(&world, "ann").unwrap();
    let mut bob = Client::plain(&world).unwrap();
    bob.connect(&world.token("bob").unwrap()).unwrap();
    ann.subscribe("news").unwrap();
    bob.subscribe("news").unwrap();
    world.kill_relay().unwrap();
    for command in [
        json!({ "publish": { "channel": "news", "data": {} } }),
        json!({ "subscribe": { "channel": "chat:new" } }),
        json!({ "history": { "channel": "short:x", "limit": 1 } }),
    ] {
        let reply = ann.call(&command).unwrap();
        assert_eq!(reply["error"]["temporary"], json!(true), "{command}: {reply}");
        assert_eq!(reply["error"]["code"], json!(100), "{command}: {reply}");
    }
    world.restart_relay().unwrap();
    // The subscription of before is restored: nobody subscribes again here.
    wait::until("the link to be back", client::WITHIN, || ann.publish("news", &json!("back")).ok()).unwrap();
    assert_eq!(bob.push_of("pub").unwrap()["data"], json!("back"));
    assert_eq!(ann.push_of("pub").unwrap()["data"], json!("back"));
    assert!(world.gateway.log().contains("the link to the relay is lost"), "{}", world.gateway.log());
}

#[test]
fn a_stream_that_went_with_the_relay_is_told_as_insufficient_state() {
    let mut world = World::start().unwrap();
    let mut ann = Client::of(&world, "ann").unwrap();
    let before = ann.subscribe("short:x").unwrap();
    ann.publish("short:x", &json!(1)).unwrap();
    ann.push_of("pub").unwrap();
    world.kill_relay().unwrap();
    world.restart_relay().unwrap();
    let told = ann.push_of("unsubscribe").unwrap();
    assert_eq!(told, json!({ "code": 2500, "reason": "insufficient state" }));
    let after = wait::until("a new subscription", client::WITHIN, || ann.subscribe("short:x").ok()).unwrap();
    assert_ne!(after["epoch"], before["epoch"]);
}

#[test]
fn a_relay_that_hangs_is_waited_for() {
    let world = World::start().unwrap();
    let mut ann = Client::of(&world, "ann").unwrap();
    ann.subscribe("chat:x").unwrap();
    world.relay.signal(Signal::STOP).unwrap();
    let id = ann.command(&json!({ "publish": { "channel": "chat:x", "data": 1 } })).unwrap();
    ann.idle(Duration::from_secs(1)).unwrap();
    world.relay.signal(Signal::CONT).unwrap();
    loop {
        let message = ann.message().unwrap();
        if message.get("id") == Some(&json!(id)) {
            assert!(message.get("publish").is_some(), "{message}");
            return;
        }
    }
}

#[test]
fn what_the_relay_reads_again_holds_at_once_and_drops_nobody() {
    let world = World::start().unwrap();
    let mut ann = Client::of(&world, "ann").unwrap();
    ann.subscribe("news").unwrap();
    assert!(ann.subscribe("fresh:x").is_err());
    world
        .reload_relay("[[channel.namespaces]]\nname = \"fresh\"\nallow_subscribe_for_client = true\n")
        .unwrap();
    wait::until("the new namespace", client::WITHIN, || ann.subscribe("fresh:x").ok()).unwrap();
    ann.publish("news", &json!(1)).unwrap();
    assert_eq!(ann.push_of("pub").unwrap()["data"], json!(1));
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_is_named() {
    let mut world = World::start().unwrap();
    let mut ann = Client::of(&world, "ann").unwrap();
    world.reload_relay("[client]\nping_intervall = \"1s\"\n").unwrap();
    wait::until("the refusal", client::WITHIN, || world.relay.log().contains("ping_interval").then_some(()))
        .unwrap();
    ann.subscribe("news").unwrap();
    world.relay.check().unwrap();
}

#[test]
fn a_gateway_that_is_told_to_end_drains_with_a_code_that_reconnects() {
    let mut world = World::builder().gateway("[drain]\nwindow = \"1s\"\n").start().unwrap();
    let mut clients: Vec<Client> =
        (0..20).map(|i| Client::of(&world, &format!("user-{i}")).unwrap()).collect();
    let started = wait::now();
    world.gateway.signal(Signal::TERM).unwrap();
    for client in &mut clients {
        assert_eq!(client.closed().unwrap().code, 3001);
    }
    world.gateway.ended(Duration::from_secs(10)).unwrap();
    assert!(
        started.elapsed() > Duration::from_millis(500),
        "all at once is a storm: {:?}",
        started.elapsed()
    );
}
