//! Protobuf's grammar as strangers' bytes meet it: varints, fields with their wire types, messages behind their lengths. Knows no
//! message of any protocol.

use std::borrow::Cow;

use crate::limits::PROTOBUF_GROUPS_MAX;

/// Bytes that are not a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// The messages of a WebSocket message, each behind its length. After an error there are no more.
#[derive(Clone, Debug)]
pub(crate) struct Delimited<'a>(&'a [u8]);

/// The fields of a message. After an error there are no more.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

/// A field's value as its wire type has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value<'a> {
    /// A number or a flag.
    Varint(u64),
    /// A string, bytes or a message.
    Bytes(&'a [u8]),
    /// A wire type that no field of this protocol has.
    Foreign,
}

impl<'a> Delimited<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Delimited<'a> {
    type Item = Result<&'a [u8], Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let result = counted(&mut self.0);
        if result.is_err() {
            self.0 = &[];
        }
        Some(result)
    }
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let result = field(&mut self.0);
        if result.is_err() {
            self.0 = &[];
        }
        Some(result)
    }
}

impl<'a> Value<'a> {
    /// Larger numbers lose their high bits, as the encoding has it; so for the other kinds of number.
    pub(crate) fn uint32(self) -> Result<u32, Malformed> {
        self.uint64().map(|value| value as u32)
    }

    pub(crate) const fn uint64(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn int32(self) -> Result<i32, Malformed> {
        self.uint64().map(|value| value as i32)
    }

    pub(crate) fn int64(self) -> Result<i64, Malformed> {
        self.uint64().map(u64::cast_signed)
    }

    pub(crate) fn flag(self) -> Result<bool, Malformed> {
        self.uint64().map(|value| value != 0)
    }

    pub(crate) const fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn text(self) -> Result<Cow<'a, str>, Malformed> {
        std::str::from_utf8(self.bytes()?).map(Cow::Borrowed).map_err(|_| Malformed)
    }
}

/// The kinds of value, as a field's key numbers them.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const COUNTED: u64 = 2;
const GROUP: u64 = 3;
const GROUP_END: u64 = 4;
const FIXED_32: u64 = 5;

fn field<'a>(bytes: &mut &'a [u8]) -> Result<(u32, Value<'a>), Malformed> {
    let (number, kind) = key(bytes)?;
    let value = match kind {
        VARINT => Value::Varint(varint(bytes)?),
        COUNTED => Value::Bytes(counted(bytes)?),
        kind => {
            skip(bytes, number, kind)?;
            Value::Foreign
        }
    };
    Ok((number, value))
}

fn key(bytes: &mut &[u8]) -> Result<(u32, u64), Malformed> {
    let key = u32::try_from(varint(bytes)?).map_err(|_| Malformed)?;
    let number = key >> 3;
    if number == 0 { Err(Malformed) } else { Ok((number, u64::from(key & 7))) }
}

/// Leaves out a value of a kind that nothing here has. Groups (long out of use) nest, without recursion here.
fn skip(bytes: &mut &[u8], number: u32, kind: u64) -> Result<(), Malformed> {
    let mut open = [0; PROTOBUF_GROUPS_MAX];
    let mut depth = 0;
    let (mut number, mut kind) = (number, kind);
    loop {
        match kind {
            VARINT => {
                varint(bytes)?;
            }
            COUNTED => {
                counted(bytes)?;
            }
            FIXED_64 => *bytes = bytes.get(8..).ok_or(Malformed)?,
            FIXED_32 => *bytes = bytes.get(4..).ok_or(Malformed)?,
            GROUP => {
                *open.get_mut(depth).ok_or(Malformed)? = number;
                depth += 1;
            }
            GROUP_END if depth > 0 && open[depth - 1] == number => depth -= 1,
            _ => return Err(Malformed),
        }
        if depth == 0 {
            return Ok(());
        }
        (number, kind) = key(bytes)?;
    }
}

/// Bytes behind their length.
fn counted<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let count = usize::try_from(varint(bytes)?).map_err(|_| Malformed)?;
    let (value, rest) = bytes.split_at_checked(count).ok_or(Malformed)?;
    *bytes = rest;
    Ok(value)
}

/// Seven bits per byte, the lowest first; ten bytes hold 64 bits. Needless zeros at the end are allowed within the ten.
fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        if at + 1 == VARINT_BYTES_MAX && byte > 1 {
            return Err(Malformed);
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Ok(value);
        }
    }
    Err(Malformed)
}

const VARINT_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Vec<Result<(u32, Value<'_>), Malformed>> {
        Fields::new(bytes).collect()
    }

    #[test]
    fn varints_have_at_most_64_bits() {
        for (bytes, value) in [
            (&[0][..], 0),
            (&[0x7f], 127),
            (&[0x80, 0x01], 128),
            (&[0x80, 0x80, 0x00], 0),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], u64::MAX),
        ] {
            let mut rest = bytes;
            assert_eq!(varint(&mut rest), Ok(value));
            assert!(rest.is_empty());
        }
        for bytes in
            [&[][..], &[0x80], &[0xff; 10], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]]
        {
            assert_eq!(varint(&mut &*bytes), Err(Malformed));
        }
    }

    #[test]
    fn fields_come_with_their_numbers_and_kinds() {
        assert_eq!(
            fields(&[
                0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8
            ]),
            [
                Ok((1, Value::Varint(150))),
                Ok((2, Value::Bytes(b"hi"))),
                Ok((3, Value::Foreign)),
                Ok((4, Value::Foreign)),
            ]
        );
    }

    #[test]
    fn what_is_cut_off_or_has_no_kind_is_malformed() {
        for bytes in
            [&[0x08][..], &[0x12, 0x02, b'h'], &[0x1d, 1, 2, 3], &[0x21, 1], &[0x0e], &[0x0f], &[0x00, 0x00]]
        {
            assert_eq!(fields(bytes), [Err(Malformed)], "{bytes:x?}");
        }
        // A key has 32 bits.
        assert_eq!(fields(&[0x88, 0x80, 0x80, 0x80, 0x10, 0]), [Err(Malformed)]);
    }

    #[test]
    fn groups_are_skipped_to_their_own_end() {
        assert_eq!(
            fields(&[0x0b, 0x13, 0x08, 0x05, 0x14, 0x12, 0x01, 0x0c, 0x0c, 0x08, 0x07]),
            [Ok((1, Value::Foreign)), Ok((1, Value::Varint(7)))]
        );
        for bytes in [&[0x0b][..], &[0x0c], &[0x0b, 0x14], &[0x0b, 0x13, 0x0c, 0x14], &[0x0b; 100_000]] {
            assert_eq!(fields(bytes), [Err(Malformed)], "{:x?}", &bytes[..bytes.len().min(8)]);
        }
        let nested = [vec![0x0b; PROTOBUF_GROUPS_MAX], vec![0x0c; PROTOBUF_GROUPS_MAX]].concat();
        assert_eq!(fields(&nested), [Ok((1, Value::Foreign))]);
    }

    #[test]
    fn messages_stand_behind_their_lengths() {
        let all: Vec<_> = Delimited::new(&[0, 2, 8, 1, 0]).collect();
        assert_eq!(all, [Ok(&[][..]), Ok(&[8, 1]), Ok(&[])]);
        let all: Vec<_> = Delimited::new(&[1, 8, 3, 8]).collect();
        assert_eq!(all, [Ok(&[8][..]), Err(Malformed)]);
    }
}
