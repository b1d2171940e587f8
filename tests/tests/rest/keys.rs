//! The keys of tokens: published before they sign, and followed by a real edge.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tests::client::Client;
use tests::folder::Folder;
use tests::node::{self, Node, Plan};
use tests::rest::{PASSWORD, Rest};
use tests::wait;
use tests::world::World;

/// Keys that live for seconds.
const FAST: &str = "[tokens]\naccess_lifetime = \"10s\"\nrotate_every = \"4s\"\npublish_before = \"2s\"\n";

fn key_of(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

fn published(rest: &mut Rest) -> HashSet<String> {
    let set = rest.call("GET", "/.well-known/jwks.json", None).unwrap().expect(200).unwrap();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn token(rest: &mut Rest) -> String {
    let body = json!({ "workspace": "acme", "name": "ann", "password": PASSWORD });
    let made = rest.call("POST", "/v1/login", Some(&body)).unwrap().expect(200).unwrap();
    made["access_token"].as_str().unwrap().to_owned()
}

#[test]
fn an_edge_follows_keys_as_they_change() {
    let node = Node::alone(FAST).unwrap();
    let jwks = format!("http://{}/.well-known/jwks.json", node.http);
    let token_table = format!(
        "[client.token]\njwks_public_endpoint = \"{jwks}\"\njwks_refresh_interval = \"10s\"\naudience = \"headland\"\nissuer = \"headland\"\n"
    );
    let world = World::builder().relay(&token_table).start().unwrap();
    let mut ann = Rest::found(node.http, "acme", "ann").unwrap();
    let (mut known, mut signed) = (published(&mut ann), HashSet::new());
    let mut older = ann.token().to_owned();
    wait::until("three keys that sign and that the edge follows", Duration::from_secs(60), || {
        let token = token(&mut ann);
        let key = key_of(&token);
        assert!(known.contains(&key), "{key} signs and was not published before");
        known.extend(published(&mut ann));
        if signed.insert(key) {
            // The edge may hear of a key by the first token that has it: then the client comes again.
            wait::until("the edge to know the key", Duration::from_secs(60), || {
                let connected = Client::secure(&world).unwrap().connect(&token).unwrap();
                connected["connect"]["client"].is_string().then_some(())
            })
            .unwrap();
            let field = format!("Bearer {older}");
            let still =
                Rest::at(node.http).request("GET", "/v1/me", &[("authorization", &field)], None).unwrap();
            assert_eq!(still.status, 200, "what was signed before is good until it is over");
            older = token;
        }
        (signed.len() >= 3).then_some(())
    })
    .unwrap();
}

#[test]
fn the_set_of_keys_has_a_tag_and_an_age() {
    let node = Node::alone("").unwrap();
    let mut nobody = Rest::at(node.http);
    let set = nobody.call("GET", "/.well-known/jwks.json", None).unwrap();
    assert_eq!(set.field("cache-control"), Some("public, max-age=300"));
    let tag = nobody.request("GET", "/.well-known/jwks.json", &[], None).unwrap().head;
    let tag = tag.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    assert!(!tag.is_empty() && set.body["keys"][0].get("d").is_none(), "never a private part");
}

#[test]
fn two_nodes_on_one_database_have_one_set_of_keys_and_take_each_others_tokens() {
    let folder = Folder::new().unwrap();
    let store = format!("{FAST}{}", node::store(&format!("sqlite:{}", folder.file("both.db").display())));
    let start = || Plan::new().unwrap().start(&[], &store).unwrap();
    let (one, other) = (start(), start());
    let mut ann = Rest::found(one.http, "acme", "ann").unwrap();
    let mut at_other = Rest::at(other.http);
    let (mut keys, mut turns) = (HashSet::new(), 0);
    wait::until("two changes of keys", Duration::from_secs(60), || {
        let token = token(if turns % 2 == 0 { &mut ann } else { &mut at_other });
        turns += 1;
        keys.insert(key_of(&token));
        for node in [one.http, other.http] {
            let field = format!("Bearer {token}");
            let me = Rest::at(node).request("GET", "/v1/me", &[("authorization", &field)], None).unwrap();
            assert_eq!(me.status, 200, "{}", me.body);
        }
        (keys.len() >= 3).then_some(())
    })
    .unwrap();
    // One is ahead of those that have signed, and none was made twice.
    let all = published(&mut ann);
    assert!(all.len() <= keys.len() + 1, "{all:?} for {keys:?}");
}
