//! The client's side, against our server, against tungstenite's, and against wrong answers.

use std::io::{Cursor, Read, Write};

use proptest::prelude::*;

use super::{
    client::{Accepted, Offer, Rejected},
    *,
};

const OFFER: Offer<'_> = Offer {
    host: "server.example.com",
    path: PATH,
    key: *b"the sample nonce",
    subprotocol: Some("centrifuge-json"),
    origin: None,
    deflate: false,
};

fn good() -> String {
    answer(&Try::new().with("Sec-WebSocket-Protocol: centrifuge-json").upgrade())
}

#[test]
fn what_our_client_asks_our_server_grants() {
    for (subprotocol, origin) in
        [(None, None), (Some("centrifuge-json"), Some("https://example.com")), (Some("unknown"), None)]
    {
        let offer = Offer { subprotocol, origin, ..OFFER };
        let mut asked = Vec::new();
        offer.request(&mut asked);
        let rules = Try::new().origins(&["https://example.com"]).rules;
        let Ok(Parsed::Complete { consumed, head }) = request(&asked, &rules) else { panic!() };
        assert_eq!(consumed, asked.len());
        let answered = answer(&head).into_bytes();
        for cut in 0..answered.len() {
            assert_eq!(offer.response(&answered[..cut]), Ok(Parsed::Incomplete));
        }
        let accepted = Accepted { subprotocol: subprotocol == Some("centrifuge-json"), deflate: false };
        let expected = Parsed::Complete { consumed: answered.len(), head: accepted };
        assert_eq!(offer.response(&answered), Ok(expected));
    }
}

/// A connection to which tungstenite speaks and from which it hears what was put there.
struct Wire {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_our_client_asks_tungstenites_server_grants() {
    let offer = Offer { subprotocol: None, ..OFFER };
    let mut asked = Vec::new();
    offer.request(&mut asked);
    let wire = Wire { input: Cursor::new(asked), output: Vec::new() };
    let socket = tungstenite::accept(wire).unwrap();
    let answered = &socket.get_ref().output;
    let head = Accepted { subprotocol: false, deflate: false };
    let expected = Parsed::Complete { consumed: answered.len(), head };
    assert_eq!(offer.response(answered), Ok(expected));
}

#[test]
fn what_tungstenites_client_asks_our_server_grants() {
    let theirs =
        tungstenite::client::IntoClientRequest::into_client_request("ws://localhost/connection/websocket")
            .unwrap();
    let (asked, _) = tungstenite::handshake::client::generate_request(theirs).unwrap();
    let Ok(Parsed::Complete { consumed, .. }) = request(&asked, &Rules::default()) else { panic!() };
    assert_eq!(consumed, asked.len());
}

#[test]
fn an_answer_that_opens_something_else_is_a_mismatch() {
    let good = good();
    for (from, to) in [
        ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "s3pPLMBiTxaQ9kYGzzhZRbK+xOp="),
        ("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", ""),
        ("Upgrade: websocket\r\n", ""),
        ("Connection: Upgrade\r\n", "Connection: close\r\n"),
        ("Protocol: centrifuge-json", "Protocol: centrifuge-protobuf"),
        ("Upgrade: websocket\r\n", "Upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        assert_eq!(OFFER.response(bad.as_bytes()), Err(Rejected::Mismatch), "{bad}");
    }
    let uninvited = Offer { subprotocol: None, ..OFFER };
    assert_eq!(uninvited.response(good.as_bytes()), Err(Rejected::Mismatch));
}

#[test]
fn another_status_and_what_is_not_http_are_told_apart() {
    let mut busy = Vec::new();
    Refusal::Overloaded { retry_after_seconds: 1 }.response(&mut busy);
    assert_eq!(OFFER.response(&busy), Err(Rejected::Status { status: 503 }));
    assert_eq!(OFFER.response(b"SSH-2.0-OpenSSH_9.2\r\n"), Err(Rejected::Malformed));
    assert_eq!(OFFER.response(good().replace("\r\n", "\n").as_bytes()), Err(Rejected::Malformed));
    assert_eq!(OFFER.response(good().replace("1.1", "1.0").as_bytes()), Err(Rejected::Malformed));
    let endless = format!("HTTP/1.1 101 OK\r\nA: {}", "a".repeat(limits::HEAD_BYTES_MAX));
    assert_eq!(OFFER.response(endless.as_bytes()), Err(Rejected::Malformed));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn a_damaged_request_never_panics_and_never_changes_its_mind(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = Try::new().with("Sec-WebSocket-Protocol: centrifuge-json").bytes();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // What is refused or granted early is so, whatever comes after.
        let rules = Rules::default();
        let whole = request(&bytes, &rules);
        for cut in 0..bytes.len() {
            match request(&bytes[..cut], &rules) {
                Ok(Parsed::Incomplete) => {}
                early => prop_assert_eq!(&early, &whole),
            }
        }
        let _ = OFFER.response(&bytes);
    }
}
