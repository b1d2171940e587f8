//! What a client decides: which commands it gives, when it goes, how it misbehaves.

use std::time::Duration;

use protocol::{
    client::{
        command::{Command, History, Publish, Request, Rpc, Since},
        encoding::Encoding,
    },
    ws::Opcode,
};

use super::{Asked, BATCH_BYTES, Channel, Client, Phase, Surroundings, ways::Way};
use crate::sim::{
    ledger::{TAG, Words},
    view::{Entry, Stand},
    wire::Stage,
};

impl Client {
    pub(super) fn ask(&mut self, asked: Asked, request: Request<'_>) {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, asked);
        self.command(id, request);
    }

    /// Joins the batch that goes out as one message.
    pub(super) fn command(&mut self, id: u32, request: Request<'_>) {
        if self.batch.len() > BATCH_BYTES {
            self.end_batch();
        }
        if !self.batch.is_empty() {
            self.batch.extend_from_slice(self.encoding.separator());
        }
        if !matches!(request, Request::Pong | Request::Connect(_)) {
            self.meter.sends(self.now, id);
        }
        self.encoding.command(&Command { id, request }, &mut self.batch);
        if self.random.chance(400) {
            self.end_batch();
        }
    }

    pub(super) fn act(&mut self, now: Duration, around: &mut Surroundings) {
        let rates = around.plan.rates;
        match around.phase {
            Phase::Busy => {
                if self.guest && now >= self.leave_at {
                    let manner = self.random.below(4) as u8;
                    self.leave(around, manner);
                } else if self.random.chance(rates.reset) {
                    self.leave(around, 3);
                } else if self.random.chance(rates.half_close) {
                    self.leave(around, 2);
                } else if self.random.chance(rates.garbage) {
                    self.babble(around);
                } else if self.random.chance(rates.deaf) {
                    self.manner.deaf = true;
                    self.excused = true;
                }
            }
            // It has said no to something before: it starts afresh.
            Phase::Settling if self.excused && !self.closed => self.leave(around, 3),
            Phase::Settling if self.guest => self.leave(around, 0),
            Phase::Leaving if !self.closed => {
                let manner = self.random.below(4) as u8;
                self.leave(around, manner);
            }
            Phase::Settling | Phase::Leaving | Phase::Draining => {}
        }
        let open = self.wire.as_ref().is_some_and(|wire| wire.stage == Stage::Open);
        if self.way == Way::Poll {
            if open && self.line.is_some() && !self.closed && self.manner.idle != 2 {
                self.poll(now, around);
            }
        } else if self.ready && !self.closed {
            self.mind_channels(now, around);
            if around.phase == Phase::Busy {
                self.talk(now, around);
            }
        }
        self.end_batch();
    }

    pub(super) fn mind_channels(&mut self, now: Duration, around: &Surroundings) {
        for channel in 0..self.views.len() {
            let wants = self.wants(&self.views[channel]);
            let view = &mut self.views[channel];
            match view.stand {
                Stand::Off(from) if wants && now >= from => self.subscribe(now, around, channel),
                Stand::On if !view.wanted && view.entry != Entry::Server => {
                    view.stand = Stand::Leaving;
                    view.over = false;
                    let name = around.channels[channel].name.clone().into();
                    self.ask(Asked::Unsubscribe(channel), Request::Unsubscribe { channel: name });
                }
                _ => {}
            }
        }
    }

    pub(super) fn talk(&mut self, now: Duration, around: &mut Surroundings) {
        // Some only listen, and some ways have no frames.
        let kinds = match self.way {
            _ if self.guest => 40,
            Way::Poll => 30,
            _ => 100,
        };
        let kind = self.random.below(kinds);
        if kind != 12 && self.way == Way::Uni || kind == 12 && !self.way.is_socket() {
            return;
        }
        let channel = self.random.index(self.views.len());
        let name = around.channels[channel].name.clone();
        match kind {
            0..=7 => {
                let burst = if self.random.chance(if around.plan.flood { 150 } else { 30 }) {
                    60
                } else {
                    self.random.between(1, 4)
                };
                for _ in 0..burst {
                    if self.way == Way::Poll && self.batch.len() > BATCH_BYTES {
                        break;
                    }
                    self.publish(now, around, channel, &name);
                }
            }
            8 if matches!(self.views[channel].entry, Entry::Free | Entry::Token) => {
                self.views[channel].wanted = !self.views[channel].wanted;
            }
            9 if around.channels[channel].presence => {
                let request = if self.random.chance(500) {
                    Request::Presence { channel: name.into() }
                } else {
                    Request::PresenceStats { channel: name.into() }
                };
                self.ask(Asked::Presence, request);
            }
            10 if around.channels[channel].history => {
                let since = self.views[channel].position.clone().filter(|_| self.random.chance(500));
                let since = since.map(|(epoch, offset)| Since { offset, epoch: epoch.into() });
                let history = History { channel: name.into(), limit: 20, since, reverse: false };
                self.ask(Asked::History(channel), Request::History(history));
            }
            11 => self.ask(Asked::Rpc, Request::Rpc(Rpc { method: "m".into(), data: b"{}" })),
            12 => {
                let payload: Vec<u8> = (0..self.random.below(20)).map(|byte| byte as u8).collect();
                if let Some(wire) = &mut self.wire {
                    wire.control(Opcode::Ping, &payload, &mut self.random);
                }
                self.pings.push_back(payload);
            }
            13 => self.command(0, Request::Send { data: b"{}" }),
            14 => self.refresh(now, around),
            15 | 16 => self.sub_refresh(now, around, channel),
            _ => {}
        }
    }

    fn publish(&mut self, now: Duration, around: &mut Surroundings, channel: usize, name: &str) {
        let padding = self.random.below(around.plan.payload_bytes) as usize;
        // In Protobuf a payload may be anything.
        let raw = self.encoding == Encoding::Protobuf && self.random.chance(500);
        let Channel { delta, tags, .. } = around.channels[channel];
        let raw = raw && !tags;
        let tag = tags.then(|| self.random.below(8));
        let words = Words { padding, raw, alike: delta, tag };
        let (serial, data) = around.ledger.say(channel, self.number, &self.session, now, words);
        around.trace.note("publishes", self.number as u64, serial);
        if tags || !raw && self.random.chance(200) {
            // By a call, and perhaps again as if no answer had come: it is made once.
            let text = String::from_utf8_lossy(&data);
            let tags = tag.map(|tag| format!(r#","tags":{{"{TAG}":"{tag}"}}"#)).unwrap_or_default();
            let call = format!(r#"{{"channel":"{name}","data":{text},"idempotency_key":"{serial}"{tags}}}"#);
            for _ in 0..self.random.between(1, 3) {
                around.ledger.repeat(serial);
                let rpc = Rpc { method: "publish".into(), data: call.as_bytes() };
                self.ask(Asked::Publish(serial), Request::Rpc(rpc));
            }
            return;
        }
        let publish = Publish { channel: name.into(), data: &data };
        self.ask(Asked::Publish(serial), Request::Publish(publish));
    }

    /// Ends the connection in one of four ways.
    pub(super) fn leave(&mut self, around: &Surroundings, manner: u8) {
        let manner = if manner < 2 && !self.way.is_socket() { 3 } else { manner };
        let (Some(line), Some(wire)) = (self.line, &mut self.wire) else { return };
        around.trace.note("leaves", self.number as u64, u64::from(manner));
        self.excused = true;
        let mut kernel = around.kernel.borrow_mut();
        match manner {
            0 | 1 if wire.stage == Stage::Open && !self.closed => {
                self.closed = true;
                self.ready = false;
                self.batch.clear();
                wire.close((manner == 0).then_some(1000), &mut self.random);
            }
            2 => {
                self.closed = true;
                self.ready = false;
                kernel.peer_shutdown(line);
            }
            0 | 1 | 3 if self.random.chance(300) => {
                kernel.peer_close(line);
                drop(kernel);
                self.lose_quietly(around);
            }
            _ => {
                kernel.peer_reset(line);
                drop(kernel);
                self.lose_quietly(around);
            }
        }
    }

    fn lose_quietly(&mut self, around: &Surroundings) {
        let now = around.kernel.borrow().now;
        self.lose(now, around);
    }

    /// Sends what no client may.
    fn babble(&mut self, around: &Surroundings) {
        let Some(wire) = &mut self.wire else { return };
        around.trace.note("babbles", self.number as u64, 0);
        self.excused = true;
        self.babbled = true;
        let mut bytes: Vec<u8> = (0..self.random.between(1, 80)).map(|_| self.random.next() as u8).collect();
        match (wire.stage, self.random.below(3)) {
            (Stage::Handshake, _) | (_, 0) => wire.out.append(&mut bytes),
            (Stage::Open, 1) if self.way.is_socket() => {
                wire.message(b"{\"id\":1,\"connect\":{}}\n[", &mut self.random);
            }
            _ => wire.seal(&bytes),
        }
    }

    pub(super) fn write(&mut self, around: &Surroundings) {
        let (Some(line), Some(wire)) = (self.line, &mut self.wire) else { return };
        let rest = &wire.out[self.written..];
        if rest.is_empty() {
            wire.out.clear();
            self.written = 0;
            return;
        }
        let part = if self.manner.drip { &rest[..1] } else { rest };
        let shut = around.kernel.borrow().is_shut(line);
        let count = if shut { rest.len() } else { around.kernel.borrow_mut().peer_send(line, part) };
        self.written += count;
        if count > 0 {
            around.trace.note("writes", self.number as u64, count as u64);
        }
    }
}
