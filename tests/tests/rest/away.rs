//! A database that goes away, is full or takes no writes: what was read is served; what is to be stored is refused at once, with the reason.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tests::disk::Disk;
use tests::node::{self, Node};
use tests::postgres::Server;
use tests::wait;

use crate::room::{offsets, on};

/// Longer than anything of this takes.
const WITHIN: Duration = Duration::from_secs(60);
/// Refused at once: far below what a client waits.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn while_the_database_is_away_pages_are_served_from_the_cache_and_writes_are_refused() {
    let mut server = Server::start().unwrap();
    let node = Node::alone(&node::store(&server.database().unwrap())).unwrap();
    let mut room = on(node);
    for number in 0..5 {
        room.post(&number.to_string());
    }
    let path = room.messages("?limit=3");
    let fresh = room.bob.call("GET", &path, None).unwrap().expect(200).unwrap();
    assert!(fresh.get("cached").is_none());
    server.kill().unwrap();
    let posts = room.messages("");
    let began = wait::now();
    let refused = wait::until("posts to be refused", Duration::from_secs(60), || {
        let answer = room.ann.call("POST", &posts, Some(&json!({ "body": 1, "key": "k" }))).unwrap();
        (answer.status == 503).then_some(answer)
    })
    .unwrap();
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(refused.body["type"], "urn:headland:problem:store-away");
    assert!(refused.field("retry-after").is_some());
    let cached = room.bob.call("GET", &path, None).unwrap();
    assert!(cached.field("cache-status").is_some_and(|status| status.contains("store-away")), "{cached:?}");
    assert_eq!((&cached.body["cached"], offsets(&cached.body)), (&json!(true), offsets(&fresh)));
    let unread = room.bob.call("GET", &room.messages("?limit=4"), None).unwrap();
    assert_eq!(unread.status, 503, "what was never read is not there");
    let ready = room.bob.call("GET", "/health/ready", None).unwrap();
    assert_eq!((ready.status, &ready.body["ready"]), (503, &json!(false)));
    server.run().unwrap();
    wait::until("posts to be stored again", WITHIN, || {
        let answer = room.ann.call("POST", &posts, Some(&json!({ "body": 1, "key": "k" }))).unwrap();
        (answer.status < 300).then_some(())
    })
    .unwrap();
    let again = room.bob.call("GET", &path, None).unwrap().expect(200).unwrap();
    assert!(again.get("cached").is_none());
    assert_eq!(offsets(&again), [6, 5, 4]);
}

#[test]
fn a_database_that_takes_no_writes_is_told_apart_and_is_read() {
    let server = Server::start().unwrap();
    let url = server.database().unwrap();
    let mut room = on(Node::alone(&node::store(&url)).unwrap());
    room.post("one");
    let name = url.rsplit('/').next().unwrap();
    let setting = |what: &str| {
        server.sql("postgres", what).unwrap();
        server.sql(name, "SELECT pg_reload_conf()").unwrap();
    };
    setting("ALTER SYSTEM SET default_transaction_read_only = on");
    let posts = room.messages("");
    let post = json!({ "body": 1 });
    let refused = wait::until("posts to be refused", Duration::from_secs(60), || {
        let answer = room.ann.call("POST", &posts, Some(&post)).unwrap();
        (answer.status == 503).then_some(answer)
    })
    .unwrap();
    assert_eq!(refused.body["type"], "urn:headland:problem:store-read-only");
    let page = room.bob.call("GET", &posts, None).unwrap().expect(200).unwrap();
    assert!(page.get("cached").is_none());
    setting("ALTER SYSTEM RESET default_transaction_read_only");
    wait::until("posts to be stored again", WITHIN, || {
        (room.ann.call("POST", &posts, Some(&post)).unwrap().status == 201).then_some(())
    })
    .unwrap();
}

/// On a disk of its own, whose database is the node's embedded one.
fn embedded(disk: &Disk) -> Node {
    Node::alone(&format!("[store]\nfolder = \"{}\"\n", disk.file("store").display())).unwrap()
}

#[test]
fn a_full_disk_is_told_as_that_and_is_read_and_posts_are_stored_once_there_is_room() {
    let Some(disk) = Disk::new(16).unwrap() else { return };
    let mut room = on(embedded(&disk));
    let (posts, large) = (room.messages(""), json!({ "body": "x".repeat(30_000) }));
    let mut stored = 0;
    let refused = wait::until("a post to be refused", WITHIN, || {
        let answer = room.ann.call("POST", &posts, Some(&large)).unwrap();
        stored += u64::from(answer.status == 201);
        (answer.status != 201).then_some(answer)
    })
    .unwrap();
    let again = room.ann.call("POST", &posts, Some(&large)).unwrap();
    for answer in [refused, again] {
        assert_eq!((answer.status, answer.field("content-type")), (503, Some("application/problem+json")));
        assert_eq!(answer.body["type"], "urn:headland:problem:store-full");
        assert!(
            answer.body["title"].as_str().unwrap().contains("disk") && answer.field("retry-after").is_some()
        );
    }
    let page = room.bob.call("GET", &room.messages("?limit=2"), None).unwrap().expect(200).unwrap();
    assert_eq!((page.get("cached"), offsets(&page)), (None, vec![stored, stored - 1]));
    disk.free().unwrap();
    wait::until("posts to be stored again", WITHIN, || {
        (room.ann.call("POST", &posts, Some(&large)).unwrap().status == 201).then_some(())
    })
    .unwrap();
    let page = room.bob.call("GET", &room.messages("?limit=2"), None).unwrap().expect(200).unwrap();
    assert_eq!(offsets(&page), [stored + 1, stored]);
}

#[test]
fn a_full_disk_is_told_as_that_in_fast_channels_and_what_they_took_is_stored_once_there_is_room() {
    let Some(disk) = Disk::new(16).unwrap() else { return };
    let mut room = on(embedded(&disk));
    let wanted = json!({ "name": "races", "delivery": "fast" });
    let channel = room.ann.call("POST", "/v1/channels", Some(&wanted)).unwrap().expect(201).unwrap();
    let posts = format!("/v1/channels/{}/messages", channel["id"].as_str().unwrap());
    let large = json!({ "body": "x".repeat(30_000) });
    let mut taken = 0;
    let refused = wait::until("a post to be refused", WITHIN, || {
        let answer = room.ann.call("POST", &posts, Some(&large)).unwrap();
        taken += u64::from(answer.status == 202);
        (answer.status != 202).then_some(answer)
    })
    .unwrap();
    assert_eq!((refused.status, &refused.body["type"]), (503, &json!("urn:headland:problem:store-full")));
    disk.free().unwrap();
    wait::until("all of them to be stored", WITHIN, || {
        let page = room.ann.call("GET", &format!("{posts}?limit=1"), None).unwrap().expect(200).unwrap();
        (offsets(&page) == [taken]).then_some(())
    })
    .unwrap();
    room.ann.call("POST", &posts, Some(&large)).unwrap().expect(202).unwrap();
}

#[test]
fn a_node_whose_folder_is_read_only_says_so_and_does_not_start() {
    let Some(disk) = Disk::new(16).unwrap() else { return };
    let mut room = on(embedded(&disk));
    room.post("one");
    room.node.program.signal(Signal::TERM).unwrap();
    room.node.program.ended(WITHIN).unwrap();
    disk.read_only(true).unwrap();
    let said = room.node.again().unwrap_err().to_string();
    assert!(said.contains("store: Read-only file system"), "{said}");
    disk.read_only(false).unwrap();
    room.node.again().unwrap();
    let page = room.bob.call("GET", &room.messages(""), None).unwrap().expect(200).unwrap();
    assert_eq!(offsets(&page), [1]);
}
