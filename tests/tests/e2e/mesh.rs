//! Several edges as a mesh: real relays and gateways on loopback, clients on each, connections between relays that can be cut.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::bus;
use tests::client::{self, Client};
use tests::cut::Cut;
use tests::script;
use tests::wait;
use tests::world::{Builder, World};

/// An edge that listens at its own address and finds others at theirs.
fn edge(index: usize, own: SocketAddr, others: &[SocketAddr]) -> Builder {
    World::builder().relay(&format!("[limits]\npresence_grace = \"1s\"\n{}", bus::mesh(index, own, others)))
}

fn edges(count: usize) -> Vec<World> {
    edges_with(count, |builder| builder)
}

/// Edges that know of each other, each with what a test lays over it.
pub(crate) fn edges_with(count: usize, lay: impl Fn(Builder) -> Builder) -> Vec<World> {
    let addresses = bus::meeting(count).unwrap();
    let start =
        |(index, address): (usize, &SocketAddr)| lay(edge(index, *address, &addresses)).start().unwrap();
    let worlds: Vec<World> = addresses.iter().enumerate().map(start).collect();
    worlds.iter().for_each(|world| linked(world, count - 1));
    worlds
}

fn linked(world: &World, others: usize) {
    world.metric("headland_mesh_link_up", &[], |up| up == others as f64).unwrap();
}

/// A channel with history that one of so many edges owns.
fn owned(edges: usize, owner: usize) -> String {
    let mut channels = (0..).map(|number| format!("short:{number}"));
    channels.find(|channel| bus::owner(channel, edges) == owner).unwrap()
}

/// Publishes until that is no temporary error any more; the offset.
fn publish(client: &mut Client, channel: &str, data: &Value) -> u64 {
    let rpc = json!({ "channel": channel, "data": data, "idempotency_key": data.to_string() });
    let made = wait::until("a publication", client::WITHIN, || {
        let answer = client.call(&json!({ "rpc": { "method": "publish", "data": rpc } })).unwrap();
        match answer["error"]["temporary"].as_bool() {
            None => Some(answer["rpc"]["data"]["offset"].as_u64().unwrap()),
            Some(temporary) => {
                assert!(temporary, "{answer}");
                None
            }
        }
    });
    made.unwrap()
}

fn subscribe(client: &mut Client, channel: &str) -> Value {
    wait::until("a subscription", client::WITHIN, || client.subscribe(channel).ok()).unwrap()
}

#[test]
fn each_edge_tells_each_owner_what_it_wants_and_nothing_else_crosses() {
    let worlds = edges(3);
    let mut clients: Vec<Client> = worlds.iter().map(|world| Client::of(world, "ann").unwrap()).collect();
    for channel in (0..3).map(|owner| owned(3, owner)) {
        clients.iter_mut().for_each(|client| drop(subscribe(client, &channel)));
        publish(&mut clients[0], &channel, &json!(1));
        clients.iter_mut().for_each(|client| drop(client.push_of("pub").unwrap()));
    }
    for world in &worlds {
        let metrics = world.metrics().unwrap();
        let told = metrics.sum("headland_mesh_table_version_told", &[]);
        assert_eq!(metrics.sum("headland_mesh_table_version_placed", &[]), told);
        assert_eq!(metrics.sum("headland_mesh_joined_channels", &[]), 2.0, "two of three have other owners");
        assert_eq!(metrics.sum("headland_mesh_unwanted_total", &[]), 0.0);
    }
}

#[test]
fn an_owner_that_is_killed_is_missed_by_its_channels_alone_and_told_once_it_is_back() {
    let mut worlds = edges(3);
    let (lost, kept) = (owned(3, 2), owned(3, 1));
    let mut ann = Client::of(&worlds[0], "ann").unwrap();
    let mut bob = Client::of(&worlds[1], "bob").unwrap();
    let before = subscribe(&mut ann, &lost);
    subscribe(&mut ann, &kept);
    publish(&mut bob, &lost, &json!(1));
    ann.push_of("pub").unwrap();
    worlds[2].kill_relay().unwrap();
    linked(&worlds[1], 1);
    let refused = bob.call(&json!({ "publish": { "channel": lost, "data": 2 } })).unwrap();
    assert_eq!((&refused["error"]["code"], &refused["error"]["temporary"]), (&json!(100), &json!(true)));
    assert_eq!(publish(&mut bob, &kept, &json!(1)), 1);
    assert_eq!(ann.push_of("pub").unwrap()["data"], json!(1));
    worlds[2].restart_relay().unwrap();
    let told = ann.push_of("unsubscribe").unwrap();
    assert_eq!(told, json!({ "code": 2500, "reason": "insufficient state" }));
    let after = subscribe(&mut ann, &lost);
    assert_ne!(after["epoch"], before["epoch"]);
    assert_eq!(publish(&mut bob, &lost, &json!(3)), 1);
    assert_eq!(ann.push_of("pub").unwrap()["data"], json!(3));
}

#[test]
fn what_was_published_behind_a_cut_comes_once_it_is_healed() {
    let addresses = bus::meeting(3).unwrap();
    // The first edge reaches the third through a connection that can be cut.
    let cut = Cut::to(addresses[2]).unwrap();
    let seen = [addresses[0], addresses[1], cut.address()];
    let worlds = [
        edge(0, addresses[0], &seen).start().unwrap(),
        edge(1, addresses[1], &addresses).start().unwrap(),
        edge(2, addresses[2], &addresses).start().unwrap(),
    ];
    worlds.iter().for_each(|world| linked(world, 2));
    // Its history takes all that is published meanwhile.
    let channel = owned(3, 2);
    let mut ann = Client::of(&worlds[0], "ann").unwrap();
    let mut bob = Client::of(&worlds[1], "bob").unwrap();
    subscribe(&mut ann, &channel);
    assert_eq!(publish(&mut bob, &channel, &json!(1)), 1);
    assert_eq!(ann.push_of("pub").unwrap()["offset"], json!(1));
    for round in 0..3 {
        // Once a connection that ends, once one that says nothing any more.
        if round == 1 {
            cut.silence();
        } else {
            cut.cut();
        }
        linked(&worlds[0], 1);
        let first = 2 + 3 * round;
        for number in first..first + 3 {
            assert_eq!(publish(&mut bob, &channel, &json!(number)), number);
        }
        cut.heal();
        for number in first..first + 3 {
            assert_eq!(ann.push_of("pub").unwrap()["offset"], json!(number));
        }
    }
    let metrics = worlds[0].metrics().unwrap();
    assert_eq!(metrics.sum("headland_relay_insufficient_total", &[]), 0.0);
    assert!(metrics.sum("headland_relay_bus_repaired_total", &[]) >= 3.0);
}

#[test]
fn an_edge_that_comes_late_gets_what_it_owns_and_joins_in() {
    let addresses = bus::meeting(3).unwrap();
    let mut worlds: Vec<World> =
        (0..2).map(|index| edge(index, addresses[index], &addresses).start().unwrap()).collect();
    let (here, late) = (owned(3, 1), owned(3, 2));
    let mut ann = Client::of(&worlds[0], "ann").unwrap();
    subscribe(&mut ann, &here);
    assert_eq!(publish(&mut ann, &here, &json!(1)), 1);
    let refused = ann.call(&json!({ "publish": { "channel": late, "data": 1 } })).unwrap();
    assert_eq!(refused["error"]["temporary"], json!(true), "{refused}");
    worlds.push(edge(2, addresses[2], &addresses).start().unwrap());
    let mut eve = Client::of(&worlds[2], "eve").unwrap();
    subscribe(&mut eve, &here);
    subscribe(&mut ann, &late);
    assert_eq!(publish(&mut ann, &here, &json!(2)), 2);
    assert_eq!(eve.push_of("pub").unwrap()["offset"], json!(2));
    assert_eq!(publish(&mut eve, &late, &json!(1)), 1);
    let heard: Vec<Value> = (0..3).map(|_| ann.push_of("pub").unwrap()["data"].take()).collect();
    assert_eq!(heard, [json!(1), json!(2), json!(1)]);
}

/// Unmodified clients notice nothing of it.
macro_rules! over_a_mesh {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let worlds = edges(2);
            script::run(&worlds[0], "sdk.mjs", stringify!($name), &worlds[0].wss()).unwrap();
        }
    )*};
}

mod npm {
    use super::*;

    over_a_mesh! {
        two_tabs_chat
        history_is_paged_forwards_and_backwards
        what_was_missed_is_recovered_after_leaving
        what_was_missed_is_recovered_after_the_wire_was_cut
        what_history_has_forgotten_is_told_and_not_recovered
        order_holds_under_load
    }
}
