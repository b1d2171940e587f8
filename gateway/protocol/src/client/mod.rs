//! The client protocol: what clients ask, what they are told, and how either looks on the wire.
//!
//! [`command`], [`reply`] and [`received`] are words without an encoding; [`encoding`] turns them into bytes and back, one codec per
//! encoding. [`token`] verifies who a client is, [`rights`] decides what it may do. Nothing here keeps state.

pub mod call;
pub mod command;
pub mod encoding;
pub mod limits;
pub mod received;
pub mod reply;
pub mod rights;
pub mod token;

mod json;
mod protobuf;
mod shapes;

#[cfg(test)]
mod tests;
