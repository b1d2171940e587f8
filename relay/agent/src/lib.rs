//! `headland-relay`: the program of the box that holds every credential and speaks to the private side.
//!
//! Owns sockets, files, time and threads around the pure bus of `relay`. Never faces the internet: gateways come to its
//! unix socket, operators to its private address.
#![forbid(unsafe_code)]

pub mod config;

mod api;
mod bus;
mod clock;
mod counters;
mod fetch;
mod files;
mod http;
mod jwks;
mod keyring;
mod limits;
mod link;
mod log;
mod node;
mod proxy;
mod report;
mod run;
mod signer;
mod state;
mod verify;

pub use bus::redis;
pub use bus::{BookError, BusError, Health, IdentityError};
pub use keyring::{KeyError, Keyring};
pub use link::{Socket, SocketError};
pub use run::{StartError, check_config, run};
pub use signer::{Refusal, Signer};
pub use state::{ApplyError, Relay};
pub use verify::Verifier;
