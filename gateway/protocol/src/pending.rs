//! Requests on their way to the relay: who asked for what, until the answer, the deadline or the loss of the link.
//!
//! Owns the numbering of requests and the bound on how many wait. Never formats an answer.

use std::{collections::VecDeque, time::Duration};

use crate::limits::{PENDING_MAX, PENDING_TIMEOUT_MS};

/// Who waits, and for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asker {
    /// Index of the connection.
    pub connection: u32,
    /// Its generation: a later connection at the same index gets no foreign answers.
    pub generation: u32,
    /// The client's command id.
    pub id: u32,
    /// What was asked.
    pub question: Question,
}

/// What was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Is the token of the command that waits genuine?
    Token,
    /// May the user have one more session?
    Arrival,
    /// One of the channels that the server subscribes a beginning session to.
    Opening {
        /// The reserved channel.
        channel: u32,
        /// Its place among them.
        slot: u16,
    },
    /// A client subscribes.
    Subscribe {
        /// The reserved channel.
        channel: u32,
        /// What the client asked for.
        wish: Wish,
    },
    /// The shard itself subscribes again after the link was lost.
    Restore {
        /// The reserved channel.
        channel: u32,
    },
    /// A publication is stored and on its way.
    Publish,
    /// The same, asked for by a call that wants to know where it is.
    PublishCall,
    /// A page of history.
    History,
    /// Who is there.
    Presence,
    /// How many are there.
    PresenceStats,
    /// Has another shard taken the commands of this HTTP request?
    Emulate,
    /// What does a backend say to the command that waits?
    Backend,
    /// What does a backend answer to a call?
    Call,
    /// A publication that a backend decides on; what is behind it waits.
    PublishProxied {
        /// It was asked for by a call.
        call: bool,
    },
    /// Does a backend let the session go on?
    Refresh,
    /// Does a backend let a subscription go on?
    SubRefresh {
        /// The channel.
        channel: u32,
    },
}

/// What a subscribing client asked for and its namespace grants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wish {
    /// What was missed is wanted.
    pub recover: bool,
    /// Only the last publication is.
    pub latest: bool,
    /// That position's offset.
    pub offset: u64,
    /// The subscription can recover.
    pub recoverable: bool,
    /// The subscription has a position.
    pub positioned: bool,
    /// Join and leave are pushed.
    pub joins: bool,
    /// An unsuccessful recovery is an error.
    pub reject_unrecovered: bool,
    /// Publications come as differences.
    pub delta: bool,
    /// Pushes have the channel's number.
    pub numbered: bool,
    /// Where the shard keeps the filter meanwhile.
    pub filter: Option<u32>,
    /// The relay's question that made the subscription, which waits for what becomes of it; 0 where a client made it.
    pub survey: u32,
}

/// The waiting requests, oldest first.
#[derive(Debug, Default)]
pub struct Pending {
    /// Number of the first entry.
    first: u32,
    entries: VecDeque<Option<(Asker, Duration)>>,
}

/// Numbers have 31 bits, so that a [`crate::hub::Place`] can hold one beside its flag.
const NUMBER_MASK: u32 = u32::MAX >> 1;

impl Pending {
    /// Numbers a request, or gives it back when too many wait.
    pub fn ask(&mut self, at: Duration, asker: Asker) -> Result<u32, Asker> {
        if self.is_full() {
            return Err(asker);
        }
        let request = self.first.wrapping_add(self.entries.len() as u32) & NUMBER_MASK;
        self.entries.push_back(Some((asker, at)));
        Ok(request)
    }

    /// The request is answered. `None`: it is not waiting (any more).
    pub fn answer(&mut self, request: u32) -> Option<Asker> {
        let index = request.wrapping_sub(self.first) & NUMBER_MASK;
        let (asker, _) = self.entries.get_mut(index as usize)?.take()?;
        self.trim();
        Some(asker)
    }

    /// The oldest request if it has waited too long; it is not waiting any more.
    pub fn overdue(&mut self, at: Duration) -> Option<(u32, Asker)> {
        let (_, asked) = (*self.entries.front()?)?;
        if at.saturating_sub(asked) < Duration::from_millis(PENDING_TIMEOUT_MS) {
            return None;
        }
        self.lost()
    }

    /// The oldest request, whatever its age: nobody will answer it. It is not waiting any more.
    pub fn lost(&mut self) -> Option<(u32, Asker)> {
        let request = self.first;
        let (asker, _) = self.entries.front_mut()?.take()?;
        self.trim();
        Some((request, asker))
    }

    /// No further request can be numbered.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= PENDING_MAX
    }

    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The front is always a waiting one.
    fn trim(&mut self) {
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.first = self.first.wrapping_add(1) & NUMBER_MASK;
        }
        if self.entries.is_empty() {
            self.entries.shrink_to(1024);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(id: u32) -> Asker {
        Asker { connection: 0, generation: 0, id, question: Question::Publish }
    }

    #[test]
    fn answers_find_their_askers_in_any_order_and_once() {
        let mut pending = Pending { first: NUMBER_MASK - 1, ..Pending::default() };
        let requests: Vec<u32> = (0..5).map(|id| pending.ask(Duration::ZERO, asker(id)).unwrap()).collect();
        for index in [3, 0, 4, 1, 2] {
            assert_eq!(pending.answer(requests[index]).map(|a| a.id), Some(index as u32));
            assert_eq!(pending.answer(requests[index]), None);
        }
        assert!(pending.is_empty());
    }

    #[test]
    fn only_old_requests_are_overdue() {
        let mut pending = Pending::default();
        pending.ask(Duration::from_secs(1), asker(1)).unwrap();
        let second = pending.ask(Duration::from_secs(3), asker(2)).unwrap();
        assert_eq!(pending.overdue(Duration::from_secs(5)), None);
        assert_eq!(pending.overdue(Duration::from_secs(6)).map(|(_, a)| a.id), Some(1));
        assert_eq!(pending.overdue(Duration::from_secs(6)), None);
        assert!(pending.answer(second).is_some());
    }

    #[test]
    fn the_bound_refuses() {
        let mut pending = Pending::default();
        for id in 0..PENDING_MAX as u32 {
            pending.ask(Duration::ZERO, asker(id)).unwrap();
        }
        assert!(pending.ask(Duration::ZERO, asker(0)).is_err());
    }
}
