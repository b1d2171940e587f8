//! `loadgen`: opens and holds connections against anything that speaks the client protocol, and says what broke first.
//!
//! Owns the client's side of sockets, threads and measuring; what goes over the wire is `protocol`, turned around. Never
//! imports the server's shells: it can be pointed at anybody's.
#![forbid(unsafe_code)]

pub mod cause;
pub mod connection;
pub mod credentials;
pub mod crew;
pub mod frames;
pub mod latency;
pub mod limits;
pub mod manner;
pub mod mode;
pub mod options;
pub mod own;
pub mod pattern;
pub mod plan;
pub mod progress;
pub mod report;
pub mod run;
pub mod server;
pub mod sources;
pub mod target;
pub mod task;
#[cfg(test)]
mod tests;
pub mod who;
pub mod worker;
