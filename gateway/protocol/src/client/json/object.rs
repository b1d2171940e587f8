//! Reads JSON objects into structs, member by member: the one way every decoder here reads.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::client::shapes::{Named, Nothing};

/// A struct that an object's members are read into.
pub(super) trait Object<'de>: Default {
    /// Reads the member's value if the name is known; says whether it was.
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error>;
}

impl<'de> Object<'de> for Nothing {
    fn member<A: MapAccess<'de>>(&mut self, _: &str, _: &mut A) -> Result<bool, A::Error> {
        Ok(false)
    }
}

/// Implements [`Object`]: member name => field, `as` one of the wrappers below for collections.
macro_rules! object {
    ($type:ident { $($name:literal => $field:ident $(as $wrapper:ident)?),* $(,)? }) => {
        impl<'de> crate::client::json::object::Object<'de> for $type<'de> {
            fn member<A: serde::de::MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
                match name {
                    $($name => crate::client::json::object::object!(@fill self.$field, map $(, $wrapper)?),)*
                    _ => return Ok(false),
                }
                Ok(true)
            }
        }
    };
    (@fill $slot:expr, $map:ident) => {
        crate::client::json::object::Fill::fill(&mut $slot, $map)?
    };
    (@fill $slot:expr, $map:ident, $wrapper:ident) => {
        if let Some(crate::client::json::object::$wrapper(value)) = $map.next_value()? {
            $slot = value;
        }
    };
}
pub(super) use object;

/// A field that takes a member's value; `null` leaves it as it is, unless it is a payload.
pub(super) trait Fill<'de> {
    fn fill<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error>;
}

macro_rules! fill {
    ($($type:ty),*) => {
        $(impl<'de> Fill<'de> for $type {
            fn fill<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
                if let Some(value) = map.next_value()? {
                    *self = value;
                }
                Ok(())
            }
        })*
    };
}

fill!(bool, u32, u64, i32, i64);

impl<'de> Fill<'de> for Cow<'de, str> {
    fn fill<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        if let Some(Text(text)) = map.next_value()? {
            *self = text;
        }
        Ok(())
    }
}

impl<'de> Fill<'de> for &'de [u8] {
    fn fill<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        // A payload may be `null`: that is something to say.
        *self = map.next_value::<&'de RawValue>()?.get().as_bytes();
        Ok(())
    }
}

impl<'de, T: Object<'de>> Fill<'de> for Option<T> {
    fn fill<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        if let Some(Json(value)) = map.next_value()? {
            *self = Some(value);
        }
        Ok(())
    }
}

/// A whole object.
pub(super) struct Json<T>(pub(super) T);

impl<'de, T: Object<'de>> Deserialize<'de> for Json<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Object<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
                let mut value = T::default();
                while let Some(Text(name)) = map.next_key()? {
                    if !value.member(&name, &mut map)? {
                        map.next_value::<serde::de::IgnoredAny>()?;
                    }
                }
                Ok(value)
            }
        }

        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// A string, borrowed when it has no escapes.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;

        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Borrow)
    }
}

/// An object as it is written.
pub(super) struct Verbatim<'a>(pub(super) &'a [u8]);

impl<'de> Deserialize<'de> for Verbatim<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        if raw.starts_with('{') { Ok(Self(raw.as_bytes())) } else { Err(D::Error::custom("not an object")) }
    }
}

/// An array of objects.
pub(super) struct List<T>(pub(super) Vec<T>);

impl<'de, T: Object<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);

        impl<'de, T: Object<'de>> Visitor<'de> for Items<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(Json(item)) = seq.next_element()? {
                    items.push(item);
                }
                Ok(items)
            }
        }

        deserializer.deserialize_seq(Items(PhantomData)).map(Self)
    }
}

/// An object whose members are strings.
pub(super) struct Texts<'a>(pub(super) Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de> Deserialize<'de> for Texts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;

        impl<'de> Visitor<'de> for Items {
            type Value = Texts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some((Text(name), Text(value))) = map.next_entry()? {
                    items.push((name, value));
                }
                Ok(Texts(items))
            }
        }

        deserializer.deserialize_map(Items)
    }
}

/// An object whose members are all alike; `null` ones are left out.
pub(super) struct Entries<T>(pub(super) Vec<T>);

impl<'de, T: Object<'de> + Named<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);

        impl<'de, T: Object<'de> + Named<'de>> Visitor<'de> for Items<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(Text(name)) = map.next_key()? {
                    if let Some(Json(mut item)) = map.next_value::<Option<Json<T>>>()? {
                        item.named(name);
                        items.push(item);
                    }
                }
                Ok(items)
            }
        }

        deserializer.deserialize_map(Items(PhantomData)).map(Self)
    }
}
