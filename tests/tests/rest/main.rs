//! The REST API of nodes as its clients meet it: real nodes, on SQLite unless a test is about another database.
#![forbid(unsafe_code)]

mod away;
mod keys;
mod openapi;
mod pages;
mod posting;
mod program;
mod rights;
mod room;
mod sign_in;
mod sites;
mod slow;
