//! Edges, the connections between them with all that goes wrong there, and what must be true of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use wire::ClientId;
use wire::link::Publication;
use wire::settings::{Namespace, Settings};

use super::faults::{Bug, tamper};
use super::follower::{Follower, KEPT};
use crate::bus::{Ask, EdgeId, Member, Tell, Ticket};
use crate::mesh::{List, Mesh, PeerState};
use crate::{Appearance, Event, Limits, LinkId, Transmit};

/// One step of the world.
const STEP: Duration = Duration::from_millis(20);
pub(super) const HISTORY: usize = 6;
pub(super) const LOOSE: usize = 3;

/// What kind of world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) edges: usize,
    pub(super) cuts: bool,
    pub(super) restarts: bool,
    pub(super) lists: bool,
    /// How long faults go on.
    pub(super) seconds: u64,
    pub(super) bug: Option<Bug>,
}

impl Plan {
    pub(super) fn quiet(edges: usize) -> Self {
        Self { edges, cuts: false, restarts: false, lists: false, seconds: 12, bug: None }
    }

    pub(super) fn cuts(edges: usize) -> Self {
        Self { cuts: true, ..Self::quiet(edges) }
    }
}

pub(super) struct Edge {
    pub(super) name: String,
    run: u64,
    /// `None` while it is not running.
    pub(super) mesh: Option<Mesh>,
    /// The list it has, by positions among all edges.
    pub(super) list: Vec<usize>,
    /// A list on its way to it.
    pub(super) next: Option<(Duration, Vec<usize>)>,
    pub(super) followers: BTreeMap<Arc<str>, Follower>,
    pub(super) members: BTreeMap<(Arc<str>, ClientId), Member>,
    /// Publications that wait for their answer: channel, what, key.
    publishing: BTreeMap<u64, (Arc<str>, u64, bool)>,
    pub(super) presence: BTreeMap<u64, Arc<str>>,
    pub(super) seen: BTreeMap<Arc<str>, BTreeSet<ClientId>>,
    pub(super) retries: Vec<(Arc<str>, u64)>,
    pub(super) loose: BTreeSet<u64>,
}

/// A connection between two edges: each side's link while it has one, and bytes on their way from it.
pub(super) struct Wire {
    ends: [(usize, Option<LinkId>); 2],
    ways: [VecDeque<(Duration, Vec<u8>)>; 2],
    inbox: [Vec<u8>; 2],
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) seed: u64,
    pub(super) random: Random,
    pub(super) now: Duration,
    pub(super) edges: Vec<Edge>,
    pub(super) wires: Vec<Wire>,
    /// Cut pairs.
    pub(super) cuts: BTreeSet<(usize, usize)>,
    pub(super) ticket: u64,
    pub(super) what: u64,
    /// What is at a place, once anybody was told: channel, epoch, offset.
    pub(super) acknowledged: BTreeMap<(Arc<str>, String, u64), u64>,
    pub(super) moved: u64,
    pub(super) again: u64,
    pub(super) bug: Option<Bug>,
    pub(super) wrong: Option<String>,
    pub(super) trace: u64,
}

impl World {
    pub(super) fn new(seed: u64, plan: Plan) -> Self {
        let mut world = Self {
            plan,
            seed,
            random: Random(seed.wrapping_mul(0x9e37_79b9) ^ 0x5eed),
            now: Duration::ZERO,
            edges: Vec::new(),
            wires: Vec::new(),
            cuts: BTreeSet::new(),
            ticket: 0,
            what: 0,
            acknowledged: BTreeMap::new(),
            moved: 0,
            again: 0,
            bug: plan.bug,
            wrong: None,
            trace: 0,
        };
        // With lists that change, one edge comes later.
        let listed: Vec<usize> = (0..plan.edges - usize::from(plan.lists)).collect();
        for index in 0..plan.edges {
            world.edges.push(Edge {
                name: format!("edge-{index:02}"),
                run: 0,
                mesh: None,
                list: listed.clone(),
                next: None,
                followers: BTreeMap::new(),
                members: BTreeMap::new(),
                publishing: BTreeMap::new(),
                presence: BTreeMap::new(),
                seen: BTreeMap::new(),
                retries: Vec::new(),
                loose: BTreeSet::new(),
            });
        }
        listed.iter().for_each(|index| world.start(*index));
        world
    }

    /// Faults, then none until nothing moves, then the sum.
    pub(super) fn run(&mut self) -> Result<(), String> {
        let end = self.now + Duration::from_secs(self.plan.seconds);
        while self.now < end {
            self.disturb();
            self.work();
            self.step()?;
        }
        self.heal();
        self.pass_checked(Duration::from_secs(25))?;
        self.retry_all();
        self.pass_checked(Duration::from_secs(8))?;
        self.last_words()?;
        self.sum()
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.pass_checked(time).unwrap_or_else(|wrong| panic!("{wrong}"));
    }

    pub(super) fn pass_checked(&mut self, time: Duration) -> Result<(), String> {
        let end = self.now + time;
        while self.now < end {
            self.step()?;
        }
        Ok(())
    }

    pub(super) fn told(&self) -> usize {
        self.followers().map(|(_, follower)| follower.told).sum()
    }

    pub(super) fn delivered(&self) -> usize {
        self.followers().map(|(_, follower)| follower.got.len()).sum()
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved + self.meshes().map(|mesh| mesh.counters().streams_left).sum::<u64>()
    }

    pub(super) fn again(&self) -> u64 {
        self.again + self.meshes().map(|mesh| mesh.counters().tables_again).sum::<u64>()
    }

    pub(super) fn trace(&self) -> u64 {
        self.trace
    }

    pub(super) fn links_up(&self) -> usize {
        let up = |mesh: &Mesh| mesh.peers().iter().filter(|peer| peer.state == PeerState::Up).count();
        self.meshes().map(up).sum()
    }

    pub(super) fn meshes(&self) -> impl Iterator<Item = &Mesh> {
        self.edges.iter().filter_map(|edge| edge.mesh.as_ref())
    }

    pub(super) fn followers(&self) -> impl Iterator<Item = (usize, &Follower)> {
        let running = self.edges.iter().enumerate().filter(|(_, edge)| edge.mesh.is_some());
        running.flat_map(|(index, edge)| edge.followers.values().map(move |follower| (index, follower)))
    }

    // What happens to it.

    pub(super) fn cut(&mut self, one: usize, other: usize) {
        self.cuts.insert((one.min(other), one.max(other)));
    }

    fn heal(&mut self) {
        self.cuts.clear();
        for index in 0..self.edges.len() {
            if self.edges[index].mesh.is_none() && self.edges[index].list.contains(&index) {
                self.start(index);
            }
        }
    }

    fn list(&self, index: usize) -> List {
        List::new(self.edges[index].list.iter().map(|edge| self.edges[*edge].name.as_str())).unwrap()
    }

    pub(super) fn start(&mut self, index: usize) {
        let (run, seed) = (self.random.next(), self.random.next());
        let limits = Limits { presence_grace: Duration::from_secs(3), ..Limits::default() };
        let list = self.list(index);
        let mesh = Mesh::new(self.now, &self.edges[index].name, list, &settings(), &limits, (run, seed));
        let edge = &mut self.edges[index];
        (edge.mesh, edge.run) = (Some(mesh), run);
        let mut asks: Vec<Ask> =
            edge.followers.keys().map(|channel| Ask::Want { channel: Arc::clone(channel) }).collect();
        let entered = edge.members.iter().map(|((channel, _), member)| enter(channel, member));
        asks.extend(entered);
        asks.into_iter().for_each(|ask| self.ask(index, ask));
    }

    pub(super) fn stop(&mut self, index: usize) {
        let Some(mesh) = self.edges[index].mesh.take() else { return };
        self.moved += mesh.counters().streams_left;
        self.again += mesh.counters().tables_again;
        let edge = &mut self.edges[index];
        edge.followers.values_mut().for_each(Follower::restart);
        let lost = std::mem::take(&mut edge.publishing).into_values();
        edge.retries.extend(lost.filter(|(_, _, kept)| *kept).map(|(channel, what, _)| (channel, what)));
        for other in 0..self.edges.len() {
            self.hang_up(index, other);
        }
    }

    /// Both sides see the connection end.
    pub(super) fn hang_up(&mut self, one: usize, other: usize) {
        for place in (0..self.wires.len()).rev() {
            let ends = self.wires[place].ends;
            if ends.iter().all(|(edge, _)| *edge == one || *edge == other) && one != other {
                self.wires.remove(place);
                for (edge, link) in ends {
                    self.closed(edge, link);
                }
            }
        }
    }

    fn closed(&mut self, edge: usize, link: Option<LinkId>) {
        if let Some(link) = link {
            let now = self.now;
            self.with(edge, |mesh, told| mesh.closed(now, link, told));
        }
    }

    // What its people do.

    fn work(&mut self) {
        let index = self.random.below(self.edges.len() as u64) as usize;
        if self.edges[index].mesh.is_none() {
            return;
        }
        let channel = channel(self.random.below((HISTORY + LOOSE) as u64) as usize);
        match self.random.below(12) {
            0..=7 => {
                self.what += 1;
                self.publish(index, &channel, self.what);
            }
            8 if !self.edges[index].followers.contains_key(&channel) => {
                self.edges[index].followers.insert(Arc::clone(&channel), Follower::new(Arc::clone(&channel)));
                self.ask(index, Ask::Want { channel });
            }
            9 if self.random.one_in(4) && self.edges[index].followers.remove(&channel).is_some() => {
                self.ask(index, Ask::Unwant { channel });
            }
            10 => {
                let client = ClientId([self.random.below(200) as u8; 16]);
                let client =
                    ClientId(std::array::from_fn(|at| if at == 0 { index as u8 } else { client.0[0] }));
                let member =
                    Member { client, user: "ann".into(), conn_info: [].into(), chan_info: [].into() };
                self.ask(index, enter(&channel, &member));
                self.edges[index].members.insert((channel, client), member);
            }
            11 => {
                let Some(((channel, client), member)) = self.edges[index].members.pop_first() else { return };
                debug_assert_eq!(client, member.client);
                let appearance = Appearance { seen: true, announced: true };
                self.ask(index, Ask::Leave { channel, member, appearance });
            }
            _ => {}
        }
        if let Some((channel, what)) = self.edges[index].retries.pop() {
            self.publish(index, &channel, what);
        }
    }

    pub(super) fn publish(&mut self, index: usize, channel: &Arc<str>, what: u64) {
        self.ticket += 1;
        let data = what.to_le_bytes();
        let body = wire::bus::body(&Publication { data: &data, ..Publication::default() }).unwrap();
        let kept = kept(channel);
        self.edges[index].publishing.insert(self.ticket, (Arc::clone(channel), what, kept));
        let key = if kept { format!("key {what}").into() } else { Box::default() };
        let ticket = Ticket(self.ticket);
        let kept = kept.then_some(KEPT);
        self.ask(index, Ask::Publish { ticket, channel: Arc::clone(channel), body, key, kept });
    }

    fn retry_all(&mut self) {
        for index in 0..self.edges.len() {
            if self.edges[index].mesh.is_none() {
                continue;
            }
            for (channel, what) in std::mem::take(&mut self.edges[index].retries) {
                self.publish(index, &channel, what);
            }
        }
    }

    pub(super) fn ask(&mut self, index: usize, ask: Ask) {
        let now = self.now;
        self.with(index, |mesh, told| mesh.ask(now, ask, told));
    }

    // What it does itself.

    fn step(&mut self) -> Result<(), String> {
        self.now += STEP;
        self.connect();
        for index in 0..self.edges.len() {
            self.edge(index);
        }
        for place in 0..self.wires.len() {
            for way in 0..2 {
                self.carry(place, way);
            }
        }
        self.wires.retain(|wire| wire.ends.iter().any(|(_, link)| link.is_some()));
        match self.wrong.take() {
            Some(wrong) => Err(format!("seed {} at {:?} with {:?}: {wrong}", self.seed, self.now, self.plan)),
            None => Ok(()),
        }
    }

    fn edge(&mut self, index: usize) {
        let now = self.now;
        let next = self.edges[index].next.take_if(|(at, _)| *at <= now);
        if let Some((_, list)) = next {
            self.edges[index].list = list;
            let list = self.list(index);
            self.with(index, |mesh, told| mesh.change(now, list, told));
            if self.bug == Some(Bug::OwnerInHaste)
                && let Some(mesh) = &mut self.edges[index].mesh
            {
                mesh.unsettled.clear();
            }
        }
        if now.as_millis().is_multiple_of(100) {
            self.with(index, |mesh, told| mesh.expire(now, told));
        }
        let mut asks = Vec::new();
        for follower in self.edges[index].followers.values_mut() {
            // A periodic position check would be later; here every follower of a kept channel asks when it has reason to.
            self.ticket += 1;
            asks.extend(follower.ask(Ticket(self.ticket)).filter(|_| kept(&follower.channel)));
        }
        asks.into_iter().for_each(|ask| self.ask(index, ask));
        while let Some(event) = self.edges[index].mesh.as_mut().and_then(Mesh::event) {
            if let Event::Close(link) = event {
                for wire in &mut self.wires {
                    wire.ends
                        .iter_mut()
                        .filter(|end| **end == (index, Some(link)))
                        .for_each(|end| end.1 = None);
                }
            }
        }
    }

    /// Pairs that may connect do, some time.
    fn connect(&mut self) {
        for (one, other) in (0..self.edges.len()).flat_map(|one| (0..one).map(move |other| (other, one))) {
            let running = [one, other].iter().all(|edge| self.edges[*edge].mesh.is_some());
            let there = self.wires.iter().any(|wire| {
                wire.ends[0].0 == one
                    && wire.ends[1].0 == other
                    && wire.ends.iter().all(|(_, link)| link.is_some())
            });
            if !running || there || self.cuts.contains(&(one, other)) || !self.random.one_in(4) {
                continue;
            }
            // What is left of an earlier one goes.
            self.hang_up(one, other);
            let (now, mut ends) = (self.now, [(one, None), (other, None)]);
            for (side, (edge, peer)) in [(one, other), (other, one)].into_iter().enumerate() {
                let name = self.edges[peer].name.clone();
                let id = EdgeId(self.edges[peer].run);
                self.with(edge, |mesh, told| ends[side].1 = mesh.opened(now, &name, id, told).ok());
            }
            if ends.iter().all(|(_, link)| link.is_some()) {
                self.wires.push(Wire { ends, ways: Default::default(), inbox: Default::default() });
            } else {
                ends.into_iter().for_each(|(edge, link)| self.closed(edge, link));
            }
        }
    }

    fn carry(&mut self, place: usize, way: usize) {
        let Some(wire) = self.wires.get_mut(place) else { return };
        let ((from, from_link), (to, to_link)) = (wire.ends[way], wire.ends[1 - way]);
        let pair = (from.min(to), from.max(to));
        let now = self.now;
        if let (Some(link), Some(mesh)) = (from_link, &mut self.edges[from].mesh)
            && wire.ways[way].len() < 8
        {
            let mut out = Vec::new();
            if mesh.transmit(now, link, &mut out) == Transmit::Write {
                let delay = Duration::from_millis(self.random.below(80));
                wire.ways[way].push_back((now + delay, tamper(out, &mut self.bug, &mut self.random)));
            }
        }
        if self.cuts.contains(&pair) {
            return;
        }
        let mut arrived = Vec::new();
        while wire.ways[way].front().is_some_and(|(at, _)| *at <= now) {
            arrived.extend(wire.ways[way].pop_front().into_iter().flat_map(|(_, bytes)| bytes));
        }
        let Some(link) = to_link.filter(|_| !arrived.is_empty()) else { return };
        // Bytes come in pieces.
        let mut inbox = std::mem::take(&mut wire.inbox[way]);
        let cut = self.random.below(arrived.len() as u64 + 1) as usize;
        for piece in [&arrived[..cut], &arrived[cut..]] {
            inbox.extend_from_slice(piece);
            let mut result = Ok(0);
            self.with(to, |mesh, told| result = mesh.receive(now, link, &inbox, told));
            match result {
                Ok(taken) => drop(inbox.drain(..taken)),
                Err(_) => return self.hang_up(from, to),
            }
        }
        if let Some(wire) = self.wires.get_mut(place) {
            wire.inbox[way] = inbox;
        }
    }

    fn with(&mut self, index: usize, act: impl FnOnce(&mut Mesh, &mut super::super::Told<'_>)) {
        let Self { edges, acknowledged, wrong, trace, .. } = self;
        let Edge { mesh, followers, publishing, presence, seen, retries, loose, .. } = &mut edges[index];
        let Some(mesh) = mesh else { return };
        let mut hear = |tell: Tell<'_>| -> Result<(), String> {
            *trace = trace.wrapping_mul(31).wrapping_add(hash(&format!("{index} {tell:?}")));
            match tell {
                Tell::Joined { channel } => followers.get_mut(channel).map_or(Ok(()), Follower::joined),
                Tell::Parted { channel } => {
                    followers.get_mut(channel).map(Follower::parted);
                    Ok(())
                }
                Tell::Publication { channel, offset: 0, body, .. } => {
                    let what = read(body);
                    if followers.contains_key(channel) && !loose.insert(what) {
                        return Err(format!("{channel}: {what} came twice to edge {index}"));
                    }
                    Ok(())
                }
                Tell::Publication { channel, offset, epoch, body } => {
                    let what = read(body);
                    note(acknowledged, channel, epoch, offset, what)?;
                    followers
                        .get_mut(channel)
                        .map_or(Ok(()), |follower| follower.publication(epoch, offset, what))
                }
                Tell::Published { ticket, offset, epoch, .. } => {
                    let Some((channel, what, kept)) = publishing.remove(&ticket.0) else {
                        return Err(format!(
                            "{ticket:?} is answered, and was not asked or was answered before"
                        ));
                    };
                    if kept { note(acknowledged, &channel, epoch, offset, what) } else { Ok(()) }
                }
                Tell::Failed { ticket, .. } => {
                    if let Some((channel, what, true)) = publishing.remove(&ticket.0) {
                        retries.push((channel, what));
                    }
                    followers.values_mut().for_each(|follower| follower.failed(ticket));
                    Ok(())
                }
                Tell::Page { ticket, offset, epoch, publications } => {
                    let publications: Vec<_> =
                        publications.iter().map(|(offset, body)| (*offset, read(body))).collect();
                    followers
                        .values_mut()
                        .for_each(|follower| follower.page(ticket, epoch, offset, &publications));
                    Ok(())
                }
                Tell::Members { ticket, members } => {
                    if let Some(channel) = presence.remove(&ticket.0) {
                        seen.insert(channel, members.iter().map(|info| info.client).collect());
                    }
                    Ok(())
                }
                _ => Ok(()),
            }
        };
        act(mesh, &mut |tell| {
            if let Err(error) = hear(tell) {
                wrong.get_or_insert(error);
            }
        });
    }

    pub(super) fn say(&self, wrong: &str) -> String {
        format!("seed {} with {:?}: {wrong}", self.seed, self.plan)
    }
}

/// A place has one publication, whoever tells of it.
fn note(
    acknowledged: &mut BTreeMap<(Arc<str>, String, u64), u64>,
    channel: &str,
    epoch: &str,
    offset: u64,
    what: u64,
) -> Result<(), String> {
    let known = *acknowledged.entry((channel.into(), epoch.to_owned(), offset)).or_insert(what);
    if known == what {
        Ok(())
    } else {
        Err(format!("{channel}: {what} and {known} have one place, {offset} in {epoch}"))
    }
}

fn settings() -> Settings {
    let kept = Namespace {
        name: "kept".to_owned(),
        history_size: 10_000,
        history_ttl_ms: 3_600_000,
        presence: true,
        join_leave: true,
        ..Namespace::default()
    };
    Settings { namespaces: vec![kept], ..Settings::default() }
}

pub(super) fn channel(number: usize) -> Arc<str> {
    if number < HISTORY { format!("kept:{number}").into() } else { format!("loose-{number}").into() }
}

pub(super) fn kept(channel: &str) -> bool {
    channel.starts_with("kept:")
}

fn enter(channel: &Arc<str>, member: &Member) -> Ask {
    let appearance = Appearance { seen: true, announced: true };
    Ask::Enter { channel: Arc::clone(channel), member: member.clone(), appearance }
}

fn read(body: &[u8]) -> u64 {
    let publication = wire::bus::publication(0, body).unwrap();
    u64::from_le_bytes(publication.data.try_into().unwrap())
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(7, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}
