//! The servers that other tests build on: each kind starts, answers, and fails over.

use tests::redis::{Cluster, Secured, Sentinels, Server};

#[test]
fn a_server_keeps_what_it_has_when_it_is_killed() {
    let mut server = Server::start().unwrap();
    server.command(&["set", "a", "b"]).unwrap();
    server.until(&["info", "persistence"], |text| text.contains("aof_enabled:1")).unwrap();
    server.kill().unwrap();
    assert!(server.command(&["ping"]).is_err());
    server.run().unwrap();
    assert_eq!(server.command(&["get", "a"]).unwrap(), "b");
}

#[test]
fn a_secured_server_lets_its_user_in_with_tls_and_nobody_else() {
    let secured = Secured::start("~* &* +@all").unwrap();
    let (address, ca) = (secured.address(), secured.authority_file().display().to_string());
    let port = address.rsplit(':').next().unwrap();
    let tls = ["--tls", "--cacert", &ca, "-h", "localhost", "-p", port];
    let asked = |user: &[&str]| secured.server.command(&[&tls, user, &["acl", "whoami"]].concat());
    assert!(
        asked(&["--user", secured.user(), "--pass", secured.password()]).unwrap().ends_with(secured.user())
    );
    assert!(
        !asked(&["--user", secured.user(), "--pass", "wrong"])
            .is_ok_and(|text| text.ends_with(secured.user()))
    );
}

#[test]
fn sentinels_make_the_replica_the_primary_when_that_is_killed() {
    let mut world = Sentinels::start().unwrap();
    world.until_primary(world.primary.port()).unwrap();
    world.primary.kill().unwrap();
    world.until_primary(world.replica.port()).unwrap();
}

#[test]
fn a_cluster_migrates_slots_and_survives_a_primary() {
    let mut cluster = Cluster::start().unwrap();
    let (old, other) = (cluster.primary(100).unwrap(), cluster.primary(16_000).unwrap());
    assert_ne!(old, other);
    cluster.migrate(100, other).unwrap();
    assert_eq!(cluster.primary(100).unwrap(), other);
    cluster.nodes[other].kill().unwrap();
    cluster.primary_other_than(100, other).unwrap();
}
