//! The broker's side of a bus that others share: what it asks, what is not answered yet, and which reads are due.
//!
//! Owns tickets, their deadlines and the queue of reads. Never knows what an answer means.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::LinkId;
use crate::bus::{Ask, Ticket};
use crate::follow::Following;
use crate::limits::{PAGE_ASKERS_MAX, PENDING_MAX, READ_RETRY, READS_MAX, WAITERS_MAX};
use crate::store;

/// Who asked what of the bus.
#[derive(Debug)]
pub(crate) enum Pending {
    Publish {
        link: LinkId,
        request: u32,
    },
    Presence {
        link: LinkId,
        request: u32,
    },
    PresenceStats {
        link: LinkId,
        request: u32,
    },
    Remove {
        link: LinkId,
        request: u32,
    },
    History {
        question: Question,
        askers: Vec<Asker>,
    },
    /// For the broker itself.
    Read {
        index: u32,
        since: Option<u64>,
        limit: usize,
        reverse: bool,
        was: Option<u64>,
    },
}

/// A page of history that several may ask for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Question {
    pub(crate) channel: Arc<str>,
    pub(crate) since: Option<u64>,
    pub(crate) limit: usize,
    pub(crate) reverse: bool,
}

/// One of those, with the epoch it believes in.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) link: LinkId,
    pub(crate) request: u32,
    pub(crate) epoch: Box<str>,
    /// It named a position: a page of another stream, or of one that is not there yet, is none.
    pub(crate) since: Option<u64>,
}

/// A question, by who is to answer it.
pub(crate) enum Errand {
    Bus(Ask),
    Store(store::Ask),
}

impl From<Ask> for Errand {
    fn from(ask: Ask) -> Self {
        Self::Bus(ask)
    }
}

impl From<store::Ask> for Errand {
    fn from(ask: store::Ask) -> Self {
        Self::Store(ask)
    }
}

/// Everything that is between the broker and the bus or the nodes.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) times: Following,
    /// Edges share a bus; without it there are only the nodes.
    pub(crate) shared: bool,
    asks: VecDeque<Ask>,
    /// What nodes are to do.
    stores: VecDeque<store::Ask>,
    next: u64,
    /// In the order of their deadlines, which is that of asking.
    pending: BTreeMap<Ticket, (Duration, Pending)>,
    questions: HashMap<Question, Ticket>,
    reads: usize,
    /// Channels that somebody waits for, and others, whose read is due.
    urgent: VecDeque<u32>,
    calm: VecDeque<u32>,
    retries: VecDeque<(Duration, u32)>,
    /// Deadlines of waiting shards, by channel.
    waits: VecDeque<(Duration, u32)>,
    /// Where the broker is in saying its members again.
    pub(crate) again: Option<usize>,
}

impl Remote {
    pub(crate) fn new(times: Following, shared: bool) -> Self {
        Self {
            times,
            shared,
            asks: VecDeque::new(),
            stores: VecDeque::new(),
            next: 0,
            pending: BTreeMap::new(),
            questions: HashMap::new(),
            reads: 0,
            urgent: VecDeque::new(),
            calm: VecDeque::new(),
            retries: VecDeque::new(),
            waits: VecDeque::new(),
            again: None,
        }
    }

    pub(crate) fn put(&mut self, ask: Ask) {
        self.asks.push_back(ask);
    }

    pub(crate) fn take(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    pub(crate) fn put_store(&mut self, ask: store::Ask) {
        self.stores.push_back(ask);
    }

    pub(crate) fn take_store(&mut self) -> Option<store::Ask> {
        self.stores.pop_front()
    }

    /// The ticket that would be used next.
    pub(crate) const fn next(&self) -> Ticket {
        Ticket(self.next)
    }

    /// Remembers a question and puts it, made with its ticket; `None` when there are too many.
    pub(crate) fn question<E: Into<Errand>>(
        &mut self,
        now: Duration,
        pending: Pending,
        ask: impl FnOnce(Ticket) -> E,
    ) -> Option<Ticket> {
        if self.pending.len() >= PENDING_MAX {
            return None;
        }
        let ticket = self.next();
        self.next += 1;
        match &pending {
            Pending::Read { .. } => self.reads += 1,
            Pending::History { question, .. } => {
                self.questions.insert(question.clone(), ticket);
            }
            _ => {}
        }
        self.pending.insert(ticket, (now.saturating_add(self.times.answer_timeout), pending));
        match ask(ticket).into() {
            Errand::Bus(ask) => self.asks.push_back(ask),
            Errand::Store(ask) => self.stores.push_back(ask),
        }
        Some(ticket)
    }

    /// Lets an asker share the answer to a question that is on its way; gives the asker back when there is none.
    pub(crate) fn share(&mut self, question: &Question, asker: Asker) -> Result<(), Asker> {
        let pending = self.questions.get(question).and_then(|ticket| self.pending.get_mut(ticket));
        match pending {
            Some((_, Pending::History { askers, .. })) if askers.len() < PAGE_ASKERS_MAX => {
                askers.push(asker);
                Ok(())
            }
            _ => Err(asker),
        }
    }

    /// Who asked; each ticket once.
    pub(crate) fn answered(&mut self, ticket: Ticket) -> Option<Pending> {
        let (_, pending) = self.pending.remove(&ticket)?;
        match &pending {
            Pending::Read { .. } => self.reads -= 1,
            Pending::History { question, .. } if self.questions.get(question) == Some(&ticket) => {
                self.questions.remove(question);
            }
            _ => {}
        }
        Some(pending)
    }

    /// A question whose time is over.
    pub(crate) fn overdue(&self, now: Duration) -> Option<Ticket> {
        self.pending.first_key_value().filter(|(_, (until, _))| *until <= now).map(|(ticket, _)| *ticket)
    }

    /// A read of this channel is due.
    pub(crate) fn queue(&mut self, index: u32, urgent: bool) {
        if urgent { self.urgent.push_back(index) } else { self.calm.push_back(index) }
    }

    /// The channel that is to be read next, while not too many are in flight.
    pub(crate) fn due(&mut self) -> Option<u32> {
        if self.reads >= READS_MAX {
            return None;
        }
        self.urgent.pop_front().or_else(|| self.calm.pop_front())
    }

    /// A read of this channel failed.
    pub(crate) fn retry(&mut self, now: Duration, index: u32) {
        self.retries.push_back((now.saturating_add(READ_RETRY), index));
    }

    /// A channel whose read failed long enough ago.
    pub(crate) fn retried(&mut self, now: Duration) -> Option<u32> {
        pop_due(&mut self.retries, now)
    }

    /// A shard waits for a channel until then; false when there are too many.
    pub(crate) fn wait(&mut self, until: Duration, index: u32) -> bool {
        let room = self.waits.len() < WAITERS_MAX;
        if room {
            self.waits.push_back((until, index));
        }
        room
    }

    /// A channel for which a shard's time is over, if it still waits.
    pub(crate) fn waited(&mut self, now: Duration) -> Option<u32> {
        pop_due(&mut self.waits, now)
    }

    /// Questions that are not answered yet.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }
}

fn pop_due(queue: &mut VecDeque<(Duration, u32)>, now: Duration) -> Option<u32> {
    let (until, index) = *queue.front()?;
    (until <= now).then(|| {
        queue.pop_front();
        index
    })
}
