//! The bodies of the targets, from the same file as the smoke test's.

#[path = "../../src/fuzz/mod.rs"]
pub mod bodies;
