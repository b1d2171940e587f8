//! Bounds of the client protocol's encodings.

/// Messages a server puts into one WebSocket message at most, so that a client can work between them.
pub const MESSAGES_IN_FRAME_MAX: usize = 16;
/// Brackets open at once in a JSON document, the command around the data included. Recursive parsers behind us (and in other
/// clients) get no deeper document through us.
pub const JSON_DEPTH_MAX: usize = 128;
/// Public keys in a JWK set.
pub const KEYS_MAX: usize = 64;
/// Keys tried for a token that names none.
pub const KEYS_TRIED_MAX: usize = 4;

const _: () = assert!(KEYS_TRIED_MAX <= KEYS_MAX);
