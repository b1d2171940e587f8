//! Handshake messages after the handshake (RFC 8446 §4.6): key updates, and session tickets, which are skipped. A message
//! may come in pieces; what is known of an unfinished one fits eighteen bits.

use super::error::Misbehaviour;
use super::limits::TICKET_BYTES_MAX;

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
/// Type and length of a key update; one byte follows.
const KEY_UPDATE_HEADER: [u8; 4] = [KEY_UPDATE, 0, 0, 1];

/// A key update as it goes into a record.
pub(super) const fn key_update(request: bool) -> [u8; 5] {
    [KEY_UPDATE, 0, 0, 1, request as u8]
}

/// How far the current message has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Between messages.
    Nothing,
    /// This many bytes of a key update, 1 to 4.
    Update(u8),
    /// This many bytes of a ticket's header, 1 to 3, and the higher byte of its length once it is known.
    Header(u8, u8),
    /// This many bytes of a ticket are still to come.
    Ticket(u16),
}

impl Part {
    pub(super) const fn pack(self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Update(have) => 1 | (have as u64) << 2,
            Self::Header(have, high) => 2 | (have as u64) << 2 | (high as u64) << 10,
            Self::Ticket(left) => 3 | (left as u64) << 2,
        }
    }

    pub(super) const fn unpack(bits: u64) -> Self {
        let value = bits >> 2;
        match bits & 3 {
            0 => Self::Nothing,
            1 => Self::Update(value as u8),
            2 => Self::Header(value as u8, (value >> 8) as u8),
            _ => Self::Ticket(value as u16),
        }
    }

    /// Takes the content of one record. Returns `Some(requested)` when a key update ends it.
    pub(super) fn receive(&mut self, client: bool, content: &[u8]) -> Result<Option<bool>, Misbehaviour> {
        // RFC 8446 §5.1: no empty fragments of handshake messages.
        if content.is_empty() {
            return Err(Misbehaviour::Unexpected);
        }
        let mut rest = content;
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            *self = match *self {
                Self::Nothing => match byte {
                    KEY_UPDATE => Self::Update(1),
                    NEW_SESSION_TICKET if client => Self::Header(1, 0),
                    _ => return Err(Misbehaviour::Unexpected),
                },
                Self::Update(have) if usize::from(have) < KEY_UPDATE_HEADER.len() => {
                    if byte != KEY_UPDATE_HEADER[usize::from(have)] {
                        return Err(Misbehaviour::Decode);
                    }
                    Self::Update(have + 1)
                }
                Self::Update(_) => {
                    // RFC 8446 §4.6.3 and §5.1: two values exist, and the key changes at the end of a record.
                    if byte > 1 {
                        return Err(Misbehaviour::Illegal);
                    }
                    if !rest.is_empty() {
                        return Err(Misbehaviour::Unexpected);
                    }
                    *self = Self::Nothing;
                    return Ok(Some(byte == 1));
                }
                // A length above 2^16 - 1.
                Self::Header(1, _) if byte != 0 => return Err(Misbehaviour::Decode),
                Self::Header(1, _) => Self::Header(2, 0),
                Self::Header(2, _) => Self::Header(3, byte),
                Self::Header(_, high) => match u16::from_be_bytes([high, byte]) {
                    0 => return Err(Misbehaviour::Decode),
                    left => Self::Ticket(left),
                },
                Self::Ticket(left) => {
                    // `byte` and as much of the rest as belongs to it.
                    let more = rest.len().min(usize::from(left) - 1);
                    rest = &rest[more..];
                    match left - 1 - more as u16 {
                        0 => Self::Nothing,
                        left => Self::Ticket(left),
                    }
                }
            };
        }
        Ok(None)
    }
}

const _: () = assert!(TICKET_BYTES_MAX == u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_packing() {
        let mut parts = vec![Part::Nothing];
        parts.extend((1..=4).map(Part::Update));
        parts.extend((1..=3).flat_map(|have| [0, 1, 255].map(|high| Part::Header(have, high))));
        parts.extend([1, 255, 256, u16::MAX].map(Part::Ticket));
        for part in parts {
            assert!(part.pack() < 1 << 18);
            assert_eq!(Part::unpack(part.pack()), part);
        }
    }

    #[test]
    fn a_key_update_may_come_byte_by_byte() {
        let mut part = Part::Nothing;
        for byte in &key_update(true)[..4] {
            assert_eq!(part.receive(false, &[*byte]), Ok(None));
            part = Part::unpack(part.pack());
        }
        assert_eq!(part.receive(false, &[1]), Ok(Some(true)));
        assert_eq!(part, Part::Nothing);
    }

    #[test]
    fn a_key_update_must_end_its_record() {
        let mut two = key_update(false).to_vec();
        two.extend(key_update(false));
        assert_eq!(Part::Nothing.receive(false, &two), Err(Misbehaviour::Unexpected));
    }

    #[test]
    fn a_key_update_has_one_byte_and_two_values() {
        assert_eq!(Part::Nothing.receive(false, &[24, 0, 0, 1, 2]), Err(Misbehaviour::Illegal));
        assert_eq!(Part::Nothing.receive(false, &[24, 0, 0, 0]), Err(Misbehaviour::Decode));
        assert_eq!(Part::Nothing.receive(false, &[24, 0, 0, 2, 0, 0]), Err(Misbehaviour::Decode));
        assert_eq!(Part::Nothing.receive(false, &[24, 1, 0, 1, 0]), Err(Misbehaviour::Decode));
    }

    #[test]
    fn a_client_skips_tickets_in_any_pieces() {
        let mut stream = Vec::new();
        for length in [1, 300, 65_535_u16] {
            stream.extend([4, 0]);
            stream.extend(length.to_be_bytes());
            stream.resize(stream.len() + usize::from(length), 24);
        }
        stream.extend(key_update(false));
        for piece in [1, 2, 3, 5, 299, 16_384, stream.len()] {
            let mut part = Part::Nothing;
            let mut updates = 0;
            for content in stream.chunks(piece) {
                updates += usize::from(part.receive(true, content).expect("valid").is_some());
                part = Part::unpack(part.pack());
            }
            assert_eq!((part, updates), (Part::Nothing, 1));
        }
    }

    #[test]
    fn nothing_else_is_accepted() {
        for kind in (0..=255).filter(|kind| ![NEW_SESSION_TICKET, KEY_UPDATE].contains(kind)) {
            assert_eq!(Part::Nothing.receive(true, &[kind]), Err(Misbehaviour::Unexpected));
        }
        assert_eq!(Part::Nothing.receive(false, &[NEW_SESSION_TICKET]), Err(Misbehaviour::Unexpected));
        assert_eq!(Part::Nothing.receive(true, &[]), Err(Misbehaviour::Unexpected));
        assert_eq!(Part::Nothing.receive(true, &[4, 1]), Err(Misbehaviour::Decode));
        assert_eq!(Part::Nothing.receive(true, &[4, 0, 0, 0]), Err(Misbehaviour::Decode));
    }
}
