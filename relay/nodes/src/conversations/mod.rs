//! Conversations: a user's channels, latest first, each with what is unread and what was said last; and search in them.

pub mod api;
mod logic;
mod service;

pub use logic::Before;
pub use service::{Listed, list, search};
