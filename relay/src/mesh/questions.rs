//! What this edge has asked an owner and waits for: tickets by the numbers that cross the link, and how much their answers may come to.
//!
//! Owns the window that keeps answers within the owner's queue. Each ticket leaves here once: answered, or with the link.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wire::limits::{FRAME_BYTES_MAX, RECOVERY_BYTES_MAX};

use crate::bus::Ticket;
use crate::limits::{ANSWER_BYTES, ANSWERS_BYTES_MAX, QUESTIONS_BYTES_MAX};

/// Unanswered questions to one owner.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: BTreeMap<u32, Question>,
    /// Encoded, until there is room for their answers.
    waiting: VecDeque<(usize, Vec<u8>)>,
    waiting_bytes: usize,
    /// What the answers of those that were sent may come to.
    answers_bytes: usize,
    next: u32,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Question {
    pub(super) ticket: Ticket,
    pub(super) about: About,
    bytes: usize,
}

/// What it is about, as far as its answer needs that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum About {
    /// Publish, remove or count.
    Small,
    /// History of the channel.
    Read(Arc<str>),
    /// Members.
    Presence,
}

impl About {
    /// What the answer may come to. `limit`: publications of a page.
    pub(super) const fn bytes(&self, limit: usize) -> usize {
        match self {
            Self::Small => ANSWER_BYTES,
            Self::Read(_) if limit == 0 => ANSWER_BYTES,
            Self::Read(_) => RECOVERY_BYTES_MAX,
            Self::Presence => FRAME_BYTES_MAX,
        }
    }
}

impl Questions {
    /// A number for the next question.
    pub(super) fn number(&mut self) -> u32 {
        // Numbers that come around again find their first owners answered.
        self.next = self.next.wrapping_add(1);
        self.next
    }

    /// Takes a question up, with the frame that says it. `say` takes the frames that may go now. False: too much waits already.
    pub(super) fn ask(
        &mut self,
        (number, ticket, about, bytes): (u32, Ticket, About, usize),
        frame: Vec<u8>,
        say: impl FnMut(&[u8]),
    ) -> bool {
        if self.waiting_bytes + frame.len() > QUESTIONS_BYTES_MAX {
            return false;
        }
        self.open.insert(number, Question { ticket, about, bytes });
        self.waiting_bytes += frame.len();
        self.waiting.push_back((bytes, frame));
        self.say(say);
        true
    }

    /// Hands over the frames that may go.
    pub(super) fn say(&mut self, mut say: impl FnMut(&[u8])) {
        while let Some((bytes, _)) = self.waiting.front()
            && (self.answers_bytes == 0 || self.answers_bytes + bytes <= ANSWERS_BYTES_MAX)
            && let Some((bytes, frame)) = self.waiting.pop_front()
        {
            self.waiting_bytes -= frame.len();
            self.answers_bytes += bytes;
            say(&frame);
        }
        self.check();
    }

    /// The question that an answer belongs to.
    pub(super) fn answered(&mut self, number: u32) -> Option<Question> {
        let question = self.open.remove(&number)?;
        // Only what was sent is answered.
        self.answers_bytes = self.answers_bytes.saturating_sub(question.bytes);
        self.check();
        Some(question)
    }

    /// The link is lost: every ticket, in the order of asking.
    pub(super) fn abandon(&mut self) -> impl Iterator<Item = Ticket> + use<> {
        let open = std::mem::take(&mut self.open);
        self.waiting.clear();
        (self.waiting_bytes, self.answers_bytes) = (0, 0);
        let mut tickets: Vec<Ticket> = open.into_values().map(|question| question.ticket).collect();
        tickets.sort_unstable();
        tickets.into_iter()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    fn check(&self) {
        debug_assert!(self.waiting_bytes <= QUESTIONS_BYTES_MAX, "what waits is bounded");
        debug_assert!(self.waiting.len() <= self.open.len(), "what waits is open");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read() -> About {
        About::Read("a".into())
    }

    fn ask(questions: &mut Questions, ticket: u64, about: About, limit: usize) -> (bool, usize) {
        let (number, bytes, mut said) = (questions.number(), about.bytes(limit), 0);
        let taken = questions.ask((number, Ticket(ticket), about, bytes), vec![0; 100], |_| said += 1);
        (taken, said)
    }

    #[test]
    fn no_more_is_asked_at_once_than_the_answers_have_room_for() {
        let mut questions = Questions::default();
        let fit = (ANSWERS_BYTES_MAX / RECOVERY_BYTES_MAX) as u64;
        assert!((0..fit).all(|ticket| ask(&mut questions, ticket, read(), 9) == (true, 1)));
        assert_eq!(ask(&mut questions, fit, read(), 9), (true, 0));
        assert_eq!(ask(&mut questions, fit + 1, About::Small, 0), (true, 0), "in order");
        let mut said = 0;
        assert_eq!(questions.answered(1).unwrap().ticket, Ticket(0));
        questions.say(|_| said += 1);
        assert_eq!(said, 1, "the room is for the first");
        assert_eq!(questions.answered(1), None, "a ticket leaves once");
        assert_eq!(questions.abandon().count() as u64, fit + 1);
        assert_eq!(questions.len(), 0);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut questions = Questions::default();
        assert_eq!(ask(&mut questions, 0, About::Presence, 0), (true, 1));
        let (mut number, mut taken) = (1, 0);
        while questions.ask((number, Ticket(1), About::Presence, FRAME_BYTES_MAX), vec![0; 1 << 20], |_| ()) {
            (number, taken) = (number + 1, taken + 1);
        }
        assert!(taken >= QUESTIONS_BYTES_MAX >> 20);
    }
}
