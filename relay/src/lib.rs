//! Pure broker.
