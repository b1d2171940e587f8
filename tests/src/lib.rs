//! What tests and benches of the whole system share: worlds of real programs, clients, credentials, measurements.
#![forbid(unsafe_code)]

pub mod backend;
pub mod bench;
pub mod bus;
pub mod client;
pub mod conformance;
pub mod credentials;
pub mod cut;
pub mod disk;
pub mod folder;
pub mod fuzz;
pub mod jwks;
pub mod link;
pub mod metrics;
pub mod node;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod rest;
pub mod script;
pub mod shared;
pub mod sim;
pub mod soak;
pub mod wait;
pub mod world;
