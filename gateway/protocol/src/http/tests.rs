//! Requests as lines, changed by what a test is about. What is refused is refused whole; what is a part is asked for again.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::upgrade::{Origin, Refusal, Rules};

fn rules() -> Rules {
    Rules {
        origins: vec![Origin::parse("https://app.example.com").unwrap()],
        transports: Transports { uni_websocket: None, ..Transports::everywhere(100) },
        ..Rules::default()
    }
}

fn lines(first: &str, fields: &[&str], body: &str) -> String {
    let mut text = format!("{first}\r\nHost: a.example.com\r\n");
    for field in fields {
        text += field;
        text += "\r\n";
    }
    text + "\r\n" + body
}

fn read(text: &str) -> Result<Read<'_>, Refusal> {
    request(text.as_bytes(), &rules())
}

fn refusal(first: &str, fields: &[&str], body: &str) -> Refusal {
    read(&lines(first, fields, body)).unwrap_err()
}

const POST: &str = "POST /emulation HTTP/1.1";

#[test]
fn a_post_is_its_body_and_says_where_the_next_request_begins() {
    let text = lines(POST, &["Content-Length: 2", "Origin: https://app.example.com"], "{}POST");
    let Read::Complete(request) = read(&text).unwrap() else { panic!() };
    assert_eq!(request.consumed, text.len() - 4);
    assert_eq!(request.service, Service::Emulation);
    assert_eq!(request.asked, Asked::Message { bytes: Cow::Borrowed(b"{}"), binary: false });
    assert_eq!(request.origin, Some(&b"https://app.example.com"[..]));
    assert!(!request.last);
    assert_eq!(service(text.as_bytes(), &rules()), Some(Service::Emulation));
}

#[test]
fn the_media_type_tells_the_encoding() {
    let fields = ["Content-Length: 0", "Content-Type: application/Octet-Stream; a=b", "Connection: Close"];
    let text = lines("POST http://a.example.com/connection/http_stream?x=y HTTP/1.1", &fields, "");
    let Read::Complete(request) = read(&text).unwrap() else { panic!() };
    assert!(request.last);
    assert_eq!(request.asked, Asked::Message { bytes: Cow::Borrowed(b""), binary: true });
}

#[test]
fn an_event_source_brings_its_command_in_the_query() {
    let text = lines("GET /connection/sse?a=b&cf_connect=%7B%22a%22%3A+%221%252B%22%7D HTTP/1.1", &[], "");
    let Read::Complete(request) = read(&text).unwrap() else { panic!() };
    let Asked::Message { bytes, binary: false } = request.asked else { panic!() };
    assert_eq!(&*bytes, br#"{"a": "1%2B"}"#);
    for query in ["", "?cf_connect=", "?cf_connect=%7", "?cf_connect=%zz", "?xcf_connect=1"] {
        let first = format!("GET /connection/sse{query} HTTP/1.1");
        assert_eq!(refusal(&first, &[], ""), Refusal::Commands, "{query}");
    }
}

#[test]
fn what_two_programs_could_read_differently_is_refused() {
    let cases: &[(&[&str], Refusal)] = &[
        (&[], Refusal::Length),
        (&["Transfer-Encoding: chunked"], Refusal::Length),
        (&["Content-Length: 2", "Transfer-Encoding: chunked"], Refusal::Malformed),
        (&["Content-Length: 2", "transfer-encoding: identity"], Refusal::Malformed),
        (&["Content-Length: 2", "Content-Length: 2"], Refusal::Malformed),
        (&["Content-Length: 2, 2"], Refusal::Malformed),
        (&["Content-Length: +2"], Refusal::Malformed),
        (&["Content-Length: 0x2"], Refusal::Malformed),
        (&["Content-Length:"], Refusal::Malformed),
        (&["Content-Length : 2"], Refusal::Malformed),
        (&["Content-Length: 2", " folded"], Refusal::Malformed),
        (&["Content-Length: 2", "Host: b.example.com"], Refusal::Host),
        (&["Content-Length: 101"], Refusal::BodyTooLarge),
        (&["Content-Length: 99999999999999999999999"], Refusal::BodyTooLarge),
    ];
    for (fields, expected) in cases {
        assert_eq!(refusal(POST, fields, "{}"), *expected, "{fields:?}");
    }
    let bare = lines(POST, &["Content-Length: 2"], "{}").replace("Host: a.example.com\r\n", "Host: a\n");
    assert_eq!(read(&bare).unwrap_err(), Refusal::Malformed);
    let body = ["Content-Length: 2"];
    assert_eq!(refusal("GET /connection/sse?cf_connect=1 HTTP/1.1", &body, "{}"), Refusal::Malformed);
    assert_eq!(refusal("OPTIONS /emulation HTTP/1.1", &body, "{}"), Refusal::Malformed);
    assert_eq!(refusal("POST /emulation HTTP/1.0", &body, "{}"), Refusal::Version);
    for method in ["GET", "PUT", "HEAD", "DELETE", "TRACE"] {
        let expected = Refusal::NotAllowed { allow: "POST, OPTIONS" };
        assert_eq!(refusal(&format!("{method} /emulation HTTP/1.1"), &[], ""), expected);
    }
    let foreign = ["Content-Length: 2", "Origin: https://evil.example.com"];
    assert_eq!(refusal(POST, &foreign, "{}"), Refusal::Origin);
    assert_eq!(service(b"POST /nothing HTTP/1.1\r\n", &rules()), None);
    assert_eq!(service(b"POST /emulation HTTP/1.1", &rules()), None);
}

#[test]
fn a_part_says_how_much_is_missing() {
    let text = lines(POST, &["Content-Length: 50", "Expect: 100-continue"], "{}");
    assert_eq!(read(&text).unwrap(), Read::Incomplete { needed: text.len() + 48, expects: true });
    let head = &text[..20];
    assert_eq!(read(head).unwrap(), Read::Incomplete { needed: 21, expects: false });
}

#[test]
fn a_page_is_told_that_it_may_ask() {
    let fields = [
        "Origin: https://app.example.com",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: content-type, x-a",
    ];
    let text = lines("OPTIONS /emulation HTTP/1.1", &fields, "");
    let Read::Complete(request) = read(&text).unwrap() else { panic!() };
    let Asked::Preflight { fields } = request.asked else { panic!() };
    let mut out = Vec::new();
    preflight(request.service.methods(), fields, request.origin, request.last, &mut out);
    let said = String::from_utf8(out).unwrap();
    assert!(said.starts_with("HTTP/1.1 204 No Content\r\n") && said.ends_with("\r\n\r\n"));
    for field in [
        "Access-Control-Allow-Origin: https://app.example.com",
        "Access-Control-Allow-Methods: POST, OPTIONS",
        "Access-Control-Allow-Headers: content-type, x-a",
        "Vary: Origin",
    ] {
        assert!(said.contains(&format!("\r\n{field}\r\n")), "{said}");
    }
    let broken = ["Access-Control-Request-Headers: a b"];
    assert_eq!(refusal("OPTIONS /emulation HTTP/1.1", &broken, ""), Refusal::Malformed);
}

#[test]
fn names_of_sessions_and_shards_come_back() {
    let bytes = std::array::from_fn(|i| i as u8 * 11);
    assert_eq!(session_of(&session(&bytes)), Some(bytes));
    assert_eq!(shard_of(&node(0xfedc_ba98_7654_3210, 513)), Some((0xfedc_ba98_7654_3210, 513)));
    for broken in
        ["", "0", "+123456789abcdef0001", "0123456789abcdef00000", "0123456789abcdeF0001", "ééééééééé00"]
    {
        assert_eq!(shard_of(broken), None, "{broken}");
        assert_eq!(session_of(broken), None, "{broken}");
    }
}

#[test]
fn commands_come_in_both_encodings() {
    let json = br#"{"session":"s","node":"n","data":"{\"id\":2}\n{}"}"#;
    let expected =
        Emulation { node: "n".into(), session: "s".into(), data: Cow::Borrowed(b"{\"id\":2}\n{}") };
    assert_eq!(Emulation::json(json), Some(expected.clone()));
    let mut binary = vec![10, 1, b'n', 18, 1, b's', 26, 11];
    binary.extend_from_slice(b"{\"id\":2}\n{}");
    binary.extend_from_slice(&[0x20, 0x96, 0x01, 0x2d, 1, 2, 3, 4]);
    assert_eq!(Emulation::protobuf(&binary), Some(expected));
    for broken in [&b"null"[..], b"{}", b"[]", br#"{"session":"s","node":"n","data":{}}"#, b"\xff"] {
        assert_eq!(Emulation::json(broken), None);
    }
    for broken in [&[10][..], &[10, 2, 1], &[0xff; 12], &[11, 1], &[10, 1, 0xff]] {
        assert_eq!(Emulation::protobuf(broken), None);
    }
}

proptest! {
    #[test]
    fn any_part_of_a_request_is_incomplete_and_any_change_is_bounded(
        cut in 0_usize..300,
        at in 0_usize..300,
        byte in any::<u8>(),
        body in "[a-z{}]{0,100}",
    ) {
        let length = format!("Content-Length: {}", body.len());
        let text = lines(POST, &[&length, "Origin: https://app.example.com"], &body);
        let bytes = text.as_bytes();
        let whole = request(bytes, &rules()).unwrap();
        prop_assert!(matches!(whole, Read::Complete(request) if request.consumed == bytes.len()));
        if cut < bytes.len() {
            match request(&bytes[..cut], &rules()).unwrap() {
                Read::Incomplete { needed, .. } => prop_assert!(needed > cut && needed <= bytes.len()),
                Read::Complete(_) => prop_assert!(false),
            }
        }
        let mut changed = bytes.to_vec();
        let index = at % changed.len();
        changed[index] = byte;
        match request(&changed, &rules()) {
            Ok(Read::Complete(request)) => prop_assert!(request.consumed <= changed.len()),
            Ok(Read::Incomplete { needed, .. }) => prop_assert!(needed > changed.len()),
            Err(_) => {}
        }
        let _ = (service(&changed, &rules()), connect_of(&changed));
    }

    #[test]
    fn any_bytes_are_an_emulation_request_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (Emulation::json(&bytes), Emulation::protobuf(&bytes));
    }
}
