//! Tests of the load generator as a whole, against a small server of their own.

mod modes;
pub(crate) mod peer;
