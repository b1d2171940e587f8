//! Bounds of one shard: every queue, buffer and loop of the pure code names its bound here.

/// Fan-out visits (one subscriber, all it is owed) per turn; a turn of this size takes about 2 ms with its sends.
pub const FANOUT_VISITS_PER_TURN: usize = 256;
/// Visits one channel gets before the next channel's job has its turn.
pub const FANOUT_VISITS_PER_JOB: usize = 64;
/// Deliveries in one turn that make it a broadcast, for which sealing keys are kept set up.
pub const BROADCAST_DELIVERIES: u64 = 32;
/// How long they are kept after the last one.
pub const BROADCAST_KEPT: std::time::Duration = std::time::Duration::from_secs(5);
/// Bytes of publications waiting in fan-out jobs; past it the shard stops reading its link, so that the relay sees the backlog.
pub const FANOUT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Requests waiting for the relay's answer; past it commands get a temporary error.
pub const PENDING_MAX: usize = 65_536;
/// Requests of one connection that wait for the relay's answer.
pub const PENDING_PER_CONNECTION_MAX: usize = 512;
/// The same, where the answer is a backend's.
pub const PROXIED_PER_CONNECTION_MAX: usize = 32;
/// What a backend's silence gives a session or subscription whose time is over, in seconds; then it is asked again.
pub const REFRESH_AGAIN_S: u64 = 60;
/// How long the relay may take to answer before the client gets a temporary error.
pub const PENDING_TIMEOUT_MS: u64 = 5_000;
/// Own bytes that wait for a connection are joined up to this size: what is longer is freed once it has been taken.
pub const JOINED_BYTES_MAX: usize = 16 * 1024;
/// Handshake records held for one connection while its flight is being worked on.
pub const HANDSHAKE_INPUT_BYTES_MAX: usize = 20 * 1024;
/// The relay is told of tokens with unknown keys at most once in this time.
pub const UNKNOWN_KEY_MS: u64 = 1_000;
/// An HTTP request head.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Largest body that may be configured for an HTTP request; it has to fit one frame of the link.
pub const HTTP_BODY_BYTES_MAX: usize = 1024 * 1024;
/// One TLS record's plaintext (RFC 8446 §5.1), and so the most that one send carries.
pub const RECORD_BYTES_MAX: usize = 16 * 1024;
/// What may wait for a connection of an echo listener before no more is read from it; one message may be beyond it.
pub const ECHO_BACKLOG_BYTES_MAX: usize = 64 * 1024;
/// How long a connection of an echo listener may be silent, or not read what it is owed.
pub const ECHO_IDLE_MS: u64 = 60_000;
/// How long a connection that has said goodbye may take to go.
pub const CLOSING_MS: u64 = 3_000;
/// A backlog above this share of the hard bound may last [`BACKLOG_SOFT_MS`].
pub const BACKLOG_SOFT_SHARE: usize = 4;
/// How long a backlog may stay above the soft bound.
pub const BACKLOG_SOFT_MS: u64 = 10_000;
/// Bytes waiting for all slow readers of a shard, and held of all unfinished messages; past it the largest are shed.
pub const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// After shedding, this share (in eighths) of [`HELD_BYTES_MAX`] is left.
pub const HELD_KEPT_EIGHTHS: usize = 6;
/// The whole table of deadlines is swept once in this time, a slice per turn.
pub const SWEEP_MS: u64 = 250;
/// Channels or presence entries restored per turn after the relay came back.
pub const RESTORES_PER_TURN: usize = 512;
/// Hot parts kept for reuse: what one turn's fan-out needs.
pub const HOT_POOL_MAX: usize = FANOUT_VISITS_PER_TURN;
/// A payload that is compared with the one before it (and that one), for subscribers that want differences; larger ones are given whole.
pub const DELTA_BYTES_MAX: usize = 64 * 1024;
/// Payloads of one recovery that are given as differences, in bytes; with more it is given whole, as many may recover at once.
pub const RECOVERY_DELTA_BYTES_MAX: usize = 64 * 1024;
/// Groups open at once in a Protobuf field that is skipped (no field here is a group).
pub const PROTOBUF_GROUPS_MAX: usize = 32;
/// A tags filter as a client writes it.
pub const FILTER_BYTES_MAX: usize = 4096;
/// Comparisons and combinations in a tags filter.
pub const FILTER_NODES_MAX: usize = 64;
/// Levels of a tags filter.
pub const FILTER_DEPTH_MAX: usize = 8;
/// Values that one comparison of a tags filter has.
pub const FILTER_VALUES_MAX: usize = 128;
/// Sources (and IPv6 sites) of a shard whose rate is kept count of, 40 bytes each; further ones are turned away until some are
/// forgotten, which takes a bucket's time to fill.
pub const SOURCES_MAX: usize = 65_536;
/// Of these, looked at per turn.
pub const SOURCES_SWEPT_PER_TURN: usize = 16;
/// Meters of command rates looked at per turn.
pub const METERS_SWEPT_PER_TURN: usize = 16;
/// Questions of the relay about all sessions or channels that wait or are walked for.
pub const SURVEYS_MAX: usize = 8192;
/// Bytes of those that wait.
pub const SURVEYS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Connections visited for them per turn, some 0.2 ms.
pub const SURVEY_VISITS_PER_TURN: usize = 1024;
/// The same of channels, whose names are matched.
pub const SURVEY_CHANNELS_PER_TURN: usize = 256;
/// Fraction of the link's outbound bound (in eighths) above which commands are refused; the rest is for departures.
pub const LINK_COMMANDS_EIGHTHS: usize = 6;

const _: () = assert!(FANOUT_VISITS_PER_JOB <= FANOUT_VISITS_PER_TURN);
const _: () = assert!(HELD_KEPT_EIGHTHS < 8 && LINK_COMMANDS_EIGHTHS < 8);
