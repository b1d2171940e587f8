//! Posting: once for each key however often it is tried, and what a message may be.

use std::collections::BTreeMap;
use std::thread;

use serde_json::json;

use crate::room::{offsets, room};

/// Retries of each key at the same time.
const RETRIES: usize = 100;

/// How many keys: 1000 by `IDEMPOTENCY_KEYS=1000`.
fn keys() -> usize {
    std::env::var("IDEMPOTENCY_KEYS").ok().and_then(|keys| keys.parse().ok()).unwrap_or(60)
}

#[test]
fn a_hundred_retries_of_each_key_at_once_make_one_message_each() {
    let mut room = room();
    let (path, keys) = (room.messages(""), keys());
    let answers: Vec<Vec<(u16, String)>> = thread::scope(|scope| {
        let retries: Vec<_> = (0..RETRIES)
            .map(|retry| {
                let (mut client, path) = (room.ann.another(), &path);
                scope.spawn(move || {
                    let post = |key: usize| {
                        let body = json!({ "body": { "retry": retry } });
                        let name = format!("key-{key}");
                        let fields = [("idempotency-key", name.as_str())];
                        let answer = client.request("POST", path, &fields, Some(&body)).unwrap();
                        (answer.status, answer.body["message"]["id"].to_string())
                    };
                    (0..keys).map(post).collect()
                })
            })
            .collect();
        retries.into_iter().map(|retry| retry.join().unwrap()).collect()
    });
    for key in 0..keys {
        let of_key: Vec<_> = answers.iter().map(|answers| answers[key].clone()).collect();
        let made = of_key.iter().filter(|(status, _)| *status == 201).count();
        let found = of_key.iter().filter(|(status, _)| *status == 200).count();
        assert_eq!((made, made + found), (1, RETRIES), "key {key}: {of_key:?}");
        assert!(of_key.iter().all(|(_, id)| *id == of_key[0].1 && id != "null"), "key {key}");
    }
    let mut stored = BTreeMap::new();
    let mut address = room.messages("?limit=200");
    loop {
        let page = room.ann.call("GET", &address, None).unwrap().expect(200).unwrap();
        for message in page["messages"].as_array().unwrap() {
            stored.insert(message["offset"].as_u64().unwrap(), message["key"].as_str().unwrap().to_owned());
        }
        let Some(older) = page["older"].as_str() else { break };
        address = room.messages(&format!("?limit=200&before={older}"));
    }
    assert!(stored.keys().copied().eq(1..=keys as u64), "no gap and nothing twice: {:?}", stored.keys());
    println!("{keys} keys, {RETRIES} retries of each: {} messages", stored.len());
}

#[test]
fn a_key_is_the_senders_own_and_is_said_in_either_place() {
    let mut room = room();
    let path = room.messages("");
    let body = |key: &str| json!({ "body": 1, "key": key });
    let first = room.ann.call("POST", &path, Some(&body("k"))).unwrap().expect(201).unwrap();
    let field = [("Idempotency-Key", "\"k\"")];
    let again =
        room.ann.request("POST", &path, &field, Some(&json!({ "body": 2 }))).unwrap().expect(200).unwrap();
    assert_eq!(first, again);
    let others = room.bob.call("POST", &path, Some(&body("k"))).unwrap().expect(201).unwrap();
    assert_ne!(first["message"]["id"], others["message"]["id"]);
    let both = room.ann.request("POST", &path, &field, Some(&body("other"))).unwrap();
    assert_eq!(both.status, 400, "{both:?}");
}

#[test]
fn a_message_has_bounds_and_what_is_over_them_is_told() {
    let mut room = room();
    let path = room.messages("");
    let text = |bytes: usize| json!({ "body": "x".repeat(bytes - 2) });
    room.ann.call("POST", &path, Some(&text(32 * 1024))).unwrap().expect(201).unwrap();
    for (body, status, slug) in [
        (text(32 * 1024 + 1), 413, "too-large"),
        (text(70 * 1024), 413, "too-large"),
        (json!({}), 400, "invalid"),
        (json!({ "body": 1, "more": 1 }), 400, "invalid"),
        (json!({ "body": 1, "key": "a\nb" }), 400, "invalid"),
        (json!({ "body": 1, "key": "k".repeat(129) }), 400, "invalid"),
        (json!({ "body": 1, "media": "m".repeat(2049) }), 400, "invalid"),
    ] {
        let answer = room.ann.call("POST", &path, Some(&body)).unwrap();
        assert_eq!(answer.field("content-type"), Some("application/problem+json"));
        assert_eq!(answer.body["type"], format!("urn:headland:problem:{slug}"));
        answer.expect(status).unwrap();
    }
    let page = room.bob.call("GET", &path, None).unwrap().expect(200).unwrap();
    assert_eq!(offsets(&page), [1]);
}

#[test]
fn an_edit_and_a_deletion_are_the_senders_own_and_stay_in_place() {
    let mut room = room();
    let id = room.post("first")["id"].as_str().unwrap().to_owned();
    room.post("second");
    let path = room.messages(&format!("/{id}"));
    let edit = json!({ "body": { "text": "better" } });
    assert_eq!(room.bob.call("PATCH", &path, Some(&edit)).unwrap().status, 403);
    assert_eq!(room.bob.call("DELETE", &path, None).unwrap().status, 403);
    let edited = room.ann.call("PATCH", &path, Some(&edit)).unwrap().expect(200).unwrap();
    assert_eq!(
        (&edited["message"]["offset"], &edited["message"]["body"]["text"]),
        (&json!(1), &json!("better"))
    );
    let all = room.messages("");
    let page = room.bob.call("GET", &all, None).unwrap().expect(200).unwrap();
    assert_eq!((offsets(&page), &page["offset"]), (vec![2, 1], &json!(3)));
    assert_eq!(page["messages"][1]["body"]["text"], "better");
    room.ann.call("DELETE", &path, None).unwrap().expect(200).unwrap();
    room.ann.call("DELETE", &path, None).unwrap().expect(200).unwrap();
    assert_eq!(room.ann.call("PATCH", &path, Some(&edit)).unwrap().status, 410);
    let page = room.bob.call("GET", &all, None).unwrap().expect(200).unwrap();
    assert_eq!((offsets(&page), &page["messages"][1]["body"]), (vec![2, 1], &json!(null)));
}

#[test]
fn who_posts_has_read_what_is_above_and_others_have_it_unread() {
    let mut room = room();
    for text in ["one", "two", "three"] {
        room.post(text);
    }
    let own = room.ann.call("GET", "/v1/conversations", None).unwrap().expect(200).unwrap();
    assert_eq!(
        (&own["conversations"][0]["unread"], &own["conversations"][0]["member"]["last_read"]),
        (&json!(0), &json!(3))
    );
    let others = room.bob.call("GET", "/v1/conversations", None).unwrap().expect(200).unwrap();
    assert_eq!(others["conversations"][0]["unread"], 3);
    let read = format!("/v1/channels/{}/read", room.channel);
    let member = room.bob.call("PUT", &read, Some(&json!({ "offset": 2 }))).unwrap().expect(200).unwrap();
    assert_eq!((&member["last_read"], &member["delivered"]), (&json!(2), &json!(2)));
    let back = room.bob.call("PUT", &read, Some(&json!({ "offset": 1 }))).unwrap().expect(200).unwrap();
    assert_eq!(back["last_read"], 2, "a mark never goes back");
    let beyond = room.bob.call("PUT", &read, Some(&json!({ "offset": 99 }))).unwrap().expect(200).unwrap();
    assert_eq!(beyond["last_read"], 3, "nor beyond what there is");
    let others = room.bob.call("GET", "/v1/conversations", None).unwrap().expect(200).unwrap();
    assert_eq!(others["conversations"][0]["unread"], 0);
}
