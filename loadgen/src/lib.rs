//! The load generator as a library.
