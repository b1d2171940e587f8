//! Options that are one of a few words.

use wire::config::{Data, Field, Reader, Shape, Value};
use wire::settings::{DataFormat, Delivery, RecoveryMode};

use super::BusKind;
use super::node::Rights;

macro_rules! words {
    ($($(#[doc = $doc:literal])* $name:ident($kind:ty) { $($word:literal => $value:expr,)* })*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $name(pub $kind);

        impl Field for $name {
            fn shape() -> Shape {
                Shape::Text(concat!("one of" $(, " \"", $word, "\"")*).to_owned())
            }

            fn blank() -> Self {
                Self::default()
            }

            fn read(&mut self, reader: &mut Reader, value: &Value) {
                match &value.data {
                    $(Data::Text(text) if text == $word => *self = Self($value),)*
                    _ => reader.expected(value, &Self::shape().allowed()),
                }
            }

            fn show(&self) -> Option<String> {
                $(if self.0 == $value {
                    return Some(toml_text($word));
                })*
                None
            }
        }
    )*};
}

/// How the server API tells errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Errors {
    /// In the body of an answer that is otherwise good.
    #[default]
    Body,
    /// By the HTTP status too.
    Transport,
}

words! {
    /// `http_api.error_mode`.
    ErrorMode(Errors) {
        "" => Errors::Body,
        "transport" => Errors::Transport,
    }
    /// `force_recovery_mode`; empty is the default.
    Mode(RecoveryMode) {
        "stream" => RecoveryMode::Stream,
        "" => RecoveryMode::Stream,
        "cache" => RecoveryMode::Cache,
    }
    /// `publication_data_format`.
    Format(DataFormat) {
        "" => DataFormat::Any,
        "json" => DataFormat::Json,
        "json_object" => DataFormat::JsonObject,
        "binary" => DataFormat::Binary,
    }
    /// `kind` of the bus.
    Kind(BusKind) {
        "local" => BusKind::Local,
        "mesh" => BusKind::Mesh,
        "redis" => BusKind::Redis,
        "redis-cluster" => BusKind::RedisCluster,
    }
    /// `delivery`.
    Storing(Delivery) {
        "transient" => Delivery::Transient,
        "persist" => Delivery::Persist,
        "fast" => Delivery::Fast,
    }
    /// `rights`.
    Deciding(Rights) {
        "" => Rights::Options,
        "node" => Rights::Node,
    }
    /// One of `allowed_delta_types`.
    DeltaType(()) {
        "fossil" => (),
    }
}

fn toml_text(word: &str) -> String {
    format!("\"{word}\"")
}
