//! `protocol`: what goes over a client's connection, as pure state machines: TLS, HTTP upgrade, WebSocket, client protocol.
//!
//! Owns bytes in, bytes and events out, for both ends (the gateway's and, turned around, the load generator's). Never opens a
//! socket, reads a clock or draws from the system's randomness: time and seeds are arguments.
#![forbid(unsafe_code)]

pub mod admission;
pub mod client;
pub mod connection;
pub mod delta;
pub mod filter;
pub mod framing;
pub mod http;
pub mod hub;
pub mod limits;
pub mod opening;
pub mod outbox;
pub mod pending;
pub mod places;
mod protobuf;
mod random;
pub mod shard;
pub mod time;
pub mod tls;
pub mod upgrade;
pub mod ws;
