//! A database that goes away: what was read is served, saying so; what is to be stored is refused at once.

use std::time::Duration;

use serde_json::json;
use tests::node::{self, Node};
use tests::postgres::Server;
use tests::wait;

use crate::room::{offsets, on};

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
    wait::until("posts to be stored again", Duration::from_secs(30), || {
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
    wait::until("posts to be stored again", Duration::from_secs(30), || {
        (room.ann.call("POST", &posts, Some(&post)).unwrap().status == 201).then_some(())
    })
    .unwrap();
}
