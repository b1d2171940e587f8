//! Kernel and process limits.
