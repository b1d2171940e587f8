//! What the bus counts.

/// Totals since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Publications taken.
    pub publications: u64,
    /// Publications not made because their idempotency key had been used.
    pub duplicates: u64,
    /// Sessions refused because their user had as many as allowed.
    pub sessions_refused: u64,
    /// Sessions ended by a newer one of their user.
    pub sessions_replaced: u64,
    /// Publications queued for links (one for each link that wanted one).
    pub deliveries: u64,
    /// Publications of channels without history that a link's full queue lost.
    pub lost: u64,
    /// Join and leave events that a link's full queue lost.
    pub lost_events: u64,
    /// Channels marked as gapped for a link.
    pub gaps: u64,
    /// Gaps closed from history.
    pub repairs: u64,
    /// Gaps that history could not close: the shard was told.
    pub insufficient: u64,
    /// Recoveries asked for and given.
    pub recovered: u64,
    /// Recoveries asked for and not possible.
    pub unrecovered: u64,
    /// Joins announced.
    pub joins: u64,
    /// Leaves announced.
    pub leaves: u64,
    /// Clients not entered for want of room.
    pub members_refused: u64,
    /// Channels that lost their publications to the bound on history.
    pub history_evicted: u64,
    /// Streams forgotten for want of room for channels.
    pub streams_forgotten: u64,
    /// Commands refused because no further channel fits.
    pub channels_refused: u64,
    /// Links closed because their answers did not fit.
    pub links_overflowed: u64,
    /// Publications that came over a bus that others share.
    pub bus_publications: u64,
    /// Gaps in them, seen by their offsets.
    pub bus_gaps: u64,
    /// Publications that were lost on the way and read from history, for a link that wanted them.
    pub bus_repaired: u64,
    /// Reads of history on such a bus: repairs, recoveries, checks and pages.
    pub bus_reads: u64,
    /// Questions to it that were not answered, or with a failure.
    pub bus_failures: u64,
    /// Questions for a page of history that another one's answer served.
    pub queries_shared: u64,
    /// Streams in which one place had two publications.
    pub forks: u64,
    /// Subscribers who waited for a position until their time was over.
    pub waited_in_vain: u64,
    /// Words of other relays that make no sense here, or are of another version.
    pub words_unheard: u64,
    /// Words for other relays that did not fit.
    pub words_lost: u64,
}

/// What there is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Levels {
    /// Links to shards.
    pub links: u64,
    /// Channels known.
    pub channels: u64,
    /// Publications in history.
    pub history_publications: u64,
    /// Bytes of them.
    pub history_bytes: u64,
    /// Idempotency keys remembered.
    pub results: u64,
    /// Sessions counted for their users.
    pub sessions: u64,
    /// Clients present, by channel.
    pub members: u64,
    /// Bytes of them.
    pub presence_bytes: u64,
    /// Questions to a shared bus that are not answered yet.
    pub questions: u64,
    /// Bytes waiting for links.
    pub queued_bytes: u64,
    /// Channels gapped for some link.
    pub gapped: u64,
}
