//! The receiving half of a connection: records become data, or change the connection's state.

use super::error::Misbehaviour;
use super::limits::{FRUITLESS_RECORDS_MAX, HEADER_BYTES, KEY_UPDATES_BURST, RECORDS_PER_KEY_UPDATE};
use super::message::Part;
use super::record::{self, ALERT, DATA, HANDSHAKE};
use super::schedule;
use super::state::{Field, Traffic, View};
use super::suite::Suite;

const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;
const CLIENT_HELLO: u8 = 1;
const HELLO_REQUEST: [u8; 4] = [0, 0, 0, 0];

/// What the first record of the input was.
#[derive(PartialEq, Eq, Debug)]
pub enum Opened<'a> {
    /// Not all there. `need` is the length of the whole record, or of a header as long as that is incomplete.
    Incomplete {
        /// Bytes, header included; at most [`super::limits::BODY_TLS12_BYTES_MAX`] and a header.
        need: usize,
    },
    /// Application data, in place; never empty.
    Data(&'a mut [u8]),
    /// Nothing for the caller: a key update, a ticket, an empty record, a warning.
    Nothing,
    /// The peer sends no more. So says every further call.
    Closed,
}

impl Traffic {
    /// Opens the first record of `input` in place and returns how many bytes of `input` are done with. An error is final:
    /// answer with [`Self::seal_alert`] and close.
    pub fn open<'a>(&mut self, input: &'a mut [u8]) -> Result<(usize, Opened<'a>), Misbehaviour> {
        let suite = self.suite();
        let (mut send, mut receive) = self.halves(suite);
        if receive.field(Field::CLOSED) == 1 {
            // RFC 8446 §6.1: data after a closure alert is ignored.
            return Ok((input.len(), Opened::Closed));
        }
        let Some(header) = input.first_chunk::<HEADER_BYTES>() else {
            return Ok((0, Opened::Incomplete { need: HEADER_BYTES }));
        };
        let length = record::length(suite, *header)?;
        if input.len() < length {
            return Ok((0, Opened::Incomplete { need: length }));
        }
        let (kind, content) = record::open(suite, &mut receive, &mut input[..length])?;
        // RFC 8446 §5.1: nothing may come between the parts of a handshake message.
        if kind != HANDSHAKE && receive.field(Field::PART) != 0 {
            return Err(Misbehaviour::Unexpected);
        }
        let opened = match kind {
            DATA if content.is_empty() => fruitless(&mut send)?,
            DATA => {
                earn(&mut send);
                Opened::Data(content)
            }
            ALERT => alert(suite, &mut send, &mut receive, content)?,
            HANDSHAKE if suite.is_tls13() => handshake(suite, &mut send, &mut receive, content)?,
            HANDSHAKE => handshake_tls12(&mut send, content)?,
            _ => return Err(Misbehaviour::Unexpected),
        };
        Ok((length, opened))
    }
}

/// A record without data: allowed, but not without end.
fn fruitless<'a>(send: &mut View<'_>) -> Result<Opened<'a>, Misbehaviour> {
    let count = send.field(Field::FRUITLESS) + 1;
    if count > FRUITLESS_RECORDS_MAX {
        return Err(Misbehaviour::Flood);
    }
    send.put(Field::FRUITLESS, count);
    Ok(Opened::Nothing)
}

/// A record with data pays for what came without.
#[inline]
fn earn(send: &mut View<'_>) {
    if send.field(Field::FRUITLESS) != 0 {
        send.put(Field::FRUITLESS, 0);
    }
    let updates = send.field(Field::UPDATES);
    if updates != 0 {
        send.put(Field::UPDATES, updates - 1);
    }
}

fn alert<'a>(
    suite: Suite,
    send: &mut View<'_>,
    receive: &mut View<'_>,
    content: &[u8],
) -> Result<Opened<'a>, Misbehaviour> {
    let &[level, kind] = content else {
        return Err(Misbehaviour::Decode);
    };
    // RFC 8446 §6: the level says nothing in TLS 1.3, where only these two alerts are not errors.
    let (warning, error) = match (suite.is_tls13(), level) {
        (true, _) => (kind == CLOSE_NOTIFY || kind == USER_CANCELED, true),
        (false, 1) => (true, false),
        (false, level) => (false, level == 2),
    };
    match (warning, error) {
        (true, _) if kind == CLOSE_NOTIFY => {
            receive.put(Field::CLOSED, 1);
            Ok(Opened::Closed)
        }
        (true, _) => fruitless(send),
        (false, true) => Err(Misbehaviour::Alerted(kind)),
        (false, false) => Err(Misbehaviour::Illegal),
    }
}

fn handshake<'a>(
    suite: Suite,
    send: &mut View<'_>,
    receive: &mut View<'_>,
    content: &[u8],
) -> Result<Opened<'a>, Misbehaviour> {
    let mut part = Part::unpack(receive.field(Field::PART));
    let update = part.receive(send.field(Field::CLIENT) == 1, content)?;
    receive.put(Field::PART, part.pack());
    let Some(requested) = update else {
        return fruitless(send);
    };
    let updates = send.field(Field::UPDATES) + RECORDS_PER_KEY_UPDATE;
    if updates > KEY_UPDATES_BURST * RECORDS_PER_KEY_UPDATE {
        return Err(Misbehaviour::Flood);
    }
    send.put(Field::UPDATES, updates);
    schedule::advance(suite, receive)?;
    // One answer is enough for any number of requests; it goes out before the next data (RFC 8446 §4.6.3).
    if requested {
        send.put(Field::OWED, 1);
    }
    Ok(Opened::Nothing)
}

/// In TLS 1.2 such a message is the beginning of a renegotiation, which a server refuses and a client may ignore
/// (RFC 5246 §7.4.1.1).
fn handshake_tls12<'a>(send: &mut View<'_>, content: &[u8]) -> Result<Opened<'a>, Misbehaviour> {
    let client = send.field(Field::CLIENT) == 1;
    match content.first() {
        Some(&CLIENT_HELLO) if !client => Err(Misbehaviour::Renegotiation),
        Some(_) if client && content == HELLO_REQUEST => fruitless(send),
        _ => Err(Misbehaviour::Unexpected),
    }
}
