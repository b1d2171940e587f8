//! A session from connect to close: tokens, deadlines, pings, batches, and every way in which a client can be wrong.

use std::time::Duration;

use serde_json::json;
use tests::client::{self, Client, Closed};
use tests::credentials::Signer;
use tests::wait;
use tests::world::World;
use tungstenite::Message;

fn bad_request() -> Closed {
    Closed { code: 3501, reason: "bad request".to_owned() }
}

#[test]
fn connect_is_answered_with_who_and_how_often_pings_come() {
    let world = World::start().unwrap();
    let mut client = Client::secure(&world).unwrap();
    let reply = client.connect(&world.token("ann").unwrap()).unwrap();
    let connect = &reply["connect"];
    assert_eq!((&connect["ping"], &connect["pong"]), (&json!(25), &json!(true)), "{reply}");
    assert_eq!(connect["client"].as_str().unwrap().len(), 36, "{reply}");
    assert!(connect.get("expires").is_none() && connect["version"].is_string(), "{reply}");
}

#[test]
fn an_expiring_token_is_told_and_its_end_is_the_sessions_end() {
    let world = World::builder().relay("[client]\nexpired_close_delay = \"1s\"\n").start().unwrap();
    let mut client = Client::secure(&world).unwrap();
    let token = world.token_of(&json!({ "sub": "ann", "exp": world.unix() + 2 })).unwrap();
    let reply = client.connect(&token).unwrap();
    assert_eq!(reply["connect"]["expires"], json!(true), "{reply}");
    assert!((1..=2).contains(&reply["connect"]["ttl"].as_u64().unwrap()), "{reply}");
    assert_eq!(client.closed().unwrap(), Closed { code: 3005, reason: "connection expired".to_owned() });
}

#[test]
fn a_refresh_lengthens_the_session() {
    let world = World::builder().relay("[client]\nexpired_close_delay = \"1s\"\n").start().unwrap();
    let mut client = Client::secure(&world).unwrap();
    client.connect(&world.token_of(&json!({ "sub": "ann", "exp": world.unix() + 2 })).unwrap()).unwrap();
    let token = world.token_of(&json!({ "sub": "ann", "exp": world.unix() + 600 })).unwrap();
    let reply = client.call(&json!({ "refresh": { "token": token } })).unwrap();
    assert_eq!(reply["refresh"]["expires"], json!(true), "{reply}");
    assert!(reply["refresh"]["ttl"].as_u64().unwrap() > 590, "{reply}");
    wait::pause(Duration::from_secs(4));
    let reply = client.call(&json!({ "rpc": { "method": "x", "data": {} } })).unwrap();
    assert_eq!(reply["error"]["code"], json!(108), "{reply}");
}

#[test]
fn another_users_token_does_not_refresh() {
    let world = World::start().unwrap();
    let mut client = Client::secure(&world).unwrap();
    client.connect(&world.token_of(&json!({ "sub": "ann", "exp": world.unix() + 60 })).unwrap()).unwrap();
    let token = world.token_of(&json!({ "sub": "bob", "exp": world.unix() + 600 })).unwrap();
    client.command(&json!({ "refresh": { "token": token } })).unwrap();
    assert_eq!(client.closed().unwrap().code, 3500);
}

#[test]
fn an_expired_token_is_an_error_that_the_sdk_answers_with_a_new_one() {
    let world = World::start().unwrap();
    let mut client = Client::secure(&world).unwrap();
    let token = world.token_of(&json!({ "sub": "ann", "exp": world.unix() - 60 })).unwrap();
    let reply = client.connect(&token).unwrap();
    assert_eq!(reply["error"], json!({ "code": 109, "message": "token expired" }), "{reply}");
    client.command(&json!({ "rpc": { "method": "x", "data": {} } })).unwrap();
    assert_eq!(client.closed().unwrap(), bad_request());
}

#[test]
fn a_forged_token_closes_with_invalid_token() {
    let world = World::start().unwrap();
    for token in
        ["", "x", "a.b.c", &tests::credentials::hs256("another secret", &json!({ "sub": "ann" })).unwrap()]
    {
        let mut client = Client::secure(&world).unwrap();
        client.command(&json!({ "connect": { "token": token } })).unwrap();
        let end = client.closed_or_error().unwrap();
        // No token at all is not a forged one: it is refused as an anonymous connection.
        assert!(end == 3500 || (token.is_empty() && matches!(end, 101 | 3501)), "{token}: {end}");
    }
}

#[test]
fn tokens_signed_with_private_keys_are_verified_by_their_public_ones() {
    let signers = [Signer::ed25519(), Signer::p256(), Signer::rsa()].map(Result::unwrap);
    let world = World::builder().jwks(&signers).start().unwrap();
    for signer in &signers {
        let mut client = Client::secure(&world).unwrap();
        let reply = client.connect(&signer.sign(&json!({ "sub": "ann" })).unwrap()).unwrap();
        assert!(reply["connect"]["client"].is_string(), "{}: {reply}", signer.name());
        // The same key id with another key.
        let forged = signer.forged().unwrap().sign(&json!({ "sub": "ann" })).unwrap();
        let mut client = Client::secure(&world).unwrap();
        client.command(&json!({ "connect": { "token": forged } })).unwrap();
        assert_eq!(client.closed().unwrap().code, 3500, "{}", signer.name());
    }
}

#[test]
fn what_is_no_command_closes_with_bad_request() {
    let world = World::start().unwrap();
    for text in [
        "nonsense",
        "[]",
        "{\"id\":1}",
        "{\"id\":0,\"connect\":{}}",
        "{\"id\":1,\"subscribe\":{\"channel\":\"news\"}}",
        "{\"id\":1,\"connect\":7}",
        "{}",
    ] {
        let mut client = Client::secure(&world).unwrap();
        client.text(text).unwrap();
        assert_eq!(client.closed().unwrap(), bad_request(), "{text}");
    }
}

#[test]
fn what_is_no_command_closes_an_established_session_too() {
    let world = World::start().unwrap();
    let token = world.token("ann").unwrap();
    let again = json!({ "id": 9, "connect": { "token": token } }).to_string();
    for text in ["{\"id\":", "{}", "{\"id\":0,\"rpc\":{\"method\":\"x\"}}", &again] {
        let mut client = Client::of(&world, "ann").unwrap();
        client.text(text).unwrap();
        assert_eq!(client.closed().unwrap(), bad_request(), "{text}");
    }
}

#[test]
fn unknown_fields_are_tolerated() {
    let world = World::start().unwrap();
    let mut client = Client::secure(&world).unwrap();
    let token = world.token("ann").unwrap();
    let connect = json!({ "connect": { "token": token, "name": "js", "version": "1", "flag": 7, "new": [1, {}] }, "x": 1 });
    assert!(client.call(&connect).unwrap()["connect"]["client"].is_string());
    let subscribe = json!({ "subscribe": { "channel": "news", "flag": 1, "delta": "fossil", "what": null } });
    assert!(client.call(&subscribe).unwrap()["subscribe"].is_object());
}

#[test]
fn one_frame_may_hold_many_commands_and_blank_lines() {
    let world = World::start().unwrap();
    let mut client = Client::secure(&world).unwrap();
    let token = world.token("ann").unwrap();
    let lines = [
        json!({ "id": 1, "connect": { "token": token } }).to_string(),
        json!({ "id": 2, "subscribe": { "channel": "news" } }).to_string(),
        json!({ "id": 3, "publish": { "channel": "news", "data": { "n": 1 } } }).to_string(),
        json!({ "send": { "data": {} } }).to_string(),
        json!({ "id": 4, "rpc": { "method": "x", "data": {} } }).to_string(),
    ];
    client.text(&(lines.join("\n") + "\n")).unwrap();
    let mut ids = Vec::new();
    let mut publications = 0;
    while ids.len() < 4 || publications < 1 {
        let message = client.message().unwrap();
        match message.get("id") {
            Some(id) => ids.push(id.as_u64().unwrap()),
            None => publications += usize::from(message["push"]["pub"]["data"]["n"] == json!(1)),
        }
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4]);
}

#[test]
fn who_never_connects_is_stale() {
    let world = World::builder().relay("[client]\nstale_close_delay = \"1s\"\n").start().unwrap();
    for client in [Client::secure(&world), Client::plain(&world)] {
        assert_eq!(client.unwrap().closed().unwrap(), Closed { code: 3502, reason: "stale".to_owned() });
    }
}

#[test]
fn who_does_not_answer_pings_is_closed_with_no_pong_and_who_does_stays() {
    let world =
        World::builder().relay("[client]\nping_interval = \"2s\"\npong_timeout = \"1s\"\n").start().unwrap();
    let mut good = Client::of(&world, "ann").unwrap();
    let mut silent = Client::of(&world, "bob").unwrap();
    silent.answers_pings = false;
    // Other commands are no pongs.
    silent.command(&json!({ "rpc": { "method": "x", "data": {} } })).unwrap();
    let closed = wait::until("the end of the silent one", client::WITHIN, || {
        good.idle(Duration::from_millis(100)).unwrap();
        silent.idle(Duration::from_millis(100)).err()
    });
    let closed = closed.unwrap().downcast::<Closed>().unwrap();
    assert_eq!(closed, Closed { code: 3012, reason: "no pong".to_owned() });
    good.subscribe("news").unwrap();
    silent = Client::of(&world, "bob").unwrap();
    for number in 0..8 {
        silent.publish("news", &json!(number)).unwrap();
        assert_eq!(good.push_of("pub").unwrap()["data"], json!(number));
        silent.idle(Duration::from_millis(500)).unwrap();
        good.idle(Duration::from_millis(100)).unwrap();
    }
}

#[test]
fn the_obsolete_ping_command_and_rpc_are_not_available() {
    let world = World::start().unwrap();
    let mut client = Client::of(&world, "ann").unwrap();
    for command in [json!({ "ping": {} }), json!({ "rpc": { "method": "x", "data": {} } })] {
        let reply = client.call(&command).unwrap();
        assert_eq!(reply["error"], json!({ "code": 108, "message": "not available" }), "{command}");
    }
}

#[test]
fn a_close_frame_is_answered_with_one() {
    let world = World::start().unwrap();
    let mut client = Client::of(&world, "ann").unwrap();
    client.send(Message::Close(None)).unwrap();
    assert!(matches!(client.closed().unwrap().code, 1000 | 1005));
    world.metric(tests::metrics::CONNECTIONS, &["state=\"established\""], |n| n == 0.0).unwrap();
}
