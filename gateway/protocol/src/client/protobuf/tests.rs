//! The codec against documented bytes, against itself, and against another implementation of the encoding.

mod differential;
mod examples;
mod schema;
