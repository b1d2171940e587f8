//! Bounds of the relay's program. Those of the bus are in `relay`, those of the links in `wire`.

use std::time::Duration;

/// A configuration file, or a JWK set.
pub(crate) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Link connections at once: control, shards and signing.
pub(crate) const CONNECTIONS_MAX: usize = 2048;
/// Signing connections, each with a thread, at once.
pub(crate) const SIGNERS_MAX: usize = 512;
/// The stack of a signing thread: a signature and two small buffers.
pub(crate) const SIGNER_STACK_BYTES: usize = 256 * 1024;
/// What a signing thread reads at most before it answers: what a shard asks for in a turn, and more.
pub(crate) const SIGN_READ_BYTES: usize = 16 * 1024;
/// A connection must have sent its greeting by then.
pub(crate) const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// What one read of a link takes at most.
pub(crate) const READ_BYTES: usize = 64 * 1024;
/// How often whoever has something for a link writes to it before the link's own task goes on.
pub(crate) const WRITE_ROUNDS: usize = 4;
/// A JWK set from an endpoint.
pub(crate) const FETCHED_BYTES_MAX: usize = 256 * 1024;
/// Keys taken from it; with those of the configuration they have to fit what a gateway takes.
pub(crate) const FETCHED_KEYS_MAX: usize = 32;
/// How often one fetch is tried.
pub(crate) const FETCH_TRIES: usize = 2;
/// The longest timeout that can be set: a start may wait for every try.
pub(crate) const FETCH_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// After a fetch that failed the next waits this long, and twice as long each time, up to the second.
pub(crate) const FETCH_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Tokens with unknown keys may cause this many fetches at once ..
pub(crate) const FETCH_BURST: u32 = 3;
/// .. and one more each time so long has passed.
pub(crate) const FETCH_EVERY: Duration = Duration::from_secs(10);
/// The longest a backend may be given: the gateway gives the relay little more.
pub(crate) const PROXY_TIMEOUT_MAX: Duration = Duration::from_secs(4);
/// A backend's answer.
pub(crate) const PROXY_ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Calls of one backend under way; further ones fail at once.
pub(crate) const PROXY_CALLS_MAX: usize = 256;
/// Connections to one backend that wait for the next call.
pub(crate) const PROXY_IDLE_MAX: usize = 64;
/// For how long.
pub(crate) const PROXY_IDLE_FOR: Duration = Duration::from_secs(60);
/// A call that did not reach its backend is tried once more after this.
pub(crate) const PROXY_RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Backends in the configuration that namespaces can name, and namespaces of calls.
pub(crate) const PROXIES_MAX: usize = 256;
/// Addresses of nodes.
pub(crate) const NODE_ADDRESSES_MAX: usize = 64;
/// How long a connection to one waits for the next call: less than the 30 s after which nodes end it.
pub(crate) const NODE_IDLE_FOR: Duration = Duration::from_secs(20);
/// How long nodes may take for one answer, all tries together: a shard waits little longer.
pub(crate) const NODE_WITHIN: Duration = Duration::from_secs(4);
/// Questions that are with nodes at once; more wait.
pub(crate) const NODE_CALLS_MAX: usize = 512;
/// Questions that wait for that, or for one before them; past it they fail at once.
pub(crate) const NODE_WAITING_MAX: usize = 16_384;
/// A node's answer: [`wire::node::READ_MAX`] of the largest messages.
pub(crate) const NODE_ANSWER_BYTES_MAX: usize = 48 * 1024 * 1024;
/// The longest that a node which did not answer is left alone.
pub(crate) const NODE_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Rights that are remembered; past it, some are forgotten.
pub(crate) const RIGHTS_MAX: usize = 65_536;
/// How long it is remembered that a user has no right.
pub(crate) const RIGHTS_REFUSED_FOR: Duration = Duration::from_secs(1);
/// How often a right is asked for again that a node took back while it was on its way.
pub(crate) const RIGHTS_TRIES: usize = 5;
/// Certificates in the configuration.
pub(crate) const CERTIFICATES_MAX: usize = 256;
/// Keys in memory: those of the configuration and those that a reload replaced, for as long as [`KEY_GRACE`] or until there
/// are more than this.
pub(crate) const KEYS_MAX: usize = 1024;
/// A replaced key still signs this long: gateways pass a reload on in well under it.
pub(crate) const KEY_GRACE: Duration = Duration::from_secs(600);
/// Namespaces in the configuration.
pub(crate) const NAMESPACES_MAX: usize = 4096;
/// The bus lets time pass this often.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// A failed accept (descriptors are out) is tried again after this.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// HTTP connections at once; backends keep theirs open.
pub(crate) const HTTP_CONNECTIONS_MAX: usize = 1024;
/// Requests to the server API whose bodies are in memory at once; more wait.
pub(crate) const API_REQUESTS_MAX: usize = 64;
/// Keys of the server API beside the first.
pub(crate) const API_KEYS_MAX: usize = 64;
/// A request's body.
pub(crate) const API_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long it may take to come.
pub(crate) const API_BODY_WITHIN: Duration = Duration::from_secs(10);
/// Commands of one batch.
pub(crate) const API_BATCH_MAX: usize = 10_000;
/// Commands of a parallel batch, or channels of a broadcast, that are worked on at once.
pub(crate) const API_PARALLEL_MAX: usize = 128;
/// Channels of one broadcast.
pub(crate) const API_BROADCAST_MAX: usize = 10_000;
/// Clients that one disconnect spares.
pub(crate) const API_WHITELIST_MAX: usize = 1024;
/// Questions of the server API that wait for the bus.
pub(crate) const API_QUESTIONS_MAX: usize = 16_384;
/// How long the bus may take to answer one.
pub(crate) const API_ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// At the end, HTTP answers may take this long.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(5);

const _: () = assert!(PROXY_ANSWER_BYTES_MAX * 2 <= wire::limits::FRAME_BYTES_MAX);
const _: () = assert!(SIGNERS_MAX < CONNECTIONS_MAX);
const _: () = assert!(CERTIFICATES_MAX * 2 <= KEYS_MAX);
const _: () = assert!(API_REQUESTS_MAX * API_PARALLEL_MAX <= API_QUESTIONS_MAX);
/// Prefixes in a list of those let in or turned away; with both lists full, settings still fit a frame several times.
pub(crate) const PREFIXES_MAX: usize = 10_000;
/// Connections of other edges at once, strangers' included.
pub(crate) const MESH_CONNECTIONS_MAX: usize = 256;
/// Bytes of publications that wait until the mesh has time; past it they fail.
pub(crate) const MESH_ASKS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A connection to another edge is tried again after a pause between these ..
pub(crate) const MESH_DIAL_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// .. and at least this where the other side would not have it.
pub(crate) const MESH_REFUSED_PAUSE: Duration = Duration::from_secs(2);
/// Both sides must be known by then.
pub(crate) const MESH_DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// The file that lists the edges is looked at this often.
pub(crate) const MESH_FILE_EVERY: Duration = Duration::from_secs(1);
/// Edges and strangers of whom is remembered what was last wrong.
pub(crate) const MESH_NOTES_MAX: usize = 256;
/// A key that edges share has at least so many bytes.
pub(crate) const MESH_KEY_BYTES_MIN: usize = 16;
