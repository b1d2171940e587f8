//! What an adapter to Redis counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident = $metric:literal;)*) => {
        /// Totals since the start.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $($name: AtomicU64,)*
        }

        impl Counters {
            /// Each total with the name of its metric.
            pub(super) fn totals(&self) -> Vec<(&'static str, u64)> {
                vec![$(($metric, self.$name.load(Ordering::Relaxed)),)*]
            }

            $($(#[doc = $doc])*
            pub(super) fn $name(&self, count: u64) {
                self.$name.fetch_add(count, Ordering::Relaxed);
            })*
        }
    };
}

counters! {
    /// Publications that were read and found no room on their way to the broker.
    dropped = "headland_relay_redis_dropped_total";
    /// A subscriber connection was closed for its output buffer.
    killed = "headland_relay_redis_output_buffer_kills_total";
    /// A connection was lost or could not be made.
    lost = "headland_relay_redis_connections_lost_total";
    /// A server refused us: password, rights, version, kind.
    refused = "headland_relay_redis_refusals_total";
    /// Redis answered a command with an error.
    failed = "headland_relay_redis_errors_total";
    /// A publication was not acknowledged because too few replicas had it.
    unreplicated = "headland_relay_redis_unreplicated_total";
    /// A job was sent again because its slot was moving or had moved.
    held = "headland_relay_redis_redirected_total";
    /// Partitions have another primary.
    moved = "headland_relay_redis_partitions_moved_total";
    /// The channel was full.
    member_refused = "headland_relay_redis_members_refused_total";
    /// A member that a dead edge had left was removed.
    reaped = "headland_relay_redis_members_reaped_total";
    /// Redis may have lost who is present.
    forgot = "headland_relay_redis_presence_forgotten_total";
}
