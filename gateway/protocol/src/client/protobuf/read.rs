//! Reads fields into structs: the one way every decoder here reads.

use std::borrow::Cow;

use crate::{
    client::shapes::{Named, Nothing},
    protobuf::{Fields, Malformed, Value},
};

/// A struct that a message's fields are read into.
pub(super) trait Message<'a>: Default {
    /// Reads one field; does nothing if its number is not known.
    fn field(&mut self, number: u32, value: Value<'a>) -> Result<(), Malformed>;

    /// Reads all fields over what is there.
    fn merge(&mut self, bytes: &'a [u8]) -> Result<(), Malformed> {
        for field in Fields::new(bytes) {
            let (number, value) = field?;
            self.field(number, value)?;
        }
        Ok(())
    }
}

/// A whole message.
pub(super) fn read<'a, T: Message<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    let mut message = T::default();
    message.merge(bytes)?;
    Ok(message)
}

impl Message<'_> for Nothing {
    fn field(&mut self, _: u32, _: Value<'_>) -> Result<(), Malformed> {
        Ok(())
    }
}

/// Implements [`Message`]: field number => field, `as Entries` for maps of messages, `as Texts` for maps of strings.
macro_rules! message {
    ($type:ident { $($number:literal => $field:ident $(as $wrapper:ident)?),* $(,)? }) => {
        impl<'a> crate::client::protobuf::read::Message<'a> for $type<'a> {
            fn field(
                &mut self,
                number: u32,
                value: crate::protobuf::Value<'a>,
            ) -> Result<(), crate::protobuf::Malformed> {
                match number {
                    $($number => crate::client::protobuf::read::message!(@fill self.$field, value $(, $wrapper)?),)*
                    _ => {}
                }
                Ok(())
            }
        }
    };
    (@fill $slot:expr, $value:ident) => {
        crate::client::protobuf::read::Fill::fill(&mut $slot, $value)?
    };
    (@fill $slot:expr, $value:ident, Texts) => {
        $slot.push(crate::client::protobuf::read::pair($value)?)
    };
    (@fill $slot:expr, $value:ident, Entries) => {
        crate::client::protobuf::read::entry(&mut $slot, $value)?
    };
}
pub(super) use message;

/// A field that takes a value.
pub(super) trait Fill<'a> {
    fn fill(&mut self, value: Value<'a>) -> Result<(), Malformed>;
}

macro_rules! fill {
    ($($type:ty => $read:ident),*) => {
        $(impl<'a> Fill<'a> for $type {
            fn fill(&mut self, value: Value<'a>) -> Result<(), Malformed> {
                *self = value.$read()?;
                Ok(())
            }
        })*
    };
}

fill!(bool => flag, u32 => uint32, u64 => uint64, i32 => int32, i64 => int64, Cow<'a, str> => text, &'a [u8] => bytes);

impl<'a, T: Message<'a>> Fill<'a> for Option<T> {
    fn fill(&mut self, value: Value<'a>) -> Result<(), Malformed> {
        self.get_or_insert_default().merge(value.bytes()?)
    }
}

impl<'a, T: Message<'a>> Fill<'a> for Vec<T> {
    fn fill(&mut self, value: Value<'a>) -> Result<(), Malformed> {
        self.push(read(value.bytes()?)?);
        Ok(())
    }
}

/// An entry of a map of strings.
pub(super) fn pair<'a>(value: Value<'a>) -> Result<(Cow<'a, str>, Cow<'a, str>), Malformed> {
    let mut pair = (Cow::Borrowed(""), Cow::Borrowed(""));
    for field in Fields::new(value.bytes()?) {
        match field? {
            (1, value) => pair.0 = value.text()?,
            (2, value) => pair.1 = value.text()?,
            _ => {}
        }
    }
    Ok(pair)
}

/// Adds an entry of a map.
pub(super) fn entry<'a, T: Message<'a> + Named<'a>>(
    entries: &mut Vec<T>,
    value: Value<'a>,
) -> Result<(), Malformed> {
    let mut name = Cow::Borrowed("");
    let mut item = T::default();
    for field in Fields::new(value.bytes()?) {
        match field? {
            (1, value) => name = value.text()?,
            (2, value) => item.merge(value.bytes()?)?,
            _ => {}
        }
    }
    item.named(name);
    entries.push(item);
    Ok(())
}
