//! What a rate of commands promises one connection: who stays within it is never refused. Held against what the client knows: a
//! command ran between its sending and the first answer to it or to a later one, as commands run in their order.

use std::time::Duration;

/// The commands of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    /// Per second, and so many at once; 0: any number.
    rate: u32,
    /// Refused ones per second before the connection ends; 0: any number.
    refused: u32,
    sent: Vec<Sent>,
    /// Heard refusals, and commands that would not be told of one.
    refusals: u32,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    id: u32,
    at: Duration,
    /// It had run by then.
    by: Option<Duration>,
    refused: bool,
}

impl Meter {
    /// Of a new connection.
    pub(super) const fn new(rate: u32, refused: u32) -> Self {
        Self { rate, refused, sent: Vec::new(), refusals: 0 }
    }

    /// A command is put into words. With `id` 0 there will be no answer.
    pub(super) fn sends(&mut self, now: Duration, id: u32) {
        if self.rate > 0 {
            self.refusals += u32::from(id == 0);
            self.sent.push(Sent { id, at: now, by: None, refused: false });
        }
    }

    /// A command is answered. The error: it was refused, though whatever the network did it came within the rate.
    pub(super) fn answered(&mut self, now: Duration, id: u32, refused: bool) -> Result<(), String> {
        let Some(place) = self.sent.iter().rposition(|sent| sent.id == id) else { return Ok(()) };
        for sent in self.sent[..=place].iter_mut().rev().take_while(|sent| sent.by.is_none()) {
            sent.by = Some(now);
        }
        self.sent[place].refused = refused;
        self.refusals += u32::from(refused);
        if refused && self.is_within(place) {
            let Sent { at, .. } = self.sent[place];
            return Err(format!(
                "command {id} of {at:?} is refused, though it keeps to {} a second",
                self.rate
            ));
        }
        Ok(())
    }

    /// Whether so many have been refused that the connection may be ended for it.
    pub(super) const fn is_exhausted(&self) -> bool {
        self.rate > 0 && self.refused > 0 && self.refusals >= self.refused
    }

    /// A bucket that has been full before any of the commands still had a token for this one.
    fn is_within(&self, place: usize) -> bool {
        let mut count = 1;
        self.sent[..place].iter().rev().filter(|sent| !sent.refused).all(|sent| {
            count += 1;
            let passed = sent.by.map_or(Duration::ZERO, |by| self.sent[place].at.saturating_sub(by));
            let tokens = u128::from(self.rate) * (1_000_000 + passed.as_micros());
            // Of those that time has brought, a token in a million is left to rounding.
            count * 1_000_000 <= tokens.saturating_sub(u128::from(!passed.is_zero()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_refusal_within_the_rate_is_told_from_one_beyond() {
        let mut meter = Meter::new(2, 0);
        for id in 1..=4 {
            meter.sends(SECOND, id);
        }
        assert!(meter.answered(SECOND * 2, 2, true).is_err());
        assert!(meter.answered(SECOND * 2, 4, true).is_ok(), "the third one may have taken the last token");
        // The first three ran a second ago at least: a token or two have come back.
        meter.sends(SECOND * 3, 5);
        assert!(meter.answered(SECOND * 3, 5, true).is_err());
    }

    #[test]
    fn a_command_that_may_have_been_late_counts_as_late() {
        let mut meter = Meter::new(1, 1);
        meter.sends(SECOND, 1);
        meter.sends(SECOND * 9, 2);
        assert!(meter.answered(SECOND * 9, 2, true).is_ok());
        assert!(meter.is_exhausted());
    }
}
