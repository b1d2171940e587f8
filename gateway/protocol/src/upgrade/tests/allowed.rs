//! What is let in, and what it is answered.

use super::*;

#[test]
fn the_example_of_rfc_6455_gets_its_answer() {
    assert_eq!(
        answer(&Try::new().upgrade()),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

#[test]
fn a_request_is_incomplete_until_its_last_byte_and_what_follows_is_not_touched() {
    let bytes = Try::new().bytes();
    for cut in 0..bytes.len() {
        assert_eq!(request(&bytes[..cut], &Rules::default()), Ok(Parsed::Incomplete), "{cut}");
    }
    let mut early = bytes.clone();
    early.extend([0x81, 0x80, 1, 2, 3, 4]);
    let Ok(Parsed::Complete { consumed, .. }) = request(&early, &Rules::default()) else { panic!() };
    assert_eq!(consumed, bytes.len());
}

#[test]
fn names_and_tokens_are_read_in_any_case_and_any_list() {
    Try::new().set("upgrade: WebSocket").set("CONNECTION: keep-alive, UPGRADE").upgrade();
    Try::new().set("Upgrade: h2c, websocket").upgrade();
    Try::new().set("Connection: keep-alive").with("Connection: upgrade").upgrade();
}

#[test]
fn requests_of_browsers_are_let_in() {
    for (origin, lines) in [
        (
            "https://app.example.com",
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: */*\r\n\
             Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\nSec-Fetch-Dest: empty\r\nCookie: a=b; c=d\r\n\
             Pragma: no-cache\r\nCache-Control: no-cache",
        ),
        (
            "http://localhost:3000",
            "Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0\r\n\
             Accept-Encoding: gzip, deflate, br, zstd\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        ),
    ] {
        let upgrade = Try::new()
            .origins(&["https://*.example.com", "http://localhost:3000"])
            .set("Connection: keep-alive, Upgrade")
            .with(&format!("Origin: {origin}"))
            .with(lines)
            .upgrade();
        assert!(!answer(&upgrade).contains("Extensions"), "no extension is agreed to");
    }
}

#[test]
fn an_absolute_target_means_its_path() {
    for target in ["http://a/connection/websocket", "WSS://a:8443/connection/websocket?format=json"] {
        Try::new().first(&format!("GET {target} HTTP/1.1")).upgrade();
    }
}

#[test]
fn a_configured_path_replaces_the_default() {
    let mut attempt = Try::new().first("GET /rt HTTP/1.1");
    assert_eq!(attempt.refusal(), Refusal::Path);
    attempt.rules.path = "/rt".to_owned();
    attempt.upgrade();
}

#[test]
fn without_an_offer_nothing_is_asked_and_no_subprotocol_answered() {
    let upgrade = Try::new().upgrade();
    assert_eq!(upgrade.asked, Asked::Nothing);
    assert!(!upgrade.frame_pings);
    assert!(!answer(&upgrade).contains("Protocol:"));
}

#[test]
fn a_known_subprotocol_is_answered_by_the_servers_preference() {
    let mut attempt = Try::new()
        .with("Sec-WebSocket-Protocol: chat, centrifuge-json")
        .with("Sec-WebSocket-Protocol: centrifuge-protobuf");
    assert_eq!(attempt.upgrade().asked, Asked::Known(JSON.id));
    assert!(answer(&attempt.upgrade()).ends_with("\r\nSec-WebSocket-Protocol: centrifuge-json\r\n\r\n"));
    attempt.rules.encodings = vec![PROTOBUF, JSON];
    assert_eq!(attempt.upgrade().asked, Asked::Known(PROTOBUF.id));
}

#[test]
fn an_unknown_subprotocol_is_let_in_without_one_so_that_it_can_be_told() {
    for line in ["Sec-WebSocket-Protocol: centrifuge-xml", "Sec-WebSocket-Protocol: Centrifuge-JSON"] {
        let upgrade = Try::new().with(line).upgrade();
        assert_eq!(upgrade.asked, Asked::Unknown);
        assert!(!answer(&upgrade).contains("Sec-WebSocket-Protocol"));
    }
}

#[test]
fn the_query_names_a_format_and_frame_pings() {
    for (query, asked, frame_pings) in [
        ("format=json", Asked::Known(0), false),
        ("cf_protocol=protobuf", Asked::Known(1), false),
        ("x=1&format=protobuf&cf_ws_frame_ping_pong=true", Asked::Known(1), true),
        ("format=xml", Asked::Unknown, false),
        ("format=&cf_ws_frame_ping_pong=1", Asked::Nothing, false),
        ("cf_ws_frame_ping_pong", Asked::Nothing, false),
        ("&&==&=", Asked::Nothing, false),
        ("", Asked::Nothing, false),
    ] {
        let mut attempt = Try::new().first(&format!("GET /connection/websocket?{query} HTTP/1.1"));
        attempt.rules.encodings = vec![JSON, PROTOBUF];
        let upgrade = attempt.upgrade();
        assert_eq!((upgrade.asked, upgrade.frame_pings), (asked, frame_pings), "{query}");
    }
}

#[test]
fn a_known_subprotocol_outweighs_the_query() {
    let attempt = Try::new()
        .first("GET /connection/websocket?format=protobuf HTTP/1.1")
        .with("Sec-WebSocket-Protocol: centrifuge-json");
    assert_eq!(attempt.upgrade().asked, Asked::Known(JSON.id));
}

#[test]
fn a_request_without_origin_is_not_a_browsers_and_is_let_in() {
    Try::new().origins(&[]).upgrade();
    Try::new().origins(&["https://example.com"]).upgrade();
}

#[test]
fn origins_are_matched_whole_or_below_a_name() {
    for (pattern, origin, allowed) in [
        ("*", "https://anything.example", true),
        ("*", "null", true),
        ("null", "null", true),
        ("https://example.com", "https://example.com", true),
        ("https://Example.com:443", "https://EXAMPLE.com", true),
        ("http://example.com:80", "http://example.com", true),
        ("https://example.com", "http://example.com", false),
        ("https://example.com", "https://example.com:8443", false),
        ("https://example.com", "https://example.com.evil.net", false),
        ("https://example.com", "https://a.example.com", false),
        ("https://example.com:8443", "https://example.com:8443", true),
        ("http://[::1]:3000", "http://[::1]:3000", true),
        ("https://*.example.com", "https://a.example.com", true),
        ("https://*.example.com", "https://a.b.example.com", true),
        ("https://*.example.com", "https://example.com", false),
        ("https://*.example.com", "https://.example.com", false),
        ("https://*.example.com", "https://evilexample.com", false),
        ("https://*.example.com", "http://a.example.com", false),
        ("https://*.example.com", "https://a.example.com:8443", false),
        ("https://*.example.com", "https://evil.net/.example.com", false),
        ("https://*.example.com", "https://evil.net#.example.com", false),
        ("https://*.example.com", "https://evil.net:80@a.example.com", false),
        ("https://*.example.com:8443", "https://a.example.com:8443", true),
        ("capacitor://localhost", "capacitor://localhost", true),
    ] {
        let attempt =
            Try::new().origins(&["https://other.example", pattern]).with(&format!("Origin: {origin}"));
        assert_eq!(attempt.read().is_ok(), allowed, "{pattern} {origin}");
        if !allowed {
            assert_eq!(attempt.refusal(), Refusal::Origin);
        }
    }
}

#[test]
fn a_pattern_that_no_origin_can_have_is_refused_with_what_is_allowed() {
    for pattern in [
        "",
        "example.com",
        "*.example.com",
        "https://",
        "https://*",
        "https://*.",
        "https://example.com/",
        "https://example.com/path",
        "https://a.*.com",
        "https://exa*mple.com",
        "https://example.com:port",
        "https://example.com:+1",
        "https://example.com:99999",
        "https://user@example.com",
        "1https://example.com",
        "https://[::g]",
    ] {
        let error = Origin::parse(pattern).unwrap_err();
        assert!(error.to_string().contains("https://example.com"), "{error}");
    }
}
