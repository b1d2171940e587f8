//! What `[bus.redis]` becomes, and what it refuses.

use super::{checked, refusal};
use crate::redis::Place;

fn bus(kind: &str, lines: &str) -> String {
    format!("[bus]\nkind = \"{kind}\"\n[bus.redis]\n{lines}")
}

#[test]
fn the_place_and_how_many_replicas_follow_from_kind_and_sentinel() {
    assert!(checked("").redis.is_none());
    let star = checked(&bus("redis", "")).redis.unwrap();
    assert_eq!((star.place, star.wait_replicas), (Place::Servers(vec!["127.0.0.1:6379".to_owned()]), 0));
    let cluster = checked(&bus("redis-cluster", "address = [\"a:1\", \"b:2\"]\n")).redis.unwrap();
    assert_eq!((cluster.place, cluster.wait_replicas), (Place::Cluster(vec!["a:1".into(), "b:2".into()]), 1));
    let watched = "wait_replicas = 2\n[bus.redis.sentinel]\nname = \"main\"\naddress = [\"s:26379\"]\npassword = \"x\"\n";
    let watched = checked(&bus("redis", watched)).redis.unwrap();
    assert!(matches!(&watched.place, Place::Sentinels { name, .. } if name == "main"));
    assert_eq!(watched.wait_replicas, 2);
    assert!(!format!("{watched:?}").contains("\"x\""), "passwords are not shown");
}

#[test]
fn what_cannot_be_is_said_with_its_key() {
    let refusals = [
        ("redis", "address = []\n", "'address'"),
        ("redis", "address = [\"redis://a:1\"]\n", "expected \"host:port\""),
        ("redis", "prefix = \"a{b\"\n", "'prefix'"),
        ("redis", "password = \"a\"\npassword_file = \"/nowhere\"\n", "'password_file'"),
        ("redis", "[bus.redis.tls]\nenabled = true\nca_file = \"/nowhere\"\n", "/nowhere"),
        ("redis-cluster", "database = 1\n", "'database'"),
        ("redis-cluster", "[bus.redis.sentinel]\nname = \"a\"\naddress = [\"s:1\"]\n", "no sentinels"),
    ];
    for (kind, lines, wanted) in refusals {
        let said = refusal(&bus(kind, lines));
        assert!(said.contains(wanted), "{lines}: {said}");
    }
}
