//! Connections that speak plain HTTP: which request begins a session, which is answered at once, and how either ends.
//!
//! Owns what is kept of a request under way, and a poll's end. What a session may do is not its business.

use wire::code;

use super::Shard;
use crate::{
    client::{
        encoding::Encoding,
        reply::{Push, Reply, Subscribed},
    },
    connection::{Flags, Identity, Phase},
    framing::{Framing, LAST_CHUNK},
    http::{self, Asked, Read, Request, Service},
    limits::CLOSING_MS,
    time::{Now, Tick},
    upgrade::Refusal,
};

/// What a connection has only while it is busy with a request.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// Bytes the request needs before it is worth while to look at it again; 0 when it has been read.
    needed: usize,
    /// The page that asks.
    origin: Option<Box<[u8]>>,
    /// No other request follows.
    last: bool,
    /// Messages queued that are no news to a poll.
    expected: u32,
}

impl Shard {
    /// The beginning of the input when it asks for a service; returns how much of it is used.
    pub(super) fn service(&mut self, now: Now, index: usize, input: &[u8]) -> usize {
        match http::request(input, &self.options.rules) {
            Ok(Read::Incomplete { needed, expects }) => {
                self.expect_request(now, index, needed, expects);
                0
            }
            Ok(Read::Complete(request)) => {
                self.end_of_request(index);
                if request.service != Service::Emulation && matches!(request.asked, Asked::Message { .. }) {
                    self.keep_headers(index, input);
                }
                self.serve(now, index, &request);
                request.consumed
            }
            Err(refusal) => self.refuse_request(index, input.len(), refusal),
        }
    }

    /// A part of a request is there: the rest has its time, from the first part on.
    pub(super) fn expect_request(&mut self, now: Now, index: usize, needed: usize, expects: bool) {
        let begun = self.needed(index) > 0;
        let connection = &mut self.connections[index];
        let idle = connection.phase == Phase::Http;
        let hot = connection.hot(&mut self.pool);
        hot.exchange.get_or_insert_default().needed = needed;
        if idle && !begun {
            self.due[index] = Tick::after(now, u64::from(self.options.upgrade_timeout_ms));
        }
        if expects {
            hot.outbox.push_with(|out| out.extend_from_slice(http::CONTINUE));
            self.mark_dirty(index);
        }
    }

    /// Bytes there must be before the request under way is looked at.
    pub(super) fn needed(&self, index: usize) -> usize {
        let hot = self.connections[index].hot.as_ref();
        hot.and_then(|hot| hot.exchange.as_ref()).map_or(0, |exchange| exchange.needed)
    }

    /// Bytes behind a request whose response is a session: nobody sends them who waits for responses.
    pub(super) fn surplus(&mut self, now: Now, index: usize, input: &[u8]) -> usize {
        if !input.is_empty() {
            self.close(now, index, code::CLOSE_BAD_REQUEST);
        }
        input.len()
    }

    /// Answers a request that waits, or one that did not have to.
    pub(super) fn respond(&mut self, now: Now, index: usize, status: u16) {
        let hot = self.connections[index].hot(&mut self.pool);
        let Exchange { origin, last, .. } = hot.exchange.take().map(|exchange| *exchange).unwrap_or_default();
        hot.outbox.push_with(|out| http::respond(status, origin.as_deref(), last, out));
        self.end_exchange(now, index, last);
    }

    /// Goes on with a poll's commands when the last one has been answered. When all have been and there is news, the response ends.
    /// True when there is more to flush.
    pub(super) fn go_on_with_poll(&mut self, now: Now, index: usize) -> bool {
        let connection = &self.connections[index];
        let answered = matches!(connection.phase, Phase::Ready | Phase::Unusable) && connection.asked == 0;
        let waits = !answered || connection.flags.has(Flags::PAUSED);
        let Some(hot) = connection.hot.as_ref().filter(|_| !waits) else { return false };
        if !hot.waiting.is_empty() && connection.phase == Phase::Ready {
            self.run_waiting(now, index);
            self.mark_dirty(index);
            return true;
        }
        let expected = hot.exchange.as_ref().map_or(0, |exchange| exchange.expected);
        let news = hot.outbox.messages() != expected;
        if news {
            self.end_poll(now, index);
        }
        news
    }

    /// Ends a poll's session and response; the connection may ask again.
    pub(super) fn end_poll(&mut self, now: Now, index: usize) {
        debug_assert_eq!(self.connections[index].framing, Framing::Poll);
        self.leave_channels(index);
        let connection = &mut self.connections[index];
        let encoding = connection.encoding;
        let hot = connection.hot(&mut self.pool);
        hot.outbox.end_batch(encoding);
        hot.outbox.push_with(|out| out.extend_from_slice(LAST_CHUNK));
        let last = hot.exchange.take().is_none_or(|exchange| exchange.last);
        // Answers to the old session's questions must not reach a new one.
        let last = last || connection.asked > 0;
        connection.client = wire::ClientId::default();
        connection.identity = Identity::default();
        connection.expire_at = 0;
        connection.ping = Tick::NEVER;
        connection.flags.clear(Flags::PONG_OWED);
        connection.flags.clear(Flags::REFRESHING);
        self.end_exchange(now, index, last);
        if !last {
            let connection = &mut self.connections[index];
            connection.encoding = Encoding::Json;
            connection.set_framing(Framing::WebSocket);
        }
    }

    /// A poll's reply that tells nothing new.
    pub(super) fn note_reply(&mut self, index: usize, reply: &Reply<'_>) {
        let nothing = |subscribed: &Subscribed<'_>| {
            subscribed.publications.is_empty() && subscribed.was_recovering == subscribed.recovered
        };
        let quiet = match reply {
            Reply::Connect(connected) => connected.subs.iter().all(|(_, subscribed)| nothing(subscribed)),
            Reply::Subscribe(subscribed) => nothing(subscribed),
            _ => false,
        };
        let exchange = self.connections[index].hot.as_mut().and_then(|hot| hot.exchange.as_mut());
        if let (true, Some(exchange)) = (quiet, exchange) {
            exchange.expected += 1;
        }
    }

    /// The last words of a session whose messages are a response.
    pub(super) fn end_response(&mut self, index: usize, code: u16, reason: &str) {
        let connection = &mut self.connections[index];
        let encoding = connection.encoding;
        let outbox = &mut connection.hot(&mut self.pool).outbox;
        let push = Push::Disconnect { code, reason };
        outbox.push_message(encoding, |out| encoding.push("", &push, out));
        outbox.end_batch(encoding);
        outbox.push_with(|out| out.extend_from_slice(LAST_CHUNK));
    }

    /// A connection between requests has been idle for too long, or a request has not arrived in time.
    pub(super) fn overdue_exchange(&mut self, now: Now, index: usize) {
        if self.needed(index) > 0 {
            self.stats.shard.upgrade_failures += 1;
            let refused = |out: &mut Vec<u8>| Refusal::Late.response(out);
            self.connections[index].hot(&mut self.pool).outbox.push_with(refused);
        }
        self.begin_closing(index);
        self.due[index] = Tick::after(now, CLOSING_MS);
        self.finish(index);
    }

    fn serve(&mut self, now: Now, index: usize, request: &Request<'_>) {
        let Request { service, origin, last, .. } = *request;
        match &request.asked {
            Asked::Preflight { fields } => {
                let outbox = &mut self.connections[index].hot(&mut self.pool).outbox;
                outbox.push_with(|out| http::preflight(service.methods(), fields, origin, last, out));
                self.end_exchange(now, index, last);
            }
            Asked::Message { bytes, binary } if service == Service::Emulation => {
                let exchange = Exchange { origin: origin.map(Box::from), last, ..Exchange::default() };
                self.connections[index].hot(&mut self.pool).exchange = Some(Box::new(exchange));
                self.emulate(now, index, bytes, *binary);
            }
            Asked::Message { bytes, binary } => self.begin_response(now, index, request, bytes, *binary),
        }
    }

    /// A session begins whose messages are the response.
    fn begin_response(
        &mut self,
        now: Now,
        index: usize,
        request: &Request<'_>,
        commands: &[u8],
        binary: bool,
    ) {
        let wanted = if binary { "protobuf" } else { "json" };
        let encodings = &self.options.rules.encodings;
        let Some(encoding) = encodings.iter().find(|encoding| encoding.format == wanted) else {
            self.refuse_request(index, 0, Refusal::MediaType);
            return;
        };
        let encoding = super::encoding_of(encoding.id);
        let framing = match request.service {
            Service::Sse => Framing::Sse,
            Service::Poll => Framing::Poll,
            Service::Stream | Service::Emulation => Framing::Stream,
        };
        // A stream's end is the connection's, a poll's is not.
        let last = request.last || framing != Framing::Poll;
        let connection = &mut self.connections[index];
        connection.encoding = encoding;
        connection.set_framing(framing);
        let hot = connection.hot(&mut self.pool);
        hot.outbox.push_with(|out| http::start(framing, encoding, request.origin, last, out));
        if framing == Framing::Poll {
            hot.exchange = Some(Box::new(Exchange { last, ..Exchange::default() }));
        }
        self.enter(index, Phase::Fresh);
        self.due[index] = Tick::after(now, u64::from(self.policy.settings.client.stale_close_delay_ms));
        self.mark_dirty(index);
        self.message_received(now, index, commands);
    }

    /// The response is queued whole: another request may follow, or the connection ends with it.
    fn end_exchange(&mut self, now: Now, index: usize, last: bool) {
        if last || self.drain.is_some() {
            self.begin_closing(index);
            self.finish(index);
            return;
        }
        if self.connections[index].phase != Phase::Http {
            self.enter(index, Phase::Http);
        }
        self.due[index] = Tick::after(now, u64::from(self.options.rules.transports.keep_alive_ms));
        self.mark_dirty(index);
    }

    fn end_of_request(&mut self, index: usize) {
        if let Some(hot) = &mut self.connections[index].hot {
            hot.exchange = None;
        }
    }
}
