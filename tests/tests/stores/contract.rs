//! The promises: one list of tests, run on every kind of database.

/// Each test once per kind of database.
macro_rules! on_each {
    ($($name:ident)*) => {
        mod sqlite { $(#[test] fn $name() { crate::place::run(async { super::$name(crate::place::Place::sqlite().await).await; }); })* }
        mod postgres { $(#[test] fn $name() { crate::place::run(async { super::$name(crate::place::Place::postgres().await).await; }); })* }
    };
}
pub(crate) use on_each;

mod control;
mod home;
mod search;
mod streams;
