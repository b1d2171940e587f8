//! Tokens: registration and sign-in, the keys that sign, what they signed.
//!
//! Owns passwords, keys and sessions. Edges verify with the public keys; nothing here ever leaves with a private one.

pub mod api;
pub mod keys;
pub mod logic;
mod password;
mod service;
mod throttle;

pub use keys::{Keys, keep};
pub use password::Hasher;
pub use service::{Newcomer, SignedIn, enlist, ensure_workspace, log_in, make_workspace, refresh, register};
pub use throttle::Throttle;
