//! What every store promises, on each kind of database alike; and what becomes of the promises when a database fails.
#![forbid(unsafe_code)]

mod contract;
mod faults;
mod migrations;
mod moving;
mod place;
mod properties;
mod writers;
