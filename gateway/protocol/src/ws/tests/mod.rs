//! The world of these tests: frames as bytes, right or wrong, and a caller that keeps the reader's contract to the letter.

mod conformance;
mod deflate;
mod differential;
mod properties;
mod rules;
mod speed;

use super::{Item, Limits, Reader, Role, Violation, limits::RETAINED_BYTES_MAX, mask};

/// A key whose bytes differ, so that a key turned wrongly shows.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An item that outlives its input.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Event {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Fault(Violation),
}

/// One frame, with whatever bits a test wants in its first byte.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Frame {
    first: u8,
    payload: Vec<u8>,
}

const FIN: u8 = 0x80;
const CONTINUE: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = FIN | 0x8;
const PING: u8 = FIN | 0x9;
const PONG: u8 = FIN | 0xa;

fn raw(first: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame { first, payload: payload.as_ref().to_vec() }
}

impl Frame {
    /// As it comes to a reader of this role.
    fn bytes(&self, role: Role) -> Vec<u8> {
        let masked = if role == Role::Server { 0x80 } else { 0 };
        let mut out = vec![self.first];
        match self.payload.len() {
            length @ 0..126 => out.push(masked | length as u8),
            length @ 126..65_536 => {
                out.push(masked | 126);
                out.extend((length as u16).to_be_bytes());
            }
            length => {
                out.push(masked | 127);
                out.extend((length as u64).to_be_bytes());
            }
        }
        let start = match role {
            Role::Server => {
                out.extend(KEY);
                out.len()
            }
            Role::Client => out.len(),
        };
        out.extend(&self.payload);
        if role == Role::Server {
            mask(&mut out[start..], KEY);
        }
        out
    }
}

fn bytes(role: Role, frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.bytes(role)).collect()
}

/// A connection's receiving side as a shard has it: input arrives in pieces, what is not consumed is kept.
struct Caller {
    role: Role,
    limits: Limits,
    reader: Reader,
    kept: Vec<u8>,
    events: Vec<Event>,
}

impl Caller {
    fn new(role: Role) -> Self {
        Self { role, limits: Limits::default(), reader: Reader::new(), kept: Vec::new(), events: Vec::new() }
    }

    fn receive(&mut self, piece: &[u8]) {
        let mut input = std::mem::take(&mut self.kept);
        input.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let rest = input.len() - at;
            let (consumed, event) = match self.reader.next(self.role, &mut input[at..], &self.limits) {
                Err(fault) => (0, Some(Event::Fault(fault))),
                Ok((consumed, Item::Incomplete { need })) => {
                    let left = rest - consumed;
                    assert!(left <= RETAINED_BYTES_MAX, "{left} bytes left to the caller");
                    assert!(need > left, "{need} bytes needed, {left} there");
                    assert!(need <= RETAINED_BYTES_MAX + 1);
                    self.kept = input[at + consumed..].to_vec();
                    return;
                }
                Ok((consumed, item)) => {
                    assert!(consumed >= 1, "progress");
                    (consumed, owned(item))
                }
            };
            self.events.extend(event);
            at += consumed;
        }
    }
}

fn owned(item: Item<'_>) -> Option<Event> {
    match item {
        Item::Incomplete { .. } | Item::Nothing => None,
        Item::Text(text) => Some(Event::Text(text.into_owned())),
        Item::Binary(bytes) => Some(Event::Binary(bytes.into_owned())),
        Item::Ping(payload) => Some(Event::Ping(payload.to_vec())),
        Item::Pong(payload) => Some(Event::Pong(payload.to_vec())),
        Item::Close { code, reason } => Some(Event::Close(code, reason.to_owned())),
    }
}

/// What a reader makes of these pieces.
fn read<'a>(role: Role, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut caller = Caller::new(role);
    for piece in pieces {
        caller.receive(piece);
    }
    caller.events
}

fn text(text: &str) -> Event {
    Event::Text(text.to_owned())
}
