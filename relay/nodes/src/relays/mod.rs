//! The side of the node that relays see: what it tells them, and what it answers them.
//!
//! Owns names on the bus and the way to it. Never stores anything.

pub(crate) mod answers;
mod books;
mod client;
pub mod dispatch;
mod limits;
pub mod names;
mod sweep;
mod teller;
mod words;

#[cfg(test)]
mod tests;

pub use answers::Reads;
pub use client::Api;
pub use dispatch::Dispatch;
pub use teller::{Counters, Teller};
pub use words::publication;
