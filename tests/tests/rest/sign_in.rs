//! Registration and sign-in: passwords, tokens that are over, refresh tokens that are used, guessing.

use serde_json::json;
use tests::node::Node;
use tests::rest::{PASSWORD, Rest};

use crate::room::on;

fn login(name: &str, password: &str) -> serde_json::Value {
    json!({ "workspace": "acme", "name": name, "password": password })
}

#[test]
fn names_are_taken_once_and_case_makes_no_difference() {
    let room = on(Node::alone("").unwrap());
    let mut nobody = Rest::at(room.node.http);
    let user = json!({ "name": "zoe", "password": PASSWORD });
    let again =
        nobody.call("POST", "/v1/workspaces", Some(&json!({ "name": "ACME", "user": user }))).unwrap();
    assert_eq!((again.status, again.body["type"].as_str()), (409, Some("urn:headland:problem:exists")));
    assert_eq!(nobody.call("POST", "/v1/register", Some(&login("Ann", PASSWORD))).unwrap().status, 409);
    let elsewhere = json!({ "workspace": "nowhere", "name": "ann", "password": PASSWORD });
    assert_eq!(nobody.call("POST", "/v1/register", Some(&elsewhere)).unwrap().status, 404);
    let signed_in =
        nobody.call("POST", "/v1/login", Some(&login("ANN", PASSWORD))).unwrap().expect(200).unwrap();
    assert_eq!(signed_in["user"]["id"], room.ann.id());
}

#[test]
fn a_refresh_token_is_good_once() {
    let room = on(Node::alone("").unwrap());
    let mut nobody = Rest::at(room.node.http);
    let first = nobody.call("POST", "/v1/login", Some(&login("ann", PASSWORD))).unwrap().expect(200).unwrap();
    let used = json!({ "refresh_token": first["refresh_token"] });
    let second = nobody.call("POST", "/v1/refresh", Some(&used)).unwrap().expect(200).unwrap();
    assert_eq!(second["user"]["id"], room.ann.id());
    assert_eq!(nobody.call("POST", "/v1/refresh", Some(&used)).unwrap().status, 401);
    let third = json!({ "refresh_token": second["refresh_token"] });
    nobody.call("POST", "/v1/refresh", Some(&third)).unwrap().expect(200).unwrap();
}

#[test]
fn a_token_that_is_over_or_another_ones_is_refused() {
    let node = Node::alone("[tokens]\naccess_lifetime = \"2s\"\n").unwrap();
    let room = on(node);
    let mut ann = room.ann;
    tests::wait::until("the token to be over", std::time::Duration::from_secs(60), || {
        (ann.call("GET", "/v1/me", None).unwrap().status == 401).then_some(())
    })
    .unwrap();
    let elsewhere = on(Node::alone("").unwrap());
    let mut nobody = Rest::at(room.node.http);
    let mut with = |token: &str| {
        let field = format!("Bearer {token}");
        nobody.request("GET", "/v1/me", &[("authorization", &field)], None).unwrap()
    };
    for token in [elsewhere.ann.token(), "", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        let answer = with(token);
        assert_eq!((answer.status, answer.field("www-authenticate")), (401, Some("bearer")), "{token}");
    }
}

#[test]
fn who_guesses_waits_and_others_do_not() {
    let mut node = Node::alone("[limits]\nfailures_per_account = 5\n").unwrap();
    Rest::found(node.http, "acme", "ann").unwrap();
    Rest::register(node.http, "acme", "bob").unwrap();
    let mut nobody = Rest::at(node.http);
    for _ in 0..5 {
        let answer = nobody.call("POST", "/v1/login", Some(&login("ann", "not the password"))).unwrap();
        assert_eq!(
            (answer.status, answer.body["type"].as_str()),
            (401, Some("urn:headland:problem:credentials"))
        );
    }
    let refused = nobody.call("POST", "/v1/login", Some(&login("ann", PASSWORD))).unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.field("retry-after").is_some_and(|seconds| seconds.parse::<u32>().unwrap() > 10));
    nobody.call("POST", "/v1/login", Some(&login("bob", PASSWORD))).unwrap().expect(200).unwrap();
    let unknown = nobody.call("POST", "/v1/login", Some(&login("nobody", PASSWORD))).unwrap();
    assert_eq!(unknown.body["type"], "urn:headland:problem:credentials", "an unknown user is no different");
    node.program.check().unwrap();
}

#[test]
fn where_registration_is_closed_only_those_who_are_there_come_in() {
    let node = Node::alone("registration = \"closed\"\n").unwrap();
    let mut nobody = Rest::at(node.http);
    let workspace = json!({ "name": "acme", "user": { "name": "ann", "password": PASSWORD } });
    assert_eq!(nobody.call("POST", "/v1/workspaces", Some(&workspace)).unwrap().status, 403);
    assert_eq!(nobody.call("POST", "/v1/register", Some(&login("ann", PASSWORD))).unwrap().status, 403);
    assert_eq!(nobody.call("POST", "/v1/login", Some(&login("ann", PASSWORD))).unwrap().status, 401);
}
