//! The client protocol: what clients ask, what they are told, and how either looks on the wire.
//!
//! [`command`], [`reply`] and [`received`] are words without an encoding; [`encoding`] turns them into bytes and back, one codec per
//! encoding. Nothing here keeps state.

pub mod command;
pub mod encoding;
pub mod limits;
pub mod received;
pub mod reply;

mod json;
