//! Pages of other sites (the Fetch standard's CORS protocol), as a browser asks for them.

use serde_json::json;
use tests::node::Node;
use tests::rest::{Answer, Rest};

use crate::room::{Room, on, room};

const ALLOWED: &str = "https://app.example.com";
const OTHER: &str = "https://example.com";
/// What browsers call whose page may read an answer.
const READER: &str = "access-control-allow-origin";

fn of_one_site() -> Room {
    on(Node::alone(&format!("[http]\nallowed_origins = [\"{ALLOWED}\"]\n")).unwrap())
}

/// What a browser asks before a page's request with a token and a body; without the token.
fn preflight(room: &Room, origin: &str) -> Answer {
    let fields = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,idempotency-key"),
    ];
    Rest::at(room.node.http).request("OPTIONS", &room.messages(""), &fields, None).unwrap()
}

#[test]
fn a_page_of_an_allowed_site_may_ask_and_read_what_is_answered() {
    let mut room = of_one_site();
    let told = preflight(&room, ALLOWED);
    assert_eq!((told.status, told.field(READER), told.field("vary")), (204, Some(ALLOWED), Some("origin")));
    assert!(told.field("access-control-allow-methods").unwrap().contains("post"), "{told:?}");
    let fields = told.field("access-control-allow-headers").unwrap();
    assert!(["authorization", "content-type", "idempotency-key"].iter().all(|field| fields.contains(field)));
    let (post, origin) = (json!({ "body": 1 }), [("origin", ALLOWED)]);
    let stored = room.ann.request("POST", &room.messages(""), &origin, Some(&post)).unwrap();
    assert_eq!((stored.status, stored.field(READER)), (201, Some(ALLOWED)));
    assert!(stored.field("access-control-expose-headers").unwrap().contains("retry-after"));
    let missing = room.ann.request("GET", "/v1/channels/7", &origin, None).unwrap();
    assert_eq!((missing.status, missing.field(READER)), (404, Some(ALLOWED)), "problems too");
}

#[test]
fn a_page_of_another_site_may_not_nor_may_any_where_none_is_named() {
    let mut room = of_one_site();
    let told = preflight(&room, OTHER);
    assert_eq!((told.status, told.field(READER)), (405, None));
    for origin in [&[("origin", OTHER)][..], &[]] {
        let page = room.ann.request("GET", &room.messages(""), origin, None).unwrap();
        assert_eq!((page.status, page.field(READER)), (200, None));
        assert!(page.head.lines().any(|line| line == "vary: origin"), "it may be kept: {page:?}");
    }
    let told = preflight(&self::room(), ALLOWED);
    assert_eq!((told.status, told.field(READER), told.field("vary")), (405, None, None));
}
