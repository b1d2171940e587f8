//! Tests of the TLS module as a whole: against known answers, against rustls in memory, and against misbehaving peers.

mod certificates;
mod failures;
mod handshakes;
mod misbehaving;
mod passes;
mod records;
mod vectors;
mod world;
