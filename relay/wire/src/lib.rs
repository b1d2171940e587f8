//! `wire`: what the two sides of every private link say to each other.
//!
//! Owns the words (frames, messages, settings, channel names) and their encoding. Never opens a socket,
//! reads a clock or decides anything: both sides import it, so it may import none of them.
#![forbid(unsafe_code)]

pub mod admission;
pub mod backend;
pub mod bus;
pub mod channel;
pub mod code;
pub mod config;
pub mod edges;
pub mod frame;
pub mod limits;
pub mod link;
pub mod mesh;
pub mod node;
pub mod pattern;
pub mod settings;
pub mod sign;
pub mod stats;
pub mod survey;
pub mod tags;
pub mod token;

mod ids;
pub use ids::ClientId;
