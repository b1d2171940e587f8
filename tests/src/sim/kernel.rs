//! The fake kernel: descriptors, sockets, edge-triggered readiness that is told once and perhaps late, and the clock.
//!
//! An edge is owed when something changes (bytes arrive, room comes back, an end arrives) and told at most once. A read returns all
//! that has arrived, as `epoll(7)` promises: what a fault holds back is still in flight and makes an edge of its own.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    time::Duration,
};

use sys::{Handle, Ready};

use super::{
    plan::Rates,
    random::Random,
    socket::{Connection, Got},
    trace::Trace,
};

/// A connection, for its peer. Numbers are never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Line(pub u32);

/// Events one wait returns at most.
const BATCH: usize = 48;
/// Waits without a pause in which nothing is done before the loop is said to spin.
const IDLE_SPINS_MAX: u32 = 200;
/// Tokens remembered for stale edges.
const STALE_KEPT: usize = 16;

/// See the module.
pub(super) struct Kernel {
    pub(super) now: Duration,
    pub(super) unix: u64,
    pub(super) rates: Rates,
    pub(super) random: Random,
    /// From one end of the network to the other.
    pub(super) latency: Duration,
    /// Longest sleep.
    pub(super) pace: Duration,
    /// What the loop did that no program may.
    pub(super) crime: Option<String>,
    pub(super) link_open: bool,
    pub(super) link_room: usize,
    tables: Vec<Table>,
    files_max: usize,
    lines: BTreeMap<u32, Connection>,
    next_line: u32,
    listeners: Vec<Listener>,
    link_backlog: VecDeque<u32>,
    pub(super) trace: Trace,
}

/// What each shard has of its own: descriptors, tokens of some that are closed, what it got done.
#[derive(Debug, Default)]
struct Table {
    files: Vec<Option<File>>,
    stale: VecDeque<u64>,
    idle_spins: u32,
    progress: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum File {
    Listener(usize),
    Line(u32),
}

#[derive(Debug)]
struct Listener {
    shard: usize,
    backlog: VecDeque<u32>,
    token: Option<u64>,
    open: bool,
    edge: Option<Duration>,
}

/// Descriptors 0 to 2 are the standard streams, then epoll and the waker.
const FIRST_HANDLE: usize = 5;

impl Kernel {
    /// Without descriptors, of which each shard may have so many.
    pub(super) fn new(random: Random, shards: usize, files_max: usize, trace: Trace) -> Self {
        Self {
            now: Duration::ZERO,
            unix: 1_800_000_000,
            rates: Rates::default(),
            random,
            latency: Duration::ZERO,
            pace: Duration::from_millis(1),
            crime: None,
            link_open: true,
            link_room: 1 << 16,
            tables: (0..shards).map(|_| Table::default()).collect(),
            files_max,
            lines: BTreeMap::new(),
            next_line: 1,
            listeners: Vec::new(),
            link_backlog: VecDeque::new(),
            trace,
        }
    }

    /// A listening socket of a shard. They are numbered as they are made.
    pub(super) fn listen(&mut self, shard: usize) -> Handle {
        let backlog = VecDeque::new();
        self.listeners.push(Listener { shard, backlog, token: None, open: true, edge: None });
        let number = self.listeners.len() - 1;
        self.open(shard, File::Listener(number)).unwrap_or(-1)
    }

    /// Open descriptors of a shard: listeners, links, connections of clients.
    pub(super) fn open_files(&self, shard: usize) -> (usize, usize, usize) {
        let mut count = (0, 0, 0);
        for file in self.tables[shard].files.iter().flatten() {
            match file {
                File::Listener(_) => count.0 += 1,
                File::Line(line) if self.is_link(*line) => count.1 += 1,
                File::Line(_) => count.2 += 1,
            }
        }
        count
    }

    /// A client connects.
    pub(super) fn connect(
        &mut self,
        listener: usize,
        source: SocketAddr,
        up: usize,
        down: usize,
    ) -> Option<Line> {
        if !self.listeners[listener].open {
            return None;
        }
        let line = self.insert(Connection::new(source, up, down));
        let at = self.lateness();
        let entry = &mut self.listeners[listener];
        entry.backlog.push_back(line);
        entry.edge = entry.edge.or(Some(at));
        Some(Line(line))
    }

    /// The relay takes a link that waits.
    pub(super) fn accept_link(&mut self) -> Option<Line> {
        self.link_backlog.pop_front().map(Line)
    }

    /// The peer writes as much as there is room for.
    pub(super) fn peer_send(&mut self, line: Line, bytes: &[u8]) -> usize {
        let at = self.now + if self.is_link(line.0) { Duration::ZERO } else { self.latency };
        let Some(connection) = self.lines.get_mut(&line.0) else { return bytes.len() };
        if connection.left || connection.reset_up {
            // Nobody reads it: it goes, and the answer is a reset behind what was sent before.
            connection.reset_down = true;
            return bytes.len();
        }
        let count = connection.up.room().min(bytes.len());
        connection.up.write(at, &bytes[..count]);
        count
    }

    /// The peer reads.
    pub(super) fn peer_receive(&mut self, line: Line, out: &mut Vec<u8>, most: usize) -> Got {
        self.lines.get_mut(&line.0).map_or(Got::Reset, |connection| connection.peer_read(out, most))
    }

    /// The peer ends its direction.
    pub(super) fn peer_shutdown(&mut self, line: Line) {
        if let Some(connection) = self.lines.get_mut(&line.0) {
            connection.up.end();
        }
    }

    /// The peer has ended its direction.
    pub(super) fn is_shut(&self, line: Line) -> bool {
        self.lines.get(&line.0).is_none_or(|connection| connection.up.is_ended())
    }

    /// The peer closes in order.
    pub(super) fn peer_close(&mut self, line: Line) {
        if let Some(connection) = self.lines.get_mut(&line.0) {
            connection.peer_left = true;
            connection.up.end();
            connection.down.clear();
        }
    }

    /// The peer breaks off.
    pub(super) fn peer_reset(&mut self, line: Line) {
        let at = self.lateness();
        if let Some(connection) = self.lines.get_mut(&line.0) {
            connection.peer_left = true;
            connection.reset_up = true;
            connection.up.clear();
            connection.down.clear();
            connection.edges.closed.get_or_insert(at);
            connection.edges.readable.get_or_insert(at);
            connection.edges.writable.get_or_insert(at);
        }
    }

    /// Moves what is in flight, and owes the edges that this makes.
    pub(super) fn deliver(&mut self) {
        let fragment = self.rates.fragment;
        let mut lines = std::mem::take(&mut self.lines);
        lines.retain(|number, connection| {
            let whole = if self.is_link_peer(connection) { 0 } else { fragment };
            if connection.up.advance(self.now, &mut self.random, whole) {
                let at = self.lateness();
                connection.edges.readable.get_or_insert(at);
                if connection.up.end_arrived() {
                    connection.edges.closed.get_or_insert(at);
                }
            }
            connection.down.advance(self.now, &mut self.random, whole);
            if connection.blocked && connection.down.is_roomy() {
                connection.blocked = false;
                let at = self.lateness();
                connection.edges.writable.get_or_insert(at);
            }
            let over = connection.is_over();
            if over {
                self.trace.note("gone", u64::from(*number), 0);
            }
            !over
        });
        self.lines = lines;
    }

    /// Nothing is in flight, nothing waits for a reader, and every edge was told.
    pub(super) fn is_still(&self) -> bool {
        self.lines.values().all(|connection| {
            connection.up.is_still()
                && connection.down.is_still()
                && connection.up.is_empty()
                && connection.down.is_empty()
                && !connection.blocked
        })
    }

    /// What keeps [`Self::is_still`] from being so.
    pub(super) fn unrest(&self) -> String {
        let busy = self.lines.iter().filter(|(_, c)| {
            !(c.up.is_empty() && c.down.is_empty() && !c.blocked && c.up.is_still() && c.down.is_still())
        });
        let named: Vec<String> = busy.take(4).map(|(number, c)| format!("line {number}: {c:?}")).collect();
        named.join("; ")
    }

    fn is_link(&self, line: u32) -> bool {
        self.lines.get(&line).is_some_and(|connection| self.is_link_peer(connection))
    }

    fn is_link_peer(&self, connection: &Connection) -> bool {
        connection.source.port() == 0
    }

    fn insert(&mut self, connection: Connection) -> u32 {
        let line = self.next_line;
        self.next_line += 1;
        self.lines.insert(line, connection);
        line
    }

    fn lateness(&mut self) -> Duration {
        if self.random.chance(self.rates.late) {
            self.now + Duration::from_micros(self.random.between(100, 60_000))
        } else {
            self.now
        }
    }

    fn open(&mut self, shard: usize, file: File) -> io::Result<Handle> {
        let files = &mut self.tables[shard].files;
        let taken = files.iter().flatten().count();
        if taken >= self.files_max {
            return Err(errno(libc_emfile()));
        }
        let free = files.iter().position(Option::is_none).unwrap_or_else(|| {
            files.push(None);
            files.len() - 1
        });
        files[free] = Some(file);
        Ok((free + FIRST_HANDLE) as Handle)
    }

    fn file(&mut self, shard: usize, handle: Handle, call: &str) -> Option<File> {
        let index = usize::try_from(handle).ok().and_then(|handle| handle.checked_sub(FIRST_HANDLE));
        let found = index.and_then(|index| self.tables[shard].files.get(index).copied().flatten());
        if found.is_none() {
            self.commit(format!("{call} of descriptor {handle}, which is not open"));
        }
        found
    }

    fn line(&mut self, shard: usize, handle: Handle, call: &str) -> Option<u32> {
        match self.file(shard, handle, call)? {
            File::Line(line) => Some(line),
            File::Listener(_) => {
                self.commit(format!("{call} of a listener"));
                None
            }
        }
    }

    fn commit(&mut self, crime: String) {
        self.crime.get_or_insert(crime);
    }
}

/// The calls of a shard's loop.
impl Kernel {
    pub(super) fn wait(&mut self, shard: usize, ready: &mut Vec<Ready>, timeout: Duration) {
        ready.clear();
        self.judge_spinning(shard, timeout);
        self.collect(shard, ready);
        if ready.is_empty() {
            self.now += timeout.min(self.pace);
            self.collect(shard, ready);
        }
        self.now += Duration::from_micros(self.random.between(1, 300));
        let stale = &self.tables[shard].stale;
        if self.random.chance(self.rates.stale) && !stale.is_empty() {
            let token = stale[self.random.index(stale.len())];
            self.trace.note("stale edge", token, 0);
            let closed = self.random.chance(300);
            ready.push(Ready { token, readable: true, writable: true, closed });
        }
    }

    /// A loop that does not sleep must get something done.
    fn judge_spinning(&mut self, shard: usize, timeout: Duration) {
        let table = &mut self.tables[shard];
        if std::mem::take(&mut table.progress) || timeout > Duration::ZERO {
            table.idle_spins = 0;
        } else {
            table.idle_spins += 1;
            if table.idle_spins > IDLE_SPINS_MAX {
                self.commit("the loop spins: it neither sleeps nor gets anything done".to_owned());
            }
        }
    }

    fn collect(&mut self, shard: usize, ready: &mut Vec<Ready>) {
        let (now, spurious) = (self.now, self.rates.spurious);
        let due = |edge: &mut Option<Duration>| edge.take_if(|at| *at <= now).is_some();
        for listener in &mut self.listeners {
            if let Some(token) = listener.token
                && listener.shard == shard
                && listener.open
                && due(&mut listener.edge)
                && !listener.backlog.is_empty()
            {
                ready.push(Ready { token, readable: true, writable: false, closed: false });
            }
        }
        let from = self.random.below(u64::from(self.next_line)) as u32;
        let (lines, random) = (&mut self.lines, &mut self.random);
        let order: Vec<u32> = lines.range(from..).chain(lines.range(..from)).map(|(line, _)| *line).collect();
        for line in order {
            let Some(connection) = lines.get_mut(&line) else { continue };
            let Some(token) = connection.token.filter(|_| connection.shard == shard) else { continue };
            if ready.len() >= BATCH {
                return;
            }
            let odd = random.chance(spurious) && random.chance(100);
            let there = connection.up.arrived() > 0 || connection.up.end_arrived() || connection.reset_up;
            let closed = due(&mut connection.edges.closed);
            let readable = due(&mut connection.edges.readable) && there || closed || odd;
            let writable = due(&mut connection.edges.writable) || odd;
            if readable || writable {
                ready.push(Ready { token, readable, writable, closed });
            }
        }
    }

    pub(super) fn accept(&mut self, shard: usize, handle: Handle) -> io::Result<(Handle, SocketAddr)> {
        let Some(File::Listener(number)) = self.file(shard, handle, "accept") else {
            self.commit("accept of a connection".to_owned());
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let rates = self.rates;
        if self.random.chance(rates.no_descriptor) {
            self.trace.note("EMFILE", number as u64, 0);
            return Err(errno(libc_emfile()));
        }
        let Some(line) = self.listeners[number].backlog.front().copied() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        if self.random.chance(rates.aborted) {
            self.listeners[number].backlog.pop_front();
            self.abandon(line);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let opened = self.open(shard, File::Line(line));
        if opened.is_err() {
            self.trace.note("EMFILE", number as u64, 1);
        }
        let handle = opened?;
        self.listeners[number].backlog.pop_front();
        self.tables[shard].progress = true;
        let Some(connection) = self.lines.get_mut(&line) else {
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        connection.shard = shard;
        connection.handle = Some(handle);
        self.trace.note("accepted", u64::from(line), handle as u64);
        Ok((handle, connection.source))
    }

    /// A connection that nobody will serve.
    fn abandon(&mut self, line: u32) {
        if let Some(connection) = self.lines.get_mut(&line) {
            connection.left = true;
            connection.break_down();
        }
    }

    pub(super) fn connect_link(&mut self, shard: usize, source: SocketAddr) -> io::Result<Handle> {
        if !self.link_open {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let room = self.link_room;
        let line = self.insert(Connection::new(source, room, room));
        match self.open(shard, File::Line(line)) {
            Ok(handle) => {
                self.link_backlog.push_back(line);
                if let Some(connection) = self.lines.get_mut(&line) {
                    connection.handle = Some(handle);
                    connection.shard = shard;
                }
                self.trace.note("link connects", u64::from(line), handle as u64);
                Ok(handle)
            }
            Err(error) => {
                self.lines.remove(&line);
                Err(error)
            }
        }
    }

    /// Nobody accepts links any more; those that wait are refused.
    pub(super) fn close_link(&mut self) {
        self.link_open = false;
        while let Some(line) = self.link_backlog.pop_front() {
            self.peer_close(Line(line));
        }
    }

    pub(super) fn watch(&mut self, shard: usize, handle: Handle, token: u64) -> io::Result<()> {
        let now = self.now;
        match self.file(shard, handle, "watch") {
            Some(File::Listener(number)) => {
                self.listeners[number].token = Some(token);
                self.listeners[number].edge = Some(now);
            }
            Some(File::Line(line)) => {
                if self.random.chance(self.rates.unwatched) {
                    self.trace.note("not watched", u64::from(line), token);
                    return Err(errno(libc_enomem()));
                }
                if let Some(connection) = self.lines.get_mut(&line) {
                    if connection.token.replace(token).is_some() {
                        self.commit(format!("descriptor {handle} watched twice"));
                    } else {
                        connection.edges.readable = Some(now);
                        connection.edges.writable = Some(now);
                    }
                }
            }
            None => {}
        }
        Ok(())
    }

    pub(super) fn receive(&mut self, shard: usize, handle: Handle, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(line) = self.line(shard, handle, "receive") else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let Some(connection) = self.lines.get_mut(&line) else { return Ok(0) };
        if connection.reset_up {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let count = connection.up.read(buffer);
        if count > 0 {
            self.tables[shard].progress = true;
            self.trace.note("received", u64::from(line), count as u64);
            Ok(count)
        } else if connection.up.end_arrived() {
            Ok(0)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    pub(super) fn send(&mut self, shard: usize, handle: Handle, bytes: &[u8]) -> io::Result<usize> {
        let Some(line) = self.line(shard, handle, "send") else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let short = self.random.chance(self.rates.short_send);
        let at = self.now;
        let latency = if self.is_link(line) { Duration::ZERO } else { self.latency };
        let Some(connection) = self.lines.get_mut(&line) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        if connection.reset_up {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if connection.peer_left {
            // The first one goes out and comes back as a reset.
            connection.reset_up = true;
            connection.edges.closed.get_or_insert(at);
            return Ok(bytes.len());
        }
        if bytes.is_empty() {
            self.commit("a send of nothing".to_owned());
            return Ok(0);
        }
        let mut count = connection.down.room().min(bytes.len());
        if short && connection.source.port() != 0 {
            count = self.random.below(count as u64 + 1) as usize;
        }
        connection.blocked = count < bytes.len();
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        connection.down.write(at + latency, &bytes[..count]);
        self.tables[shard].progress = true;
        self.trace.note("sent", u64::from(line), count as u64);
        Ok(count)
    }

    pub(super) fn close(&mut self, shard: usize, handle: Handle, reset: bool) {
        let Some(file) = self.file(shard, handle, "close") else { return };
        let table = &mut self.tables[shard];
        table.files[handle as usize - FIRST_HANDLE] = None;
        table.progress = true;
        match file {
            File::Listener(number) => {
                let listener = &mut self.listeners[number];
                listener.open = false;
                for line in std::mem::take(&mut listener.backlog) {
                    self.abandon(line);
                }
            }
            File::Line(line) => {
                let Some(connection) = self.lines.get_mut(&line) else { return };
                self.trace.note(if reset { "reset" } else { "closed" }, u64::from(line), handle as u64);
                connection.left = true;
                connection.handle = None;
                if let Some(token) = connection.token.take() {
                    if table.stale.len() == STALE_KEPT {
                        table.stale.pop_front();
                    }
                    table.stale.push_back(token);
                }
                // Linux answers bytes that nobody has read with a reset instead of a FIN.
                if reset || connection.up.arrived() > 0 {
                    connection.break_down();
                } else {
                    connection.down.end();
                }
            }
        }
    }
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

const fn libc_emfile() -> i32 {
    24
}

const fn libc_enomem() -> i32 {
    12
}
