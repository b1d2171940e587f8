//! What a configuration value can be: text, numbers, durations, addresses, lists and tables.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::{Data, Key, Reader, Value};
use crate::admission::Prefix;

/// A type that a key can have. Programs implement it for types of their own (a secret, a choice of words).
pub trait Field: Sized {
    /// What is allowed, for errors, the environment and the documented default file.
    fn shape() -> Shape;

    /// What an unset option or a new item of a list starts from before it is read.
    fn blank() -> Self;

    /// Takes the value, or reports to `reader` (with [`Reader::expected`]) and leaves `self` as it was.
    fn read(&mut self, reader: &mut Reader, value: &Value);

    /// The value as TOML, or `None` when it is unset.
    fn show(&self) -> Option<String>;
}

/// The shape of a field.
#[derive(Clone, Debug)]
pub enum Shape {
    /// One value written as a TOML string; what is allowed.
    Text(String),
    /// One value written bare (a number, `true`); what is allowed.
    Bare(String),
    /// A table with these keys.
    Table(Vec<Key>),
    /// A list of values, or of tables.
    List(Box<Self>),
}

impl Shape {
    /// What is allowed, in words.
    pub fn allowed(&self) -> String {
        match self {
            Self::Text(allowed) | Self::Bare(allowed) => allowed.clone(),
            Self::Table(_) => "a table".to_owned(),
            Self::List(item) => format!("a list, each {}", item.allowed()),
        }
    }
}

impl Field for bool {
    fn shape() -> Shape {
        Shape::Bare("true or false".to_owned())
    }

    fn blank() -> Self {
        false
    }

    fn read(&mut self, reader: &mut Reader, value: &Value) {
        match value.data {
            Data::Bool(found) => *self = found,
            _ => reader.expected(value, "true or false"),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Field for $number {
            fn shape() -> Shape {
                Shape::Bare(format!("a whole number from {} to {}", Self::MIN, Self::MAX))
            }

            fn blank() -> Self {
                0
            }

            fn read(&mut self, reader: &mut Reader, value: &Value) {
                match value.data {
                    Data::Integer(found) if Self::try_from(found).is_ok() => {
                        if let Ok(found) = Self::try_from(found) {
                            *self = found;
                        }
                    }
                    _ => reader.expected(value, &Self::shape().allowed()),
                }
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

whole_numbers!(u8, u16, u32, u64, usize, i32, i64);

macro_rules! texts {
    ($($kind:ty, $allowed:literal, $blank:expr, |$text:ident| $read:expr, |$value:ident| $show:expr;)*) => {$(
        impl Field for $kind {
            fn shape() -> Shape {
                Shape::Text($allowed.to_owned())
            }

            fn blank() -> Self {
                $blank
            }

            fn read(&mut self, reader: &mut Reader, value: &Value) {
                let read = match &value.data {
                    Data::Text($text) => $read,
                    _ => None,
                };
                match read {
                    Some(found) => *self = found,
                    None => reader.expected(value, $allowed),
                }
            }

            fn show(&self) -> Option<String> {
                let $value = self;
                Some(toml::Value::String($show).to_string())
            }
        }
    )*};
}

texts! {
    String, "a text", Self::new(), |text| Some(text.clone()), |value| value.clone();
    PathBuf, "a path", Self::new(), |text| (!text.is_empty()).then(|| Self::from(text)), |value| value.display().to_string();
    SocketAddr, "an address with port such as \"127.0.0.1:9000\" or \"[::1]:9000\"",
        Self::from(([127, 0, 0, 1], 0)), |text| text.parse().ok(), |value| value.to_string();
    IpAddr, "an address such as \"127.0.0.1\" or \"::1\"", Self::from([127, 0, 0, 1]),
        |text| text.parse().ok(), |value| value.to_string();
    Prefix, "an address or a prefix such as \"192.0.2.0/24\" or \"2001:db8::/32\", with nothing behind its bits", Self::NOBODY,
        |text| text.parse().ok(), |value| value.to_string();
    Duration, "a duration such as \"25s\", \"5m\" or \"100ms\"", Self::ZERO,
        |text| humantime::parse_duration(text.trim()).ok(), |value| duration_text(*value);
}

/// A duration in the largest unit that shows it exactly: `25s`, `720h`, `150ms`.
pub fn duration_text(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let units = [
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
    ];
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let exact = units.iter().find(|(unit, _)| nanoseconds.is_multiple_of(*unit));
    exact.map_or_else(|| format!("{nanoseconds}ns"), |(unit, name)| format!("{}{name}", nanoseconds / unit))
}

impl<T: Field> Field for Option<T> {
    fn shape() -> Shape {
        T::shape()
    }

    fn blank() -> Self {
        None
    }

    fn read(&mut self, reader: &mut Reader, value: &Value) {
        let problems = reader.problems.len();
        let mut found = self.take().unwrap_or_else(T::blank);
        found.read(reader, value);
        if reader.problems.len() == problems {
            *self = Some(found);
        }
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Field::show)
    }
}

/// Each occurrence replaces the list.
impl<T: Field> Field for Vec<T> {
    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }

    fn blank() -> Self {
        Self::new()
    }

    fn read(&mut self, reader: &mut Reader, value: &Value) {
        let Data::List(items) = &value.data else {
            return reader.expected(value, &Self::shape().allowed());
        };
        self.clear();
        for (index, item) in items.iter().enumerate() {
            let mut found = T::blank();
            reader.descend(&format!("[{index}]"), item.line, |reader| found.read(reader, item));
            self.push(found);
        }
    }

    fn show(&self) -> Option<String> {
        let items: Vec<String> = self.iter().filter_map(Field::show).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}
