//! What is not let in, and that it is told so in full.

use super::*;
use crate::upgrade::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

#[test]
fn other_methods_versions_and_paths() {
    let path = "/connection/websocket";
    for (line, refusal) in [
        (format!("POST {path} HTTP/1.1"), Refusal::Method),
        (format!("get {path} HTTP/1.1"), Refusal::Method),
        (format!("CONNECT {path} HTTP/1.1"), Refusal::Method),
        (format!("GET {path} HTTP/1.0"), Refusal::Version),
        (format!("GET {path} HTTP/2.0"), Refusal::Version),
        ("GET / HTTP/1.1".to_owned(), Refusal::Path),
        ("GET /health HTTP/1.1".to_owned(), Refusal::Path),
        (format!("GET {path}/ HTTP/1.1"), Refusal::Path),
        ("GET /connection%2fwebsocket HTTP/1.1".to_owned(), Refusal::Path),
        (format!("GET /..{path} HTTP/1.1"), Refusal::Path),
        ("GET http://a HTTP/1.1".to_owned(), Refusal::Path),
        (format!("GET ftp://a{path} HTTP/1.1"), Refusal::Malformed),
        ("GET * HTTP/1.1".to_owned(), Refusal::Malformed),
        (format!("GET  {path} HTTP/1.1"), Refusal::Malformed),
        (format!("GET {path}"), Refusal::Malformed),
    ] {
        assert_eq!(Try::new().first(&line).refusal(), refusal, "{line}");
    }
}

#[test]
fn missing_repeated_and_wrong_fields() {
    for (attempt, refusal) in [
        (Try::new().without("Host"), Refusal::Host),
        (Try::new().with("Host: server.example.com"), Refusal::Host),
        (Try::new().set("Host:"), Refusal::Host),
        (Try::new().set("Host: a b"), Refusal::Host),
        (Try::new().set("Host: a, b"), Refusal::Host),
        (Try::new().set("Host: http://a"), Refusal::Host),
        (Try::new().without("Upgrade"), Refusal::NoUpgrade),
        (Try::new().set("Upgrade: websockets"), Refusal::NoUpgrade),
        (Try::new().without("Connection"), Refusal::NoUpgrade),
        (Try::new().set("Connection: keep-alive"), Refusal::NoUpgrade),
        (Try::new().without("Sec-WebSocket-Version"), Refusal::WebSocketVersion),
        (Try::new().set("Sec-WebSocket-Version: 8"), Refusal::WebSocketVersion),
        (Try::new().set("Sec-WebSocket-Version: 13, 8"), Refusal::WebSocketVersion),
        (Try::new().with("Sec-WebSocket-Version: 13"), Refusal::WebSocketVersion),
        (Try::new().without("Sec-WebSocket-Key"), Refusal::Key),
        (Try::new().with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), Refusal::Key),
        (Try::new().set("Sec-WebSocket-Key: "), Refusal::Key),
        (Try::new().set("Sec-WebSocket-Key: SGVsbG8sIHdvcmxkIQ=="), Refusal::Key),
        (Try::new().set("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"), Refusal::Key),
        (Try::new().set("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWVl"), Refusal::Key),
        (Try::new().set("Sec-WebSocket-Key: !GhlIHNhbXBsZSBub25jZQ=="), Refusal::Key),
        (Try::new().set("Sec-WebSocket-Protocol: a b"), Refusal::Subprotocol),
        (Try::new().with("Origin: https://example.com"), Refusal::Origin),
        (Try::new().origins(&["*"]).with("Origin: a").with("Origin: a"), Refusal::Malformed),
        (Try::new().with("Content-Length: 0"), Refusal::Body),
        (Try::new().with("content-length: 10"), Refusal::Body),
        (Try::new().with("Transfer-Encoding: chunked"), Refusal::Body),
    ] {
        assert_eq!(attempt.refusal(), refusal, "{:?}", attempt.lines);
    }
}

#[test]
fn shapes_that_two_programs_could_read_differently() {
    for line in [
        " folded",
        "\tfolded",
        "Name : value",
        ": value",
        "no colon",
        "Na me: value",
        "Name: a\0b",
        "Name: a\rb",
    ] {
        assert_eq!(Try::new().with(line).refusal(), Refusal::Malformed, "{line:?}");
    }
    let text = String::from_utf8(Try::new().bytes()).unwrap();
    for bytes in
        [text.replace("\r\n", "\n"), text.replacen("\r\n", "\n", 3), text.replace("\r\n\r\n", "\r\n\n")]
    {
        assert_eq!(request(bytes.as_bytes(), &Rules::default()), Err(Refusal::Malformed), "{bytes:?}");
    }
}

#[test]
fn what_is_not_http_is_refused_at_its_first_bytes() {
    for bytes in [&b"\x16\x03\x01\x02\x00"[..], b"\0\0\0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        assert!(request(bytes, &Rules::default()).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_head_over_its_bounds_is_refused_before_it_ends() {
    let long = |bytes: usize| Try::new().with(&format!("Cookie: {}", "c".repeat(bytes)));
    let room = HEAD_BYTES_MAX - long(0).bytes().len();
    long(room).upgrade();
    assert_eq!(long(room + 1).refusal(), Refusal::HeadTooLarge);
    let endless = long(HEAD_BYTES_MAX * 2).bytes();
    assert_eq!(request(&endless[..HEAD_BYTES_MAX - 1], &Rules::default()), Ok(Parsed::Incomplete));
    assert_eq!(request(&endless[..HEAD_BYTES_MAX], &Rules::default()), Err(Refusal::HeadTooLarge));
    let mut many = Try::new();
    for index in 0..HEADERS_MAX {
        many = many.with(&format!("X-{index}: 1"));
    }
    assert_eq!(many.refusal(), Refusal::HeadTooLarge);
}

#[test]
fn every_refusal_is_a_complete_response_that_ends_the_connection() {
    for (refusal, status) in [
        (Refusal::Malformed, 400),
        (Refusal::HeadTooLarge, 431),
        (Refusal::Version, 505),
        (Refusal::Method, 405),
        (Refusal::Body, 400),
        (Refusal::Host, 400),
        (Refusal::Path, 404),
        (Refusal::NoUpgrade, 426),
        (Refusal::WebSocketVersion, 426),
        (Refusal::Key, 400),
        (Refusal::Subprotocol, 400),
        (Refusal::Origin, 403),
        (Refusal::Late, 408),
        (Refusal::Overloaded { retry_after_seconds: 7 }, 503),
    ] {
        let mut out = Vec::new();
        refusal.response(&mut out);
        assert!(out.len() <= 512, "{refusal:?} takes {} bytes", out.len());
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut response = httparse::Response::new(&mut headers);
        let head = response.parse(&out).unwrap().unwrap();
        assert_eq!(response.code, Some(status));
        let field = |name: &str| {
            let header = response.headers.iter().find(|header| header.name == name);
            header.map(|header| std::str::from_utf8(header.value).unwrap())
        };
        assert!(field("Connection").unwrap().starts_with("close"));
        assert_eq!(field("Content-Length").unwrap().parse(), Ok(out.len() - head));
        assert_eq!(&out[head..], format!("{refusal}\n").as_bytes());
        assert_eq!(field("Sec-WebSocket-Version"), (status == 426).then_some("13"));
        assert_eq!(field("Upgrade"), (status == 426).then_some("websocket"));
        assert_eq!(field("Allow"), (status == 405).then_some("GET"));
        assert_eq!(field("Retry-After"), (status == 503).then_some("7"));
    }
}
