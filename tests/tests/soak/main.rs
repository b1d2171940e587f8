//! Short soaks of every bus: what `cargo xtask soak bus` does for long. Nothing that was acknowledged may be lost, whatever is struck.
#![forbid(unsafe_code)]

use tests::soak::{self, Kind, Options};

/// How long faults strike, and on how many edges.
const MINUTES: f64 = 0.4;
const EDGES: usize = 2;

fn soaked(bus: Kind) {
    let outcome = soak::run(&Options { bus, seed: 5, minutes: MINUTES, edges: EDGES }).unwrap();
    println!("{}", outcome.text);
    assert!(outcome.verdict.is_good(), "{}", outcome.text);
    assert!(outcome.verdict.delivered > 1000, "{}", outcome.text);
}

#[test]
fn a_star_around_one_redis_loses_nothing() {
    soaked(Kind::Redis);
}

#[test]
fn a_redis_cluster_loses_nothing() {
    soaked(Kind::RedisCluster);
}

#[test]
fn a_mesh_loses_nothing() {
    soaked(Kind::Mesh);
}
