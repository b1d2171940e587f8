//! Bounds of the local bus. Each table, queue and pass names its bound here.

use std::time::Duration;

use wire::limits::{FRAME_BYTES_MAX, LINK_TO_RELAY_BYTES_MAX, LINK_TO_SHARD_BYTES_MAX, RECOVERY_BYTES_MAX};

/// Sessions counted for their users, where that is limited.
pub(crate) const SESSIONS_MAX: usize = 4 * 1024 * 1024;
/// Channels that one tick's sweep looks at, at least.
pub(crate) const SWEEP_CHANNELS_MIN: usize = 1024;
/// A whole sweep takes at most this many ticks, however many channels there are.
pub(crate) const SWEEP_TICKS_MAX: usize = 100;
/// Gapped channels remembered for one link; past it the link is closed and its shard starts afresh.
pub(crate) const GAPS_MAX: usize = 65_536;
/// One publication's frame, so that at least two fit a recovery.
pub(crate) const PUBLICATION_BYTES_MAX: usize = RECOVERY_BYTES_MAX / 2;
/// What one stored publication costs beyond its bytes.
pub(crate) const PUBLICATION_OVERHEAD_BYTES: usize = 16;
/// What one present client costs beyond its texts.
pub(crate) const MEMBER_OVERHEAD_BYTES: usize = 144;
/// Offset and epoch outlive the publications by this long where a namespace does not say.
pub(crate) const META_TTL_DEFAULT: Duration = Duration::from_secs(720 * 3600);
/// How long the position of a publication with an idempotency key is remembered.
pub const RESULT_TTL: Duration = Duration::from_secs(300);
/// Such positions remembered of one channel; past it its oldest go.
pub(crate) const RESULTS_PER_CHANNEL_MAX: usize = 16_384;
/// Bytes of all of them; past it the oldest go.
pub(crate) const RESULTS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What one of them costs beyond its texts.
pub(crate) const RESULT_OVERHEAD_BYTES: usize = 160;
/// How many of them one tick lets go of at most.
pub(crate) const RESULTS_EXPIRED_PER_TICK: usize = 16_384;
/// Questions to a shared bus that are not answered yet; past it, further ones fail at once.
pub(crate) const PENDING_MAX: usize = 262_144;
/// Shards' questions that wait for a channel's position; past it, further ones fail at once.
pub(crate) const WAITERS_MAX: usize = 1_048_576;
/// Reads of history in flight that nobody but the broker asked for: repairs, recoveries, checks. Others queue, one for each channel.
pub(crate) const READS_MAX: usize = 512;
/// Bytes of publications that one channel holds back while what is before them is read. Past it they are read again too.
pub(crate) const HELD_BYTES_MAX: usize = 1024 * 1024;
/// Reads in a row without anything of what is known to be missing, before it counts as lost.
pub(crate) const BARREN_READS_MAX: u8 = 3;
/// A read that failed is done again after this.
pub(crate) const READ_RETRY: Duration = Duration::from_secs(1);
/// Askers of one page of history that share its answer.
pub(crate) const PAGE_ASKERS_MAX: usize = 65_536;
/// Channels whose members one tick says again after the bus forgot them.
pub(crate) const SAID_AGAIN_PER_TICK: usize = 1024;
/// Failures of a backend in a row after which it is left alone.
pub(crate) const BREAKER_FAILURES: u32 = 5;
/// For how long at first, and at most after failures to find it well again, each of which doubles it.
pub(crate) const BREAKER_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// An empty queue's buffer above this is given back.
pub(crate) const QUEUE_KEEP_BYTES: usize = 256 * 1024;

/// Edges of one mesh. Links grow as n(n-1)/2.
pub(crate) const EDGES_MAX: usize = 64;
/// Channels in one word of a subscription table, and their bytes.
pub(crate) const TABLE_PART_CHANNELS_MAX: usize = 1024;
/// See [`TABLE_PART_CHANNELS_MAX`].
pub(crate) const TABLE_PART_BYTES_MAX: usize = 64 * 1024;
/// Words of a table on their way at once.
pub(crate) const TABLE_PARTS_MAX: usize = 4;
/// A channel that its owner would not have for now is asked for again after this ..
pub(crate) const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// .. and one that it would not have at all after this.
pub(crate) const REFUSED_LONG_PAUSE: Duration = Duration::from_secs(15);
/// Bytes that the answers to one edge's open questions may come to; further questions wait. With publications it fits an owner's queue.
pub(crate) const ANSWERS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of questions that wait for one owner; past it they fail.
pub(crate) const QUESTIONS_BYTES_MAX: usize = LINK_TO_RELAY_BYTES_MAX;
/// Bytes of what an edge itself has to say on one link; past it the link is closed.
pub(crate) const MESH_OUTBOX_BYTES_MAX: usize = 2 * LINK_TO_RELAY_BYTES_MAX;
/// What can be said again later (tables, members, streams) is only said while less than this waits.
pub(crate) const MESH_PUMP_BYTES: usize = 256 * 1024;
/// Bytes of a moving stream in one word.
pub(crate) const STREAM_PART_BYTES_MAX: usize = PUBLICATION_BYTES_MAX;
/// What an answer without publications or members is counted as.
pub(crate) const ANSWER_BYTES: usize = 64;
/// A link on which nothing was said for so long says that it lives ..
pub(crate) const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// .. and one on which nothing was heard for so long is given up.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(4);
/// A new owner waits this long for the streams of an edge that it has no link to.
pub(crate) const SETTLE_WITHIN: Duration = Duration::from_secs(5);
/// An edge that is no longer in the list keeps its links for so long, to hand over what it has.
pub(crate) const FORMER_WITHIN: Duration = Duration::from_secs(30);
/// Questions to all shards that wait for answers.
pub(crate) const SURVEYS_MAX: usize = 4096;
/// How long shards and other relays may take to answer one.
pub(crate) const SURVEY_TIME: Duration = Duration::from_secs(1);
/// Moves of users that the shell has not asked for yet; past it everybody counts as moved.
pub(crate) const MOVES_MAX: usize = 4096;
/// Words for other relays that the bus has not taken yet.
pub(crate) const WORDS_MAX: usize = 8192;

/// The bounds that an operator chooses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Channels known at once: wanted by a shard, kept in history or with somebody present. Past it, the streams that have
    /// not been used for longest are forgotten (they begin again with another epoch), and when none can be, new channels
    /// are refused with "limit exceeded".
    pub channels: usize,
    /// Bytes of all history. Past it, the channels that have not been published to for longest lose their publications.
    pub history_bytes: usize,
    /// Bytes of all presence. Past it, nobody new is entered.
    pub presence_bytes: usize,
    /// Clients present in one channel. Past it, nobody new is entered.
    pub presence_per_channel: usize,
    /// How long those who came through a link stay present after it is lost.
    pub presence_grace: Duration,
    /// Bytes waiting for one link past which publications are left out and the channel is marked as gapped.
    pub link_publications_bytes: usize,
    /// Bytes waiting for one link past which it is closed.
    pub link_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            channels: 2_000_000,
            history_bytes: 512 * 1024 * 1024,
            presence_bytes: 512 * 1024 * 1024,
            presence_per_channel: 100_000,
            presence_grace: Duration::from_secs(10),
            link_publications_bytes: LINK_TO_SHARD_BYTES_MAX,
            link_bytes: 2 * LINK_TO_SHARD_BYTES_MAX,
        }
    }
}

const _: () = assert!(PUBLICATION_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(PUBLICATION_BYTES_MAX * 2 <= RECOVERY_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MAX < LINK_TO_SHARD_BYTES_MAX);
