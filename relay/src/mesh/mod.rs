//! One edge of a mesh: relays that keep links to each other and need no other server.
//!
//! Each channel has an owner among the listed edges, whose home (a broker of its own, with the edges as its links) keeps the stream and
//! who is present. Takes what this edge's broker asks and what other edges say, gives what they and the broker are told. Never opens
//! a connection: the shell passes bytes.

mod asks;
mod handover;
mod health;
mod interest;
mod links;
mod list;
mod moves;
mod peer;
mod present;
mod questions;
mod serve;
mod table;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use wire::frame::FrameError;
use wire::mesh::{Class, Word};
use wire::settings::Settings;

use crate::bus::{EdgeId, Tell};
use crate::limits::{
    ALIVE_EVERY, ANSWERS_BYTES_MAX, FORMER_WITHIN, MESH_PUMP_BYTES, SETTLE_WITHIN, SILENCE_MAX,
};
use crate::{Broker, Event, Limits, LinkId, Transmit};

pub use health::{Counters, PeerHealth, PeerState};
pub use links::Stranger;
pub use list::{List, NotAList};

use peer::Peer;

/// Who is told. Called with the mesh locked: it must not call back.
pub type Told<'t> = dyn FnMut(Tell<'_>) + 't;

/// One edge. Times are durations since any one moment. Extra calls are harmless.
#[derive(Debug)]
pub struct Mesh {
    me: Arc<str>,
    edge: EdgeId,
    list: List,
    /// The list before, while streams may still come from the owners of then; `None`: from anybody.
    previous: Option<List>,
    /// Edges that may still have streams of channels which this one owns, and how long one without a link is waited for.
    unsettled: BTreeMap<Arc<str>, Duration>,
    /// The listed edges by their places, then those that are listed no more. This one is among them.
    peers: Vec<Peer>,
    /// Channels that are joined at one edge while another, which may pass their publications on too, has not said so yet.
    untold: BTreeSet<Arc<str>>,
    home: Broker,
    settings: Settings,
    bounds: Limits,
    last_link: u32,
    /// Number of the stream last said to anybody.
    last_stream: u64,
    /// Of each edge that had a link: its last run, and the number of the last whole stream that came from it.
    heard: BTreeMap<Arc<str>, (EdgeId, u64)>,
    events: VecDeque<Event>,
    counters: Counters,
}

impl Mesh {
    /// An edge without links. `run` and `seed` come from a random source.
    pub fn new(
        now: Duration,
        me: &str,
        list: List,
        settings: &Settings,
        limits: &Limits,
        (run, seed): (u64, u64),
    ) -> Self {
        let bounds = home_limits(limits);
        let me: Arc<str> = me.into();
        let others = list.names().filter(|name| **name != me);
        let mut mesh = Self {
            unsettled: others.map(|name| (Arc::clone(name), now + SETTLE_WITHIN)).collect(),
            edge: EdgeId(run),
            previous: None,
            peers: Vec::new(),
            untold: BTreeSet::new(),
            home: Broker::new(home_settings(settings), bounds.clone(), seed),
            settings: settings.on_bus(),
            bounds,
            last_link: 0,
            last_stream: 0,
            heard: BTreeMap::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            list,
            me,
        };
        mesh.peers = mesh.list.names().map(|name| Peer::new(now, Arc::clone(name))).collect();
        if mesh.index(&mesh.me).is_none() {
            let own = Peer::new(now, Arc::clone(&mesh.me));
            mesh.peers.push(own);
        }
        mesh.connect_self(now);
        mesh
    }

    /// Replaces namespaces. What is wanted of whom may change with what is kept.
    pub fn configure(&mut self, now: Duration, settings: &Settings, told: &mut Told<'_>) {
        self.home.configure(home_settings(settings));
        let settings = settings.on_bus();
        let same = self.settings.namespaces == settings.namespaces
            && self.settings.default_namespace == settings.default_namespace
            && self.settings.boundaries == settings.boundaries;
        self.settings = settings;
        if !same {
            self.relist(now, self.list.clone(), told);
        }
        self.finish(now, told);
    }

    /// Takes another list. Streams of channels that have another owner now go to it; until they are there it does not serve them.
    pub fn change(&mut self, now: Duration, list: List, told: &mut Told<'_>) {
        if list == self.list {
            return;
        }
        let others = self.list.names().chain(list.names()).filter(|name| **name != self.me);
        let unsettled = others.map(|name| (Arc::clone(name), now + SETTLE_WITHIN)).collect();
        // While streams are still on the way from before, they may come from anybody.
        self.previous = self.unsettled.is_empty().then(|| self.list.clone());
        self.unsettled = unsettled;
        self.relist(now, list, told);
        self.finish(now, told);
    }

    fn relist(&mut self, now: Duration, list: List, told: &mut Told<'_>) {
        (0..self.peers.len()).for_each(|index| self.disagree(now, index, told));
        let mut before = std::mem::take(&mut self.peers);
        let (mut wanted, mut present, mut leaving) = (Vec::new(), Vec::new(), Vec::new());
        for peer in &mut before {
            wanted.extend(peer.interest.channels().cloned());
            present.extend(peer.present.take());
            leaving.extend(peer.leaving.take());
            peer.interest.forget();
        }
        self.list = list;
        for name in self.list.names() {
            let place = before.iter().position(|peer| peer.name == *name);
            let mut peer =
                place.map_or_else(|| Peer::new(now, Arc::clone(name)), |place| before.remove(place));
            peer.former = None;
            self.peers.push(peer);
        }
        for mut peer in before {
            if peer.connection.is_none() {
                peer.leaving.give_up().iter().for_each(|channel| self.home.forget(channel));
                continue;
            }
            peer.former = peer.former.or(Some(now + FORMER_WITHIN));
            self.peers.push(peer);
        }
        wanted.sort_unstable();
        wanted.dedup();
        wanted.iter().for_each(|channel| self.want(channel));
        for (channel, member, appearance) in present {
            let keeper = self.list.owner(&channel);
            self.peers[keeper].present.enter(channel, member, appearance);
        }
        leaving.extend(self.home.streams().cloned());
        leaving.sort_unstable();
        leaving.dedup();
        leaving.retain(|channel| !self.peers.iter().any(|peer| peer.leaving.lent(channel)));
        leaving.into_iter().for_each(|channel| self.hand_over(channel));
        let digest = self.list.digest();
        for index in 0..self.peers.len() {
            let heard = self.heard(index);
            self.peers[index].say(&Word::List { digest, heard });
            if self.peers[index].name == self.me
                && let Some(own) = &mut self.peers[index].connection
            {
                own.digest = Some(digest);
            }
            self.agree(index);
        }
    }

    /// Takes every whole frame in `bytes`; the result is how many bytes they were. After an error the connection is to be closed.
    pub fn receive(
        &mut self,
        now: Duration,
        link: LinkId,
        bytes: &[u8],
        told: &mut Told<'_>,
    ) -> Result<usize, FrameError> {
        let index = self.linked(link).ok_or(FrameError::NotALink)?;
        if let Some(connection) = &mut self.peers[index].connection {
            connection.heard = now;
        }
        let result = self.frames(now, index, bytes, told);
        self.finish(now, told);
        result
    }

    fn frames(
        &mut self,
        now: Duration,
        index: usize,
        bytes: &[u8],
        told: &mut Told<'_>,
    ) -> Result<usize, FrameError> {
        let mut rest = bytes;
        while let Some((class, body, after)) = wire::mesh::split(rest)? {
            // What is on its way between edges whose lists differ is of an agreement that is over.
            match (class, self.peers[index].home()) {
                (Class::Answer, Some(_)) => self.answer(index, body, told)?,
                (Class::Question, Some(home)) => self.serve(now, home, body)?,
                (Class::Word, _) => self.word(now, index, body, told)?,
                (Class::Answer | Class::Question, None) => self.counters.stale += 1,
            }
            rest = after;
        }
        Ok(bytes.len() - rest.len())
    }

    /// Lets time pass: call about ten times a second.
    pub fn expire(&mut self, now: Duration, told: &mut Told<'_>) {
        self.home.expire(now);
        let linked: Vec<Arc<str>> = self
            .peers
            .iter()
            .filter(|peer| peer.connection.is_some())
            .map(|peer| Arc::clone(&peer.name))
            .collect();
        self.give_up(now);
        self.unsettled.retain(|name, until| *until > now || linked.contains(name));
        for index in 0..self.peers.len() {
            self.peers[index].interest.expire(now);
            let peer = &mut self.peers[index];
            let settled = !self.unsettled.contains_key(&peer.name);
            let Some(connection) = peer.connection.as_mut().filter(|_| peer.name != self.me) else {
                continue;
            };
            let silent = now.saturating_sub(connection.heard) >= SILENCE_MAX;
            self.counters.links_silent += u64::from(silent);
            let done = peer.former.is_some_and(|until| until <= now || settled && peer.leaving.len() == 0);
            if silent || done {
                self.drop_connection(now, index, told);
            } else if now.saturating_sub(connection.spoke) >= ALIVE_EVERY && connection.queued() == 0 {
                connection.say(Class::Word, &Word::Alive);
            }
        }
        self.give_up(now);
        self.peers.retain(|peer| peer.former.is_none() || peer.connection.is_some() || peer.name == self.me);
        self.finish(now, told);
    }

    /// Replaces `out`, whose bytes have been written, with what waits for `link`.
    pub fn transmit(&mut self, now: Duration, link: LinkId, out: &mut Vec<u8>) -> Transmit {
        out.clear();
        let Some(index) = self.linked(link) else { return Transmit::Close };
        if let Some(home) = self.peers[index].home()
            && self.home.transmit(home, out) == Transmit::Close
        {
            return Transmit::Close;
        }
        self.pump(now, index);
        let Some(connection) = &mut self.peers[index].connection else { return Transmit::Close };
        if connection.overflowed {
            return Transmit::Close;
        }
        connection.take(out);
        connection.announced = !out.is_empty();
        if out.is_empty() {
            return Transmit::Idle;
        }
        connection.spoke = now;
        Transmit::Write
    }

    /// Takes what the shell must do. Ask after each of the verbs above until `None`.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The listed edges.
    pub const fn list(&self) -> &List {
        &self.list
    }

    /// After each verb: what this edge says to itself is heard, what is owed is queued, and writers are woken.
    fn finish(&mut self, now: Duration, told: &mut Told<'_>) {
        let mut bytes = Vec::new();
        loop {
            (0..self.peers.len()).for_each(|index| self.pump(now, index));
            let Some(own) = self.index(&self.me) else { break };
            if let Some(home) = self.peers[own].home() {
                self.home.transmit(home, &mut bytes);
            }
            if let Some(connection) = &mut self.peers[own].connection {
                connection.take(&mut bytes);
            }
            if bytes.is_empty() {
                break;
            }
            let taken = self.frames(now, own, &bytes, told);
            debug_assert_eq!(taken, Ok(bytes.len()), "an edge understands itself");
            bytes.clear();
        }
        self.home_events(now, told);
        for index in 0..self.peers.len() {
            let peer = &mut self.peers[index];
            let Some(connection) = peer.connection.as_mut().filter(|_| peer.name != self.me) else {
                continue;
            };
            if connection.overflowed {
                self.counters.links_overflowed += 1;
                self.drop_connection(now, index, told);
            } else if connection.queued() > 0 && !connection.announced {
                connection.announced = true;
                self.events.push_back(Event::Ready(connection.link));
            }
        }
        self.check();
    }

    fn home_events(&mut self, now: Duration, told: &mut Told<'_>) {
        while let Some(event) = self.home.event() {
            let (Event::Ready(home) | Event::Close(home)) = event;
            let Some(index) = self.peers.iter().position(|peer| peer.home() == Some(home)) else { continue };
            if self.peers[index].name == self.me {
                continue;
            }
            if event == Event::Close(home) {
                self.counters.links_overflowed += 1;
                self.drop_connection(now, index, told);
            } else if let Some(connection) = &mut self.peers[index].connection
                && !connection.announced
            {
                connection.announced = true;
                self.events.push_back(Event::Ready(connection.link));
            }
        }
    }

    /// Queues what can be said any time, while little waits.
    fn pump(&mut self, now: Duration, index: usize) {
        let held = self.held(index);
        let Self { peers, home, last_stream, .. } = self;
        let Peer { connection, interest, questions, present, leaving, .. } = &mut peers[index];
        let Some(connection) = connection.as_mut().filter(|connection| connection.home.is_some()) else {
            return;
        };
        while connection.has_time()
            && let Some(part) = interest.part()
        {
            asks::say_part(connection, &part);
        }
        questions.say(|frame| connection.pass(frame));
        while connection.has_time()
            && let Some((channel, member, appearance)) = present.next()
        {
            asks::say_enter(connection, channel, member, appearance);
        }
        while connection.has_time() {
            if leaving.part(|part| connection.say(Class::Word, &Word::Stream(part.clone()))) {
                continue;
            }
            let Some(channel) = leaving.next() else { break };
            if let Some(moved) = home.leaving(now, &channel) {
                *last_stream += 1;
                leaving.begin(moved, *last_stream);
            }
        }
        if !held && leaving.settle() {
            connection.say(Class::Word, &Word::Settled);
        }
        debug_assert!(connection.queued() < usize::MAX - MESH_PUMP_BYTES, "a pump is bounded");
    }

    fn next_link(&mut self) -> LinkId {
        self.last_link += 1;
        LinkId(self.last_link)
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.peers.iter().position(|peer| *peer.name == *name)
    }

    fn linked(&self, link: LinkId) -> Option<usize> {
        self.peers.iter().position(|peer| peer.is(link))
    }

    /// The sweep of debug builds.
    fn check(&self) {
        if cfg!(debug_assertions) {
            let mut listed = self.list.names().zip(&self.peers);
            assert!(listed.all(|(name, peer)| *name == peer.name), "peers are in the list's order");
            assert!(self.peers.len() >= self.list.names().len(), "every listed edge is known");
            for peer in &self.peers {
                assert!(
                    peer.home().is_some() || peer.interest.counts().1 == 0,
                    "nothing is joined without agreement"
                );
                assert!(peer.home().is_some() || peer.questions.len() == 0, "nothing is asked without it");
                let mut lent = peer.leaving.earlier().take(9).filter(|channel| self.kept(channel));
                assert!(lent.all(|channel| !self.serves(channel)), "what another may have is not served");
            }
        }
    }
}

/// A home answers edges, not clients: pages are bounded by bytes alone.
fn home_settings(settings: &Settings) -> Settings {
    let mut settings = settings.on_bus();
    settings.client.queue_max_size = u32::MAX;
    settings.client.history_max_publication_limit = u32::MAX;
    settings
}

/// Beside publications a home's queue takes all the answers that an edge may ask for at once.
fn home_limits(limits: &Limits) -> Limits {
    Limits { link_bytes: limits.link_publications_bytes + 2 * ANSWERS_BYTES_MAX, ..limits.clone() }
}
