//! The Protobuf codec: messages one after another, each with its length in front; payloads are bytes that nobody looks into.
//!
//! Written by hand, as the protocol is a few dozen fields and this is what strangers' bytes meet first. Reading borrows from the
//! message and recurses no deeper than the protocol's own nesting. It keeps to the encoding's rules: fields come in any order,
//! unknown ones are skipped, of a field that comes twice the last counts (messages are merged), strings are UTF-8. A known field
//! of another wire type is refused. Writing leaves out what is empty, zero or false.

mod commands;
mod messages;
mod read;
mod replies;
mod write;

pub(super) use commands::{Commands, command};
pub(super) use messages::Messages;
pub(super) use replies::{push, push_by_number, reply};

#[cfg(test)]
mod tests;
