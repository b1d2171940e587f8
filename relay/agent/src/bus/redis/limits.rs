//! Bounds of an adapter to Redis: queues, batches, times.

use std::time::Duration;

/// Asks that wait for one connection.
pub(super) const INBOX_JOBS_MAX: usize = 262_144;
/// Their bytes.
pub(super) const INBOX_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Commands written at once ..
pub(super) const BATCH_JOBS_MAX: usize = 256;
/// .. and their bytes: past it the batch ends.
pub(super) const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Batches on the way of one connection.
pub(super) const BATCHES_MAX: usize = 8;
/// Asks that wait because their partition is just moving.
pub(super) const HELD_JOBS_MAX: usize = 65_536;
/// What is held is tried again this often.
pub(super) const HELD_PAUSE: Duration = Duration::from_millis(20);
/// Bytes read from Redis that the broker has not taken yet; past it publications are dropped and counted.
pub(super) const HANDOVER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What one read from a subscriber connection takes at most.
pub(super) const READ_BYTES: usize = 64 * 1024;
/// One reply on a subscriber connection. Publications fit a frame; nothing else is as large.
pub(super) const REPLY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Channels with dropped publications that are remembered; past it all channels are taken for such.
pub(super) const DROPPED_CHANNELS_MAX: usize = 65_536;
/// Channels in one subscribe command.
pub(super) const SUBSCRIBE_CHANNELS_MAX: usize = 512;
/// Subscribe commands on the way of one connection.
pub(super) const SUBSCRIBES_MAX: usize = 16;
/// A subscriber connection on which nothing came for so long is asked whether it lives.
pub(super) const PING_AFTER: Duration = Duration::from_secs(5);
/// Waits between tries to connect: the least and the most.
pub(super) const RECONNECT_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Looks at where the servers are, when something seems to have changed, are this far apart: the least and the most.
pub(super) const TOPOLOGY_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// An edge that did not say for so long that it lives is dead ..
pub(crate) const LEASE: Duration = Duration::from_secs(10);
/// .. and it says so this often in that time.
pub(super) const LEASE_RENEWALS: u32 = 3;
/// A lease that its living edge has replaced is kept for so long: its members are still being entered under the new one.
pub(super) const REPLACED_LEASE: Duration = Duration::from_secs(300);
/// Whoever removes what a dead edge has left has this long before another one begins too.
pub(super) const CLAIM: Duration = Duration::from_secs(30);
/// Members of a dead edge that are removed at once.
pub(super) const REAP_MEMBERS: usize = 256;
/// Edges known at once.
pub(super) const EDGES_MAX: usize = 4096;
/// Members that enter or leave and wait to be written; past it the bus forgets, and the broker enters all again.
pub(super) const MEMBER_OPS_MAX: usize = 262_144;
/// Of these, written at once.
pub(super) const MEMBER_OPS_BATCH: usize = 256;
/// Questions of who is in a channel that are asked at once.
pub(super) const PRESENCE_QUESTIONS_MAX: usize = 256;
/// Bytes of bodies in one page of history: the broker sees that a page which is over a recovery's bound is not all.
pub(super) const PAGE_BYTES_MAX: usize = wire::limits::RECOVERY_BYTES_MAX + 256 * 1024;

const _: () = assert!(wire::limits::FRAME_BYTES_MAX < REPLY_BYTES_MAX);
