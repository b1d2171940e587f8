//! Clients of a listener that echoes: what they send has to come back, whole, as it was, in order.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use protocol::{client::encoding::Encoding, upgrade::PATH, ws::Opcode};

use super::{
    client::{Phase, Surroundings},
    kernel::Line,
    random::Random,
    socket::Got,
    wire::{Shape, Wire, Word},
};

/// Largest message that is sent back.
pub(super) const ECHO_BYTES_MAX: usize = 200_000;

/// See the module.
pub(super) struct Echoed {
    number: usize,
    random: Random,
    line: Option<Line>,
    wire: Option<Wire>,
    written: usize,
    open: bool,
    /// Its close frame is out.
    closing: bool,
    sent: VecDeque<(Opcode, Vec<u8>)>,
    retry_at: Duration,
}

impl Echoed {
    pub(super) const fn new(number: usize, random: Random) -> Self {
        Self {
            number,
            random,
            line: None,
            wire: None,
            written: 0,
            open: false,
            closing: false,
            sent: VecDeque::new(),
            retry_at: Duration::ZERO,
        }
    }

    /// Has gone.
    pub(super) const fn is_settled(&self) -> bool {
        self.line.is_none()
    }

    /// One turn.
    pub(super) fn step(&mut self, around: &Surroundings) -> Result<(), String> {
        let now = around.kernel.borrow().now;
        let Some(line) = self.line else { return self.come(now, around) };
        let mut bytes = Vec::new();
        let got = around.kernel.borrow_mut().peer_receive(line, &mut bytes, usize::MAX);
        match got {
            Got::Nothing => {}
            Got::Bytes(_) => {
                let mut words = Vec::new();
                let read = self.wire.as_mut().map_or(Ok(()), |wire| wire.receive(&bytes, &mut words));
                let heard = words.into_iter().try_for_each(|word| self.hear(around, word));
                heard.and(read).map_err(|crime| format!("echo {}: {crime}", self.number))?;
            }
            Got::End | Got::Reset => {
                let fair = self.closing || !self.open || around.phase != Phase::Busy || got == Got::Reset;
                around.kernel.borrow_mut().peer_close(line);
                self.line = None;
                self.retry_at = now + Duration::from_millis(self.random.between(50, 2000));
                return if fair {
                    Ok(())
                } else {
                    Err(format!("echo {} is left without a word", self.number))
                };
            }
        }
        self.talk(around.phase);
        self.write(line, around);
        Ok(())
    }

    fn come(&mut self, now: Duration, around: &Surroundings) -> Result<(), String> {
        if around.phase != Phase::Busy || now < self.retry_at {
            return Ok(());
        }
        let plan = &around.plan;
        let listener = plan.listener(self.random.index(plan.shards), plan.listeners.len());
        let source = SocketAddr::from((Ipv4Addr::new(192, 0, 2, self.number as u8), 9));
        self.line =
            around.kernel.borrow_mut().connect(listener, source, plan.socket_bytes, plan.socket_bytes);
        let shape = Shape::Socket { path: PATH, named: false, deflates: self.random.chance(500) };
        let mut wire = Wire::new(None, Encoding::Json, shape, &mut self.random)?;
        wire.begin();
        self.wire = Some(wire);
        (self.written, self.open, self.closing) = (0, false, false);
        self.sent.clear();
        Ok(())
    }

    fn hear(&mut self, around: &Surroundings, word: Word) -> Result<(), String> {
        match word {
            Word::Opened => self.open = true,
            Word::Echo(opcode, payload) => {
                around.trace.note("echo", self.number as u64, payload.len() as u64);
                return self.comes_back(&(opcode, payload));
            }
            Word::Pong(payload) => return self.comes_back(&(Opcode::Ping, payload)),
            Word::Close(code) => {
                let fair = self.closing || code == Some(3001) && around.phase == Phase::Draining;
                if !fair {
                    return Err(format!("closed with {code:?}, though it only wanted its own"));
                }
                self.close();
            }
            Word::Refused(status) => return Err(format!("refused with {status}")),
            word => return Err(format!("{word:?}")),
        }
        Ok(())
    }

    fn comes_back(&mut self, back: &(Opcode, Vec<u8>)) -> Result<(), String> {
        match self.sent.pop_front() {
            Some(sent) if sent == *back => Ok(()),
            sent => Err(format!("{:?} comes back as {back:?}", sent.map(|sent| (sent.0, sent.1.len())))),
        }
    }

    fn talk(&mut self, phase: Phase) {
        let Some(wire) = self.wire.as_mut().filter(|_| self.open && !self.closing) else { return };
        if phase != Phase::Busy {
            // Once all is back, or when everybody goes.
            if self.sent.is_empty() || phase != Phase::Settling {
                self.close();
            }
        } else if self.random.chance(100) && self.sent.len() < 20 {
            let most = self.random.pick(&[1, 100, 100, 1000, 20_000]);
            let letter = self.random.below(26) as u8 + b'a';
            let mut payload = vec![letter; self.random.below(most) as usize];
            payload.iter_mut().step_by(7).for_each(|byte| *byte = b'.');
            let opcode = self.random.pick(&[Opcode::Text, Opcode::Binary, Opcode::Ping]);
            if opcode == Opcode::Ping {
                payload.truncate(125);
                wire.control(opcode, &payload, &mut self.random);
            } else {
                wire.message_of(opcode, &payload, &mut self.random);
            }
            self.sent.push_back((opcode, payload));
        } else if self.random.chance(2) {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(wire) = self.wire.as_mut().filter(|_| !self.closing) {
            self.closing = true;
            wire.close(Some(1000), &mut self.random);
        }
    }

    fn write(&mut self, line: Line, around: &Surroundings) {
        let Some(wire) = &mut self.wire else { return };
        if self.written == wire.out.len() {
            wire.out.clear();
            self.written = 0;
            return;
        }
        self.written += around.kernel.borrow_mut().peer_send(line, &wire.out[self.written..]);
    }
}
