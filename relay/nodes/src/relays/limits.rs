//! Bounds of what goes between nodes and relays.

/// Queues that tell relays side by side; a channel is always in the same one.
pub(super) const DISPATCH_LANES: usize = 4;
/// Jobs that wait in one of them; further ones are left to the sweep.
pub(super) const DISPATCH_QUEUE_MAX: usize = 8192;
/// Bytes of all that waits.
pub(super) const DISPATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Jobs that go to a relay in one request ..
pub(super) const BATCH_JOBS: usize = 256;
/// .. and about so many bytes of them.
pub(super) const BATCH_BYTES: usize = 1024 * 1024;
/// How long one relay may take for a request before the next one is asked.
pub(super) const RELAY_WITHIN: std::time::Duration = std::time::Duration::from_secs(3);
/// An answer of a relay: a few words for each command.
pub(super) const RELAY_ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// The pause after no relay could be told, and at most after more such failures, each of which doubles it.
pub(super) const RELAY_PAUSE: (std::time::Duration, std::time::Duration) =
    (std::time::Duration::from_millis(50), std::time::Duration::from_secs(2));
/// How often the stores are asked for what was not told.
pub(super) const SWEEP_EVERY: std::time::Duration = std::time::Duration::from_secs(1);
/// Channels of one store that one sweep deals with, and entries of a channel that go at once.
pub(super) const SWEEP_CHANNELS: usize = 256;
/// See [`SWEEP_CHANNELS`].
pub(super) const SWEEP_ENTRIES: usize = 128;
/// What relays have taken is written down so often at most ..
pub(super) const BOOKS_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
/// .. or once so many channels wait for it.
pub(super) const BOOKS_CHANNELS_MAX: usize = 2048;
/// Messages that are made findable in one transaction.
pub(super) const INDEX_MESSAGES: usize = 64;
/// The search learns of what was stored so often at most ..
pub(super) const INDEX_PAUSE: std::time::Duration = std::time::Duration::from_millis(500);
/// .. and leaves the database to others for so many times as long as it has used it.
pub(super) const INDEX_YIELD: u32 = 3;
/// Notices that are dealt with at once.
pub(super) const NOTICES: usize = 64;
/// How often a notice is told anew because the membership has changed meanwhile, before the next round.
pub(super) const NOTICE_TURNS: usize = 3;
/// Channels in the list of one user's connection.
pub(super) const LISTED_MAX: usize = 1024;
