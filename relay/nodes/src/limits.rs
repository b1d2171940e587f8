//! Bounds of the node's program towards clients. Those between nodes and relays are in `relays`, those of stores in `store`.

use std::time::Duration;

/// A configuration file.
pub(crate) const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// What is in progress at a stop may take this long.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A request's header must have come by then; a kept connection's next one too.
pub(crate) const HEADER_WITHIN: Duration = Duration::from_secs(30);
/// And its body after this.
pub(crate) const BODY_WITHIN: Duration = Duration::from_secs(10);
/// What a request may take until its answer begins.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// A client that takes nothing of its answer for so long is gone.
pub(crate) const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// A request's body: a message's with what is around it, escaped.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;
/// A request's header.
pub(crate) const HEADER_BYTES_MAX: usize = 32 * 1024;
/// A failed accept (descriptors are out) is tried again after this.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A message's body as JSON.
pub(crate) const MESSAGE_BYTES_MAX: usize = 32 * 1024;
/// How deep its arrays and objects may be in each other: what every client's parser takes.
pub(crate) const MESSAGE_DEPTH_MAX: usize = 64;
/// Characters of a media reference.
pub(crate) const MEDIA_MAX: usize = 2048;
/// Characters of an idempotency key.
pub(crate) const KEY_MAX: usize = 128;
/// Characters of the names that are signed in with.
pub(crate) const NAME_MAX: usize = 64;
/// Characters of a channel's name, or of what others see of a user.
pub(crate) const TITLE_MAX: usize = 128;
/// Characters of a password: any sentence, and no more work than that.
pub(crate) const PASSWORD: (usize, usize) = (8, 256);
/// Characters of a refresh token.
pub(crate) const REFRESH_TOKEN_MAX: usize = 128;
/// Characters of what is searched for.
pub(crate) const QUERY_MAX: usize = 256;
/// Characters of an access token.
pub(crate) const ACCESS_TOKEN_MAX: usize = 4096;
/// Members that a channel is made with.
pub(crate) const MEMBERS_AT_ONCE_MAX: usize = 100;

/// Items of one list, where the request does not say.
pub(crate) const PAGE: usize = 50;
/// And at most.
pub(crate) const PAGE_MAX: usize = 200;
/// Unread messages are counted up to this.
pub(crate) const UNREAD_MAX: u32 = 1000;
/// Channels that one search looks through.
pub(crate) const SEARCH_CHANNELS_MAX: usize = 10_000;

/// How old what is known of a user in a channel may be.
pub(crate) const STANDING_AGE_MAX: Duration = Duration::from_secs(1);
/// The same while the store is away, for reads from the cache.
pub(crate) const STANDING_AGE_AWAY_MAX: Duration = Duration::from_secs(300);
/// How many of these are known.
pub(crate) const STANDINGS_MAX: usize = 65_536;
/// Access tokens that are known to be good.
pub(crate) const VERIFIED_MAX: usize = 16_384;
/// Read marks of senders that wait; of those past it, the poster's own mark trails until the next.
pub(crate) const MARKS_MAX: usize = 8192;
/// How long they wait for further ones of the same member.
pub(crate) const MARKS_EVERY: Duration = Duration::from_millis(500);
/// A stream that is on its way to another cluster is asked for again after this ..
pub(crate) const MOVING_PAUSE: Duration = Duration::from_millis(50);
/// .. so many times.
pub(crate) const MOVING_TRIES: usize = 10;

/// The keys of tokens are read again this often.
pub(crate) const KEYS_EVERY: Duration = Duration::from_secs(10);
/// A token with an unknown key has them read at once, but only so often.
pub(crate) const KEYS_PAUSE: Duration = Duration::from_millis(500);
/// For how long a node has its number in ids ..
pub(crate) const LEASE_MS: i64 = 300_000;
/// .. and how often it is renewed.
pub(crate) const LEASE_RENEWED: Duration = Duration::from_secs(60);
/// How far the clocks of nodes and edges may differ.
pub(crate) const CLOCKS_DIFFER_MS: i64 = 60_000;

/// Passwords that wait to be hashed; further ones are refused.
pub(crate) const HASHES_WAITING_MAX: usize = 64;
/// Accounts and sources whose failed sign-ins are counted.
pub(crate) const FAILURES_KEPT_MAX: usize = 65_536;
/// In what time the configured number of failed sign-ins is forgotten.
pub(crate) const FAILURES_WINDOW: Duration = Duration::from_secs(300);

/// The chat page's client library.
pub(crate) const DEMO_LIBRARY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What databases say to requests is logged this often at most.
pub(crate) const LOG_EVERY: Duration = Duration::from_secs(1);

/// A client is told to come again after this many seconds, where nothing better is known.
pub(crate) const RETRY_AFTER_S: u32 = 1;
/// While a database is away.
pub(crate) const RETRY_AFTER_AWAY_S: u32 = 2;

const _: () = assert!(MESSAGE_BYTES_MAX + MEDIA_MAX * 4 + KEY_MAX * 4 < BODY_BYTES_MAX);
const _: () = assert!(2 * LEASE_RENEWED.as_millis() as i64 + CLOCKS_DIFFER_MS < LEASE_MS);
