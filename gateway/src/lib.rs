//! `gateway`: the only process of the box that touches the internet: one loop per core, nothing shared between them.
//!
//! Owns sockets, threads and clocks of the public side. Opens no connection but to the relay's unix socket, holds no private key and
//! no credential; what a connection means is decided in `protocol`.
#![forbid(unsafe_code)]

pub mod config;
mod control;
mod flights;
pub mod limits;
mod line;
mod link;
mod newcomers;
mod policy;
pub mod reactor;
pub mod run;
mod sandbox;
mod shards;
