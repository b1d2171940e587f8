//! A connection of the fake network: two pipes of bytes, what is still in flight in each, and the edges that the loop is owed.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use sys::Handle;

use super::random::Random;

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    bytes: VecDeque<u8>,
    /// Of these, how many the reader can have.
    arrived: usize,
    /// How many could have arrived by now.
    landed: usize,
    /// The rest: when how many land.
    flights: VecDeque<(Duration, usize)>,
    capacity: usize,
    /// The writer has ended it.
    ended: bool,
    /// The reader knows.
    end_arrived: bool,
}

/// Edges that the loop has not been told of, each with the time it may be.
#[derive(Debug, Default)]
pub(super) struct Edges {
    pub(super) readable: Option<Duration>,
    pub(super) writable: Option<Duration>,
    pub(super) closed: Option<Duration>,
}

/// One connection. "Up" is towards the loop that is tested.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    pub(super) source: SocketAddr,
    /// Whose it is, once it is somebody's.
    pub(super) shard: usize,
    /// The loop's descriptor, while it has one.
    pub(super) handle: Option<Handle>,
    pub(super) token: Option<u64>,
    pub(super) edges: Edges,
    /// The loop was told that there is no room.
    pub(super) blocked: bool,
    /// The loop has closed its end, or was never given one.
    pub(super) left: bool,
    /// The loop's end knows of a reset.
    pub(super) reset_up: bool,
    /// The peer's end knows, after what has arrived.
    pub(super) reset_down: bool,
    /// The peer has closed its end.
    pub(super) peer_left: bool,
}

/// What a peer's read gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Got {
    /// So many bytes, appended.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The end, in order.
    End,
    /// The end by reset.
    Reset,
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            arrived: 0,
            landed: 0,
            flights: VecDeque::new(),
            capacity,
            ended: false,
            end_arrived: false,
        }
    }

    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.bytes.len())
    }

    /// Enough for a writer that was turned away to be told.
    pub(super) fn is_roomy(&self) -> bool {
        self.room() >= self.capacity.div_ceil(2)
    }

    pub(super) const fn arrived(&self) -> usize {
        self.arrived
    }

    pub(super) const fn end_arrived(&self) -> bool {
        self.end_arrived
    }

    /// Lands at `at`.
    pub(super) fn write(&mut self, at: Duration, bytes: &[u8]) {
        assert!(!self.ended, "written after the end");
        self.bytes.extend(bytes);
        self.flights.push_back((at, bytes.len()));
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Nothing is in flight, not even the end.
    pub(super) fn is_still(&self) -> bool {
        self.arrived == self.bytes.len() && self.ended == self.end_arrived
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is in flight is lost.
    pub(super) fn cut(&mut self) {
        self.bytes.truncate(self.arrived);
        self.landed = self.arrived;
        self.flights.clear();
    }

    pub(super) fn clear(&mut self) {
        self.arrived = 0;
        self.cut();
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.arrived);
        for (to, from) in buffer.iter_mut().zip(self.bytes.drain(..count)) {
            *to = from;
        }
        self.arrived -= count;
        self.landed -= count;
        count
    }

    pub(super) fn read_into(&mut self, out: &mut Vec<u8>, most: usize) -> usize {
        let count = most.min(self.arrived);
        out.extend(self.bytes.drain(..count));
        self.arrived -= count;
        self.landed -= count;
        count
    }

    /// Some or all of what is in flight arrives; true when the reader has something new.
    pub(super) fn advance(&mut self, now: Duration, random: &mut Random, fragment: u64) -> bool {
        while let Some((at, count)) = self.flights.front().copied()
            && at <= now
        {
            self.flights.pop_front();
            self.landed += count;
        }
        let flying = self.landed - self.arrived;
        if flying > 0 {
            let part = if !random.chance(fragment) {
                flying
            } else if random.chance(500) {
                random.between(1, 3).min(flying as u64) as usize
            } else {
                random.between(0, flying as u64) as usize
            };
            self.arrived += part;
            return part > 0;
        }
        let news = self.ended && !self.end_arrived && self.flights.is_empty();
        self.end_arrived |= news;
        news
    }
}

impl Connection {
    pub(super) fn new(source: SocketAddr, up: usize, down: usize) -> Self {
        Self {
            up: Pipe::new(up),
            down: Pipe::new(down),
            source,
            shard: 0,
            handle: None,
            token: None,
            edges: Edges::default(),
            blocked: false,
            left: false,
            reset_up: false,
            reset_down: false,
            peer_left: false,
        }
    }

    /// The peer reads.
    pub(super) fn peer_read(&mut self, out: &mut Vec<u8>, most: usize) -> Got {
        let count = self.down.read_into(out, most);
        if count > 0 {
            Got::Bytes(count)
        } else if !self.down.is_empty() {
            Got::Nothing
        } else if self.reset_down {
            Got::Reset
        } else if self.down.end_arrived() {
            Got::End
        } else {
            Got::Nothing
        }
    }

    /// Both ends are gone.
    pub(super) const fn is_over(&self) -> bool {
        self.left && self.peer_left
    }

    /// The loop has broken it off.
    pub(super) fn break_down(&mut self) {
        self.down.cut();
        self.reset_down = true;
    }
}
