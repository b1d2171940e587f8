//! What a connection token says (JWT claims of the client protocol).

use serde::{Deserialize, Serialize};

/// The claims of a connection token that matter to a session. Verified by the relay (HMAC) or the gateway (public keys).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Claims {
    /// User id; empty is anonymous.
    pub user: String,
    /// Unix seconds after which the *token* is refused; 0 never.
    pub exp: u64,
    /// Unix seconds at which the *connection* expires; 0 never. `expire_at` if the token has it, else `exp`.
    pub expire_at: u64,
    /// JSON shown in presence, join, leave and publications; empty when absent.
    #[serde(with = "serde_bytes")]
    pub info: Vec<u8>,
}
