//! `headland-node`: what lives off the edge box — messages, membership, conversations, tokens.
//!
//! Owns every role that needs a database. Never speaks to a client socket, never runs on an edge box.
//! The roles arrive with their own issues; until then this crate holds its place among the arrows.
#![forbid(unsafe_code)]
