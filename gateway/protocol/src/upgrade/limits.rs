//! Bounds of the HTTP upgrade.

/// A request's or response's head. Browsers send under 1 KiB; cookies of a shared domain can make several.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Header fields in a head.
pub const HEADERS_MAX: usize = 64;
/// What a client draws for its key (RFC 6455 §4.1).
pub const KEY_BYTES: usize = 16;
