//! Tokens of connections and subscriptions: whatever they say is read within bounds, nothing unsigned is believed, and one kind is
//! never taken for the other.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use protocol::client::token::Keys;
use wire::{
    limits::TOKEN_SUBS_MAX,
    settings::Tokens,
    token::{Kind, Payload, Unverified},
};

/// A set with a key of each kind that tokens are signed with, without ids, so that every token finds one of its algorithm.
const KEYS: &str = r#"{"keys":[
    {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}
]}"#;

/// The input as a whole token, as its claims, and as a key set.
pub(super) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = Unverified::parse(text) {
        let keys = Keys::new(&Tokens { jwks: KEYS.to_owned(), ..Tokens::default() });
        let keys = keys.expect("invariant: the constant is a key set");
        for kind in [Kind::Connection, Kind::Subscription] {
            assert!(keys.verify(&token, kind, 0).is_err(), "nobody has signed it");
            let _ = token.payload(kind);
        }
    }
    claims(bytes);
    if let Ok(keys) = Keys::parse(text) {
        assert!(text.is_empty() || keys.len() + keys.ignored() <= text.len());
    }
}

fn claims(json: &[u8]) {
    let connection = Payload::parse(json, Kind::Connection);
    let subscription = Payload::parse(json, Kind::Subscription);
    assert!(connection.is_err() || subscription.is_err(), "no token is of both kinds");
    for payload in [&connection, &subscription].into_iter().flatten() {
        let claims = &payload.claims;
        assert!(claims.subs.len() <= TOKEN_SUBS_MAX);
        assert!(claims.subs.windows(2).all(|pair| pair[0].channel < pair[1].channel), "sorted, each once");
        // What is shown to others is embedded in JSON, so it must be JSON.
        let shown = claims.subs.iter().flat_map(|sub| [&sub.info, &sub.data]).chain([&claims.info]);
        for json in shown.filter(|json| !json.is_empty()) {
            assert!(serde_json::from_slice::<serde::de::IgnoredAny>(json).is_ok());
        }
        // It crosses a link as it is.
        let message = wire::link::ToShard::Verified { request: 1, claims: claims.clone() };
        let mut frame = Vec::new();
        if wire::frame::encode(&message, &mut frame).is_ok() {
            let body = wire::frame::split(&frame).ok().flatten().map(|(body, _)| body);
            assert_eq!(body.and_then(|body| wire::frame::decode(body).ok()), Some(message));
        }
        let _ = payload.expected(&Tokens::default());
    }
    if let Ok(payload) = &subscription {
        assert_eq!(payload.claims.subs.len(), 1, "a subscription token is for one channel");
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let claims = [
        r##"{"sub":"42","exp":1e10,"nbf":1.5,"expire_at":0,"info":{"a":1},"aud":["a","b"],"iss":"i","channels":["news","#42"]}"##,
        r#"{"sub":"42","subs":{"chat:1":{"info":[1],"b64data":"eyJhIjoxfQ==","override":{"presence":{"value":true},"force_recovery":{}}}}}"#,
        r#"{"sub":"42","channel":"$chat:1","client":"c","b64info":"eyJhIjoxfQ==","data":null,"override":{"join_leave":{"value":false}},"aud":"a"}"#,
        "{}",
    ];
    let headers = [
        r#"{"alg":"EdDSA","typ":"JWT"}"#,
        r#"{"alg":"ES256","kid":"k"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"none"}"#,
    ];
    let signature = URL_SAFE_NO_PAD.encode([7; 64]);
    let tokens = headers.iter().zip(claims).map(|(header, claims)| {
        format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    });
    let mut seeds: Vec<Vec<u8>> = tokens.map(String::into_bytes).collect();
    seeds.extend(claims.map(|claims| claims.as_bytes().to_vec()));
    seeds.push(KEYS.as_bytes().to_vec());
    seeds
}
