//! TLS of a client's connection, at both ends. rustls does the handshake ([`Handshake`]) and is then dropped; what remains
//! ([`Traffic`]) is 16 bytes and one small allocation of plain data, and the record layer over it is here.
//!
//! Buffers are the caller's: a connection owns none. Never reads a socket or a clock (rustls asks the system for the time
//! when it checks certificates and tickets, and for randomness).

mod capture;
pub mod certificate;
mod config;
mod error;
mod given;
mod handshake;
mod keys;
pub mod limits;
mod message;
mod open;
mod record;
mod replay;
mod schedule;
mod seal;
mod state;
mod suite;
#[cfg(test)]
mod tests;

pub use certificate::Certificates;
pub use config::{ClientOptions, ServerOptions, Trust, client_config, server_config, tickets};
pub use error::{Cause, Failure, Misbehaviour, TlsError, Unsigned};
pub use given::Keys;
pub use handshake::{Begun, Done, Flight, Handshake, Progress};
pub use keys::SealingKeys;
pub use open::Opened;
pub use replay::Wanted;
pub use state::{LAYOUT_VERSION, State, Traffic};
pub use suite::{Suite, Version};
