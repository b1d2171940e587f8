//! The JSON codec: documents separated by newlines, payloads embedded as raw JSON.
//!
//! Reading borrows from the message and builds no tree; members may come in any order, unknown ones are skipped, `null` is the
//! same as absent (but a payload in a payload) and of members with the same name the last one counts, as the decoders of
//! existing servers have it. Writing
//! leaves out what is empty, zero or false.

mod check;
mod commands;
mod lines;
mod messages;
mod object;
mod replies;
mod text;

pub(super) use check::is_json;
pub(super) use commands::{Commands, command};
pub(super) use messages::Messages;
pub(super) use replies::{push, push_by_number, reply};

#[cfg(test)]
mod tests;
