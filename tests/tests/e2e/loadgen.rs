//! The load generator against a real edge in both encodings, and the metrics that tell its sessions apart.

use std::process::Command;

use tests::metrics;
use tests::process;
use tests::world::{SECRET, World};

#[test]
fn sessions_of_either_encoding_get_everything_and_are_counted_apart() {
    let world = World::start().unwrap();
    for (more, encoding) in [(&[][..], "json"), (&["--protobuf"], "protobuf")] {
        let mut loadgen = Command::new(process::programs().unwrap().join("headland-loadgen"));
        loadgen.args([
            "fanout",
            "-n",
            "20",
            "--count",
            "30",
            "--in-flight",
            "4",
            "--seconds",
            "20",
            "--force",
        ]);
        loadgen
            .args(["--url", &world.wss(), "--token-hmac-secret", SECRET, "--ca"])
            .arg(world.file("ca.pem"));
        let done = loadgen.args(more).output().unwrap();
        assert!(done.status.success(), "{encoding}: {}", String::from_utf8_lossy(&done.stdout));
        let labels = ["transport=\"websocket\"", &format!("encoding=\"{encoding}\"")];
        // Each connects, all but the publisher subscribe, and it publishes.
        world.metric(metrics::COMMANDS, &labels, |count| count >= f64::from(21 + 20 + 30)).unwrap();
        world.metric(metrics::DELIVERIES, &labels, |count| count == f64::from(20 * 30)).unwrap();
        world.metric(metrics::SESSIONS, &labels, |count| count == 0.0).unwrap();
    }
}
