//! Tests of the TLS module as a whole: against known answers, against rustls in memory, and against misbehaving peers.

mod handshakes;
mod world;
