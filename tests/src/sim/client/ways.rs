//! Which way a client comes in, and what that changes: how a session begins, how its commands leave, how it ends.

use std::time::Duration;

use protocol::{client::encoding::Encoding, http::UNI_WEBSOCKET_PATH, upgrade::PATH};

use super::{Client, Phase, Surroundings};
use crate::sim::{http::Service, wire::Shape};

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// A WebSocket, which may offer compression.
    Socket { deflates: bool },
    /// One that only listens.
    Uni,
    /// A stream of lines; commands by requests of their own.
    Stream,
    /// The same with events.
    Sse,
    /// Request by request, a session each.
    Poll,
}

/// The longest a poll waits for news.
pub(in crate::sim) const POLL_TIMEOUT: Duration = Duration::from_secs(4);

/// What keeps a session from a WebSocket's ways.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchange {
    /// The request that begins the session is written.
    pub(super) asked: bool,
    /// The head of its response is there, and not yet the end.
    pub(super) responding: bool,
    /// The next poll.
    pub(super) poll_at: Duration,
    /// This one.
    begun: Duration,
    /// The connection takes no further request.
    pub(super) last: bool,
}

impl Way {
    /// Of a new connection.
    pub(super) fn of(around: &Surroundings, random: &mut crate::sim::random::Random) -> Self {
        let ways = around.plan.ways;
        if ways.http && random.chance(500) {
            // Each poll is a command for each channel.
            let slow = (1..=around.channels.len() as u32).contains(&around.plan.commands);
            random.pick(&[Self::Stream, Self::Sse, if slow { Self::Sse } else { Self::Poll }])
        } else if ways.uni && random.chance(250) {
            Self::Uni
        } else {
            Self::Socket { deflates: ways.deflate && random.chance(600) }
        }
    }

    pub(super) const fn shape(self) -> Shape {
        match self {
            Self::Socket { deflates } => Shape::Socket { path: PATH, named: true, deflates },
            Self::Uni => Shape::Socket { path: UNI_WEBSOCKET_PATH, named: true, deflates: false },
            Self::Stream | Self::Sse | Self::Poll => Shape::Http,
        }
    }

    pub(super) const fn is_json(self) -> bool {
        matches!(self, Self::Uni | Self::Sse)
    }

    pub(super) const fn is_socket(self) -> bool {
        matches!(self, Self::Socket { .. } | Self::Uni)
    }

    pub(super) const fn is_emulated(self) -> bool {
        matches!(self, Self::Stream | Self::Sse)
    }
}

impl Client {
    /// A batch of commands leaves by the way that is its.
    pub(super) fn end_batch(&mut self) {
        if self.batch.is_empty() || self.way == Way::Poll {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let Some(wire) = self.wire.as_mut().filter(|_| !self.closed) else { return };
        let service = match self.way {
            Way::Socket { .. } => return wire.message(&batch, &mut self.random),
            Way::Uni => return wire.message(bare(&batch), &mut self.random),
            Way::Stream => Service::Stream,
            Way::Sse => Service::Sse,
            Way::Poll => Service::Poll,
        };
        if self.exchange.asked {
            self.post.say(self.encoding, &batch);
        } else {
            self.exchange.asked = true;
            wire.request(service, &batch, &mut self.random);
        }
    }

    /// A client that polls asks for news, and says what it has to say.
    pub(super) fn poll(&mut self, now: Duration, around: &mut Surroundings) {
        if self.exchange.asked || self.exchange.last || now < self.exchange.poll_at {
            return;
        }
        (self.exchange.asked, self.exchange.begun) = (true, now);
        self.connect(now, around);
        self.mind_channels(now, around);
        for _ in 0..if around.phase == Phase::Busy { self.random.below(3) } else { 0 } {
            self.talk(now, around);
        }
        let batch = std::mem::take(&mut self.batch);
        if let Some(wire) = self.wire.as_mut().filter(|_| !self.closed) {
            wire.request(Service::Poll, &batch, &mut self.random);
        }
    }

    pub(super) fn response_begins(&mut self, status: u16, last: bool) -> Result<(), String> {
        self.exchange.responding = status == 200;
        self.exchange.last = last;
        match status {
            200 => Ok(()),
            // The request was too long in coming.
            408 => {
                self.excused = true;
                Ok(())
            }
            _ if self.excused => Ok(()),
            _ => Err(format!("its request is answered with {status}")),
        }
    }

    pub(super) fn response_ends(&mut self, now: Duration) -> Result<(), String> {
        let was = std::mem::take(&mut self.exchange.responding);
        if self.way != Way::Poll || !was || self.closed {
            return Ok(());
        }
        // When its time is over, what became of the rest is not known.
        let unknown = std::mem::take(&mut self.pending);
        if !unknown.is_empty() && now < self.exchange.begun + POLL_TIMEOUT {
            return Err(format!("a poll ends before {unknown:?} are answered"));
        }
        self.ready = false;
        self.session.clear();
        self.expire_at = None;
        for view in &mut self.views {
            view.lost(now);
        }
        self.exchange.asked = false;
        self.exchange.poll_at =
            self.exchange.poll_at.max(now + Duration::from_millis(self.random.below(200)));
        // Where no further request is taken, the end is near.
        self.excused |= self.exchange.last;
        Ok(())
    }
}

/// A connect request without the command around it.
fn bare(command: &[u8]) -> &[u8] {
    let inner = command.strip_prefix(b"{\"id\":1,\"connect\":").and_then(|rest| rest.strip_suffix(b"}"));
    inner.unwrap_or(command)
}

/// Messages as a client that only listens gets them, as others would.
pub(super) fn wrapped(messages: &[u8]) -> Vec<u8> {
    let lines = messages.split(|byte| *byte == b'\n').map(|line| {
        if line == Encoding::Json.ping() || line.starts_with(b"{\"connect\":") {
            line.to_vec()
        } else {
            [b"{\"push\":", line, b"}"].concat()
        }
    });
    lines.collect::<Vec<_>>().join(&b'\n')
}
