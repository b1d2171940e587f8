//! Offers of compression: which are taken, which are as if they had not been made, which are refused.

use super::{
    client::{Accepted, Offer, Rejected},
    *,
};
use crate::ws::Compression;

fn offering(value: &str) -> Try {
    let mut attempt = Try::new().with(&format!("Sec-WebSocket-Extensions: {value}"));
    attempt.rules.compression = Some(Compression::default());
    attempt
}

const TAKEN: &str = "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover";

#[test]
fn an_offer_is_taken_without_context_takeover_on_either_side() {
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate;client_max_window_bits=\"10\" ; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=10, permessage-deflate",
        "permessage-bzip2; level=9, permessage-deflate; client_max_window_bits = 8",
    ] {
        let answer = answer(&offering(offer).upgrade());
        assert!(answer.ends_with(&format!("{TAKEN}\r\n\r\n")), "{offer}: {answer}");
    }
    let answer = answer(&offering("permessage-deflate; server_max_window_bits=15").upgrade());
    assert!(answer.ends_with(&format!("{TAKEN}; server_max_window_bits=15\r\n\r\n")), "{answer}");
}

#[test]
fn an_offer_that_cannot_be_kept_is_declined() {
    for offer in [
        "permessage-deflate; server_max_window_bits=14",
        "permessage-deflate; server_max_window_bits=\"8\"",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=015",
        "permessage-deflate; server_max_window_bits=15; server_max_window_bits=15",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; q=1",
        "Permessage-deflate",
        "deflate-frame",
        ", ,",
    ] {
        let upgrade = offering(offer).upgrade();
        assert_eq!(upgrade.deflate, None, "{offer}");
        assert!(!answer(&upgrade).contains("Extensions"), "{offer}");
    }
}

#[test]
fn what_is_no_list_of_extensions_is_refused() {
    for offer in [
        "permessage-deflate;",
        "; client_max_window_bits",
        "permessage-deflate=1",
        "permessage deflate",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; client_max_window_bits=\"10",
        "permessage-deflate; client_max_window_bits=\"\"",
        "permessage-deflate; a=\"b,c\"",
        "permessage-deflate, x(y)",
    ] {
        assert_eq!(offering(offer).refusal(), Refusal::Malformed, "{offer}");
    }
}

#[test]
fn nothing_is_agreed_to_where_it_is_off_or_for_those_who_only_listen() {
    let mut off = offering("permessage-deflate;;");
    off.rules.compression = None;
    assert_eq!(off.upgrade().deflate, None);
    let mut listener = offering("permessage-deflate").first("GET /uni HTTP/1.1");
    listener.rules.transports.uni_websocket = Some("/uni".to_owned());
    assert_eq!(listener.upgrade().deflate, None);
}

#[test]
fn our_client_takes_our_answer_and_no_other() {
    let offer = Offer {
        host: "a",
        path: PATH,
        key: *b"the sample nonce",
        subprotocol: None,
        origin: None,
        deflate: true,
    };
    let mut asked = Vec::new();
    offer.request(&mut asked);
    let rules = offering("").rules;
    let Ok(Parsed::Complete { head, .. }) = request(&asked, &rules) else { panic!() };
    let answered = answer(&head);
    let accepted = Accepted { subprotocol: false, deflate: true };
    let expected = Parsed::Complete { consumed: answered.len(), head: accepted };
    assert_eq!(offer.response(answered.as_bytes()), Ok(expected));
    for other in [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
        "permessage-deflate; server_no_context_takeover, permessage-deflate",
        "x; server_no_context_takeover",
    ] {
        let field = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let bad = answered.replace(field, other);
        assert_ne!(bad, answered);
        assert_eq!(offer.response(bad.as_bytes()), Err(Rejected::Mismatch), "{other}");
    }
}
