//! `headland-node`: what lives off the edge box — messages, membership, conversations, tokens.
//!
//! Owns every role that needs a database. Never speaks to a client socket, never runs on an edge box.
//! The words of relays and nodes are in `wire::node`, how it all works in relay/NODES.md.
#![forbid(unsafe_code)]
#![allow(clippy::duplicate_mod, reason = "store/sql is compiled for each kind of database")]

pub mod cache;
pub mod clock;
pub mod config;
pub mod conversations;
pub mod counters;
mod demo;
pub mod fast;
pub mod flight;
pub mod http;
pub mod ids;
mod limits;
mod log;
pub mod membership;
pub mod message;
pub mod model;
pub mod numbers;
mod openapi;
pub mod problem;
pub mod relays;
mod report;
mod run;
pub mod state;
pub mod store;
pub mod tokens;

pub use run::{StartError, add_user, check_config, move_workspace, run};
