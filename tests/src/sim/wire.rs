//! A client's connection from bytes to words: TLS if the listener speaks it, then the HTTP upgrade and WebSocket framing, or HTTP
//! responses. Strict: whatever a server may not say is an error that names it.

use std::sync::Arc;

use protocol::{
    client::encoding::Encoding,
    http::UNI_WEBSOCKET_PATH,
    tls::{Handshake, Opened, Progress, Traffic},
    upgrade::{
        Parsed,
        client::{Offer, Rejected},
    },
    ws::{self, Deflater, Item, Limits, Opcode, Reader, Role},
};
use rustls::pki_types::ServerName;

use super::{
    http::{Responses, Service},
    random::Random,
};

/// What came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// The WebSocket is open, or requests may be written.
    Opened,
    /// The head of a response; the last one of its connection or not.
    Head { status: u16, last: bool },
    /// The end of a response.
    Last,
    /// The server will not open one.
    Refused(u16),
    /// A message.
    Message(Vec<u8>),
    /// A message of a WebSocket that does not speak the client protocol.
    Echo(Opcode, Vec<u8>),
    /// The answer to a ping.
    Pong(Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// The last frame.
    Close(Option<u16>),
    /// TLS was refused with an alert, or ended by close_notify.
    Ended,
}

/// How far the opening is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// TLS handshake.
    Handshake,
    /// The HTTP request is out, or due.
    Upgrade,
    /// WebSocket, or one request after the other.
    Open,
    /// Nothing that comes means anything.
    Over,
}

/// See the module.
pub(super) struct Wire {
    handshake: Option<Handshake>,
    traffic: Option<Traffic>,
    input: Vec<u8>,
    plain: Vec<u8>,
    reader: Reader,
    /// How far it is.
    pub(super) stage: Stage,
    key: [u8; 16],
    /// Bytes for the socket.
    pub(super) out: Vec<u8>,
    encoding: Encoding,
    shape: Shape,
    /// Compressed messages are agreed on.
    deflated: Option<Deflater>,
    http: Responses,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// A WebSocket.
    Socket {
        /// Where.
        path: &'static str,
        /// It speaks the client protocol, and says so.
        named: bool,
        /// It offers permessage-deflate.
        deflates: bool,
    },
    /// HTTP requests and responses.
    Http,
}

const HOST: &str = "sim.invalid";
/// Nothing in a simulation is larger.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

impl Wire {
    /// With `tls`, over TLS.
    pub(super) fn new(
        tls: Option<&Arc<rustls::ClientConfig>>,
        encoding: Encoding,
        shape: Shape,
        random: &mut Random,
    ) -> Result<Self, String> {
        let name = ServerName::try_from(HOST).map_err(|error| error.to_string())?;
        let handshake = tls.map(|config| Handshake::client(config, name)).transpose();
        let mut key = [0; 16];
        key.fill_with(|| random.next() as u8);
        let mut wire = Self {
            stage: if tls.is_some() { Stage::Handshake } else { Stage::Upgrade },
            handshake: handshake.map_err(|error| error.to_string())?,
            traffic: None,
            input: Vec::new(),
            plain: Vec::new(),
            reader: Reader::new(),
            key,
            out: Vec::new(),
            encoding,
            shape,
            deflated: None,
            http: Responses::default(),
        };
        if let Some(handshake) = &mut wire.handshake {
            let begun = handshake.receive(&mut wire.input, &mut wire.out);
            begun.map_err(|error| format!("a client's own handshake: {error}"))?;
        }
        Ok(wire)
    }

    /// Bytes may be written: asks for a WebSocket. True when there is nothing to ask for.
    pub(super) fn begin(&mut self) -> bool {
        let Some(offer) = self.offer() else {
            self.stage = Stage::Open;
            return true;
        };
        let mut request = Vec::new();
        offer.request(&mut request);
        self.seal(&request);
        false
    }

    /// Whether compressed messages are agreed on.
    pub(super) const fn deflates(&self) -> bool {
        self.deflated.is_some()
    }

    /// One HTTP request.
    pub(super) fn request(&mut self, service: Service, body: &[u8], random: &mut Random) {
        let mut request = Vec::new();
        self.http.request(service, self.encoding, body, random, &mut request);
        self.seal(&request);
    }

    /// Plain bytes, wrapped.
    pub(super) fn seal(&mut self, plain: &[u8]) {
        match &mut self.traffic {
            // After our own close_notify there is nobody to talk to.
            Some(traffic) => drop(traffic.seal(plain, &mut self.out)),
            None => self.out.extend_from_slice(plain),
        }
    }

    /// One message, perhaps in fragments.
    pub(super) fn message(&mut self, payload: &[u8], random: &mut Random) {
        self.message_of(self.encoding.frame_opcode(), payload, random);
    }

    /// The same of any kind.
    pub(super) fn message_of(&mut self, opcode: Opcode, payload: &[u8], random: &mut Random) {
        let mut frames = Vec::new();
        if let Some(deflater) = &mut self.deflated
            && random.chance(500)
        {
            let mut frame = Vec::new();
            ws::frame(opcode, payload, &mut frame);
            let frame = deflater.frame(&frame.into());
            ws::masked_frame(opcode, ws::payload(&frame), (random.next() as u32).to_be_bytes(), &mut frames);
            // Compressed or not: what is no shorter stays as it is.
            frames[0] = frame[0];
            return self.seal(&frames);
        }
        let mut key = || (random.next() as u32).to_be_bytes();
        let cut = payload.len() / 2;
        if key()[0] < 40 && cut > 0 {
            ws::masked_frame(opcode, &payload[..cut], key(), &mut frames);
            frames[0] &= 0x7f;
            if key()[0] < 100 {
                ws::masked_frame(Opcode::Pong, b"between", key(), &mut frames);
            }
            ws::masked_frame(Opcode::Continue, &payload[cut..], key(), &mut frames);
        } else {
            ws::masked_frame(opcode, payload, key(), &mut frames);
        }
        self.seal(&frames);
    }

    /// A control frame.
    pub(super) fn control(&mut self, opcode: Opcode, payload: &[u8], random: &mut Random) {
        let mut frame = Vec::new();
        ws::masked_frame(opcode, payload, (random.next() as u32).to_be_bytes(), &mut frame);
        self.seal(&frame);
    }

    /// A close frame.
    pub(super) fn close(&mut self, code: Option<u16>, random: &mut Random) {
        let mut frame = Vec::new();
        ws::masked_close_frame(code, "", (random.next() as u32).to_be_bytes(), &mut frame);
        self.seal(&frame);
    }

    /// Says that nothing more will come (TLS only).
    pub(super) fn notify(&mut self) {
        if let Some(traffic) = &mut self.traffic {
            drop(traffic.seal_close(&mut self.out));
        }
    }

    /// Bytes of the socket; the words in them are appended. The error names what no server may say.
    pub(super) fn receive(&mut self, bytes: &[u8], words: &mut Vec<Word>) -> Result<(), String> {
        self.input.extend_from_slice(bytes);
        if let Some(handshake) = &mut self.handshake {
            match handshake.receive(&mut self.input, &mut self.out) {
                Ok(Progress::More) => return Ok(()),
                Ok(Progress::Done(done)) => {
                    self.handshake = None;
                    self.traffic = Some(done.traffic);
                    self.stage = Stage::Upgrade;
                    if self.begin() {
                        words.push(Word::Opened);
                    }
                }
                Err(failure) => {
                    self.stage = Stage::Over;
                    words.push(Word::Ended);
                    return match failure.cause {
                        protocol::tls::Cause::Alerted(_) => Ok(()),
                        cause => Err(format!("a server's handshake: {cause}")),
                    };
                }
            }
        }
        if self.stage == Stage::Over {
            return Ok(());
        }
        if self.open(words)? {
            words.push(Word::Ended);
        }
        Ok(())
    }

    /// True when TLS has ended.
    fn open(&mut self, words: &mut Vec<Word>) -> Result<bool, String> {
        let Some(traffic) = &mut self.traffic else {
            let mut input = std::mem::take(&mut self.input);
            self.plain.append(&mut input);
            self.read(words)?;
            return Ok(false);
        };
        let mut input = std::mem::take(&mut self.input);
        let (mut at, mut ended) = (0, false);
        while at < input.len() && !ended {
            match traffic.open(&mut input[at..]) {
                Ok((_, Opened::Incomplete { .. })) => break,
                Ok((count, Opened::Data(plain))) => {
                    self.plain.extend_from_slice(plain);
                    at += count;
                }
                Ok((count, Opened::Nothing)) => at += count,
                Ok((_, Opened::Closed)) => ended = true,
                Err(protocol::tls::Misbehaviour::Alerted(_)) => ended = true,
                Err(misbehaviour) => return Err(format!("a server's record: {misbehaviour}")),
            }
        }
        input.drain(..at);
        self.input = if ended { Vec::new() } else { input };
        self.read(words)?;
        Ok(ended)
    }

    fn read(&mut self, words: &mut Vec<Word>) -> Result<(), String> {
        let Some(offer) = self.offer() else {
            let mut plain = std::mem::take(&mut self.plain);
            let read = self.http.read(&mut plain, words);
            self.plain = plain;
            return read;
        };
        if self.stage == Stage::Upgrade {
            match offer.response(&self.plain) {
                Ok(Parsed::Incomplete) => return Ok(()),
                Ok(Parsed::Complete { consumed, head }) => {
                    self.deflated = head.deflate.then(Deflater::default);
                    self.plain.drain(..consumed);
                    self.stage = Stage::Open;
                    words.push(Word::Opened);
                }
                Err(Rejected::Status { status }) => {
                    self.stage = Stage::Over;
                    words.push(Word::Refused(status));
                }
                Err(rejected) => return Err(format!("a server's response: {rejected}")),
            }
        }
        if self.stage != Stage::Open {
            self.plain.clear();
            return Ok(());
        }
        let limits = Limits { message_bytes_max: MESSAGE_BYTES_MAX, deflate: self.deflated.is_some() };
        let named = !matches!(self.shape, Shape::Socket { named: false, .. });
        let mut plain = std::mem::take(&mut self.plain);
        let mut at = 0;
        loop {
            let found = self.reader.next(Role::Client, &mut plain[at..], &limits);
            let (count, item) = found.map_err(|violation| format!("a server's frame: {violation}"))?;
            match item {
                Item::Incomplete { .. } => {
                    at += count;
                    break;
                }
                Item::Nothing => {}
                Item::Text(text) if !named => {
                    words.push(Word::Echo(Opcode::Text, text.into_owned().into_bytes()));
                }
                Item::Binary(bytes) if !named => words.push(Word::Echo(Opcode::Binary, bytes.into_owned())),
                Item::Text(text) if self.encoding.frame_opcode() == Opcode::Text => {
                    words.push(Word::Message(text.into_owned().into_bytes()));
                }
                Item::Binary(bytes) if self.encoding.frame_opcode() == Opcode::Binary => {
                    words.push(Word::Message(bytes.into_owned()));
                }
                Item::Text(_) | Item::Binary(_) => {
                    return Err("a message of a kind that the session's encoding has not".to_owned());
                }
                Item::Ping(payload) => words.push(Word::Ping(payload.to_vec())),
                Item::Pong(payload) => words.push(Word::Pong(payload.to_vec())),
                Item::Close { code, .. } => words.push(Word::Close(code)),
            }
            at += count;
            if count == 0 && at == plain.len() {
                break;
            }
        }
        plain.drain(..at);
        self.plain = plain;
        Ok(())
    }

    /// Of a WebSocket, if that is wanted.
    fn offer(&self) -> Option<Offer<'static>> {
        let Shape::Socket { path, named, deflates } = self.shape else { return None };
        let listens = path == UNI_WEBSOCKET_PATH;
        Some(Offer {
            host: HOST,
            path,
            key: self.key,
            subprotocol: (named && !listens).then(|| self.encoding.subprotocol()),
            origin: None,
            deflate: deflates,
        })
    }
}
