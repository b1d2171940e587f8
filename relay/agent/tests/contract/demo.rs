//! The demo page: it is there only where it is configured, only under this machine's own names, and its tokens are good.

use wire::frame::Purpose;
use wire::link::{ToRelay, ToShard};

use crate::program::{Folder, Relay, fails, free_port};

const DEMO: &str = "[client.token]\nhmac_secret_key = \"secret\"\n\
                    [demo]\nurl = \"wss://localhost:8443/connection/websocket\"\nlibrary = \"{folder}/centrifuge.js\"\n";

fn with_page() -> Relay {
    let folder = Folder::new();
    folder.write("centrifuge.js", "globalThis.Centrifuge = 1;");
    Relay::start_in(folder, DEMO)
}

fn get(relay: &Relay, path: &str, host: &str) -> (String, String) {
    relay.request(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n"), "")
}

fn post(relay: &Relay, kind: &str, body: &str) -> (String, String) {
    let host = relay.http;
    relay.request(&format!("POST /demo/token HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\n"), body)
}

#[test]
fn the_page_trusts_its_own_files_and_one_gateway() {
    let relay = with_page();
    let host = relay.http.to_string();
    let (head, body) = get(&relay, "/demo/", &host);
    assert!(head.contains("200") && body.contains("<title>Headland demo</title>"), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("default-src 'none'; script-src 'self'; style-src 'self'"), "{head}");
    assert!(head.contains("connect-src 'self' wss://localhost:8443;"), "{head}");
    assert!(
        head.contains("x-content-type-options: nosniff") && head.contains("cache-control: no-store"),
        "{head}"
    );
    let (_, page) = get(&relay, "/demo/centrifuge.js", &host);
    assert_eq!(page, "globalThis.Centrifuge = 1;");
    for (path, kind) in
        [("page.js", "text/javascript"), ("page.css", "text/css"), ("icon.svg", "image/svg+xml")]
    {
        let (head, body) = get(&relay, &format!("/demo/{path}"), &host);
        assert!(head.contains("200") && head.contains(kind) && !body.is_empty(), "{path}: {head}");
    }
    let (_, settings) = get(&relay, "/demo/settings.json", &host);
    let settings: serde_json::Value = serde_json::from_str(&settings).unwrap();
    assert_eq!(settings["url"], "wss://localhost:8443/connection/websocket");
    assert_eq!(settings["channel"], "chat:lobby");
    let (head, _) = get(&relay, "/", &host);
    assert!(head.contains("307") && head.to_ascii_lowercase().contains("location: /demo/"), "{head}");
}

#[test]
fn a_name_of_somebody_else_that_leads_here_gets_nothing() {
    let relay = with_page();
    let port = relay.http.port();
    for host in ["relay".to_owned(), format!("rebound.example:{port}"), format!("127.0.0.1:{port}.example")] {
        let (head, body) = get(&relay, "/demo/settings.json", &host);
        assert!(head.contains("421") && !body.contains("wss"), "{host}: {head}");
    }
    let (head, _) = get(&relay, "/demo/settings.json", &format!("localhost:{port}"));
    assert!(head.contains("200"), "{head}");
    assert!(relay.get("/health").0.contains("200"), "the rest is as it was");
}

#[test]
fn its_tokens_are_good_and_expire() {
    let relay = with_page();
    let (head, body) = post(&relay, "application/json", r#"{"user":"Ann"}"#);
    assert!(head.contains("200"), "{head}");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let token = answer["token"].as_str().unwrap();
    let mut shard = relay.connect(Purpose::Shard);
    shard.ask(
        |request| ToRelay::Verify { request, kind: wire::token::Kind::Connection, token },
        |answer| match answer {
            ToShard::Verified { claims, .. } => {
                assert_eq!(claims.user, "Ann");
                assert!(claims.exp > 0);
            }
            other => panic!("{other:?}"),
        },
    );
}

#[test]
fn a_token_is_given_to_json_with_a_name_only() {
    let relay = with_page();
    let long = format!(r#"{{"user":"{}"}}"#, "x".repeat(65));
    let huge = format!(r#"{{"user":"Ann","more":"{}"}}"#, "x".repeat(4096));
    for (kind, body) in [
        // What a form of another page could send without being asked.
        ("text/plain", r#"{"user":"Ann"}"#),
        ("application/json", r#"{"name":"Ann"}"#),
        ("application/json", r#"{"user":""}"#),
        ("application/json", r#"{"user":"a\nb"}"#),
        ("application/json", "user"),
        ("application/json", &long),
        ("application/json", &huge),
    ] {
        let (head, answer) = post(&relay, kind, body);
        assert!(head.contains("400") && !answer.contains("token"), "{kind} {body}: {head}");
    }
}

#[test]
fn without_its_configuration_there_is_no_page_and_no_token() {
    let relay = Relay::start("[client.token]\nhmac_secret_key = \"secret\"\n");
    for path in ["/demo/", "/", "/demo/centrifuge.js"] {
        assert!(get(&relay, path, &relay.http.to_string()).0.contains("404"), "{path}");
    }
    assert!(post(&relay, "application/json", r#"{"user":"Ann"}"#).0.contains("404"));
}

#[test]
fn a_library_that_is_not_there_is_named() {
    let folder = Folder::new();
    folder.configure(free_port(), DEMO);
    let (code, said) = fails(&folder);
    assert!(code == 1 && said.ends_with("centrifuge.js: there is no such file"), "{said}");
}
