//! The system calls of the gateway and the load generator behind one trait, [`Sys`](https://example.invalid).
