//! Who may see and do what: members of channels, and nobody else.

use serde_json::json;
use tests::node::Node;
use tests::rest::Rest;

use crate::room::{on, room};

#[test]
fn whoever_is_not_a_member_cannot_tell_a_channel_from_none() {
    let mut room = room();
    let message = room.post("hi")["id"].as_str().unwrap().to_owned();
    let colleague = Rest::register(room.node.http, "acme", "carol").unwrap();
    let stranger = Rest::found(room.node.http, "other", "ann").unwrap();
    let channel = format!("/v1/channels/{}", room.channel);
    let body = json!({ "body": 1 });
    let (name, offset, muted) = (json!({ "name": "x" }), json!({ "offset": 1 }), json!({ "muted": true }));
    for mut outsider in [colleague, stranger] {
        let me = outsider.id().to_owned();
        for (method, path, body) in [
            ("GET", channel.clone(), None),
            ("PATCH", channel.clone(), Some(&name)),
            ("GET", format!("{channel}/members"), None),
            ("PUT", format!("{channel}/members/{me}"), None),
            ("DELETE", format!("{channel}/members/{}", room.bob.id()), None),
            ("GET", format!("{channel}/membership"), None),
            ("PATCH", format!("{channel}/membership"), Some(&muted)),
            ("PUT", format!("{channel}/read"), Some(&offset)),
            ("PUT", format!("{channel}/delivered"), Some(&offset)),
            ("GET", format!("{channel}/messages"), None),
            ("POST", format!("{channel}/messages"), Some(&body)),
            ("GET", format!("{channel}/messages/{message}"), None),
            ("PATCH", format!("{channel}/messages/{message}"), Some(&body)),
            ("DELETE", format!("{channel}/messages/{message}"), None),
        ] {
            let answer = outsider.call(method, &path, body).unwrap();
            let nothing = path.replace(&room.channel, "12345");
            let none = outsider.call(method, &nothing, body).unwrap();
            assert_eq!((answer.status, &answer.body), (404, &none.body), "{method} {path}");
        }
        let conversations = outsider.call("GET", "/v1/conversations", None).unwrap().expect(200).unwrap();
        assert_eq!(conversations["conversations"], json!([]));
    }
}

#[test]
fn members_add_others_and_leave_and_whoever_made_it_removes() {
    let mut room = room();
    let carol = Rest::register(room.node.http, "acme", "carol").unwrap();
    let members = format!("/v1/channels/{}/members", room.channel);
    let of = |rest: &Rest| format!("{members}/{}", rest.id());
    room.post("before");
    let added = room.bob.call("PUT", &of(&carol), None).unwrap().expect(201).unwrap();
    assert_eq!(added["last_read"], 1, "what was said before is not new");
    room.bob.call("PUT", &of(&carol), None).unwrap().expect(200).unwrap();
    let ann = of(&room.ann);
    assert_eq!(room.bob.call("DELETE", &ann, None).unwrap().status, 403);
    let (bob, mut carol) = (of(&room.bob), carol);
    let posts = room.messages("");
    carol.call("GET", &posts, None).unwrap().expect(200).unwrap();
    let who = carol.id().to_owned();
    room.ann.call("DELETE", &format!("{members}/{who}"), None).unwrap().expect(204).unwrap();
    assert_eq!(carol.call("GET", &posts, None).unwrap().status, 404, "at once");
    room.bob.call("DELETE", &bob, None).unwrap().expect(204).unwrap();
    assert_eq!(room.bob.call("POST", &posts, Some(&json!({ "body": 1 }))).unwrap().status, 404);
    let nobody = room.ann.call("PUT", &format!("{members}/777"), None).unwrap();
    assert_eq!(nobody.status, 404);
}

#[test]
fn nobody_of_another_workspace_is_seen_or_brought_in() {
    let mut room = room();
    let mut stranger = Rest::found(room.node.http, "other", "ann").unwrap();
    let theirs = stranger.id().to_owned();
    let members = format!("/v1/channels/{}/members/{theirs}", room.channel);
    for (method, path, body) in [
        ("GET", format!("/v1/users/{theirs}"), None),
        ("POST", "/v1/dms".to_owned(), Some(json!({ "user": theirs }))),
        ("POST", "/v1/channels".to_owned(), Some(json!({ "name": "x", "members": [theirs] }))),
        ("PUT", members, None),
    ] {
        assert_eq!(room.ann.call(method, &path, body.as_ref()).unwrap().status, 404, "{method} {path}");
    }
    let users = stranger.call("GET", "/v1/users", None).unwrap().expect(200).unwrap();
    assert_eq!(users["users"].as_array().unwrap().len(), 1);
    let channels = room.ann.call("GET", "/v1/channels", None).unwrap().expect(200).unwrap();
    assert_eq!(channels["channels"].as_array().unwrap().len(), 1, "nothing was made");
}

#[test]
fn a_direct_message_is_one_for_each_pair_and_has_two_members_for_good() {
    let mut room = room();
    let carol = Rest::register(room.node.http, "acme", "carol").unwrap();
    let with = |rest: &Rest| json!({ "user": rest.id() });
    let made = room.ann.call("POST", "/v1/dms", Some(&with(&room.bob))).unwrap().expect(201).unwrap();
    let same = room.bob.call("POST", "/v1/dms", Some(&with(&room.ann))).unwrap().expect(200).unwrap();
    assert_eq!(made, same);
    let channel = format!("/v1/channels/{}", made["id"].as_str().unwrap());
    for (method, path, body) in [
        ("PUT", format!("{channel}/members/{}", carol.id()), None),
        ("DELETE", format!("{channel}/members/{}", room.ann.id()), None),
        ("PATCH", channel.clone(), Some(json!({ "name": "x" }))),
    ] {
        assert_eq!(room.ann.call(method, &path, body.as_ref()).unwrap().status, 403, "{method} {path}");
    }
    room.ann.call("POST", "/v1/dms", Some(&with(&room.ann))).unwrap().expect(201).unwrap();
    let listed = room.bob.call("GET", "/v1/conversations", None).unwrap().expect(200).unwrap();
    let dm = listed["conversations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["channel"]["id"] == made["id"])
        .unwrap()
        .clone();
    assert_eq!(dm["peer"], room.ann.id());
    assert_eq!(
        dm["channel"]["stream"],
        format!("chat:{}.{}", room.ann.workspace["id"].as_str().unwrap(), made["id"].as_str().unwrap())
    );
}

#[test]
fn search_finds_in_the_callers_channels_alone() {
    let mut room = room();
    room.post("the quick brown fox");
    let mut carol = Rest::register(room.node.http, "acme", "carol").unwrap();
    let find = |who: &mut Rest| {
        let found = who.call("GET", "/v1/search?q=quick", None).unwrap().expect(200).unwrap();
        found["messages"].as_array().unwrap().len()
    };
    tests::wait::until("the message to be found", std::time::Duration::from_secs(60), || {
        (find(&mut room.bob) == 1).then_some(())
    })
    .unwrap();
    assert_eq!(find(&mut carol), 0);
}

#[test]
fn lists_come_in_parts_that_together_are_all() {
    let mut room = on(Node::alone("").unwrap());
    let mut made: Vec<String> = vec![room.channel.clone()];
    for number in 0..12 {
        let body = json!({ "name": format!("channel {number}") });
        let channel = room.ann.call("POST", "/v1/channels", Some(&body)).unwrap().expect(201).unwrap();
        made.push(channel["id"].as_str().unwrap().to_owned());
    }
    for (path, list, cursor, id) in [
        ("/v1/channels", "channels", "after", "/id"),
        ("/v1/conversations", "conversations", "before", "/channel/id"),
    ] {
        let (mut seen, mut next) = (Vec::new(), None::<String>);
        loop {
            let from = next.map(|next| format!("&{cursor}={next}")).unwrap_or_default();
            let part =
                room.ann.call("GET", &format!("{path}?limit=5{from}"), None).unwrap().expect(200).unwrap();
            seen.extend(
                part[list]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| one.pointer(id).unwrap().as_str().unwrap().to_owned()),
            );
            next = part["next"].as_str().map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        seen.sort_unstable();
        made.sort_unstable();
        assert_eq!(seen, made, "{path}");
    }
}
