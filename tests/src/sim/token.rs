//! Tokens that the relay of a simulation finds genuine.

use serde_json::{Value, json};

use super::relay::GENUINE;

/// A connection token of a user, with the channels that the server subscribes it to.
pub(super) fn connection(user: &str, expiry: Option<u64>, subs: &[(String, Value)]) -> String {
    let mut claims = json!({ "sub": user });
    if subs.iter().any(|(_, options)| !options.is_null()) {
        claims["subs"] =
            subs.iter().map(|(name, options)| (name.clone(), json!({ "override": options }))).collect();
    } else if !subs.is_empty() {
        claims["channels"] = subs.iter().map(|(name, _)| name.as_str()).collect();
    }
    sealed(claims, expiry)
}

/// A subscription token of a user; empty for an anonymous one.
pub(super) fn subscription(user: &str, channel: &str, expiry: Option<u64>) -> String {
    sealed(json!({ "sub": user, "channel": channel }), expiry)
}

fn sealed(mut claims: Value, expiry: Option<u64>) -> String {
    if let Some(expiry) = expiry {
        claims["exp"] = expiry.into();
    }
    let header = encode(br#"{"alg":"HS256"}"#);
    format!("{header}.{}.{GENUINE}", encode(claims.to_string().as_bytes()))
}

/// Base64url without padding (RFC 4648 §5).
fn encode(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes)
}
