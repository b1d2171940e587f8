//! Bounds of the private links. Each queue and frame names its bound here.

/// One frame's body. Holds a recovery answer of [`RECOVERY_BYTES_MAX`] with its framing.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Publications returned by one recovery or history answer, in bytes of their frames: past it, recovery is
/// `recovered: false` and a history page ends early.
pub const RECOVERY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of frames a relay keeps for one shard that does not read; past it channels are marked as gapped.
pub const LINK_TO_SHARD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of frames a shard keeps for a relay that does not read; past it commands get a temporary error.
pub const LINK_TO_RELAY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A message to be signed: TLS 1.3 signs 64 + 33 + 1 + hash bytes, TLS 1.2 two randoms and the key exchange parameters.
pub const SIGN_MESSAGE_BYTES_MAX: usize = 1024;
/// Tags of one publication.
pub const TAGS_MAX: usize = 64;
/// Bytes of one publication's tags, packed.
pub const TAGS_BYTES_MAX: usize = 4096;
/// Bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// A regular expression of the configuration as it is written.
pub const PATTERN_BYTES_MAX: usize = 4096;
/// The same compiled.
pub const PATTERN_COMPILED_BYTES_MAX: usize = 256 * 1024;
/// Channels that one connection token may subscribe its connection to.
pub const TOKEN_SUBS_MAX: usize = 512;
/// What a backend may give a session to keep, in JSON.
pub const META_BYTES_MAX: usize = 16 * 1024;
/// A close frame's reason (RFC 6455 §5.5).
pub const REASON_BYTES_MAX: usize = 123;
/// Names of fields of a client's HTTP request that backends may be told.
pub const PASSED_HEADERS_MAX: usize = 32;
/// Hashes of users in one answer to a survey; up to so many users are counted exactly.
pub const USERS_SKETCH_MAX: usize = 4096;
/// What a survey's answer may take; past it the question has to be narrower.
pub const SURVEY_BYTES_MAX: usize = 1024 * 1024;
/// One word between relays. A bus carries it whole.
pub const EDGE_WORD_BYTES_MAX: usize = 2 * 1024 * 1024;

const _: () = assert!(SURVEY_BYTES_MAX < EDGE_WORD_BYTES_MAX && EDGE_WORD_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(RECOVERY_BYTES_MAX * 3 / 2 <= FRAME_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MAX < LINK_TO_SHARD_BYTES_MAX);
