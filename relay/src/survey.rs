//! Questions to many at once, until all have answered or the time is over: what has been answered so far, and who is still to.
//!
//! Owns the waiting and the bounds on it. Never asks and never tells: who does gives the answers in and takes what is done.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use wire::code;
use wire::limits::SURVEY_BYTES_MAX;
use wire::survey::Answer;

use crate::LinkId;
use crate::bus::EdgeId;
use crate::limits::{SURVEY_TIME, SURVEYS_MAX};

/// Who wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    /// A link, by its request.
    Link(LinkId, u32),
    /// Another relay, by its number.
    Edge(EdgeId, u32),
}

/// What is to be made of the answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// They add up.
    Sum,
    /// This relay's are what is known of it as a node.
    Nodes,
    /// Whether a session was found.
    Emulation,
}

/// One question.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) asker: Asker,
    pub(crate) kind: Kind,
    /// What has been answered.
    pub(crate) answer: Answer,
    shards: Vec<LinkId>,
    edges: Vec<EdgeId>,
    until: Duration,
}

/// The questions that wait, by number; numbers grow, so the first is the oldest.
#[derive(Debug, Default)]
pub(crate) struct Surveys {
    waiting: BTreeMap<u32, Survey>,
    last: u32,
    /// Those that need nobody any more.
    done: VecDeque<Survey>,
}

impl Surveys {
    /// Whether one more can wait.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < SURVEYS_MAX
    }

    /// The number of the next question. Never 0.
    pub(crate) fn number(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1).max(1);
        self.last
    }

    /// A question that these were asked; `missing` could not be.
    pub(crate) fn begin(
        &mut self,
        now: Duration,
        number: u32,
        (asker, kind): (Asker, Kind),
        (shards, edges): (Vec<LinkId>, Vec<EdgeId>),
        missing: u32,
    ) {
        debug_assert!(self.has_room(), "asked before it was known that there is room");
        let answer = Answer { missing, ..Answer::default() };
        let until = now.saturating_add(SURVEY_TIME);
        self.waiting.insert(number, Survey { asker, kind, answer, shards, edges, until });
        self.settle(number);
    }

    /// A shard's answer. One that is not waited for means nothing.
    pub(crate) fn shard_answered(&mut self, number: u32, link: LinkId, answer: Answer) {
        let Some(survey) = self.waiting.get_mut(&number) else { return };
        if take(&mut survey.shards, &link) {
            survey.add(answer);
            self.settle(number);
        }
    }

    /// The same of a relay.
    pub(crate) fn edge_answered(&mut self, number: u32, edge: EdgeId, answer: Answer) {
        let Some(survey) = self.waiting.get_mut(&number) else { return };
        if take(&mut survey.edges, &edge) {
            survey.add(answer);
            self.settle(number);
        }
    }

    /// A link is gone: it answers nothing more, and wants no answer.
    pub(crate) fn link_closed(&mut self, link: LinkId) {
        self.waiting.retain(|_, survey| !matches!(survey.asker, Asker::Link(asker, _) if asker == link));
        self.each(|survey| {
            if take(&mut survey.shards, &link) {
                survey.answer.missing += 1;
            }
        });
    }

    /// These are the other relays now.
    pub(crate) fn edges_are(&mut self, edges: &[EdgeId]) {
        self.each(|survey| {
            let before = survey.edges.len();
            survey.edges.retain(|edge| edges.contains(edge));
            survey.answer.missing += (before - survey.edges.len()) as u32;
        });
    }

    /// Nobody waits for longer than [`SURVEY_TIME`].
    pub(crate) fn expire(&mut self, now: Duration) {
        while let Some(oldest) = self.waiting.first_entry() {
            if oldest.get().until > now {
                break;
            }
            let mut survey = oldest.remove();
            survey.answer.missing += (survey.shards.len() + survey.edges.len()) as u32;
            self.done.push_back(survey);
        }
    }

    /// A question that has been answered as far as it will be.
    pub(crate) fn done(&mut self) -> Option<Survey> {
        self.done.pop_front()
    }

    fn each(&mut self, mut change: impl FnMut(&mut Survey)) {
        let numbers: Vec<u32> = self.waiting.keys().copied().collect();
        for number in numbers {
            if let Some(survey) = self.waiting.get_mut(&number) {
                change(survey);
            }
            self.settle(number);
        }
    }

    fn settle(&mut self, number: u32) {
        let over = |survey: &Survey| survey.shards.is_empty() && survey.edges.is_empty();
        if self.waiting.get(&number).is_some_and(over)
            && let Some(survey) = self.waiting.remove(&number)
        {
            self.done.push_back(survey);
        }
    }
}

impl Survey {
    /// What would not fit an answer makes it a failure.
    fn add(&mut self, answer: Answer) {
        if self.answer.bytes() + answer.bytes() > SURVEY_BYTES_MAX {
            self.answer.channels.clear();
            self.answer.missing += 1;
            self.answer.failed = code::LIMIT_EXCEEDED.code;
        } else {
            self.answer.add(answer);
        }
    }
}

/// Takes one out of a list; whether it was there.
fn take<T: PartialEq>(all: &mut Vec<T>, one: &T) -> bool {
    let place = all.iter().position(|other| other == one);
    place.map(|place| all.swap_remove(place)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LinkId = LinkId(1);
    const B: LinkId = LinkId(2);
    const API: LinkId = LinkId(3);
    const EDGE: EdgeId = EdgeId(9);

    fn begun(edges: Vec<EdgeId>) -> (Surveys, u32) {
        let mut surveys = Surveys::default();
        let number = surveys.number();
        surveys.begin(Duration::ZERO, number, (Asker::Link(API, 5), Kind::Sum), (vec![A, B], edges), 0);
        (surveys, number)
    }

    fn one() -> Answer {
        Answer { sessions: 1, ..Answer::default() }
    }

    #[test]
    fn a_question_is_done_when_all_have_answered_and_each_counts_once() {
        let (mut surveys, number) = begun(vec![EDGE]);
        surveys.shard_answered(number, A, one());
        surveys.shard_answered(number, A, one());
        surveys.edge_answered(number, EDGE, one());
        assert!(surveys.done().is_none());
        surveys.shard_answered(number, B, one());
        let survey = surveys.done().unwrap();
        assert_eq!((survey.asker, survey.answer.sessions), (Asker::Link(API, 5), 3));
        assert_eq!(survey.answer.missing, 0);
        assert!(surveys.done().is_none());
    }

    #[test]
    fn who_does_not_answer_in_time_is_missing() {
        let (mut surveys, number) = begun(vec![EDGE]);
        surveys.shard_answered(number, A, one());
        surveys.expire(SURVEY_TIME - Duration::from_millis(1));
        assert!(surveys.done().is_none());
        surveys.expire(SURVEY_TIME);
        let survey = surveys.done().unwrap();
        assert_eq!((survey.answer.sessions, survey.answer.missing), (1, 2));
        surveys.shard_answered(number, B, one());
        assert!(surveys.done().is_none());
    }

    #[test]
    fn who_goes_is_missing_at_once() {
        let (mut surveys, number) = begun(vec![EDGE]);
        surveys.link_closed(A);
        surveys.edges_are(&[]);
        surveys.shard_answered(number, B, one());
        assert_eq!(surveys.done().unwrap().answer.missing, 2);
    }

    #[test]
    fn a_question_of_a_link_that_is_gone_is_nobodys() {
        let (mut surveys, number) = begun(vec![]);
        surveys.link_closed(API);
        surveys.shard_answered(number, A, one());
        surveys.shard_answered(number, B, one());
        assert!(surveys.done().is_none());
    }

    #[test]
    fn answers_over_the_bound_are_a_failure() {
        let (mut surveys, number) = begun(vec![]);
        let large =
            || Answer { channels: [("x".repeat(SURVEY_BYTES_MAX / 3 * 2), 1)].into(), ..Answer::default() };
        surveys.shard_answered(number, A, large());
        surveys.shard_answered(number, B, large());
        let answer = surveys.done().unwrap().answer;
        assert_eq!((answer.failed, answer.missing), (code::LIMIT_EXCEEDED.code, 1));
        assert!(answer.channels.is_empty());
    }

    #[test]
    fn a_question_to_nobody_is_done_at_once() {
        let mut surveys = Surveys::default();
        let number = surveys.number();
        surveys.begin(Duration::ZERO, number, (Asker::Edge(EDGE, 5), Kind::Nodes), (vec![], vec![]), 1);
        assert_eq!(surveys.done().unwrap().answer.missing, 1);
    }

    #[test]
    fn waiting_questions_are_bounded() {
        let mut surveys = Surveys::default();
        while surveys.has_room() {
            let number = surveys.number();
            surveys.begin(Duration::ZERO, number, (Asker::Link(API, 5), Kind::Sum), (vec![A], vec![]), 0);
        }
        assert_eq!(surveys.waiting.len(), SURVEYS_MAX);
    }
}
