//! Time: a slice of the channels each tick, instead of a timer for each thing that ends.

use std::time::Duration;

use super::Broker;
use crate::limits::{SWEEP_CHANNELS_MIN, SWEEP_TICKS_MAX};

/// A lost link whose members may come back.
#[derive(Debug)]
pub(super) struct Gone {
    until: Duration,
    /// Whole passes over all channels that began after `until`.
    passes: u8,
}

/// Where the sweep is.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    next: usize,
}

impl Gone {
    pub(super) const fn until(until: Duration) -> Self {
        Self { until, passes: 0 }
    }

    /// Whether its members have left.
    pub(super) fn over(&self, now: Duration) -> bool {
        now >= self.until
    }
}

impl Broker {
    pub(super) fn sweep(&mut self, now: Duration) {
        self.results.expire(now);
        self.tick_remote(now);
        let slots = self.channels.slots();
        let slice = slots.div_ceil(SWEEP_TICKS_MAX).max(SWEEP_CHANNELS_MIN);
        let start = self.cursor.next;
        let end = slots.min(start + slice);
        for index in start..end {
            self.visit(now, index as u32);
        }
        self.cursor.next = end;
        if end >= slots {
            self.cursor.next = 0;
            self.pass_over(now);
        }
    }

    fn visit(&mut self, now: Duration, index: u32) {
        if self.channels.channel(index).is_none() {
            return;
        }
        self.reap(now, index);
        self.visit_remote(now, index);
        let Self { channels, links, .. } = self;
        let changes = channels.channel(index).is_some_and(|channel| {
            let stream = channel.stream.as_deref();
            channel.links.iter().any(|link| !links.contains_key(link))
                || stream.is_some_and(|stream| stream.ends(now) || stream.forgettable(now))
        });
        if changes {
            channels.change(index, |channel| {
                channel.links.retain(|link| links.contains_key(link));
                // While somebody wants the channel its positions are in use, so they are not forgotten.
                let unused = channel.links.is_empty();
                if let Some(stream) = &mut channel.stream {
                    stream.expire(now);
                    if unused && stream.forgettable(now) {
                        channel.stream = None;
                    }
                }
            });
        }
    }

    /// A lost link is forgotten when every channel was visited after its grace: nobody is present through it any more.
    fn pass_over(&mut self, now: Duration) {
        self.gone.retain(|_, gone| {
            gone.passes += u8::from(gone.over(now));
            gone.passes <= 1
        });
    }
}
