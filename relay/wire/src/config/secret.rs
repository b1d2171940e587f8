//! A secret in the configuration: never printed, erased when dropped.

use std::fmt;

use zeroize::Zeroizing;

use super::{Data, Field, Reader, Shape, Value};

/// A secret text; empty when unset.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A secret that was read elsewhere.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether it is unset.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Secret {
    /// For tests of the configuration; not in constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "unset" } else { "***" })
    }
}

impl Field for Secret {
    fn shape() -> Shape {
        Shape::Text("a text".to_owned())
    }

    fn blank() -> Self {
        Self::default()
    }

    fn read(&mut self, reader: &mut Reader, value: &Value) {
        match &value.data {
            Data::Text(text) if !text.is_empty() => self.0 = Zeroizing::new(text.clone()),
            Data::Text(_) => reader.refuse(value, "is empty: leave the key out if there is no secret"),
            _ => reader.refuse(value, "expected a text"),
        }
    }

    fn show(&self) -> Option<String> {
        None
    }
}
