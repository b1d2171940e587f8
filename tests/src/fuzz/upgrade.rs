//! HTTP heads: what is said early is not taken back, and every answer is one that the other end understands.

use protocol::upgrade::{
    JSON, Origin, PROTOBUF, Parsed, Rules,
    client::{Offer, Rejected},
    limits::HEAD_BYTES_MAX,
    request, response,
};
use protocol::ws::Compression;

const OFFER: Offer<'static> = Offer {
    host: "localhost",
    path: "/",
    key: *b"the sample nonce",
    subprotocol: None,
    origin: None,
    deflate: true,
};

/// The input as a request, and as a response.
pub(super) fn run(bytes: &[u8]) {
    let origins = ["https://*.example.com", "http://localhost:3000"];
    let origins = origins.iter().filter_map(|origin| Origin::parse(origin).ok()).collect();
    let compression = Some(Compression::default());
    let rules = Rules { origins, encodings: vec![JSON, PROTOBUF], compression, ..Rules::default() };
    let whole = request(bytes, &rules);
    let half = request(&bytes[..bytes.len() / 2], &rules);
    if half != Ok(Parsed::Incomplete) {
        assert_eq!(half, whole, "more bytes change nothing that was said");
    }
    match whole {
        Ok(Parsed::Incomplete) => assert!(bytes.len() < HEAD_BYTES_MAX),
        Ok(Parsed::Complete { consumed, head }) => {
            assert!(consumed <= bytes.len().min(HEAD_BYTES_MAX));
            let cut = request(&bytes[..consumed], &rules);
            assert_eq!(cut, whole, "what follows the head is not looked at");
            let mut out = Vec::new();
            response(&head, &mut out);
            // Only the key and the subprotocol can differ from what this client asked for.
            assert!(matches!(OFFER.response(&out), Ok(_) | Err(Rejected::Mismatch)));
        }
        Err(refusal) => {
            let mut out = Vec::new();
            refusal.response(&mut out);
            let status = refusal.status();
            assert_eq!(OFFER.response(&out), Err(Rejected::Status { status }));
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(origin) = Origin::parse(text) {
            assert!(!text.contains('/') || text.contains("://"));
            let _ = origin.allows(b"https://a.example.com");
        }
        let _ = Origin::parse("https://*.example.com").map(|origin| origin.allows(bytes));
    }
    let _ = OFFER.response(bytes);
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut asked = Vec::new();
    Offer { path: "/connection/websocket?format=protobuf&cf_ws_frame_ping_pong=true", ..OFFER }
        .request(&mut asked);
    let mut browser = Vec::new();
    Offer {
        path: "http://localhost/connection/websocket?cf_protocol=json",
        subprotocol: Some("centrifuge-protobuf, centrifuge-json"),
        origin: Some("https://app.example.com"),
        ..OFFER
    }
    .request(&mut browser);
    let endless = [&asked[..asked.len() - 2], b"Cookie: ", &[b'c'; HEAD_BYTES_MAX]].concat();
    let mut seeds = vec![asked, browser, endless];
    let texts = [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n folded\r\n\r\n",
        "https://*.example.com:8443",
        "http://[::1]:3000",
        "null",
    ];
    seeds.extend(texts.map(|text| text.as_bytes().to_vec()));
    seeds
}
