//! Members of the protocol's messages that either encoding reads into the same struct, but which nobody else sees: what stands
//! around a single value, and messages that are entries of a map.

use std::borrow::Cow;

use super::{
    command::Resume,
    received::{Info, Subscription},
};

/// A message without members.
#[derive(Default)]
pub(super) struct Nothing;

/// What is about a channel.
#[derive(Default)]
pub(super) struct In<'a> {
    pub(super) channel: Cow<'a, str>,
}

/// What carries a payload.
#[derive(Default)]
pub(super) struct Data<'a> {
    pub(super) data: &'a [u8],
}

/// What carries a JWT.
#[derive(Default)]
pub(super) struct Token<'a> {
    pub(super) token: Cow<'a, str>,
}

/// Somebody came or went.
#[derive(Default)]
pub(super) struct About<'a> {
    pub(super) info: Option<Info<'a>>,
}

/// Who is there.
#[derive(Default)]
pub(super) struct Present<'a> {
    pub(super) members: Vec<Info<'a>>,
}

/// A struct read from an entry of a map whose *key* is data too.
pub(super) trait Named<'a> {
    fn named(&mut self, name: Cow<'a, str>);
}

impl<'a> Named<'a> for Resume<'a> {
    fn named(&mut self, name: Cow<'a, str>) {
        self.channel = name;
    }
}

impl<'a> Named<'a> for Subscription<'a> {
    fn named(&mut self, name: Cow<'a, str>) {
        self.channel = name;
    }
}

impl<'a> Named<'a> for Info<'a> {
    /// The session's id, which the value has too.
    fn named(&mut self, _: Cow<'a, str>) {}
}
