//! Bounds of the queue of messages that are stored after they were delivered.

use std::time::Duration;

/// Messages that wait to be written into the queue; beyond, they are refused.
pub(crate) const WAITING_MAX: usize = 4096;
/// Messages of one transaction, into the queue and out of it.
pub(crate) const BATCH_MAX: usize = 256;
/// How long keys are remembered after their message was stored. Later the store knows them.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(300);
/// Pause after the store has failed: at first, and at most.
pub(crate) const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often one message may be refused by a store that takes others, before it is given up.
pub(crate) const REFUSALS_MAX: u32 = 3;
