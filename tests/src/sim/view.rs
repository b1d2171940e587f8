//! One client's view of one channel, and what a server owes it: each offset once, in order, without a gap that it is not told of.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use protocol::client::received::{Message, Subscription};

use super::ledger::Ledger;

/// How a client stands to a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stand {
    /// Not subscribed; asks again from then on if it wants to.
    Off(Duration),
    /// The request is out, perhaps with the position to recover from.
    Asking(Option<(String, u64)>),
    /// Subscribed.
    On,
    /// The request to leave is out.
    Leaving,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Number of the channel.
    pub(super) channel: usize,
    /// The channel keeps history.
    pub(super) history: bool,
    /// How it stands.
    pub(super) stand: Stand,
    /// Whether the client wants it.
    pub(super) wanted: bool,
    /// Where the client is, for a recovery.
    pub(super) position: Option<(String, u64)>,
    /// Nothing has been missed since then without being told.
    pub(super) since: Duration,
    /// What came since.
    pub(super) seen: BTreeSet<u64>,
    epoch: String,
    last: Option<u64>,
    /// Highest serial by publisher, in channels without offsets.
    newest: BTreeMap<usize, u64>,
}

impl View {
    /// Of a channel not yet asked for.
    pub(super) const fn new(channel: usize, history: bool) -> Self {
        Self {
            channel,
            history,
            stand: Stand::Off(Duration::ZERO),
            wanted: false,
            position: None,
            since: Duration::ZERO,
            seen: BTreeSet::new(),
            epoch: String::new(),
            last: None,
            newest: BTreeMap::new(),
        }
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self, now: Duration) {
        self.stand = Stand::Off(now);
    }

    /// The server's yes.
    pub(super) fn subscribed(
        &mut self,
        now: Duration,
        reply: &Subscription<'_>,
        ledger: &mut Ledger,
    ) -> Result<(), String> {
        let Stand::Asking(asked) = std::mem::replace(&mut self.stand, Stand::On) else {
            return Err("subscribed without being asked to".to_owned());
        };
        if reply.positioned && reply.epoch.is_empty() {
            return Err("positioned in a stream without an epoch".to_owned());
        }
        if !self.history && (reply.positioned || reply.recoverable) {
            return Err("a position in a channel without history".to_owned());
        }
        if let (Some((epoch, offset)), true) = (&asked, reply.recovered) {
            if *epoch != reply.epoch || *offset != reply.offset {
                return Err(format!("recovered from {}/{}, not {epoch}/{offset}", reply.epoch, reply.offset));
            }
            self.epoch = reply.epoch.clone().into_owned();
            self.last = Some(reply.offset);
            for message in &reply.publications {
                self.published(message, ledger)?;
            }
            return Ok(());
        }
        if reply.recovered || !reply.publications.is_empty() {
            return Err("recovered without being asked to".to_owned());
        }
        // It is told that what it had may not be all.
        self.since = now;
        self.seen.clear();
        self.newest.clear();
        self.epoch = reply.epoch.clone().into_owned();
        self.last = reply.positioned.then_some(reply.offset);
        self.position = reply.positioned.then(|| (self.epoch.clone(), reply.offset));
        Ok(())
    }

    /// One publication.
    pub(super) fn published(&mut self, message: &Message<'_>, ledger: &mut Ledger) -> Result<(), String> {
        if !matches!(self.stand, Stand::On | Stand::Leaving) {
            return Err(format!("a publication in a channel that is not subscribed to ({:?})", self.stand));
        }
        let serial = ledger.heard(self.channel, &self.epoch, message)?;
        if !self.seen.insert(serial) {
            return Err(format!("publication {serial} for the second time"));
        }
        if self.history != (message.offset > 0) {
            return Err(format!("publication {serial} has offset {}", message.offset));
        }
        if self.history {
            if let Some(last) = self.last
                && message.offset != last + 1
            {
                return Err(format!("offset {} comes after {last}, and nothing was said", message.offset));
            }
            self.last = Some(message.offset);
            if let Some(position) = &mut self.position {
                position.1 = message.offset;
            }
            return Ok(());
        }
        let publisher = ledger.said(serial).publisher;
        match self.newest.insert(publisher, serial) {
            Some(before) if before > serial => {
                Err(format!("publication {serial} comes after {before} of the same client"))
            }
            _ => Ok(()),
        }
    }

    /// The server's end of a subscription.
    pub(super) fn ended(&mut self, code: u32, now: Duration) -> Result<(), String> {
        match self.stand {
            Stand::On if code == 2500 => {
                self.stand = Stand::Off(now);
                Ok(())
            }
            Stand::Leaving if code == 2500 => Ok(()),
            _ => Err(format!("unsubscribed with code {code} while {:?}", self.stand)),
        }
    }

    /// What the client should have seen, at the end, when nothing is under way: all that was acknowledged since its continuity
    /// began, and everything up to the top.
    pub(super) fn is_complete(&self, ledger: &Ledger, top: &(u64, String)) -> Result<(), String> {
        if !self.history || self.stand != Stand::On {
            return Ok(());
        }
        if let Some((epoch, offset)) = &self.position
            && (*offset, epoch) != (top.0, &top.1)
        {
            return Err(format!("stands at {epoch}/{offset}, the stream at {}/{}", top.1, top.0));
        }
        let owed = |(serial, said): &(u64, &super::ledger::Said)| {
            said.channel == self.channel
                && said.acknowledged
                && said.at >= self.since
                && !self.seen.contains(serial)
        };
        match ledger.all().find(owed) {
            Some((serial, _)) => Err(format!("never got publication {serial}, which was acknowledged")),
            None => Ok(()),
        }
    }
}
