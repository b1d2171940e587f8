//! Pages: complete while others write, cacheable where they cannot change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;
use tests::rest::Answer;

use crate::room::{Room, offsets, room};

fn get(room: &mut Room, rest: &str, tag: Option<&str>) -> Answer {
    let path = room.messages(rest);
    let fields: Vec<(&str, &str)> = tag.map(|tag| ("if-none-match", tag)).into_iter().collect();
    room.bob.request("GET", &path, &fields, None).unwrap()
}

#[test]
fn scrolling_either_way_while_others_write_misses_and_repeats_nothing() {
    let mut room = room();
    for number in 0..60 {
        room.post(&number.to_string());
    }
    let (done, path) = (AtomicBool::new(false), room.messages(""));
    thread::scope(|scope| {
        for _ in 0..4 {
            let (mut writer, path, done) = (room.ann.another(), &path, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let id =
                        writer.call("POST", path, Some(&json!({ "body": 1 }))).unwrap().expect(201).unwrap();
                    let message = format!("{path}/{}", id["message"]["id"].as_str().unwrap());
                    writer.call("PATCH", &message, Some(&json!({ "body": 2 }))).unwrap().expect(200).unwrap();
                }
            });
        }
        let page = get(&mut room, "?limit=7", None).expect(200).unwrap();
        let (mut up, mut older) = (offsets(&page), page["older"].as_str().map(str::to_owned));
        while let Some(cursor) = older {
            let page = get(&mut room, &format!("?limit=7&before={cursor}"), None).expect(200).unwrap();
            up.extend(offsets(&page));
            older = page["older"].as_str().map(str::to_owned);
        }
        let top = up[0];
        let (mut down, mut newer) = (Vec::new(), Some("0".to_owned()));
        while let Some(cursor) = newer.filter(|_| down.last().is_none_or(|last| *last < top)) {
            let page = get(&mut room, &format!("?limit=7&after={cursor}"), None).expect(200).unwrap();
            down.extend(offsets(&page));
            newer = page["newer"].as_str().map(str::to_owned);
        }
        done.store(true, Ordering::Relaxed);
        up.reverse();
        down.retain(|offset| *offset <= top);
        assert!(up.len() >= 60 && up.is_sorted() && up[..60].iter().copied().eq(1..=60), "{up:?}");
        assert_eq!(up, down);
    });
}

#[test]
fn a_closed_page_is_immutable_and_the_end_is_asked_for_again() {
    let mut room = room();
    for number in 0..9 {
        room.post(&number.to_string());
    }
    let end = get(&mut room, "?limit=3", None);
    assert_eq!(end.field("cache-control"), Some("no-cache"));
    let tag = end.field("etag").unwrap().to_owned();
    assert_eq!(get(&mut room, "?limit=3", Some(&tag)).status, 304);
    let older = format!("?limit=3&before={}", end.body["older"].as_str().unwrap());
    let closed = get(&mut room, &older, None);
    assert_eq!(closed.field("cache-control"), Some("private, max-age=31536000, immutable"));
    assert_eq!(offsets(&closed.body), [6, 5, 4]);
    let first = room.post("more")["offset"].as_u64().unwrap();
    assert_eq!(first, 10);
    let tag_of_closed = closed.field("etag").unwrap().to_owned();
    let again = get(&mut room, &older, Some(&tag_of_closed));
    assert_eq!((again.status, again.body), (304, json!("")));
    assert_eq!(get(&mut room, &older, None).body, closed.body);
    let end = get(&mut room, "?limit=3", Some(&tag));
    assert_eq!((end.status, offsets(&end.body)), (200, vec![10, 9, 8]));
    let last = get(&mut room, "?limit=3&after=8.0", None);
    assert_eq!(last.field("cache-control"), Some("no-cache"), "a page that is not full is not closed");
}

#[test]
fn a_change_makes_new_cursors_and_pages_by_them_show_it() {
    let mut room = room();
    let ids: Vec<String> =
        (0..6).map(|number| room.post(&number.to_string())["id"].as_str().unwrap().to_owned()).collect();
    let end = get(&mut room, "?limit=3", None).expect(200).unwrap();
    assert_eq!(end["older"], "4.0");
    get(&mut room, "?limit=3&before=4.0", None).expect(200).unwrap();
    let path = room.messages(&format!("/{}", ids[1]));
    room.ann.call("PATCH", &path, Some(&json!({ "body": "edited" }))).unwrap().expect(200).unwrap();
    let end = get(&mut room, "?limit=3", None).expect(200).unwrap();
    assert_eq!((end["older"].as_str(), offsets(&end)), (Some("4.7"), vec![6, 5, 4]));
    let closed = get(&mut room, "?limit=3&before=4.7", None);
    assert_eq!(closed.field("cache-control"), Some("private, max-age=31536000, immutable"));
    assert_eq!(closed.body["messages"][1]["body"], "edited");
    let unsaid = get(&mut room, "?limit=3&before=4", None);
    assert_eq!(unsaid.field("cache-control"), Some("no-cache"));
    assert_eq!(unsaid.body["messages"][1]["body"], "edited");
}

#[test]
fn what_is_no_cursor_or_limit_is_refused() {
    let mut room = room();
    for query in [
        "?limit=0",
        "?limit=201",
        "?before=x",
        "?before=1&after=1",
        "?unknown=1",
        "?before=9223372036854775808",
    ] {
        let answer = get(&mut room, query, None);
        assert_eq!(
            (answer.status, answer.body["type"].as_str()),
            (400, Some("urn:headland:problem:invalid")),
            "{query}"
        );
    }
}
