//! Questions to all shards of all edges, for the server API: asked here and, by words between relays, elsewhere.
//!
//! Owns who is asked. What a bus carries goes out with [`Broker::ask`] and comes in with [`Broker::tell`].

use std::collections::BTreeMap;
use std::time::Duration;

use wire::code;
use wire::edges::Word;
use wire::frame;
use wire::link::{SESSION_BYTES, ToShard};
use wire::survey::{Answer, Census, Node, Question};

use super::Broker;
use crate::LinkId;
use crate::bus::{Ask, EdgeId};
use crate::limits::WORDS_MAX;
use crate::survey::{Asker, Kind, Survey};

/// What this relay is called among others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Name {
    /// Of this run.
    pub uid: String,
    /// For people.
    pub name: String,
}

/// Commands for a session of some shard.
#[derive(Clone, Copy)]
pub(super) struct Emulation<'a> {
    /// Gateway and shard.
    pub(super) address: (u64, u16),
    pub(super) session: [u8; SESSION_BYTES],
    pub(super) data: &'a [u8],
}

impl Broker {
    /// What this relay says of itself.
    pub fn introduce(&mut self, name: Name) {
        self.name = name;
    }

    /// The other relays there are now, as the bus knows them.
    pub(super) fn edges_are(&mut self, now: Duration, edges: &[EdgeId]) {
        self.edges = edges.to_vec();
        self.surveys.edges_are(edges);
        self.finish_surveys(now);
    }

    /// A word of another relay. What is none, or of another version, is counted and not heard.
    pub(super) fn message(&mut self, now: Duration, from: EdgeId, body: &[u8]) {
        match Word::decode(body) {
            Some(Word::Survey { number, question }) => {
                self.ask_all(now, Asker::Edge(from, number), &question);
            }
            Some(Word::Answer { number, answer }) => self.surveys.edge_answered(number, from, *answer),
            Some(Word::Emulate { number, gateway, shard, session, data }) => {
                let emulation = Emulation { address: (gateway, shard), session, data };
                self.emulate_for(now, from, number, &emulation);
            }
            None => self.counters.words_unheard += 1,
        }
        self.finish_surveys(now);
    }

    pub(super) fn survey(&mut self, now: Duration, link: LinkId, request: u32, question: &Question) {
        if self.surveys.has_room() {
            self.ask_all(now, Asker::Link(link, request), question);
        } else {
            self.fail(link, request, code::TOO_MANY_REQUESTS);
        }
        self.finish_surveys(now);
    }

    pub(super) fn surveyed(&mut self, now: Duration, link: LinkId, number: u32, answer: &Answer) {
        self.surveys.shard_answered(number, link, answer.clone());
        self.finish_surveys(now);
    }

    /// Answers what is done.
    pub(super) fn finish_surveys(&mut self, now: Duration) {
        while let Some(survey) = self.surveys.done() {
            self.finish_survey(now, survey);
        }
    }

    /// Every shard here, and every relay if it is a link that asks: relays ask each other for their own shards only.
    fn ask_all(&mut self, now: Duration, asker: Asker, question: &Question) {
        if !self.surveys.has_room() {
            return self.answer_asker(asker, Answer::failure(code::TOO_MANY_REQUESTS.code));
        }
        if let Question::Command(command) = question {
            self.note_move(command);
        }
        let number = self.surveys.number();
        let kind = if matches!(question, Question::Census) { Kind::Nodes } else { Kind::Sum };
        let mut frame = Vec::new();
        let message = ToShard::Survey { number, question: Box::new(question.clone()) };
        if frame::encode(&message, &mut frame).is_err() {
            return self.answer_asker(asker, Answer::failure(code::LIMIT_EXCEEDED.code));
        }
        let mut missing = 0;
        let mut shards = self.shards();
        shards.retain(|link| {
            let taken = self.offer(*link, &frame);
            missing += u32::from(!taken);
            taken
        });
        let edges = match asker {
            Asker::Link(..) => self.ask_edges(&Word::Survey { number, question: Box::new(question.clone()) }),
            Asker::Edge(..) => Ok(Vec::new()),
        };
        let edges = edges.unwrap_or_else(|asked| {
            missing += asked;
            Vec::new()
        });
        self.surveys.begin(now, number, (asker, kind), (shards, edges), missing);
    }

    /// Commands for a session whose gateway is not here: perhaps another relay's. False when there is nobody to ask.
    pub(super) fn emulate_elsewhere(
        &mut self,
        now: Duration,
        link: LinkId,
        request: u32,
        emulation: &Emulation<'_>,
    ) -> bool {
        if self.edges.is_empty() || !self.surveys.has_room() {
            return false;
        }
        let number = self.surveys.number();
        let Emulation { address: (gateway, shard), session, data } = *emulation;
        let word = Word::Emulate { number, gateway, shard, session, data };
        let Ok(edges) = self.ask_edges(&word) else { return false };
        let asked = (Asker::Link(link, request), Kind::Emulation);
        self.surveys.begin(now, number, asked, (Vec::new(), edges), 0);
        true
    }

    /// The same asked by another relay.
    fn emulate_for(&mut self, now: Duration, from: EdgeId, number: u32, emulation: &Emulation<'_>) {
        let asker = Asker::Edge(from, number);
        let Some(owner) = self.owner(emulation.address) else {
            return self.answer_asker(asker, Answer::default());
        };
        if !self.surveys.has_room() {
            return self.answer_asker(asker, Answer::failure(code::TOO_MANY_REQUESTS.code));
        }
        let number = self.surveys.number();
        let (session, data) = (emulation.session, emulation.data);
        // No link has this number: the answer is for the survey.
        let message = ToShard::Emulate { asker: 0, request: number, session, data };
        let mut frame = Vec::new();
        if frame::encode(&message, &mut frame).is_err() || !self.offer(owner, &frame) {
            return self.answer_asker(asker, Answer::failure(code::TOO_MANY_REQUESTS.code));
        }
        self.surveys.begin(now, number, (asker, Kind::Emulation), (vec![owner], Vec::new()), 0);
    }

    /// The link of a shard. One that has connected again is known twice until its old connection is closed: the newest is it.
    pub(super) fn owner(&self, address: (u64, u16)) -> Option<LinkId> {
        let mut links = self.links.iter().rev();
        links.find(|(_, outbound)| outbound.address == Some(address)).map(|(link, _)| *link)
    }

    /// The links of all shards.
    fn shards(&self) -> Vec<LinkId> {
        let newest: BTreeMap<_, _> =
            self.links.iter().filter_map(|(link, outbound)| Some((outbound.address?, *link))).collect();
        newest.into_values().collect()
    }

    /// Queues a frame for a link unless it is behind.
    pub(super) fn offer(&mut self, link: LinkId, frame: &[u8]) -> bool {
        let limits = &self.limits;
        let taken = self.links.get_mut(&link).is_some_and(|outbound| outbound.offer_loose(frame, limits));
        if taken {
            self.announce(link);
        }
        taken
    }

    /// Says a word to all other relays; these are they. The error is how many it could not be said to.
    fn ask_edges(&mut self, word: &Word<'_>) -> Result<Vec<EdgeId>, u32> {
        if self.edges.is_empty() {
            // One that has just come is not known yet: it hears of it, and nobody waits for its answer.
            if self.is_shared() {
                self.say(None, word);
            }
            return Ok(Vec::new());
        }
        if self.say(None, word) { Ok(self.edges.clone()) } else { Err(self.edges.len() as u32) }
    }

    fn say(&mut self, to: Option<EdgeId>, word: &Word<'_>) -> bool {
        let body = word.encode().ok().filter(|_| self.words.len() < WORDS_MAX);
        self.counters.words_lost += u64::from(body.is_none());
        body.map(|body| self.words.push_back(Ask::Send { to, body })).is_some()
    }

    fn finish_survey(&mut self, now: Duration, survey: Survey) {
        let Survey { asker, kind, mut answer, .. } = survey;
        match (kind, asker) {
            (Kind::Emulation, Asker::Link(link, request)) => {
                if answer.sessions > 0 {
                    return self.queue_message(link, &ToShard::Emulated { request, found: true });
                }
                let error = if answer.missing > 0 { code::INTERNAL } else { code::NOT_AVAILABLE };
                return self.fail(link, request, error);
            }
            (Kind::Nodes, _) => {
                let census = std::mem::take(&mut answer.census);
                answer.nodes.insert(0, self.node(now, &census));
            }
            (Kind::Sum | Kind::Emulation, _) => {}
        }
        self.answer_asker(asker, answer);
    }

    fn answer_asker(&mut self, asker: Asker, answer: Answer) {
        let answer = Box::new(answer);
        match asker {
            Asker::Link(link, request) => {
                let mut frame = Vec::new();
                let encoded = frame::encode(&ToShard::Surveyed { request, answer }, &mut frame);
                self.queue_or_fail(link, request, encoded, frame);
            }
            Asker::Edge(edge, number) => {
                self.say(Some(edge), &Word::Answer { number, answer });
            }
        }
    }

    /// What is known of this relay and of all its shards.
    fn node(&self, now: Duration, census: &Census) -> Node {
        let (counters, totals) = (&self.counters, self.channels.totals());
        let counted = [
            ("publications", counters.publications),
            ("deliveries_to_shards", counters.deliveries),
            ("recovered", counters.recovered),
            ("unrecovered", counters.unrecovered),
            ("insufficient", counters.insufficient),
            ("repairs", counters.repairs),
            ("lost", counters.lost),
        ];
        Node {
            uid: self.name.uid.clone(),
            name: self.name.name.clone(),
            version: self.settings.version.clone(),
            clients: census.clients,
            subscriptions: census.subscriptions,
            users: census.users.count(),
            channels: u32::try_from(totals.wanted).unwrap_or(u32::MAX),
            uptime_s: u32::try_from(now.as_secs()).unwrap_or(u32::MAX),
            counters: counted.map(|(name, count)| (name.to_owned(), count)).to_vec(),
        }
    }

    /// Forgets a channel's publications, here or where the bus has them.
    pub(super) fn remove(&mut self, now: Duration, link: LinkId, request: u32, channel: &str) {
        if self.follows(channel) {
            return self.remove_remote(now, link, request, channel);
        }
        match self.remove_history(channel) {
            Ok(()) => self.queue_message(link, &ToShard::Done { request }),
            Err(error) => self.fail(link, request, error),
        }
    }
}
