//! Two edges that share Redis, with the unmodified PyPI SDK on both: one system, also while Redis is away.

use tests::bus;
use tests::redis::{Cluster, Server};
use tests::script::Script;
use tests::world::World;

fn edge(bus: &str) -> World {
    World::builder().relay(bus).start().unwrap()
}

/// Runs the scenario on two edges; `strike` loses the bus and finds it again.
fn chat(bus: &str, strike: impl FnOnce()) {
    let (one, two) = (edge(bus), edge(bus));
    let scenario = format!("chats_across_edges_whose_bus_is_lost {}", two.ws());
    let mut script = Script::start(&one, "sdk.py", &scenario, &one.ws()).unwrap();
    script.hear("lost").unwrap();
    strike();
    script.say("found").unwrap();
    script.end().unwrap();
    for edge in [&one, &two] {
        // Publications, questions and subscriptions, of one server or of three.
        edge.metric("headland_relay_bus_link_up", &[], |up| up == 3.0 || up == 9.0).unwrap();
    }
}

#[test]
fn two_edges_are_one_system_over_redis_and_stay_it_when_redis_is_killed() {
    let mut server = Server::start().unwrap();
    let bus = bus::star(&server.address());
    chat(&bus, || {
        server.kill().unwrap();
        server.run().unwrap();
    });
}

#[test]
fn two_edges_are_one_system_over_a_cluster_and_stay_it_when_a_primary_dies() {
    let mut cluster = Cluster::start().unwrap();
    let bus = bus::cluster(&cluster.addresses()[..3]);
    chat(&bus, || {
        let slot = relay::partition::slot(relay::partition::partition("chat:edges"));
        let killed = cluster.primary(slot).unwrap();
        cluster.nodes[killed].kill().unwrap();
        cluster.primary_other_than(slot, killed).unwrap();
        cluster.nodes[killed].run().unwrap();
    });
}

#[test]
fn a_relay_that_cannot_reach_redis_serves_and_says_so() {
    let mut server = Server::start().unwrap();
    server.stop().unwrap();
    let bus = bus::star(&server.address());
    let edge = edge(&bus);
    let log = || edge.relay.log();
    tests::wait::until("a line in the log", std::time::Duration::from_secs(60), || {
        log().contains(&format!("bus: {}", server.address())).then_some(())
    })
    .unwrap();
    // A client connects, and stays while the bus is not there.
    let mut client = tests::client::Client::of(&edge, "ann").unwrap();
    server.run().unwrap();
    let answer = tests::wait::until("a subscription", std::time::Duration::from_secs(60), || {
        client.subscribe("chat:late").ok().filter(|answer| answer.get("error").is_none())
    });
    answer.unwrap();
    assert_eq!(log().matches("trying again").count(), 1, "said once:\n{}", log());
}
