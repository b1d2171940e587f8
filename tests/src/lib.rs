//! What tests and benches of the whole system share: worlds of real programs, credentials, measurements.
#![forbid(unsafe_code)]

pub mod credentials;
