//! The relay's end of the link in a simulation: the real broker behind a tiny server that speaks the real frames, and that goes away,
//! stops, or comes back without its memory.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use relay::{Broker, Event, Limits, LinkId, Transmit};
use wire::{
    code,
    frame::{self, GREETING_BYTES, Greeting, Purpose, VERSION, Welcome},
    link::{ToRelay, ToShard},
    settings::Settings,
    sign::{SignReply, SignRequest},
    token::Unverified,
};

use super::{
    kernel::{Kernel, Line},
    random::Random,
    secure::Signer,
    socket::Got,
    trace::Trace,
};

/// Bytes read from a link at a time.
const READ: usize = 64 * 1024;
/// How often the broker is told the time.
const TICK: Duration = Duration::from_millis(100);
/// What the signature of a genuine token says.
pub(super) const GENUINE: &str = "genuine";

/// See the module.
pub(super) struct Relay {
    kernel: Rc<RefCell<Kernel>>,
    broker: Broker,
    settings: Settings,
    limits: Limits,
    signer: Option<Arc<Signer>>,
    links: Vec<Link>,
    next_link: u32,
    /// Reads and writes nothing until then.
    pub(super) stopped_until: Duration,
    expire_at: Duration,
    random: Random,
    trace: Trace,
    /// Reports of counters received.
    pub(super) reports: u64,
    /// Links of shards that have ended.
    pub(super) links_ended: u64,
    /// A bug on purpose: it passes on twice what is for another shard.
    pub(super) doubles: bool,
}

struct Link {
    id: LinkId,
    line: Line,
    /// What it is for, once it has said so.
    purpose: Option<Purpose>,
    /// Nothing is read until then.
    slow_until: Duration,
    input: Vec<u8>,
    out: Vec<u8>,
    written: usize,
}

impl Relay {
    /// Waits for links.
    pub(super) fn new(
        kernel: Rc<RefCell<Kernel>>,
        settings: Settings,
        limits: Limits,
        signer: Option<Arc<Signer>>,
        mut random: Random,
        trace: Trace,
    ) -> Self {
        Self {
            kernel,
            broker: Broker::new(settings.clone(), limits.clone(), random.next()),
            settings,
            limits,
            signer,
            links: Vec::new(),
            next_link: 1,
            stopped_until: Duration::ZERO,
            expire_at: Duration::ZERO,
            random,
            trace,
            reports: 0,
            links_ended: 0,
            doubles: false,
        }
    }

    /// One turn of the server: accepts, reads, answers, writes. The error is what a gateway may not say.
    pub(super) fn step(&mut self) -> Result<(), String> {
        let now = self.kernel.borrow().now;
        if now >= self.expire_at {
            self.expire_at = now + TICK;
            self.broker.expire(now);
        }
        if now < self.stopped_until {
            return Ok(());
        }
        loop {
            let Some(line) = self.kernel.borrow_mut().accept_link() else { break };
            let id = LinkId(self.next_link);
            self.next_link += 1;
            self.trace.note("link accepted", u64::from(line.0), u64::from(id.0));
            self.links.push(Link {
                id,
                line,
                purpose: None,
                slow_until: Duration::ZERO,
                input: Vec::new(),
                out: Vec::new(),
                written: 0,
            });
        }
        let mut links = std::mem::take(&mut self.links);
        let mut result = Ok(());
        links.retain_mut(|link| {
            let stays = self.serve(now, link);
            if let Err(crime) = &stays {
                result = Err(crime.clone());
            }
            matches!(stays, Ok(true))
        });
        self.links = links;
        result
    }

    /// Goes away: every link ends, new ones are refused.
    pub(super) fn go(&mut self) {
        let now = self.kernel.borrow().now;
        for link in std::mem::take(&mut self.links) {
            self.leave(now, &link);
        }
        self.kernel.borrow_mut().close_link();
        self.trace.note("relay goes", 0, 0);
    }

    /// Comes back, with its history or without.
    pub(super) fn come(&mut self, remembers: bool) {
        if !remembers {
            self.broker = Broker::new(self.settings.clone(), self.limits.clone(), self.random.next());
        }
        self.kernel.borrow_mut().link_open = true;
        self.trace.note("relay comes", 0, u64::from(remembers));
    }

    /// Whether anything waits for a link.
    pub(super) fn is_still(&self) -> bool {
        self.links.iter().all(|link| link.written == link.out.len()) && self.broker.levels().queued_bytes == 0
    }

    /// Top and epoch of a channel's stream, asked through a link of its own.
    pub(super) fn position(&mut self, channel: &str) -> (u64, String) {
        let found =
            self.ask(&ToRelay::History { request: 0, channel, since: None, limit: 0, reverse: false });
        match found.as_deref().map(frame::decode::<ToShard<'_>>) {
            Some(Ok(ToShard::History { offset, epoch, .. })) => (offset, epoch.to_owned()),
            _ => (0, String::new()),
        }
    }

    /// Ids of those present in a channel.
    pub(super) fn present(&mut self, channel: &str) -> Vec<String> {
        let found = self.ask(&ToRelay::Presence { request: 0, channel });
        match found.as_deref().map(frame::decode::<ToShard<'_>>) {
            Some(Ok(ToShard::Presence { members, .. })) => {
                members.iter().map(|info| info.client.to_string()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn ask(&mut self, question: &ToRelay<'_>) -> Option<Vec<u8>> {
        let now = self.kernel.borrow().now;
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.broker.link_opened(id);
        self.broker.receive(now, id, question);
        let mut out = Vec::new();
        let given = self.broker.transmit(id, &mut out);
        self.broker.link_closed(now, id);
        while self.broker.event().is_some() {}
        if given != Transmit::Write {
            return None;
        }
        let (body, _) = frame::split(&out).ok()??;
        Some(body.to_vec())
    }

    fn leave(&mut self, now: Duration, link: &Link) {
        self.kernel.borrow_mut().peer_close(link.line);
        if link.purpose == Some(Purpose::Shard) {
            self.broker.link_closed(now, link.id);
            self.links_ended += 1;
        }
        self.trace.note("link ends", u64::from(link.line.0), u64::from(link.id.0));
    }

    /// False when the link is over.
    fn serve(&mut self, now: Duration, link: &mut Link) -> Result<bool, String> {
        let mut budget = 16 * READ;
        while budget >= READ && now >= link.slow_until && !self.broker.congested(link.id) {
            let got = self.kernel.borrow_mut().peer_receive(link.line, &mut link.input, READ);
            match got {
                Got::Bytes(count) => {
                    budget -= count.min(budget);
                    self.read(now, link)?;
                }
                Got::Nothing => break,
                Got::End | Got::Reset => {
                    self.leave(now, link);
                    return Ok(false);
                }
            }
        }
        while let Some(event) = self.broker.event() {
            if event == Event::Close(link.id) {
                self.trace.note("link overflows", u64::from(link.line.0), 0);
                self.leave(now, link);
                return Ok(false);
            }
        }
        self.write(link);
        Ok(true)
    }

    fn read(&mut self, now: Duration, link: &mut Link) -> Result<(), String> {
        let mut at = 0;
        if link.purpose.is_none() {
            let Some((greeting, _)) = link.input.split_first_chunk::<GREETING_BYTES>() else { return Ok(()) };
            let greeting = Greeting::decode(greeting).map_err(|error| format!("greeting: {error}"))?;
            if greeting.purpose == Purpose::Control || greeting.version != VERSION {
                return Err(format!("a strange greeting: {greeting:?}"));
            }
            link.purpose = Some(greeting.purpose);
            link.out.extend_from_slice(&Welcome { version: VERSION }.encode());
            if greeting.purpose == Purpose::Shard {
                self.broker.link_opened(link.id);
                self.broker.link_named(link.id, greeting.gateway, greeting.shard);
            }
            at = GREETING_BYTES;
        }
        while let Some((body, rest)) = frame::split(&link.input[at..]).map_err(|error| error.to_string())? {
            if link.purpose == Some(Purpose::Sign) {
                let request = frame::decode(body).map_err(|error| error.to_string())?;
                self.sign(now, &request, &mut link.out, &mut link.slow_until)?;
            } else {
                let message: ToRelay<'_> = frame::decode(body).map_err(|error| error.to_string())?;
                self.hear(now, link.id, &message);
            }
            at = link.input.len() - rest.len();
        }
        link.input.drain(..at);
        Ok(())
    }

    fn sign(
        &mut self,
        now: Duration,
        request: &SignRequest<'_>,
        out: &mut Vec<u8>,
        slow_until: &mut Duration,
    ) -> Result<(), String> {
        let signature = self.signer.as_ref().and_then(|signer| signer.answer(request.message));
        self.trace.note("signature", 0, u64::from(signature.is_some()));
        if self.random.chance(self.kernel.borrow().rates.slow_signer) {
            *slow_until = now + Duration::from_millis(self.random.between(1, 4000));
        }
        let reply = signature.as_deref().map_or(SignReply::Refused, SignReply::Signature);
        frame::encode(&reply, out).map_err(|error| error.to_string())
    }

    fn hear(&mut self, now: Duration, link: LinkId, message: &ToRelay<'_>) {
        self.trace.note("to relay", u64::from(link.0), kind(message));
        match message {
            ToRelay::Verify { request, kind, token } => {
                let claims = Unverified::parse(token)
                    .ok()
                    .filter(|token| token.signature == GENUINE)
                    .and_then(|token| token.payload(*kind).ok());
                let answer = match claims {
                    Some(payload) => ToShard::Verified { request: *request, claims: payload.claims },
                    None => ToShard::Failed { request: *request, code: code::UNAUTHORIZED.code },
                };
                self.broker.answer(link, &answer);
            }
            ToRelay::Stats(_) => self.reports += 1,
            ToRelay::Emulate { .. } if self.doubles => {
                self.broker.receive(now, link, message);
                self.broker.receive(now, link, message);
            }
            _ => self.broker.receive(now, link, message),
        }
    }

    fn write(&mut self, link: &mut Link) {
        let Some(purpose) = link.purpose else { return };
        loop {
            if link.written == link.out.len() {
                link.written = 0;
                if purpose == Purpose::Sign {
                    link.out.clear();
                    return;
                }
                if self.broker.transmit(link.id, &mut link.out) != Transmit::Write {
                    link.out.clear();
                    return;
                }
            }
            let count = self.kernel.borrow_mut().peer_send(link.line, &link.out[link.written..]);
            if count == 0 {
                return;
            }
            link.written += count;
        }
    }
}

const fn kind(message: &ToRelay<'_>) -> u64 {
    match message {
        ToRelay::Verify { .. } => 0,
        ToRelay::Subscribe { .. } => 1,
        ToRelay::Unsubscribe { .. } => 2,
        ToRelay::Enter { .. } => 3,
        ToRelay::Leave { .. } => 4,
        ToRelay::Publish { .. } => 5,
        ToRelay::History { .. } => 6,
        ToRelay::Presence { .. } => 7,
        ToRelay::PresenceStats { .. } => 8,
        ToRelay::Stats(_) => 9,
        ToRelay::UnknownKey { .. } => 10,
        ToRelay::Arrive { .. } => 11,
        ToRelay::Depart { .. } => 12,
        ToRelay::Emulate { .. } => 13,
        ToRelay::Emulated { .. } => 14,
        ToRelay::Proxy { .. } => 15,
        ToRelay::Remove { .. } => 16,
        ToRelay::Survey { .. } => 17,
        ToRelay::Surveyed { .. } => 18,
        ToRelay::Announce { .. } => 19,
        ToRelay::Channels { .. } => 20,
    }
}
