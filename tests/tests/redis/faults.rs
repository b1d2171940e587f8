//! What happens when Redis goes away, forgets, refuses, or is another one.

use std::sync::Arc;
use std::time::Duration;

use agent::Health;
use agent::redis::{Login, Place, Settings, Tls};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tests::redis::{Secured, Sentinels, Server};

use crate::edge::{Edge, Heard, KEPT, settings};

fn star(server: &Server) -> Settings {
    settings(Place::Servers(vec![server.address()]))
}

fn down(links: &[Health], text: &str) -> bool {
    !links.is_empty()
        && links
            .iter()
            .all(|link| !link.up && link.error.as_deref().is_some_and(|error| error.contains(text)))
}

#[test]
fn a_server_that_is_killed_and_back_is_found_again_with_all_it_had() {
    let mut server = Server::start().unwrap();
    let mut edge = Edge::ready(star(&server));
    const CHANNELS: usize = 3000;
    let channels: Vec<String> = (0..CHANNELS).map(|number| format!("c{number}")).collect();
    channels.iter().for_each(|channel| edge.want(channel));
    channels.iter().for_each(|channel| edge.joined(channel));
    let (_, epoch, _) = edge.publish("c0", b"before", "");
    edge.enter("c0", "ann");
    edge.until_present("c0", &["ann"]);
    // Once a second the server writes what it keeps: what follows is not of interest here.
    server.command(&["bgrewriteaof"]).unwrap();
    server.until(&["info", "persistence"], |text| text.contains("aof_rewrite_in_progress:0")).unwrap();
    server.kill().unwrap();
    edge.until("all to part", |heard| (*heard == Heard::PartedAll).then_some(()));
    edge.links("all to be down", |links| links.iter().all(|link| !link.up));
    let ticket = edge.ask_publish("c0", b"lost", "", Some(KEPT));
    assert!(matches!(edge.answer(ticket), Heard::Failed { .. }));
    assert_eq!(edge.present("c0"), None);
    // What is wanted and left meanwhile counts once it is back.
    edge.leave("c0", "ann");
    edge.want("new");
    server.run().unwrap();
    channels.iter().for_each(|channel| edge.joined(channel));
    edge.joined("new");
    edge.up();
    assert_eq!(edge.publish("c0", b"after", "").1, epoch);
    edge.until("the publication", |heard| match heard {
        Heard::Publication { body, .. } if body == b"after" => Some(()),
        _ => None,
    });
    edge.until_present("c0", &[]);
    assert!(edge.total("connections_lost") >= 3);
}

#[test]
fn a_server_that_has_forgotten_begins_streams_anew_and_asks_who_is_there() {
    let mut server = Server::start().unwrap();
    let mut edge = Edge::ready(star(&server));
    edge.join("a");
    let (_, epoch, _) = edge.publish("a", b"x", "");
    edge.enter("a", "ann");
    edge.until_present("a", &["ann"]);
    server.kill().unwrap();
    server.forget().unwrap();
    server.run().unwrap();
    edge.joined("a");
    edge.until("to be asked", |heard| (*heard == Heard::MembersForgotten).then_some(()));
    edge.enter("a", "ann");
    edge.until_present("a", &["ann"]);
    let (offset, fresh, _) = edge.publish("a", b"y", "");
    assert!(offset == 1 && fresh != epoch);
}

#[test]
fn members_that_left_while_redis_forgot_its_last_second_go_with_the_old_lease() {
    let mut server = Server::start().unwrap();
    let mut edge = Edge::ready(star(&server));
    edge.enter("a", "ann");
    edge.enter("a", "bob");
    edge.until_present("a", &["ann", "bob"]);
    server.kill().unwrap();
    server.run().unwrap();
    // Redis has both still. The broker enters those that are there: bob is not.
    edge.until("to be asked", |heard| (*heard == Heard::MembersForgotten).then_some(()));
    edge.enter("a", "ann");
    edge.until_present("a", &["ann", "bob"]);
    edge.leave("a", "bob");
    edge.until_present("a", &["ann"]);
}

#[test]
fn a_relay_that_starts_before_redis_waits_for_it() {
    let mut server = Server::start().unwrap();
    server.stop().unwrap();
    let mut edge = Edge::new(star(&server));
    edge.want("a");
    edge.links("the reason", |links| down(links, "refused"));
    let ticket = edge.ask_read("a", None, 1, false);
    assert!(matches!(edge.answer(ticket), Heard::Failed { .. }));
    server.run().unwrap();
    edge.joined("a");
    edge.up();
    edge.publish("a", b"x", "");
}

#[test]
fn a_server_that_hangs_is_given_up_and_taken_back() {
    let server = Server::start().unwrap();
    let mut edge = Edge::ready(Settings { answer_timeout: Duration::from_millis(500), ..star(&server) });
    edge.join("a");
    server.pause().unwrap();
    let ticket = edge.ask_publish("a", b"x", "key", Some(KEPT));
    assert!(matches!(edge.answer(ticket), Heard::Failed { .. }), "every question has an answer");
    edge.until("all to part", |heard| (*heard == Heard::PartedAll).then_some(()));
    server.resume().unwrap();
    edge.joined("a");
    // The same key: whether it was made before or is made now, it is there once.
    assert_eq!(edge.publish("a", b"x", "key").0, 1);
    assert_eq!(edge.read("a", None, 10, false).2.len(), 1);
}

#[test]
fn tls_user_and_password_let_in_and_anything_else_is_said() {
    let secured = Secured::start("~test:* &test:* +@all -@dangerous +info +cluster|slots").unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(secured.authority.certificate().as_bytes()).unwrap()).unwrap();
    let trust = |roots| {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        Some(Tls { client: Arc::new(config.with_no_client_auth()), name: String::new() })
    };
    let password = agent::config::Secret::new(secured.password());
    let good = Settings {
        login: Login { user: secured.user().to_owned(), password },
        tls: trust(roots),
        ..settings(Place::Servers(vec![secured.address()]))
    };
    let mut edge = Edge::ready(good.clone());
    edge.join("a");
    edge.publish("a", b"x", "key");
    edge.publication("a");
    edge.enter("a", "ann");
    edge.until_present("a", &["ann"]);

    let wrong = agent::config::Secret::new("wrong");
    let edge = Edge::new(Settings { login: Login { password: wrong, ..good.login.clone() }, ..good.clone() });
    edge.links("a refusal", |links| down(links, "password"));
    assert!(edge.total("refusals") >= 1);
    let edge = Edge::new(Settings { tls: trust(RootCertStore::empty()), ..good.clone() });
    edge.links("a refusal", |links| down(links, "certificate"));
    let edge = Edge::new(Settings { prefix: "foreign".to_owned(), ..good });
    edge.want("a");
    edge.links("a refusal", |links| {
        links.iter().any(|link| link.error.as_deref().is_some_and(|e| e.contains("NOPERM")))
    });
}

#[test]
fn the_wrong_kind_of_server_is_said() {
    let single = Server::start().unwrap();
    let edge = Edge::new(settings(Place::Cluster(vec![single.address()])));
    tests::wait::until("a refusal", crate::edge::WITHIN, || (edge.total("refusals") >= 1).then_some(()))
        .unwrap();
    let node = Server::with("cluster-enabled yes\n").unwrap();
    let edge = Edge::new(star(&node));
    edge.links("a refusal", |links| down(links, "redis-cluster"));
    let replica = Server::with(&format!("replicaof 127.0.0.1 {}\n", single.port())).unwrap();
    let edge = Edge::new(star(&replica));
    edge.links("a refusal", |links| down(links, "replica"));
    // Of several, the one that can be the bus.
    let both = settings(Place::Servers(vec![replica.address(), single.address()]));
    Edge::ready(both).publish("a", b"x", "");
}

#[test]
fn a_connection_that_is_closed_for_its_output_buffer_is_recognised_and_comes_back() {
    let server = Server::start().unwrap();
    let mut edge = Edge::ready(star(&server));
    edge.join("a");
    server.command(&["config", "set", "client-output-buffer-limit", "pubsub 64kb 32kb 1"]).unwrap();
    // One that is over the limit alone, whatever the reader has taken.
    edge.publish("a", &[7; 200_000], "");
    edge.until("all to part", |heard| (*heard == Heard::PartedAll).then_some(()));
    edge.joined("a");
    assert!(edge.total("output_buffer_kills") >= 1);
    // Nothing is gone from history.
    assert_eq!(edge.read("a", None, 1000, false).2[0].1, [7; 200_000]);
}

#[test]
fn sentinels_name_the_next_primary_and_what_was_acknowledged_is_there() {
    let mut world = Sentinels::start().unwrap();
    let place = Place::Sentinels {
        name: world.name().to_owned(),
        addresses: world.addresses(),
        login: Login::default(),
    };
    let mut edge = Edge::ready(settings(place));
    edge.join("a");
    let mut made: Vec<u64> = (0..50).map(|_| edge.publish("a", b"x", "").0).collect();
    world.primary.kill().unwrap();
    edge.until("all to part", |heard| (*heard == Heard::PartedAll).then_some(()));
    world.until_primary(world.replica.port()).unwrap();
    edge.joined("a");
    // The killed one comes back as a replica: without one nothing is acknowledged.
    world.primary.run().unwrap();
    made.push(edge.publish("a", b"y", "").0);
    let there: Vec<u64> = edge.read("a", None, 1000, false).2.iter().map(|(offset, _)| *offset).collect();
    assert!(made.iter().all(|offset| there.contains(offset)), "{made:?} in {there:?}");
    edge.until("to be asked who is there", |heard| (*heard == Heard::MembersForgotten).then_some(()));
}

#[test]
fn without_its_replica_nothing_is_acknowledged() {
    let server = Server::start().unwrap();
    let wait = Settings { wait_replicas: 1, wait_timeout: Duration::from_millis(50), ..star(&server) };
    let mut edge = Edge::ready(wait);
    let ticket = edge.ask_publish("a", b"x", "", Some(KEPT));
    assert!(matches!(edge.answer(ticket), Heard::Failed { .. }));
    assert_eq!(edge.total("unreplicated"), 1);
    let ticket = edge.ask_publish("a", b"x", "", None);
    assert!(matches!(edge.answer(ticket), Heard::Published { .. }), "what is not kept waits for nobody");
}
