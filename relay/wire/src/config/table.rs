//! The table macro: keys, types, defaults and prose are written once.

use super::{Data, Reader, Shape, Value};

/// One key of a table.
#[derive(Clone, Debug)]
pub struct Key {
    /// As written in the file.
    pub name: &'static str,
    /// The field's documentation, line by line.
    pub prose: &'static [&'static str],
    /// What is allowed.
    pub shape: Shape,
    /// The default as TOML; `None` when unset.
    pub default: Option<String>,
}

/// A table of the configuration; made by [`crate::config_table!`].
pub trait Table: Default {
    /// The keys in the order of declaration.
    fn keys() -> Vec<Key>;

    /// Reads one key; `false` when there is no such key.
    fn read_key(&mut self, reader: &mut Reader, key: &str, value: &Value) -> bool;

    /// Reads every key of `value`, reporting what is not a key.
    fn read_all(&mut self, reader: &mut Reader, value: &Value) {
        let Data::Table(entries) = &value.data else { return reader.expected(value, "a table") };
        for (key, value) in entries {
            let mut known = true;
            let problems = reader.problems.len();
            reader.descend(key, value.line, |reader| known = self.read_key(reader, key, value));
            if !known {
                debug_assert_eq!(problems, reader.problems.len(), "an unknown key is not read");
                reader.unknown(key, value.line, &Self::keys());
            }
        }
    }
}

/// Declares a table: a struct with `Default`, from which parsing, refusals and the documented default file are made.
///
/// ```
/// wire::config_table! {
///     /// Where to listen.
///     pub struct Http {
///         /// Private addresses only.
///         address: String = "127.0.0.1:9000".to_owned(),
///     }
/// }
/// let loaded = wire::config::load::<Http>("a.toml", "address = \"[::1]:1\"", "A_", []).unwrap();
/// assert_eq!(loaded.value.address, "[::1]:1");
/// ```
#[macro_export]
macro_rules! config_table {
    ($(#[doc = $doc:literal])* $vis:vis struct $name:ident {
        $($(#[doc = $prose:literal])* $key:ident: $kind:ty = $default:expr,)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, PartialEq, Debug)]
        $vis struct $name {
            $($(#[doc = $prose])* pub $key: $kind,)*
        }

        impl ::core::default::Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl $crate::config::Table for $name {
            fn keys() -> ::std::vec::Vec<$crate::config::Key> {
                let default = <Self as ::core::default::Default>::default();
                ::std::vec![$($crate::config::Key {
                    name: stringify!($key),
                    prose: &[$($prose),*],
                    shape: <$kind as $crate::config::Field>::shape(),
                    default: $crate::config::Field::show(&default.$key),
                }),*]
            }

            fn read_key(
                &mut self,
                reader: &mut $crate::config::Reader,
                key: &str,
                value: &$crate::config::Value,
            ) -> bool {
                match key {
                    $(stringify!($key) => $crate::config::Field::read(&mut self.$key, reader, value),)*
                    _ => return false,
                }
                true
            }
        }

        impl $crate::config::Field for $name {
            fn shape() -> $crate::config::Shape {
                $crate::config::Shape::Table(<Self as $crate::config::Table>::keys())
            }

            fn blank() -> Self {
                <Self as ::core::default::Default>::default()
            }

            fn read(&mut self, reader: &mut $crate::config::Reader, value: &$crate::config::Value) {
                $crate::config::Table::read_all(self, reader, value);
            }

            fn show(&self) -> ::core::option::Option<::std::string::String> {
                ::core::option::Option::None
            }
        }
    };
}
