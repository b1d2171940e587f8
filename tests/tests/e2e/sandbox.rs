//! What a running gateway has given up, as the kernel tells it, and that it lives well without. What a process in that state can
//! still do is tried in `gateway/sys/tests/confined.rs`.

use std::fs;

use rustix::process::Signal;
use serde_json::json;
use tests::client::Client;
use tests::metrics;
use tests::world::World;

/// The status of each thread of the gateway.
fn threads(world: &World) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", world.gateway.pid())).unwrap().flatten();
    tasks.map(|task| fs::read_to_string(task.path().join("status")).unwrap()).collect()
}

/// Whether the tests run as root, who can become somebody else.
fn privileged() -> bool {
    fs::read_to_string("/proc/self/status").unwrap().contains("Uid:\t0\t")
}

#[test]
fn every_thread_of_a_running_gateway_is_confined() {
    let world = World::start().unwrap();
    for status in threads(&world) {
        for line in [
            "Seccomp:\t2\n",
            "NoNewPrivs:\t1\n",
            "CapEff:\t0000000000000000\n",
            "CapPrm:\t0000000000000000\n",
        ] {
            assert!(status.contains(line), "{line:?} is not in {status}");
        }
    }
    assert!(world.gateway.log().contains("confined"), "{}", world.gateway.log());
    // Its own statistics come from what was open before. Pages of its program may be another test's too.
    world.metric("headland_gateway_private_bytes", &[], |bytes| bytes > 1e5).unwrap();
}

#[test]
fn a_confined_gateway_finds_its_relay_again_and_takes_new_settings() {
    let mut world = World::start().unwrap();
    let mut early = Client::of(&world, "ann").unwrap();
    early.subscribe("news").unwrap();
    world.kill_relay().unwrap();
    world.restart_relay().unwrap();
    world.reload_relay("[client]\nchannel_limit = 2\n").unwrap();
    world.relay.signal(Signal::HUP).unwrap();
    let mut late = Client::of(&world, "bob").unwrap();
    late.subscribe("news").unwrap();
    late.publish("news", &json!("still here")).unwrap();
    assert_eq!(early.push_of("pub").unwrap()["data"], json!("still here"));
}

#[test]
fn a_gateway_started_as_root_becomes_who_it_is_told() {
    if !privileged() {
        return eprintln!("only root can become somebody else");
    }
    let world = World::builder()
        .gateway("[sandbox]\nuser = \"nobody\"\ngroup = \"root\"\n")
        .relay("[link]\nallowed_uids = [65534]\n")
        .start()
        .unwrap();
    for status in threads(&world) {
        for line in
            ["Uid:\t65534\t65534\t65534\t65534\n", "Gid:\t0\t0\t0\t0\n", "CapBnd:\t0000000000000000\n"]
        {
            assert!(status.contains(line), "{line:?} is not in {status}");
        }
    }
    Client::of(&world, "ann").unwrap().subscribe("news").unwrap();
}

#[test]
fn confinement_can_be_switched_off() {
    let world = World::builder().gateway("[sandbox]\nenabled = false\n").start().unwrap();
    assert!(threads(&world).iter().all(|status| status.contains("Seccomp:\t0\n")));
    assert!(world.gateway.log().contains("not confined"), "{}", world.gateway.log());
    Client::of(&world, "ann").unwrap().subscribe("news").unwrap();
    // Nobody is there to help it.
    world.metric(metrics::CONNECTIONS, &[], |count| count == 0.0).unwrap();
}
