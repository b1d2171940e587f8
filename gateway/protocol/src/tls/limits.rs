//! Bounds of the record layer and of handshakes.

/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 5;
/// Bytes of an authentication tag; the same for every suite here.
pub const TAG_BYTES: usize = 16;
/// Bytes of the nonce that TLS 1.2 sends with each AES-GCM record (RFC 5288 §3).
pub const EXPLICIT_NONCE_BYTES: usize = 8;
/// Plaintext of one record (RFC 8446 §5.1, RFC 5246 §6.2.1).
pub const PLAINTEXT_BYTES_MAX: usize = 1 << 14;
/// What one sealed record costs beyond its plaintext, at most.
pub const OVERHEAD_BYTES_MAX: usize = HEADER_BYTES + EXPLICIT_NONCE_BYTES + TAG_BYTES;
/// Body of a TLS 1.3 record (RFC 8446 §5.2).
pub const BODY_TLS13_BYTES_MAX: usize = PLAINTEXT_BYTES_MAX + 256;
/// Body of a TLS 1.2 record and of any record of a handshake (RFC 5246 §6.2.3).
pub const BODY_TLS12_BYTES_MAX: usize = PLAINTEXT_BYTES_MAX + 2048;

/// Bytes of records a server reads before the handshake is done: two ClientHellos with every extension, and the 16 KiB of
/// early data that a client may send on the strength of somebody else's ticket and that rustls skips.
pub const HANDSHAKE_SERVER_BYTES_MAX: usize = 40 * 1024;
/// Bytes of records a client reads before the handshake is done: the certificate chain is the largest part.
pub const HANDSHAKE_CLIENT_BYTES_MAX: usize = 160 * 1024;

/// Highest record sequence number. RFC 8446 §5.3 allows 2^64 - 1; 44 bits leave room for flags in the same word and last
/// half a year at a million records a second.
pub const SEQUENCE_MAX: u64 = (1 << 44) - 1;
/// Records sealed with one TLS 1.3 key before it is replaced: AES-GCM's limit at full-size records (RFC 8446 §5.5), used
/// for every suite.
pub const RECORDS_PER_KEY_MAX: u64 = 1 << 24;
/// AES blocks sealed with one TLS 1.2 key, which cannot be replaced: the same limit counted in blocks, so that small
/// records do not end a connection early.
pub const BLOCKS_PER_KEY_MAX: u64 = RECORDS_PER_KEY_MAX * (PLAINTEXT_BYTES_MAX as u64 / 16);

/// Records in a row without application data (empty ones, tickets, warnings, parts of messages).
pub const FRUITLESS_RECORDS_MAX: u64 = 32;
/// Key updates a peer may send at once.
pub const KEY_UPDATES_BURST: u64 = 16;
/// Records with application data that earn the peer one more key update.
pub const RECORDS_PER_KEY_UPDATE: u64 = 8;
/// Bytes of a session ticket message that a client skips.
pub const TICKET_BYTES_MAX: usize = (1 << 16) - 1;
/// Keys that a shard keeps set up for sealing; see [`super::SealingKeys`].
pub const SEALING_KEYS_MAX: usize = 2048;
/// Bytes a server keeps of what its peer sent before the signature was made: two ClientHellos with a post-quantum share each,
/// several times over. More is answered as if the key's holder were away.
pub const REEL_BYTES_MAX: usize = 24 * 1024;
/// Random bytes that a server draws before its signature: its random and, in TLS 1.2, a session id.
pub const FLIGHT_DRAWS_BYTES_MAX: usize = 64;
/// SNI names of all certificates of a server.
pub const NAMES_MAX: usize = 10_000;

const _: () = assert!(HANDSHAKE_SERVER_BYTES_MAX > 2 * (HEADER_BYTES + BODY_TLS12_BYTES_MAX));
const _: () = assert!(REEL_BYTES_MAX > BODY_TLS12_BYTES_MAX);
const _: () = assert!(HANDSHAKE_CLIENT_BYTES_MAX > HANDSHAKE_SERVER_BYTES_MAX);
const _: () = assert!(RECORDS_PER_KEY_MAX < SEQUENCE_MAX);
