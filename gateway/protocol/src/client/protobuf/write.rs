//! Writes fields straight into a buffer. What is empty, zero or false is left out unless said otherwise.

use wire::ClientId;

/// An open message.
pub(super) struct Message<'o> {
    out: &'o mut Vec<u8>,
}

/// Appends one message behind its length.
pub(super) fn document(out: &mut Vec<u8>, write: impl FnOnce(&mut Message<'_>)) {
    let start = out.len();
    // Most lengths take one byte; a longer one moves what has been written.
    out.push(0);
    write(&mut Message { out });
    let length = out.len() - start - 1;
    let more = varint_bytes(length as u64) - 1;
    if more > 0 {
        out.resize(out.len() + more, 0);
        out.copy_within(start + 1..start + 1 + length, start + 1 + more);
    }
    let mut rest = length;
    for byte in &mut out[start..=start + more] {
        *byte = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
    }
    out[start + more] &= 0x7f;
}

impl Message<'_> {
    /// A message within, even if it is empty.
    pub(super) fn message(&mut self, number: u32, write: impl FnOnce(&mut Message<'_>)) {
        self.key(number, COUNTED);
        document(self.out, write);
    }

    /// An entry of a map.
    pub(super) fn entry(&mut self, number: u32, name: &str, write: impl FnOnce(&mut Message<'_>)) {
        self.message(number, |m| {
            m.text(1, name);
            m.message(2, write);
        });
    }

    /// An entry of a map of strings.
    pub(super) fn pair(&mut self, number: u32, name: &str, value: &str) {
        self.message(number, |m| {
            m.text(1, name);
            m.text(2, value);
        });
    }

    /// An entry of a map, whose key is a session's id.
    pub(super) fn client_entry(
        &mut self,
        number: u32,
        client: ClientId,
        write: impl FnOnce(&mut Message<'_>),
    ) {
        self.message(number, |m| {
            m.client(1, client);
            m.message(2, write);
        });
    }

    pub(super) fn list<T>(&mut self, number: u32, items: &[T], mut write: impl FnMut(&mut Message<'_>, &T)) {
        for item in items {
            self.message(number, |m| write(m, item));
        }
    }

    pub(super) fn text(&mut self, number: u32, text: &str) {
        self.bytes(number, text.as_bytes());
    }

    pub(super) fn bytes(&mut self, number: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.key(number, COUNTED);
            varint(self.out, bytes.len() as u64);
            self.out.extend_from_slice(bytes);
        }
    }

    pub(super) fn client(&mut self, number: u32, client: ClientId) {
        self.bytes(number, &client.text());
    }

    pub(super) fn number(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.key(number, VARINT);
            varint(self.out, value);
        }
    }

    /// Negative numbers take ten bytes.
    pub(super) fn signed(&mut self, number: u32, value: i64) {
        self.number(number, value.cast_unsigned());
    }

    pub(super) fn flag(&mut self, number: u32, value: bool) {
        self.number(number, value.into());
    }

    fn key(&mut self, number: u32, kind: u32) {
        varint(self.out, u64::from(number << 3 | kind));
    }
}

const VARINT: u32 = 0;
const COUNTED: u32 = 2;

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

const fn varint_bytes(value: u64) -> usize {
    (value | 1).ilog2() as usize / 7 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Message<'_>)) -> Vec<u8> {
        let mut out = b"before".to_vec();
        document(&mut out, write);
        out.split_off(6)
    }

    #[test]
    fn a_length_takes_the_bytes_it_needs() {
        for (payload, head) in [
            (0, &[0x00][..]),
            (125, &[0x7f]),
            (126, &[0x80, 0x01]),
            (16_380, &[0xff, 0x7f]),
            (16_381, &[0x80, 0x80, 0x01]),
        ] {
            let out = written(|m| m.bytes(1, &vec![7; payload]));
            assert_eq!(&out[..head.len()], head, "{payload}");
            assert_eq!(out.iter().filter(|byte| **byte == 7).count(), payload);
            assert!(payload == 0 || out.ends_with(&[7]));
        }
    }

    #[test]
    fn varint_bytes_are_those_written() {
        for value in (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]).chain([u64::MAX]) {
            let mut out = Vec::new();
            varint(&mut out, value);
            assert_eq!(out.len(), varint_bytes(value), "{value}");
        }
    }

    #[test]
    fn empty_fields_are_left_out_but_messages_are_not() {
        let out = written(|m| {
            m.text(1, "");
            m.number(2, 0);
            m.flag(3, false);
            m.list(4, &[0_u8; 0], |_, _| {});
            m.message(5, |_| {});
        });
        assert_eq!(out, [2, 0x2a, 0]);
    }
}
