//! Short soaks of every bus, and of nodes behind one: what `cargo xtask soak bus` does for long. Nothing that was acknowledged may be lost,
//! whatever is struck.
#![forbid(unsafe_code)]

use tests::soak::{self, Kind, Options, Store};

/// How long faults strike, and on how many edges.
const MINUTES: f64 = 0.4;
const EDGES: usize = 2;

fn soaked(bus: Kind, store: Option<Store>) {
    let outcome = soak::run(&Options { bus, seed: 5, minutes: MINUTES, edges: EDGES, store }).unwrap();
    println!("{}", outcome.text);
    assert!(outcome.verdict.is_good(), "{}", outcome.text);
    assert!(outcome.verdict.delivered > 1000, "{}", outcome.text);
}

#[test]
fn a_star_around_one_redis_loses_nothing() {
    soaked(Kind::Redis, None);
}

#[test]
fn a_redis_cluster_loses_nothing() {
    soaked(Kind::RedisCluster, None);
}

#[test]
fn a_mesh_loses_nothing() {
    soaked(Kind::Mesh, None);
}

#[test]
fn nodes_over_postgresql_behind_a_star_lose_nothing() {
    soaked(Kind::Redis, Some(Store::Postgres));
}

#[test]
fn a_node_with_its_embedded_database_behind_a_mesh_loses_nothing() {
    soaked(Kind::Mesh, Some(Store::Sqlite));
}
