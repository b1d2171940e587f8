//! One client's view of one channel, and what a server owes it: each offset once, in order, without a gap that it is not told of.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use protocol::{
    client::received::{Message, Subscription},
    delta,
};

use super::ledger::{Ledger, Said};

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
    /// How the client comes in.
    pub(super) entry: Entry,
    /// The server has ended it while the client was leaving.
    pub(super) over: bool,
    /// Others do not see it.
    pub(super) hidden: bool,
    /// Unix seconds at which the subscription expires, or (while asking) will.
    pub(super) expire_at: Option<u64>,
    /// What it asks for beyond publications.
    pub(super) manner: Manner,
    /// The channel's number in pushes; 0 for none.
    pub(super) number: u32,
    /// Publications come as differences: agreed.
    delta: bool,
    /// With that: the last one.
    base: Option<Vec<u8>>,
}

/// How a client comes into a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    /// By asking.
    Free,
    /// By asking with a token.
    Token,
    /// The server subscribes it.
    Server,
    /// Not at all.
    Barred,
}

/// What a subscription asks for beyond publications.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Manner {
    /// Differences.
    pub(super) delta: bool,
    /// A number for the channel's name.
    pub(super) numbered: bool,
    /// Only publications whose tag is at least [`LEAST`].
    pub(super) filtered: bool,
    /// An error rather than what cannot be recovered.
    pub(super) rejects: bool,
}

/// What a filter lets pass.
pub(super) const LEAST: u64 = 4;

impl View {
    /// Of a channel not yet asked for.
    pub(super) const fn new(channel: usize, history: bool, entry: Entry) -> Self {
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
            entry,
            hidden: false,
            expire_at: None,
            manner: Manner { delta: false, numbered: false, filtered: false, rejects: false },
            over: false,
            number: 0,
            delta: false,
            base: None,
        }
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self, now: Duration) {
        self.stand = Stand::Off(now);
        self.expire_at = None;
    }

    /// The server's yes.
    pub(super) fn subscribed(
        &mut self,
        now: Duration,
        reply: &Subscription<'_>,
        json: bool,
        ledger: &mut Ledger,
    ) -> Result<(), String> {
        let Stand::Asking(asked) = std::mem::replace(&mut self.stand, Stand::On) else {
            return Err("subscribed without being asked to".to_owned());
        };
        if reply.expires != self.expire_at.is_some() {
            return Err(format!("expires: {}, though it should be {:?}", reply.expires, self.expire_at));
        }
        if (reply.delta, reply.number > 0) != (self.manner.delta, self.manner.numbered) {
            return Err(format!("delta {}, number {}, not {:?}", reply.delta, reply.number, self.manner));
        }
        (self.delta, self.number, self.base) = (reply.delta, reply.number, None);
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
                self.published(message, json, ledger)?;
            }
            return Ok(());
        }
        if asked.is_some() && self.manner.rejects {
            return Err("begins anew, though it would rather not".to_owned());
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
    pub(super) fn published(
        &mut self,
        message: &Message<'_>,
        json: bool,
        ledger: &mut Ledger,
    ) -> Result<(), String> {
        if !matches!(self.stand, Stand::On | Stand::Leaving) {
            return Err(format!("a publication in a channel that is not subscribed to ({:?})", self.stand));
        }
        let data = self.whole(message, json)?;
        let whole = Message { data: &data, ..message.clone() };
        let serial = ledger.heard(self.channel, &self.epoch, &whole)?;
        if self.manner.filtered && !passes(ledger.said(serial)) {
            return Err(format!("publication {serial} does not pass the filter"));
        }
        let anew = self.seen.insert(serial);
        if !self.history && ledger.may_recur(serial) {
            return Ok(());
        }
        if !anew {
            return Err(format!("publication {serial} for the second time"));
        }
        if self.history != (message.offset > 0) {
            return Err(format!("publication {serial} has offset {}", message.offset));
        }
        if self.history {
            if let Some(last) = self.last
                && (message.offset <= last || !self.manner.filtered && message.offset != last + 1)
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

    /// The payload that a client makes of what it is sent.
    fn whole(&mut self, message: &Message<'_>, json: bool) -> Result<Vec<u8>, String> {
        if !self.delta {
            return if message.delta {
                Err("a difference that nobody asked for".to_owned())
            } else {
                Ok(message.data.to_vec())
            };
        }
        let text = || serde_json::from_slice::<String>(message.data).map(String::into_bytes);
        let data = if json { text().map_err(|_| "not in a string")? } else { message.data.to_vec() };
        let data = match self.base.as_ref().filter(|_| message.delta) {
            None if message.delta => return Err("a difference to nothing".to_owned()),
            None => data,
            Some(base) => delta::apply(base, &data)
                .ok_or_else(|| format!("at {}, a difference to something else", message.offset))?,
        };
        self.base = Some(data.clone());
        Ok(data)
    }

    /// The server's end of a subscription, at this time of the world's clock (or the clock is not to be trusted).
    pub(super) fn ended(&mut self, code: u32, now: Duration, unix: Option<u64>) -> Result<(), String> {
        let due = |at: u64| unix.is_none_or(|unix| unix >= at + EXPIRED_SUB_GRACE_S);
        let fair = code == 2500 || code == 2501 && self.expire_at.is_some_and(due);
        match self.stand {
            Stand::On if fair && self.entry != Entry::Server => {
                self.stand = Stand::Off(now);
                self.expire_at = None;
                Ok(())
            }
            Stand::Leaving if fair => {
                self.over = true;
                Ok(())
            }
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
            && !self.manner.filtered
            && (*offset, epoch) != (top.0, &top.1)
        {
            return Err(format!("stands at {epoch}/{offset}, the stream at {}/{}", top.1, top.0));
        }
        let owed = |(serial, said): &(u64, &Said)| {
            said.channel == self.channel
                && said.acknowledged
                && said.at >= self.since
                && !self.seen.contains(serial)
                && (!self.manner.filtered || passes(said))
        };
        match ledger.all().find(owed) {
            Some((serial, _)) => Err(format!("never got publication {serial}, which was acknowledged")),
            None => Ok(()),
        }
    }
}

/// Whole seconds after its expiry until which a subscription may be refreshed.
pub(super) const EXPIRED_SUB_GRACE_S: u64 = 1;

fn passes(said: &Said) -> bool {
    said.tag.is_some_and(|tag| tag >= LEAST)
}
