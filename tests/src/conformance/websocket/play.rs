//! One case on one connection: the client's side of the WebSocket, which does what the case says and notes what comes.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::coder::Coder;
use super::{Case, End, Event, Step, Verdict};
use crate::client::Stream;
use crate::wait;

/// How long anything may take to come back; in debug builds 16 MiB take a second or two.
const WITHIN: Duration = Duration::from_secs(60);
/// How long the server may take to end the connection after the last close frame. Autobahn gives it a second; a server waits for
/// three, or not at all.
const DROP_WITHIN: Duration = Duration::from_secs(2);
/// Status 1000, as this client closes.
const NORMAL: [u8; 2] = [3, 232];

struct Player {
    stream: Stream,
    input: Vec<u8>,
    /// Both have agreed to compression.
    coder: Option<Coder>,
    /// What came of a message so far: its first byte, and its payload.
    fragments: Option<(u8, Vec<u8>)>,
    events: Vec<Event>,
    /// The server's close frame: its code, if any.
    closed: Option<Option<u16>>,
    /// A close frame of ours is out, and whether it was the first.
    sent: Option<bool>,
    /// The connection has ended.
    ended: bool,
}

/// What became of waiting for a frame.
#[derive(PartialEq, Eq)]
enum Heard {
    Something,
    Nothing,
}

pub(super) fn play(stream: Stream, case: &Case) -> Result<Verdict> {
    let (input, events) = Default::default();
    let mut player = Player {
        stream,
        input,
        coder: None,
        fragments: None,
        events,
        closed: None,
        sent: None,
        ended: false,
    };
    player.upgrade(case.offer.as_deref())?;
    let declined = case.offer.is_some() && player.coder.is_none();
    if matches!(case.end, End::Sent { .. }) {
        player.sent = Some(true);
    }
    for step in case.steps.iter().filter(|_| !declined) {
        player.step(step)?;
    }
    let until = wait::now() + WITHIN;
    while !player.over() && player.events.len() < case.strict.len() && wait::now() < until {
        player.hear(WITHIN)?;
    }
    if case.end == End::ByClient && !player.over() {
        player.close()?;
    }
    while !player.over() && wait::now() < until {
        player.hear(WITHIN)?;
    }
    if player.closed.is_some() && player.sent.is_none() {
        player.close()?;
        player.sent = Some(false);
    }
    let until = wait::now() + DROP_WITHIN;
    while !player.ended && wait::now() < until {
        player.hear(DROP_WITHIN)?;
    }
    let verdict = player.verdict(case);
    Ok(if declined { Verdict { behaviour: "UNIMPLEMENTED", ..verdict } } else { verdict })
}

/// A client's frame. `first` is its first byte: FIN, reserved bits, opcode.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x5a, 0x13, payload.len() as u8 | 1, 0xe7];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

impl Player {
    fn upgrade(&mut self, offer: Option<&str>) -> Result<()> {
        self.stream.write_all(
            b"GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        )?;
        if let Some(offer) = offer {
            write!(self.stream, "Sec-WebSocket-Extensions: {offer}\r\n")?;
        }
        self.stream.write_all(b"\r\n")?;
        self.stream.flush()?;
        loop {
            let end = self.input.windows(4).position(|part| part == b"\r\n\r\n");
            if let Some(end) = end {
                let head = String::from_utf8_lossy(&self.input[..end]).into_owned();
                ensure!(head.starts_with("HTTP/1.1 101 "), "no upgrade: {head}");
                ensure!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "wrong accept: {head}");
                self.input.drain(..end + 4);
                self.coder = Coder::agreed(offer, &head)?;
                return Ok(());
            }
            ensure!(self.read(WITHIN)? == Heard::Something && !self.ended, "no answer to the upgrade");
        }
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Send { bytes, chop } if !self.over() => {
                for piece in bytes.chunks(chop.unwrap_or(bytes.len()).max(1)) {
                    self.write(piece);
                }
            }
            Step::Wait(time) if !self.over() => {
                let before = self.events.len();
                self.hear(*time)?;
                if self.events.len() == before && !self.over() {
                    self.events.push(Event::Silence);
                }
            }
            Step::Repeat { bytes, echo, times } => {
                for _ in 0..*times {
                    self.write(bytes);
                    while self.events.is_empty() && !self.over() {
                        ensure!(self.hear(WITHIN)? == Heard::Something, "no echo");
                    }
                    let found = self.events.pop();
                    ensure!(found.as_ref() == Some(echo), "wanted {echo:?}, got {found:?}");
                }
            }
            Step::Exchange(messages) => {
                for number in 0..messages.count {
                    let (text, message) = messages.message(number);
                    let coder = self.coder.as_mut().context("nothing was agreed")?;
                    let frames = coder.frames(text, &message, messages.fragment);
                    self.write(&frames);
                    while self.events.is_empty() && !self.over() {
                        ensure!(self.hear(WITHIN)? == Heard::Something, "no echo");
                    }
                    let echo = if text { Event::Text(message) } else { Event::Binary(message) };
                    let found = self.events.pop();
                    ensure!(found.as_ref() == Some(&echo), "wanted {echo:?}, got {found:?}");
                }
            }
            Step::Hear if !self.over() => {
                self.hear(WITHIN)?;
            }
            Step::Send { .. } | Step::Wait(_) | Step::Hear => {}
        }
        Ok(())
    }

    /// Nothing more is said.
    const fn over(&self) -> bool {
        self.ended || self.closed.is_some()
    }

    fn close(&mut self) -> Result<()> {
        self.sent = Some(true);
        self.write(&frame(0x88, &NORMAL));
        Ok(())
    }

    /// A server that has gone is seen by reading.
    fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
        let _ = self.stream.flush();
    }

    /// Waits for the next frame, or for the end.
    fn hear(&mut self, within: Duration) -> Result<Heard> {
        loop {
            if self.take()? {
                return Ok(Heard::Something);
            }
            if self.read(within)? == Heard::Nothing || self.ended {
                return Ok(Heard::Nothing);
            }
        }
    }

    fn read(&mut self, within: Duration) -> Result<Heard> {
        self.stream.tcp().set_read_timeout(Some(within))?;
        let mut buffer = vec![0; 256 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(count) => self.input.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(Heard::Nothing);
            }
            Err(_) => self.ended = true,
        }
        Ok(Heard::Something)
    }

    /// Takes one frame from the input: an unmasked one, by RFC 6455 §5.2. False when there is none.
    fn take(&mut self) -> Result<bool> {
        let Some(&[first, second]) = self.input.first_chunk() else { return Ok(false) };
        ensure!(second & 0x80 == 0, "the server masks");
        // RFC 7692 §6: the first frame of a message, and no control frame, says that it is compressed.
        let compressed = self.coder.is_some() && matches!(first & 0x0f, 1 | 2) && first & 0x70 == 0x40;
        ensure!(first & 0x70 == 0 || compressed, "the server sets reserved bits");
        let bytes = match second {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(length) = self.input.get(2..2 + bytes) else { return Ok(false) };
        let length = match bytes {
            0 => usize::from(second),
            _ => length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        };
        let end = 2 + bytes + length;
        if self.input.len() < end {
            return Ok(false);
        }
        let payload = self.input[2 + bytes..end].to_vec();
        self.input.drain(..end);
        self.note(first, payload)?;
        Ok(true)
    }

    fn note(&mut self, first: u8, payload: Vec<u8>) -> Result<()> {
        let last = first & 0x80 != 0;
        match first & 0x0f {
            0x8 => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                self.closed.get_or_insert(code);
            }
            0x9 => self.write(&frame(0x8a, &payload)),
            0xa => self.events.push(Event::Pong(payload)),
            opcode @ 0..=2 => {
                let (begun, mut message) = match opcode {
                    0 => self.fragments.take().context("a continuation of nothing")?,
                    _ => (first, Vec::new()),
                };
                message.extend_from_slice(&payload);
                if !last {
                    self.fragments = Some((begun, message));
                    return Ok(());
                }
                if let (Some(coder), true) = (&self.coder, begun & 0x40 != 0) {
                    message = coder.inflate(&message)?;
                }
                let text = begun & 0x0f == 1;
                self.events.push(if text { Event::Text(message) } else { Event::Binary(message) });
            }
            opcode => anyhow::bail!("the server sends opcode {opcode}"),
        }
        Ok(())
    }

    fn verdict(&self, case: &Case) -> Verdict {
        let seen = format!("{:?}, close {:?}, ended {}", self.events, self.closed, self.ended);
        if case.informational {
            return Verdict { behaviour: "INFORMATIONAL", ending: "INFORMATIONAL", seen };
        }
        let behaviour = if self.events == case.strict {
            "OK"
        } else if case.lenient.as_ref() == Some(&self.events) {
            "NON-STRICT"
        } else {
            "FAILED"
        };
        let (first, clean, codes): (_, _, &[u16]) = match &case.end {
            End::ByClient => (true, true, &[1000]),
            End::Sent { codes, clean } => (true, *clean, codes),
            End::ByServer(codes) => (false, false, codes),
        };
        let ending = if self.sent.is_some_and(|sent| sent != first) {
            "FAILED"
        } else if clean && self.closed.is_none() {
            "UNCLEAN"
        } else if self.closed.flatten().is_some_and(|code| !codes.contains(&code)) {
            "WRONG CODE"
        } else if !self.ended {
            "FAILED BY CLIENT"
        } else {
            "OK"
        };
        Verdict { behaviour, ending, seen }
    }
}
